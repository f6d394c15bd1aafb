//! What a node is told once: who it is, who the others are, how many copies, how long to wait, how much at most.
//!
//! [`Settings`] is what a file or a test says. [`Config`] is the same after [`Settings::check`]: nothing in it can
//! be out of range, and nobody checks again.

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::NodeId;
use crate::layout::Member;

/// The most replicas that a key can have: those of all layouts that may be in force at once fit a tally's bit mask.
pub const REPLICAS_MAX: usize = 32;

/// The shortest time between two probes.
pub const PROBE_EVERY_MIN: Duration = Duration::from_millis(1);

/// The most members of a cluster.
pub const MEMBERS_MAX: usize = 1_000;

/// The most changes that may be staged at once.
pub const CHANGES_MAX: usize = 64;

/// The largest weight of a member.
pub const WEIGHT_MAX: u32 = 1_000;

/// The most bytes of a member's name, address or zone.
pub const MEMBER_TEXT_MAX: usize = 255;

/// The longest that a value may be kept before it expires: a hundred years.
pub const TTL_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The most bytes of siblings that a key's replicas may come to hold together, with room for the rest of a frame.
pub const OBJECT_BYTES_MAX: usize = 28 << 20;

/// The slowest pace that anti-entropy can be held to, if to any, in bytes per second.
pub const SYNC_BYTES_PER_S_MIN: u64 = 64 << 10;

/// Upper bounds on everything that a client or a peer could make grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a key.
    pub key_bytes: usize,
    /// Bytes in a value.
    pub value_bytes: usize,
    /// Bytes in a value's content type.
    pub content_type_bytes: usize,
    /// Concurrent values that a key may hold; a write that would exceed them is refused.
    pub siblings: usize,
    /// Bytes of all siblings of a key together; a write that would exceed them is refused.
    pub object_bytes: usize,
    /// Client calls in flight on this node; one more is answered with `Overloaded`.
    pub calls: usize,
    /// Accesses to keys in flight on this node, its clients' and its peers' together; beyond it peers' requests and
    /// clients' calls are refused with `Overloaded`.
    pub peer_requests: usize,
    /// Keys in one page of a listing.
    pub list_page: usize,
    /// Bytes of objects in one anti-entropy message, beyond the first object.
    pub sync_bytes: usize,
    /// Objects in one anti-entropy message.
    pub sync_objects: usize,
    /// Keys of a partition that are remembered because their objects at rest are to be stripped. When there are more, the
    /// others are found again by a pass over the partition's objects.
    pub residual_keys: usize,
    /// Bytes of hints that this node keeps for others, all of them together; one more is refused with `HintsFull`.
    pub hint_bytes: u64,
    /// Keys of its own that a node reads and has compared at a time, when a peer's log does not reach back.
    pub window_keys: usize,
    /// A range with so many keys or fewer is not compared any further: what is there is listed.
    pub listed_keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_bytes: 1 << 10,
            value_bytes: 1 << 20,
            content_type_bytes: 256,
            siblings: 100,
            object_bytes: 4 << 20,
            calls: 1_024,
            peer_requests: 8_192,
            list_page: 1_000,
            sync_bytes: 256 << 10,
            sync_objects: 128,
            residual_keys: 10_000,
            hint_bytes: 256 << 20,
            window_keys: 4_096,
            listed_keys: 32,
        }
    }
}

