//! Moments: states that a good campaign of simulations must reach, noted only with the `simulation` feature.
//!
//! A check that is never reached proves nothing. `sometimes!(cx.shared.moments, Name)` marks a moment, for no more than
//! an OR on a number; with a third argument only if that holds. In every other build it is nothing at all: not even
//! its arguments are looked at.

/// Marks the moment `Name`, if the condition holds.
#[cfg(feature = "simulation")]
macro_rules! sometimes {
    ($moments:expr, $name:ident) => {
        $moments.insert($crate::moment::Moment::$name)
    };
    ($moments:expr, $name:ident, $condition:expr) => {
        if $condition {
            $moments.insert($crate::moment::Moment::$name);
        }
    };
}

/// Marks the moment `Name`: not in this build.
#[cfg(not(feature = "simulation"))]
macro_rules! sometimes {
    ($moments:expr, $name:ident) => {{}};
    ($moments:expr, $name:ident, $condition:expr) => {{}};
}

#[cfg(feature = "simulation")]
macro_rules! moments {
    ($($variant:ident $says:literal,)*) => {
        /// A state that a good campaign reaches.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Moment {
            $(#[doc = $says] $variant,)*
        }

        impl Moment {
            /// Every moment, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// What has happened, in a sentence.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self { $(Self::$variant => $says,)* }
            }
        }
    };
}

