//! States of the world that a good campaign must reach: sometimes-assertions, as Antithesis and FoundationDB's probes
//! have them.
//!
//! A run that never meets them proves less than it seems to. The core has a table of its own; this one is of what the
//! world does to it and what clients see.

macro_rules! moments {
    ($($variant:ident $says:literal,)*) => {
        /// One state.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Moment {
            $(#[doc = $says] $variant,)*
        }

        impl Moment {
            /// Every state.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The state, in words.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$variant => $says,)* }
            }
        }
    };
}

moments! {
    CrashLost "a crash lost a batch that no sync had covered",
    CrashKept "a crash kept a batch that no sync had covered",
    CutUnderway "a cut caught a message on its way",
    DoubleMetNextLife "the second copy of a message met its receiver's next life",
    LateMetNextLife "a message met its receiver's next life",
    AlteredRefused "a message that was altered on its way was refused",
    QueueOverran "a narrow link lost what would have queued too long",
    AmbushSprung "nodes crashed right after an answer",
    AllDown "all nodes were down at once",
    MajorityDown "more than half of the nodes were down at once",
    WriteRefused "a full disk refused a write",
    ReadFailed "a disk failed to read",
    SyncFailed "a failed sync stopped a node",
    StalledSync "a sync waited for a disk that stood still",
    LieShown "a crash showed that a disk had lied about a sync",
    WentBack "a node started over an earlier state of its disk",
    Wiped "a node started over an empty disk",
    WipedServed "a node that had lost its disk was ready again before the faults were over",
    Rotted "rows at rest rotted",
    StoreSetAside "a store that could not be read was set aside",
    PauseHeldUp "a paused node found work waiting",
    WallWentBack "a wall clock went back under a running node",
    OutcomeUnknown "a client did not learn what came of its write",
    Retried "a client tried a write of unknown outcome again",
    ReadNothing "a read showed that a key holds nothing any more",
    ReadSiblings "a read showed several siblings",
    Recreated "a key was written again after it had been deleted",
    ReadFailedCall "a read found no quorum",
    WriteFailedCall "a write certainly failed",
    ObjectsRotted "objects at rest rotted, and nothing else",
    SlowToRest "the world took more than ten seconds to come to rest",
    MixedForward "a node of the oldest version and one of the newest forwarded a write to each other",
    MixedStore "a node of the oldest version and one of the newest sent a write to each other",
    MixedGive "a node of the oldest version and one of the newest gave objects to each other",
    MixedPage "a node of the oldest version and one of the newest sent a page of a partition to each other",
    HintUnsaid "a stand-in could not be asked to keep a hint, because one of the two did not know of any",
    ExpiredApart "a value's time was over while nodes were cut off from each other",
    ExpiredDown "a value's time was over while a node was down",
    ExpiredInDoubt "a value's time was over by one clock more than a second before it was by all",
    ReplacedInTime "a value that was to expire was replaced before its time was over",
    ShownWhileInDoubt "a value was shown although its time was over by some clock",
}

/// A set of states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments(u64);

impl Moments {
    /// A state was met.
    pub fn meet(&mut self, moment: Moment) {
        self.0 |= 1 << moment as u64;
    }

    /// Whether a state was met.
    #[must_use]
    pub const fn has(self, moment: Moment) -> bool {
        self.0 >> moment as u64 & 1 == 1
    }
}