/// What a configuration says, unchecked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node.
    pub node: NodeId,
    /// What others are told of it when it founds or joins a cluster.
    pub me: Member,
    /// The nodes that found a cluster together, this node among them, in any order; none for a node that waits to be
    /// taken in by a cluster. Once a node belongs to one, its store says so and this is not looked at.
    pub members: Vec<NodeId>,
    /// Whether a new node takes the list for the first layout, and founds nothing: as versions did that knew no layouts,
    /// and as a node must whose list has members of such a version.
    pub fixed: bool,
    /// Shares that the key space is cut into: a power of two. The same on every member, for ever.
    pub partitions: u32,
    /// Copies of each key. With fewer members than this there are as many copies as members.
    pub replicas: usize,
    /// Replicas that must answer a read, unless the call asks otherwise.
    pub r: usize,
    /// Replicas that must have a write on disk before it is acknowledged, unless the call asks otherwise.
    pub w: usize,
    /// How long a request may take, unless the call asks otherwise.
    pub timeout: Duration,
    /// The longest timeout that a call may ask for.
    pub timeout_max: Duration,
    /// Time between two rounds of anti-entropy with the same peer.
    pub sync_every: Duration,
    /// Time between two probes of whether others answer.
    pub probe_every: Duration,
    /// Time between two messages of gossip about the cluster's layouts.
    pub gossip_every: Duration,
    /// Time from one pass that verifies all objects at rest to the next; zero for never.
    pub scrub_every: Duration,
    /// Time between two looks for values that have expired.
    pub expire_every: Duration,
    /// Whether stand-ins take the places of replicas that cannot be reached, unless the call says otherwise.
    pub sloppy: bool,
    /// Bytes of hints that this node hands over in a second.
    pub hint_bytes_per_s: u64,
    /// Bytes per second that anti-entropy may take in on this node, from all peers together; 0 for no limit.
    pub sync_bytes_per_s: u64,
    /// Log rows that a partition keeps for peers that lack them. A peer that was away for longer compares ranges.
    pub log_rows_max: usize,
    /// Upper bounds.
    pub limits: Limits,
}

impl Settings {
    /// Defaults for `node` among `members`: N = 3, R = W = 2, 256 partitions.
    #[must_use]
    pub fn new(node: NodeId, members: Vec<NodeId>) -> Self {
        Self {
            node,
            me: Member::plain(node),
            members,
            fixed: false,
            partitions: 256,
            replicas: 3,
            r: 2,
            w: 2,
            timeout: Duration::from_secs(5),
            timeout_max: Duration::from_secs(60),
            sync_every: Duration::from_secs(1),
            probe_every: Duration::from_secs(1),
            gossip_every: Duration::from_secs(1),
            scrub_every: Duration::from_secs(24 * 3600),
            expire_every: Duration::from_secs(60),
            sloppy: true,
            hint_bytes_per_s: 8 << 20,
            sync_bytes_per_s: 32 << 20,
            log_rows_max: 65_536,
            limits: Limits::default(),
        }
    }