#[cfg(feature = "simulation")]
moments! {
    SiblingsSeen "A read shows siblings.",
    StaleRepaired "A read finds a stale replica and repairs it.",
    LateAnswerRepairs "An answer that came after the reply leads to a repair.",
    ReadImpossible "A read's quorum becomes impossible.",
    OwnGapRefused "A node's own replica does not count in its read, because it is catching up.",
    FetchRefused "A replica that is catching up refuses a peer's read.",
    ReadsLinger "More reads wait for late answers than the limit allows.",
    WriteForwarded "A write is forwarded.",
    ForwardDoubled "A forward arrives a second time and is ignored.",
    ForwardLate "A forward that its origin has given up arrives and is ignored.",
    ForwardCorrected "A forward that named no life is refused, and tried again with the right one.",
    ForwardUncertain "A forward meets another life than it was for, and the write's outcome stays unknown.",
    CoordinatorChanged "A coordinator refuses a write, and another one is tried.",
    AckDoubled "An acknowledgement arrives a second time and is ignored.",
    WriteImpossible "A write's quorum becomes impossible.",
    WriteOvertaken "A write's time is up before its dot is on disk.",
    LateReply "A reply to an earlier life arrives and is ignored.",
    WritesFolded "Several dots of a key go to disk in one write.",
    AccessesFolded "Several accesses to a key share one write.",
    SlotRestarted "A write is refused while others wait for its key, and they start from what is at rest.",
    WriteRefused "The disk refuses a key's write.",
    ReadFailed "A key's row cannot be read.",
    DeltaKnown "A delta arrives whose effect is here already, and is ignored.",
    ClaimedRefused "A join is refused because a checkpoint on its way claims its dot.",
    UnseenKept "A write leaves a sibling that its client has not seen.",
    TracelessDelete "A delete leaves nothing behind.",
    ObjectStripped "An object at rest is stripped.",
    SiblingsLimit "A write is refused because its key has too many siblings.",
    CallsLimit "A call is refused because too many are in flight.",
    PeerRequestsLimit "A peer's request is refused because too many accesses are in flight.",
    DriftRefused "A date is too far ahead to be adopted.",
    GiveTruncated "There is more to give than one message of anti-entropy holds.",
    LogTooShort "A peer's log does not reach back to what is missing here.",
    PagePulled "A page of a whole partition has been written.",
    SeveralPages "A whole partition takes more than one page.",
    PageRefused "A peer gives no page.",
    PullOvertaken "A pull is given up because a delta landed meanwhile.",
    PullWaits "A pull is put off because another one of the partition is not done.",
    GiverLost "A pull is given up because the giver has lost data meanwhile.",
    RemovedByPage "A key is removed because it stands on no page.",
    PartitionTakenOver "The clock of a whole partition is taken over.",
    JoinRefused "An object that a peer gave cannot be written here.",
    GatherReplaced "A peer asks again before it has been given what it asked for.",
    RoundHung "A round of anti-entropy hangs and is given up.",
    CheckpointWaits "A checkpoint waits for another one.",
    CheckpointRefused "The disk refuses a checkpoint.",
    LogDropped "Log rows are dropped.",
    BurntRecorded "The dot of a refused write is put on record.",
    GapClosed "A gap of an ended life is closed.",
    CaughtUp "A partition has caught up.",
    CaughtUpWithIncomplete "A partition has caught up with all peers, an incomplete one among them.",
    WentBack "A store is found to have been put back to an earlier state.",
    ResidualFound "The pass after a restart finds an object to strip.",
    ListedElsewhere "A listing asks a peer.",
    ListingRefused "A replica refuses to list, or cannot.",
    ListingGoesOn "A listing takes more than one span.",
    ClusterFounded "A cluster is founded.",
    LayoutAdopted "A node without a store takes the layouts of its cluster.",
    LayoutLearnt "A node learns of a newer layout.",
    LayoutEnded "A layout has given way to the next.",
    ReturnedStale "A replica that was given up is held again, and is not complete.",
    DecisionFinished "A proposer finishes the decision that another one had begun.",
    Outvoted "A proposal is outvoted.",
    OtherView "Two nodes with different layouts cannot compare their clocks.",
    RoundReshaped "A change of layout ends a round of anti-entropy.",
    PartitionDropped "A partition that is not held any more has been dropped.",
    DeclaredDown "A node is declared down.",
    PartitionRegained "A partition comes back in the life that had given it up.",
    HintSent "A write asks a stand-in in the place of a replica.",
    HintKept "A stand-in keeps a hint.",
    HintsLimit "A hint is refused because too many are kept.",
    HintHandedOver "A hint is handed over, and acknowledged.",
    HintPassedOn "A hint goes to another replica than the one that it was kept for.",
    HintRefused "A hint that is handed over is refused, and stays.",
    HintsFound "Hints are found after a restart.",
    HintsFetched "A read takes what a stand-in keeps for its key.",
    StoodIn "A stand-in mints a dot because no replica can be reached.",
    StandInRefused "The disk refuses a stand-in's write, and the number is used again.",
    SweptAgain "A partition is passed over again for keys that could not be remembered.",
    Mended "A damaged row is mended.",
    MendRefused "A replica cannot say what it holds of a key that is damaged elsewhere.",
    MendFromIncomplete "A damaged row is mended with what an incomplete replica holds.",
    MendUncovered "Those who have answered have not seen all that a damaged row had.",
    LostDeleted "What a damaged row had, and nobody else, is deleted.",
    MendPutOff "A damaged row cannot be mended yet although others have answered.",
    MendFoundGood "A row that was to be mended turns out to be good.",
    PullOvertakenByMend "A pull is given up because a row was mended meanwhile.",
    PatrolFound "The slow pass finds a damaged row.",
    RangesEqual "All ranges of a comparison are equal.",
    RangesDiffer "Some ranges of a comparison are equal and others differ.",
    ComparedRefused "A peer does not compare.",
    ComparedUnknown "A row that cannot be read stands in a range that is compared.",
    ComparedWhileWritten "A key that is being written lies in a range that is compared.",
    SeveralWindows "A node's own keys of a partition take more than one window.",
    SameLeftOut "An object that the asker has is left out of a page.",
    TransferPaused "A transfer waits because it was faster than it may be.",
    LogCut "Log rows are dropped although a peer lacks them.",
    AskedAhead "A peer is asked about a partition before its turn.",
    AskWaits "A peer asks while objects are being read for it already.",
    LeftToAnother "A partition is left to a peer that is being asked about it already.",
    MetAgain "A peer answers again while this node waits for what it was asked before.",
    ExpiredHidden "A read leaves out what has expired.",
    ExpiredDeleted "What has expired is deleted.",
    ExpiredBeside "What has expired is to be deleted, and a sibling of it stays.",
    ExpiredByAnother "A holder deletes what the first one should have deleted.",
    ExpiredWhileWritten "What has expired is deleted while a write of its key is on its way to others.",
    ExpiryFailed "What has expired cannot be deleted yet.",
}

/// The moments that a node, or a campaign, has reached.
#[cfg(feature = "simulation")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments(u128);

#[cfg(feature = "simulation")]
impl Moments {
    /// `moment` has been reached.
    pub const fn insert(&mut self, moment: Moment) {
        self.0 |= 1 << moment as u32;
    }

    /// Whether `moment` has been reached.
    #[must_use]
    pub const fn has(self, moment: Moment) -> bool {
        self.0 & (1 << moment as u32) != 0
    }

    /// Those that have been reached, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = Moment> {
        Moment::ALL.iter().copied().filter(move |&moment| self.has(moment))
    }

    /// Adds those of `other`.
    pub const fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
