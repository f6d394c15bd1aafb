//! Planted bugs: real mistakes that the simulator must find, compiled in only with the `simulation` feature.
//!
//! `planted!(cx, Name)` is the constant `false` in every other build, so the branch behind it does not exist there.

/// Whether the planted bug `Name` is switched on for this node.
#[cfg(feature = "simulation")]
macro_rules! planted {
    ($plants:expr, $name:ident) => {
        $plants.has($crate::plant::Plant::$name)
    };
}

/// Whether the planted bug `Name` is switched on for this node: never, in this build.
#[cfg(not(feature = "simulation"))]
macro_rules! planted {
    ($plants:expr, $name:ident) => {{
        let _ = &$plants;
        false
    }};
}

macro_rules! plants {
    ($($variant:ident $name:literal $says:literal $from:literal,)*) => {
        /// One real mistake, switched on at run time.
        #[cfg(feature = "simulation")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Plant {
            $(#[doc = $says] $variant,)*
        }

        #[cfg(feature = "simulation")]
        impl Plant {
            /// Every planted bug, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What goes wrong, in a sentence.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self { $(Self::$variant => $says,)* }
            }

            /// Where it comes from: whose mistake it was, or would be.
            #[must_use]
            pub fn from(self) -> &'static str {
                match self { $(Self::$variant => $from,)* }
            }
        }
    };
}