    /// Checks everything once.
    ///
    /// # Errors
    /// The first [`ConfigError`] found, with the offending number and its bound.
    pub fn check(mut self) -> Result<Config, ConfigError> {
        self.members.sort_unstable();
        if let Some(twice) = self.members.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::TwoMembersWithOneName(twice[0]));
        }
        if !self.members.is_empty() && self.members.binary_search(&self.node).is_err() {
            return Err(ConfigError::NotAMember(self.node));
        }
        if !self.partitions.is_power_of_two() || self.partitions > 1 << 16 {
            return Err(ConfigError::Partitions(self.partitions));
        }
        if self.replicas == 0 || self.replicas > REPLICAS_MAX {
            return Err(ConfigError::Replicas(self.replicas));
        }
        if self.members.len() > MEMBERS_MAX {
            return Err(ConfigError::Members(self.members.len()));
        }
        let me = &self.me;
        let texts = [("name", &me.name), ("address", &me.address), ("zone", &me.zone)];
        if let Some((what, _)) = texts.into_iter().find(|(_, text)| text.len() > MEMBER_TEXT_MAX) {
            return Err(ConfigError::MemberText(what));
        }
        if me.id != self.node || !(1..=WEIGHT_MAX).contains(&me.weight) {
            return Err(ConfigError::Weight(me.weight));
        }
        for (name, asked) in [("r", self.r), ("w", self.w)] {
            if asked == 0 || asked > self.replicas {
                return Err(ConfigError::Quorum { name, asked, replicas: self.replicas });
            }
        }
        if self.timeout.is_zero() || self.timeout > self.timeout_max {
            return Err(ConfigError::Timeout { asked: self.timeout, max: self.timeout_max });
        }
        if self.sync_every.is_zero() {
            return Err(ConfigError::SyncEvery);
        }
        if self.probe_every < PROBE_EVERY_MIN {
            return Err(ConfigError::ProbeEvery(self.probe_every));
        }
        if self.gossip_every.is_zero() {
            return Err(ConfigError::GossipEvery);
        }
        if self.expire_every.is_zero() {
            return Err(ConfigError::ExpireEvery);
        }
        if self.hint_bytes_per_s == 0 {
            return Err(ConfigError::HintRate);
        }
        if (1..SYNC_BYTES_PER_S_MIN).contains(&self.sync_bytes_per_s) {
            return Err(ConfigError::SyncBytes(self.sync_bytes_per_s));
        }
        if self.log_rows_max == 0 {
            return Err(ConfigError::LogRows);
        }
        let limits = &self.limits;
        for (name, limit) in [
            ("key_bytes", limits.key_bytes),
            ("siblings", limits.siblings),
            ("calls", limits.calls),
            ("peer_requests", limits.peer_requests),
            ("list_page", limits.list_page),
            ("sync_objects", limits.sync_objects),
            ("residual_keys", limits.residual_keys),
            ("window_keys", limits.window_keys),
            ("listed_keys", limits.listed_keys),
        ] {
            if limit == 0 {
                return Err(ConfigError::LimitZero(name));
            }
        }
        // Cut off from each other, every replica may fill an object to the limit; their join must still fit a frame.
        if self.replicas.saturating_mul(limits.object_bytes) > OBJECT_BYTES_MAX {
            return Err(ConfigError::ObjectBytes {
                asked: limits.object_bytes,
                max: OBJECT_BYTES_MAX / self.replicas,
            });
        }
        if limits.value_bytes > limits.object_bytes {
            return Err(ConfigError::ValueBytes { asked: limits.value_bytes, max: limits.object_bytes });
        }
        Ok(Config(self))
    }
}

/// [`Settings`] that have been checked.
#[derive(Clone, Debug)]
pub struct Config(Settings);

impl core::ops::Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

