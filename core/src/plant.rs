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
    ($($variant:ident $name:literal $says:literal,)*) => {
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
        }
    };
}

plants! {
    AckBeforeSync "ack-before-sync" "A replica acknowledges a write when it is handed to the disk, not when it is on it.",
    DotBeforeDurable "dot-before-durable" "A coordinator sends a new dot to its peers before the dot is on its own disk.",
    CounterRestarted "counter-restarted" "A restarted node takes its last life up again and counts from zero.",
    QuorumShort "quorum-short" "A write is acknowledged with one replica fewer than asked for.",
    RepairOverwrites "repair-overwrites" "Read repair replaces what the replica holds instead of joining with it.",
    AckCountedTwice "ack-counted-twice" "A duplicated acknowledgement counts as one of another replica.",
    ForwardForgotten "forward-forgotten" "A duplicated forward of a put mints a second dot.",
    AbsorbsPartial "absorbs-partial" "Anti-entropy takes over the peer's clock although there was more to give, or its log did not reach.",
    ClockBeforeData "clock-before-data" "Anti-entropy takes over the peer's clock before the objects that it covers are on disk.",
    ReadAheadOfSync "read-ahead-of-sync" "A read is answered with a write that is not yet on disk.",
    JoinKeepsDominated "join-keeps-dominated" "A join keeps a sibling that the other side has seen and replaced.",
    JoinDropsConcurrent "join-drops-concurrent" "A join drops a sibling that the other side has never seen.",
    RepairSkipsEmpty "repair-skips-empty" "Read repair passes over replicas that hold nothing for the key.",
    AckShowsUnseen "ack-shows-unseen" "A write's acknowledgement hands out a context that covers siblings its client never saw.",
}

/// The planted bugs that are switched on for a node.
#[cfg(feature = "simulation")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plants(u64);

#[cfg(feature = "simulation")]
impl Plants {
    /// These and `plant`.
    #[must_use]
    pub fn with(self, plant: Plant) -> Self {
        Self(self.0 | 1 << plant as u64)
    }

    /// Whether `plant` is among them.
    #[must_use]
    pub fn has(self, plant: Plant) -> bool {
        self.0 & (1 << plant as u64) != 0
    }
}

/// No planted bug exists in this build.
#[cfg(not(feature = "simulation"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plants(());
