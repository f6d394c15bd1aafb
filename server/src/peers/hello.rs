//! How two nodes greet: the first thing that each says on a new connection.
//!
//! A hello is eight bytes of magic, a length (u16, little endian), a CRC-32 of the text, and the text: one JSON
//! object. It says who speaks, in which life, for which cluster, where others reach it, which versions of frames it
//! understands, and the two numbers on which placement rests. The node that was called answers with its own hello, in
//! which it may say why it refuses. Most callers want to talk; some only ask who is there, or to be taken in, and hang
//! up when they have heard the answer. JSON, because a hello must be understood by versions that agree on nothing
//! else yet; unknown fields are passed over.

use std::io;
use std::ops::RangeInclusive;

use godown_core::id::Life;
use godown_core::wire;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What a connection between nodes begins with.
const MAGIC: [u8; 8] = *b"GODOWN/1";

/// Bytes in a hello's text.
const TEXT_BYTES_MAX: usize = 4096;

/// Magic, length, checksum.
const HEAD_BYTES: usize = 14;

/// Characters in the reason of a refusal.
const REASON_CHARS_MAX: usize = 500;

/// The versions of frames that this build reads.
pub(super) const FRAMES: RangeInclusive<u8> = wire::VERSION_MIN..=wire::VERSION_MAX;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Its name.
    pub(crate) name: String,
    /// Its life, in hexadecimal digits.
    life: String,
    /// The first life over its store, in the same way: what a cluster that takes it in is to know it by.
    #[serde(default)]
    store: String,
    /// The oldest version of frames that it reads.
    frames_min: u8,
    /// The newest version of frames that it reads.
    frames_max: u8,
    /// Its number of partitions.
    partitions: u32,
    /// Its number of replicas.
    replicas: usize,
    /// The cluster that it is in, in hexadecimal digits; none yet before its first layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    /// Where others reach it.
    #[serde(default)]
    pub(crate) advertise: String,
    /// The zone that it stands in.
    #[serde(default)]
    pub(crate) zone: String,
    /// Its share of the data.
    #[serde(default)]
    pub(crate) weight: u32,
    /// Whether it waits to be taken into a running cluster.
    #[serde(default)]
    pub(crate) joins: bool,
    /// What the caller wants.
    #[serde(default)]
    pub(super) purpose: Purpose,
    /// What its wall clock says, in milliseconds since 1970.
    #[serde(default)]
    pub(super) wall_ms: u64,
    /// Why it refuses the connection, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

/// What a caller wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Purpose {
    /// To send frames.
    #[default]
    Talk,
    /// To answer somebody who has called, and is no peer of the caller's. Two that call each other only for this reason
    /// would never hang up, so nobody is called back for it.
    Answer,
    /// To hear who this is.
    Ask,
    /// To be taken in: the request is staged, and an operator applies it.
    Join,
    /// To be taken in at once.
    JoinNow,
}

/// What a node is, apart from what changes while it lives.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Its name.
    pub(crate) name: String,
    /// Its life.
    pub(crate) life: Life,
    /// The first life over its store.
    pub(crate) store: Life,
    /// Partitions and replicas, as configured.
    pub(crate) shape: (u32, usize),
    /// Where others reach it.
    pub(crate) advertise: String,
    /// The zone that it stands in.
    pub(crate) zone: String,
    /// Its share of the data.
    pub(crate) weight: u32,
    /// Whether it waits to be taken into a running cluster, as long as it is in none.
    pub(crate) joins: bool,
}

/// Why two nodes do not work together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelloError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Somebody else speaks there.
    #[error("it does not speak the protocol of Godown's nodes")]
    Magic,
    /// What it says is too long, damaged, or no hello.
    #[error("its hello is not understood: {0}")]
    Text(String),
    /// No version of frames is common to both.
    #[error(
        "it reads frames of versions {0} to {1}, and this node those of {ours_min} to {ours_max}",
        ours_min = FRAMES.start(), ours_max = FRAMES.end()
    )]
    Frames(u8, u8),
    /// They are in different clusters.
    #[error("it is in cluster {0}, and this node is in cluster {1}: a node is in one cluster only")]
    Cluster(String, String),
    /// Keys would be placed differently.
    #[error(
        "it has partitions = {0} and replicas = {1}, and this node has {2} and {3}: they must be the same on \
         every node"
    )]
    Shape(u32, usize, u32, usize),
}

