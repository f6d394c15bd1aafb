//! How two nodes greet: the first thing that each says on a new connection.
//!
//! A hello is eight bytes of magic, a length (u16, little endian), a CRC-32 of the text, and the text: one JSON
//! object. It says who speaks, in which life, which versions of frames it understands, and the two numbers on which
//! placement rests. The node that was called answers with its own hello, in which it may say why it refuses. JSON,
//! because a hello must be understood by versions that agree on nothing else yet; unknown fields are passed over.

use std::io;

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

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Its name.
    pub(super) name: String,
    /// Its life, in hexadecimal digits.
    life: String,
    /// The oldest version of frames that it reads.
    frames_min: u8,
    /// The newest version of frames that it reads.
    frames_max: u8,
    /// Its number of partitions.
    partitions: u32,
    /// Its number of replicas.
    replicas: usize,
    /// Why it refuses the connection, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

/// Why a connection is no connection to a node of this cluster.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    /// It broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Somebody else speaks there.
    #[error("it does not speak the protocol of Godown's nodes")]
    Magic,
    /// What it says is too long, damaged, or no hello.
    #[error("its hello is not understood: {0}")]
    Text(String),
    /// No version of frames is common to both.
    #[error("it reads frames of versions {0} to {1}, and this node writes version {v}", v = wire::VERSION)]
    Frames(u8, u8),
    /// Keys would be placed differently.
    #[error(
        "it has partitions = {0} and replicas = {1}, and this node has {2} and {3}: they must be the same on \
         every node"
    )]
    Shape(u32, usize, u32, usize),
}

impl Hello {
    /// What the node called `name` says in this `life`.
    pub(super) fn new(name: &str, life: Life, (partitions, replicas): (u32, usize)) -> Self {
        Self {
            name: name.into(),
            life: format!("{:032x}", life.0),
            frames_min: wire::VERSION,
            frames_max: wire::VERSION,
            partitions,
            replicas,
            refused: None,
        }
    }

    /// The same, with a reason why the other is not served.
    pub(super) fn refusing(&self, why: String) -> Self {
        Self { refused: Some(why), ..self.clone() }
    }

    /// The life that it claims.
    pub(super) fn life(&self) -> Result<Life, HelloError> {
        u128::from_str_radix(&self.life, 16)
            .map(Life)
            .map_err(|_| HelloError::Text(format!("'{}' is no life", self.life)))
    }

    /// Whether the node that says `theirs` can work with the one that says this.
    pub(super) fn check(&self, theirs: &Self) -> Result<(), HelloError> {
        if !(theirs.frames_min..=theirs.frames_max).contains(&wire::VERSION) {
            return Err(HelloError::Frames(theirs.frames_min, theirs.frames_max));
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

    fn hello() -> Hello {
        Hello::new("apple", Life(7), (256, 3))
    }

    async fn heard(bytes: &[u8]) -> Result<Hello, HelloError> {
        Hello::read(&mut &*bytes).await
    }

    #[tokio::test]
    async fn a_hello_is_heard_as_it_was_said() {
        for hello in [hello(), hello().refusing("why".into())] {
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

    #[test]
    fn nodes_that_would_place_keys_differently_do_not_work_together() {
        let other = Hello::new("pear", Life(8), (512, 3));
        let error = hello().check(&other).expect_err("refused").to_string();
        assert!(error.contains("partitions = 512"), "{error}");
        let newer = Hello { frames_min: 2, frames_max: 3, ..hello() };
        assert!(matches!(hello().check(&newer), Err(HelloError::Frames(2, 3))));
        assert!(hello().check(&Hello { frames_max: 2, ..hello() }).is_ok());
    }
}