/// What is wrong with some [`Settings`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Two members share an id.
    #[error("two members have the same name ({0}): every node of a cluster needs its own")]
    TwoMembersWithOneName(NodeId),
    /// The node does not stand in its own member list.
    #[error("this node ({0}) is not in its own list of members: add it")]
    NotAMember(NodeId),
    /// Too many.
    #[error("{0} nodes are listed; at most {MEMBERS_MAX} may be")]
    Members(usize),
    /// Too long.
    #[error("this node's {0} is longer than {MEMBER_TEXT_MAX} bytes")]
    MemberText(&'static str),
    /// Out of range.
    #[error("weight = {0}: it must be between 1 and {WEIGHT_MAX}")]
    Weight(u32),
    /// Not a power of two, or too many.
    #[error("partitions = {0}: it must be a power of two of at most 65536")]
    Partitions(u32),
    /// None, or too many.
    #[error("replicas = {0}: it must be between 1 and {REPLICAS_MAX}")]
    Replicas(usize),
    /// A quorum that no number of answers could satisfy, or that asks for none.
    #[error("{name} = {asked}: it must be between 1 and the number of replicas, {replicas}")]
    Quorum {
        /// `r` or `w`.
        name: &'static str,
        /// What the settings say.
        asked: usize,
        /// The number of copies.
        replicas: usize,
    },
    /// Zero, or over the maximum.
    #[error("a timeout of {asked:?}: it must be above zero and at most {max:?}")]
    Timeout {
        /// What the settings say.
        asked: Duration,
        /// The bound.
        max: Duration,
    },
    /// A limit of zero.
    #[error("the limit {0} is zero: nothing could be served")]
    LimitZero(&'static str),
    /// Objects could grow beyond what a frame holds.
    #[error("object_bytes = {asked}: with this many replicas it must be at most {max}")]
    ObjectBytes {
        /// What the settings say.
        asked: usize,
        /// The bound.
        max: usize,
    },
    /// A value that no object could hold.
    #[error("value_bytes = {asked}: it must be at most object_bytes, {max}")]
    ValueBytes {
        /// What the settings say.
        asked: usize,
        /// The bound.
        max: usize,
    },
    /// So slow that one large object would hold up anti-entropy for many minutes.
    #[error("sync_bytes_per_s = {0}: it must be 0, for no limit, or at least {SYNC_BYTES_PER_S_MIN}")]
    SyncBytes(u64),
    /// Zero.
    #[error("log_rows_max is zero: every write that a replica misses would have its partition compared")]
    LogRows,
    /// Zero.
    #[error("sync_every is zero: replicas that never compare notes never heal, and zero would never rest")]
    SyncEvery,
    /// Too short.
    #[error("probe_every = {0:?}: it must be at least {PROBE_EVERY_MIN:?}")]
    ProbeEvery(Duration),
    /// Zero.
    #[error("gossip_every is zero: it would never rest")]
    GossipEvery,
    /// Zero.
    #[error("expire_every is zero: it would never rest")]
    ExpireEvery,
    /// Zero.
    #[error("hint_bytes_per_s is zero: what is kept for others would never be handed over")]
    HintRate,
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::*;

    fn settings() -> Settings {
        let members = vec![NodeId(1), NodeId(2), NodeId(3)];
        Settings::new(NodeId(1), members)
    }

    fn limits(change: impl FnOnce(&mut Limits)) -> Settings {
        let mut settings = settings();
        change(&mut settings.limits);
        settings
    }

    #[test]
    fn the_defaults_are_valid() {
        assert!(settings().check().is_ok());
    }

    #[test]
    fn a_node_that_waits_to_be_taken_in_lists_nobody() {
        assert!(Settings { members: vec![], ..settings() }.check().is_ok());
    }

    #[test]
    fn every_setting_out_of_range_is_named() {
        let cases = [
            (Settings { members: vec![NodeId(2)], ..settings() }, "not in its own list"),
            (Settings { members: vec![NodeId(1), NodeId(1)], ..settings() }, "the same name"),
            (Settings { partitions: 100, ..settings() }, "partitions = 100"),
            (Settings { partitions: 0, ..settings() }, "partitions = 0"),
            (Settings { replicas: 33, ..settings() }, "replicas = 33"),
            (Settings { r: 4, ..settings() }, "r = 4"),
            (Settings { w: 0, ..settings() }, "w = 0"),
            (Settings { timeout: Duration::ZERO, ..settings() }, "a timeout of 0"),
            (Settings { sync_every: Duration::ZERO, ..settings() }, "sync_every"),
            (Settings { gossip_every: Duration::ZERO, ..settings() }, "gossip_every"),
            (Settings { expire_every: Duration::ZERO, ..settings() }, "expire_every"),
            (Settings { probe_every: Duration::ZERO, ..settings() }, "probe_every"),
            (Settings { hint_bytes_per_s: 0, ..settings() }, "hint_bytes_per_s"),
            (Settings { me: Member { weight: 0, ..settings().me }, ..settings() }, "weight = 0"),
            (Settings { sync_bytes_per_s: 65_535, ..settings() }, "sync_bytes_per_s = 65535"),
            (Settings { log_rows_max: 0, ..settings() }, "log_rows_max"),
            (limits(|limits| limits.listed_keys = 0), "the limit listed_keys is zero"),
            (limits(|limits| limits.window_keys = 0), "the limit window_keys is zero"),
            (limits(|limits| limits.list_page = 0), "the limit list_page is zero"),
            (limits(|limits| limits.object_bytes = 10 << 20), "object_bytes = 10485760"),
            (limits(|limits| limits.value_bytes = 5 << 20), "value_bytes = 5242880"),
        ];
        for (settings, words) in cases {
            let error = settings.check().expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