impl Hello {
    /// What the node called `name` says, at `wall_ms` by its clock.
    pub(super) fn new(identity: &Identity, cluster: Option<String>, wall_ms: u64) -> Self {
        let (partitions, replicas) = identity.shape;
        Self {
            name: identity.name.clone(),
            life: format!("{:032x}", identity.life.0),
            store: format!("{:032x}", identity.store.0),
            frames_min: *FRAMES.start(),
            frames_max: *FRAMES.end(),
            partitions,
            replicas,
            advertise: identity.advertise.clone(),
            zone: identity.zone.clone(),
            weight: identity.weight,
            joins: identity.joins && cluster.is_none(),
            cluster,
            purpose: Purpose::Talk,
            wall_ms,
            refused: None,
        }
    }

    /// The same, of a caller that wants something else than to talk.
    pub(super) fn wanting(self, purpose: Purpose) -> Self {
        Self { purpose, ..self }
    }

    /// The same, with a reason why the other is not served.
    pub(super) fn refusing(self, why: String) -> Self {
        // What others have said is part of some reasons, and a hello has its limit.
        let why = why.chars().take(REASON_CHARS_MAX).collect();
        Self { refused: Some(why), ..self }
    }

    /// The life that it claims.
    pub(crate) fn life(&self) -> Result<Life, HelloError> {
        u128::from_str_radix(&self.life, 16)
            .map(Life)
            .map_err(|_| HelloError::Text(format!("'{}' is no life", self.life)))
    }

    /// The first life over its store; nobody's when it does not say.
    pub(crate) fn store(&self) -> Life {
        u128::from_str_radix(&self.store, 16).map(Life).unwrap_or_default()
    }

    /// Whether the node that says `theirs` can work with the one that says this.
    pub(super) fn check(&self, theirs: &Self) -> Result<(), HelloError> {
        if theirs.writes().is_none() {
            return Err(HelloError::Frames(theirs.frames_min, theirs.frames_max));
        }
        if let (Some(their_cluster), Some(our_cluster)) = (&theirs.cluster, &self.cluster)
            && their_cluster != our_cluster
        {
            return Err(HelloError::Cluster(their_cluster.clone(), our_cluster.clone()));
        }
        if (theirs.partitions, theirs.replicas) != (self.partitions, self.replicas) {
            return Err(HelloError::Shape(
                theirs.partitions,
                theirs.replicas,
                self.partitions,
                self.replicas,
            ));
        }
        Ok(())
    }

    /// The version of frames to write to whoever says this: the newest that both read.
    pub(super) fn writes(&self) -> Option<u8> {
        let newest = self.frames_max.min(*FRAMES.end());
        (newest >= self.frames_min.max(*FRAMES.start())).then_some(newest)
    }