plants! {
    AckBeforeSync "ack-before-sync" "A replica acknowledges a write when it is handed to the disk, not when it is on it."
        "a usual one: a write is taken for safe when it is in a buffer",
    DotBeforeDurable "dot-before-durable" "A coordinator sends a new dot to its peers before the dot is on its own disk."
        "our own: a dot that a crash forgets is on others' disks",
    CounterRestarted "counter-restarted" "A restarted node takes its last life up again and counts from zero."
        "Riak: a vnode that lost its counter minted old dots again (kv679)",
    QuorumShort "quorum-short" "A write is acknowledged with one replica fewer than asked for."
        "a usual one: the coordinator is counted twice",
    RepairOverwrites "repair-overwrites" "Read repair replaces what the replica holds instead of joining with it."
        "a usual one: the last answer wins",
    AckCountedTwice "ack-counted-twice" "A duplicated acknowledgement counts as one of another replica."
        "a usual one: answers are counted, not those who answer",
    ForwardForgotten "forward-forgotten" "A duplicated forward of a put mints a second dot."
        "a usual one: a message that arrives twice is carried out twice",
    AbsorbsPartial "absorbs-partial" "Anti-entropy takes over the peer's clock although there was more to give, or its log did not reach."
        "our own, against the rule of node-wide clocks (DottedDB, SRDS 2017)",
    ClockBeforeData "clock-before-data" "Anti-entropy takes over the peer's clock before the objects that it covers are on disk."
        "our own, against the rule of node-wide clocks (DottedDB, SRDS 2017)",
    ReadAheadOfSync "read-ahead-of-sync" "A read is answered with a write that is not yet on disk."
        "a usual one: what is in memory is shown before it is safe",
    JoinKeepsDominated "join-keeps-dominated" "A join keeps a sibling that the other side has seen and replaced."
        "a usual one: a join that only adds",
    JoinDropsConcurrent "join-drops-concurrent" "A join drops a sibling that the other side has never seen."
        "a usual one: a join that lets one side win",
    RepairSkipsEmpty "repair-skips-empty" "Read repair passes over replicas that hold nothing for the key."
        "a usual one: who holds nothing is taken for one who does not take part",
    AckShowsUnseen "ack-shows-unseen" "A write's acknowledgement hands out a context that covers siblings its client never saw."
        "a usual one: the answer says what the server has, not what its client has seen",
    CoordinatorCountsItself "coordinator-counts-itself" "A coordinator that holds no replica counts itself: what it forwards asks for one replica fewer."
        "Dynamo (SOSP 2007): a sloppy quorum counts nodes outside the first N",
    QuorumShortRead "quorum-short-read" "A read is answered with one replica fewer than asked for."
        "a usual one: off by one",
    RefusalCounted "refusal-counted" "A replica that refuses because it is catching up counts as one that holds nothing."
        "a usual one: an error is taken for an empty answer",
    OwnGapAnswers "own-gap-answers" "A node's own replica counts in its reads although it has lost its data and not got it back."
        "our own: the rule is kept for peers and forgotten at home",
    CatchingUpServes "catching-up-serves" "A replica that has lost its data answers peers' reads before it has caught up."
        "a usual one: a replaced node serves reads at once",
    EmptyIsComplete "empty-is-complete" "A node over an empty disk takes itself for complete at once."
        "Cassandra, with auto_bootstrap off: a node joins without its data and answers",
    DeleteWithoutContext "delete-without-context" "A delete removes whatever its coordinator holds, not what its client has seen."
        "a usual one: a delete by key",
    LateReplyAccepted "late-reply-accepted" "A reply is matched by its number alone, not by the life that asked: after a restart numbers begin again."
        "a usual one: request numbers that start from one",
    StripOffByOne "strip-off-by-one" "An object is stripped of one number more than the clock's base covers."
        "a usual one: off by one",
    BaseJumpsGap "base-jumps-gap" "A gap of one number is passed over when a dot lands above it: the clock claims a write that never came."
        "a usual one: off by one when a version vector with exceptions is compacted",
    SlotFreedEarly "slot-freed-early" "A key's slot is given up when its write is handed to the disk: whoever comes next reads what is not yet safe."
        "a usual one: a lock that is let go too early",
    WaiterDropped "waiter-dropped" "When a row cannot be read, those that wait for it are never told, and its key stays shut."
        "a usual one: an early return past those that wait",
    TimerLost "timer-lost" "A timer that is set for the moment of another one replaces it."
        "a usual one: a map from moments to timers",
    WallClockTimers "wall-clock-timers" "Whether a timer is due is judged by the wall clock's advance since the start."
        "a usual one; Cloudflare's DNS met it at the leap second of 2017",
    LimitIgnored "limit-ignored" "The limit on calls in flight is not enforced."
        "a usual one: a limit that is only documented",
    SiblingsLimitIgnored "siblings-limit-ignored" "The limits on the number and the bytes of siblings are not enforced."
        "Riak: sibling explosion",
    FailedWriteAcknowledged "failed-write-acknowledged" "A write that the disk refused is taken for done."
        "a usual one: an error code that nobody looks at",
    DotNotBurnt "dot-not-burnt" "The dot of a refused write is never put on record: the clock keeps a gap for ever."
        "our own: found by random runs with refusing disks",
    FailedReadIsAbsent "failed-read-is-absent" "A row that could not be read, or is damaged, is taken for no row."
        "a usual one: an error is taken for an empty answer",
    PageWithHole "page-with-hole" "A page of a whole partition is sent although a key on it could not be read."
        "our own: what is not in a page reads as deleted",
    FloorForgotten "floor-forgotten" "Dropping log rows does not raise the floor: the log claims to reach further back than it does."
        "our own: a truncated log that does not know it",
    GapsLeftOpen "gaps-left-open" "The gaps of ended lives are not closed when a node starts."
        "our own: found by random runs with refusing disks",
    RefusedRetry "refused-retry" "A coordinator whose quorum became impossible writes once more, with a new dot."
        "a usual one: a retry of what may have been done",
    RepairClaimsContext "repair-claims-context" "Read repair claims every dot of the object's context, not the visible ones: those are other keys' writes."
        "our own, against the rule of node-wide clocks (DottedDB, SRDS 2017)",
    DigestForgetsCloud "digest-forgets-cloud" "The clocks' digest leaves out the dots beyond the bases."
        "our own: equal hashes of unequal things",
    FoldLosesFirst "fold-loses-first" "Of several writes folded into one, only the last dot gets its log row."
        "a usual one: a batch of one works",
    LateForward "late-forward" "A forward below the floor is taken: its origin gave it up, and its double may have been carried out."
        "a usual one: a memory of doubles that forgets too early",
    ForwardToAnyLife "forward-to-any-life" "A forward is taken whatever life it names."
        "our own: found by the simulator, seeds 26110 and 54092",
    ClockAheadOfDisk "clock-ahead-of-disk" "A peer's clock is taken over in memory when the checkpoint is handed to the disk, not when it is on it."
        "our own: memory runs ahead of the disk",
    CheckpointOvertaken "checkpoint-overtaken" "A checkpoint is written beside one that is on its way, without what that one takes over."
        "a usual one: two writers of one row",
    WholeNotInFloor "whole-not-in-floor" "After a whole partition was pulled the floor stays: the log claims rows that never came."
        "our own: the data has arrived, its history has not",
    GapsOfOthersClosed "gaps-of-others-closed" "At start the gaps of every life are closed, not only of the node's own."
        "our own: what holds at home is held to hold everywhere",
    RepairWithoutContext "repair-without-context" "Read repair brings siblings, and not what they replaced."
        "a usual one: values are sent and their versions are not",
    ClockAfterObjects "clock-after-objects" "A giver's clock is read when its objects have been gathered, not before."
        "a usual one: a snapshot whose time is taken at its end",
    RefusedWriteRemembered "refused-write-remembered" "After a refused write a key goes on with what it would have held."
        "a usual one: memory is not rolled back with the disk",
    TakesOverRefused "takes-over-refused" "A peer's clock is taken over although one of its objects could not be written here."
        "a usual one: of many outcomes only the last is looked at",
    BurntClaimedEarly "burnt-claimed-early" "The clock claims the dot of a refused write at once, not when a checkpoint has put it on record."
        "our own: found by random runs with refusing disks",
    LifeUnrecorded "life-unrecorded" "A life's row is never written: the next life knows neither its gaps nor that its store was put back."
        "our own: an identity that is only in memory",
    WriteForgetsOldLayout "write-forgets-old-layout" "While one layout gives way to another, a write needs a quorum in one of them only."
        "a usual one: the new table is used at once",
    DotReusedAfterDrop "dot-reused-after-drop" "A partition that was dropped and comes back begins to count dots from zero in the same life."
        "Riak: kv679 once more, by way of hand-off",
    AcceptedForgotten "accepted-forgotten" "A proposer puts its own layout forward although another may have been decided."
        "a usual one: the first phase of Paxos is taken for a lock",
    HintDroppedBeforeAck "hint-dropped-before-ack" "A hint is dropped when it has been sent, not when its target has it on disk."
        "a usual one: sent is taken for arrived",
    StandInReusesNumber "stand-in-reuses-number" "A stand-in counts the dots that it mints apart from those that the same life mints as a replica."
        "Riak: kv679 once more, by way of fallback nodes",
    TornBatchApplied "torn-batch-applied" "A crash leaves a part of a batch on disk, and the store replays it."
        "a usual one: a log that is replayed without its commit marks",
    ChecksumUnchecked "checksum-unchecked" "A frame is taken for what it says although its checksum does not match."
        "a usual one: the network is believed",
    SyncFailureIgnored "sync-failure-ignored" "The driver takes a sync that failed for one that is done."
        "PostgreSQL, 2018 (\"fsyncgate\"): a second sync succeeds and says nothing of the first",
    OverflowForgotten "overflow-forgotten" "Keys to be stripped beyond those that are remembered are never looked for again."
        "a usual one: a queue with a bound drops what does not fit",
    ActorCountedEarly "actor-counted-early" "An actor's number counts as stored when its row is handed to the disk, not when it is on it."
        "our own: a name is used before what it stands for is safe",
    MendedByFirst "mended-by-first" "A damaged row is mended with the first answer that comes, whatever its giver has seen."
        "a usual one: any copy is taken for a good copy",
    RangesCompareKeys "ranges-compare-keys" "The fingerprint of a range leaves out what its keys hold: an old value passes for the new one."
        "a usual one: a file that is there is taken for the same file",
    TailNotCompared "tail-not-compared" "The last range ends with the asker's last key: what the giver has beyond it never comes, and is claimed."
        "a usual one: a range that should have no end",
    LogCutKeepsFloor "log-cut-keeps-floor" "Dropping log rows that a peer lacks does not raise the floor: that peer is told that nothing is missing."
        "our own: a truncated log that does not know it",
    ExpiredShown "expired-shown" "A read shows what has expired for as long as it has not been deleted."
        "a usual one: what is cleared away now and then is taken for what is there",
    ExpiryTakesAll "expiry-takes-all" "When one value of a key expires, all that its holder has of the key is deleted."
        "a usual one: a time to live that belongs to the key and not to the write",
    ExpiryUntold "expiry-untold" "The first holder drops what has expired where it lies, by no write of its own, and the others wait to be told."
        "Riak: the bitcask backend expires by itself, and other replicas bring back what it dropped",
}

/// The planted bugs that are switched on for a node.
#[cfg(feature = "simulation")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plants(u128);

#[cfg(feature = "simulation")]
impl Plants {
    /// These and `plant`.
    #[must_use]
    pub fn with(self, plant: Plant) -> Self {
        Self(self.0 | 1 << plant as u32)
    }

    /// Whether `plant` is among them.
    #[must_use]
    pub fn has(self, plant: Plant) -> bool {
        self.0 & (1 << plant as u32) != 0
    }
}

/// No planted bug exists in this build.
#[cfg(not(feature = "simulation"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plants(());