    /// By how many milliseconds the clock of whoever says this is ahead of one that stands at `wall_ms`.
    pub(super) fn ahead_ms(&self, wall_ms: u64) -> i64 {
        let ahead = i128::from(self.wall_ms) - i128::from(wall_ms);
        i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX })
    }

    /// Says it.
    pub(super) async fn write(&self, stream: &mut (impl AsyncWrite + Unpin)) -> Result<(), HelloError> {
        stream.write_all(&self.encode()?).await?;
        Ok(())
    }

    fn encode(&self) -> Result<Vec<u8>, HelloError> {
        let text = serde_json::to_vec(self).map_err(|error| HelloError::Text(error.to_string()))?;
        let too_long = |_| HelloError::Text("it is too long".into());
        let length = u16::try_from(text.len()).map_err(too_long)?;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + text.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&text).to_le_bytes());
        bytes.extend_from_slice(&text);
        Ok(bytes)
    }

    /// Hears what the other says. Nothing is read beyond it.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, HelloError> {
        let mut magic = [0; 8];
        stream.read_exact(&mut magic).await?;
        if magic != MAGIC {
            return Err(HelloError::Magic);
        }
        let length = usize::from(stream.read_u16_le().await?);
        let checksum = stream.read_u32_le().await?;
        if length > TEXT_BYTES_MAX {
            return Err(HelloError::Text(format!(
                "it has {length} bytes; at most {TEXT_BYTES_MAX} are read"
            )));
        }
        let mut text = vec![0; length];
        stream.read_exact(&mut text).await?;
        if crc32fast::hash(&text) != checksum {
            return Err(HelloError::Text("its checksum does not match".into()));
        }
        serde_json::from_slice(&text).map_err(|error| HelloError::Text(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, life: u128) -> Identity {
        Identity {
            name: name.into(),
            life: Life(life),
            store: Life(life),
            shape: (256, 3),
            advertise: "127.0.0.1:7000".into(),
            zone: "default".into(),
            weight: 100,
            joins: true,
        }
    }

    fn hello() -> Hello {
        Hello::new(&identity("apple", 7), Some("c1".into()), 1_000)
    }

    async fn heard(bytes: &[u8]) -> Result<Hello, HelloError> {
        Hello::read(&mut &*bytes).await
    }

    #[tokio::test]
    async fn a_hello_is_heard_as_it_was_said() {
        let others = [hello().refusing("why".into()), hello().wanting(Purpose::JoinNow)];
        for hello in [hello(), Hello::new(&identity("pear", 8), None, 0)].into_iter().chain(others) {
            let bytes = hello.encode().expect("short");
            assert_eq!(heard(&bytes).await.expect("heard"), hello);
        }
        assert_eq!(hello().life().expect("a life"), Life(7));
    }

    #[tokio::test]
    async fn a_hello_that_is_cut_or_altered_anywhere_is_an_error() {
        let bytes = hello().encode().expect("short");
        for at in 0..bytes.len() {
            assert!(heard(&bytes[..at]).await.is_err(), "cut after {at}");
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(heard(&altered).await.is_err(), "altered at {at}");
        }
    }

    #[tokio::test]
    async fn a_hello_that_claims_to_be_huge_is_refused_unread() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&u16::MAX.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let error = heard(&bytes).await.expect_err("refused").to_string();
        assert!(error.contains("65535 bytes"), "{error}");
    }

    #[tokio::test]
    async fn the_longest_reason_fits_a_hello() {
        let name = "\u{1f34f}".repeat(32);
        let identity = Identity {
            advertise: format!("{}:7000", "h".repeat(253)),
            zone: name.clone(),
            ..identity(&name, 7)
        };
        let hello = Hello::new(&identity, Some("f".repeat(16)), u64::MAX).refusing("\u{1f34f}".repeat(9_999));
        let bytes = hello.encode().expect("short");
        assert_eq!(heard(&bytes).await.expect("heard"), hello);
    }

    #[tokio::test]
    async fn a_hello_of_an_older_version_is_of_a_node_in_no_cluster_that_wants_to_talk() {
        let text = br#"{"name":"a","life":"07","frames_min":1,"frames_max":1,"partitions":256,"replicas":3}"#;
        let hello: Hello = serde_json::from_slice(text).expect("understood");
        assert_eq!((hello.cluster, hello.purpose, hello.joins), (None, Purpose::Talk, false));
    }

    #[test]
    fn nodes_that_would_place_keys_differently_do_not_work_together() {
        let other = Hello::new(&Identity { shape: (512, 3), ..identity("pear", 8) }, None, 0);
        let error = hello().check(&other).expect_err("refused").to_string();
        assert!(error.contains("partitions = 512"), "{error}");
    }

    #[test]
    fn nodes_of_different_clusters_do_not_work_together_and_hear_both_names() {
        let other = Hello { cluster: Some("c2".into()), ..hello() };
        let error = hello().check(&other).expect_err("refused").to_string();
        assert!(error.contains("cluster c2") && error.contains("cluster c1"), "{error}");
        assert!(hello().check(&Hello { cluster: None, ..hello() }).is_ok(), "one of them is in none yet");
    }

    #[test]
    fn the_newest_version_that_both_read_is_written() {
        let (oldest, newest) = (*FRAMES.start(), *FRAMES.end());
        let reads = |frames_min, frames_max| Hello { frames_min, frames_max, ..hello() };
        assert_eq!(reads(oldest, newest).writes(), Some(newest));
        assert_eq!(reads(newest, newest + 9).writes(), Some(newest));
        assert_eq!(reads(0, oldest).writes(), Some(oldest));
        for (frames_min, frames_max) in [(newest + 1, newest + 2), (0, oldest - 1), (newest, oldest - 1)] {
            let other = reads(frames_min, frames_max);
            assert_eq!(other.writes(), None);
            assert!(matches!(hello().check(&other), Err(HelloError::Frames(..))));
        }
    }
}
