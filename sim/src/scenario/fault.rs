//! What goes wrong: kinds of faults, and one fault of a scenario as data and as a line of text.
//!
//! Every fault has the same parts: when it begins, how long it lasts, its kind, the nodes that it hits, for some kinds
//! the nodes at the other end, and for some an amount. One table says what each kind takes. As text a fault reads
//! `at 1.2s for 300ms: loss n1 -> n2 n3 by 300 permille`.

use std::fmt;
use std::str::FromStr;

use super::span;
use crate::record::Act;

/// What a kind of fault is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The whole cluster.
    All,
    /// Nodes.
    Nodes,
    /// Messages from some nodes to others; no nodes means all.
    Links,
    /// Nodes, and one node that belongs to both sides.
    Bridge,
    /// One node, and the one that takes its place.
    Successor,
}

/// What the amount of a kind of fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// It has none.
    Nothing,
    /// How many of a thousand.
    Permille,
    /// Nanoseconds.
    Span,
    /// Bytes in a second.
    Rate,
    /// Rows on a disk.
    Rows,
}

/// What a kind of fault takes from a cluster beside time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Nothing that was synced.
    None,
    /// What a disk holds, or its newest part; the node that reads it knows, or is soon told.
    Disk,
    /// The same, but the node may answer from what is left before anybody notices.
    Past,
    /// More than any quorum makes good: the disk says that it holds what it does not hold, for as long as it runs.
    Beyond,
}

macro_rules! kinds {
    ($($variant:ident $name:literal $aim:ident $unit:ident $harm:ident $says:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $(#[doc = $says] $variant,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in scenarios and on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it is aimed at.
            #[must_use]
            pub const fn aim(self) -> Aim {
                match self { $(Self::$variant => Aim::$aim,)* }
            }

            /// What its amount is.
            #[must_use]
            pub const fn unit(self) -> Unit {
                match self { $(Self::$variant => Unit::$unit,)* }
            }

            /// What it takes.
            #[must_use]
            pub const fn harm(self) -> Harm {
                match self { $(Self::$variant => Harm::$harm,)* }
            }

            /// What it does, in a sentence.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$variant => $says,)* }
            }
        }
    };
}

kinds! {
    Partition "partition" Nodes Nothing None "Messages between the nodes and the others are lost, those on their way included.",
    OneWay "one-way" Nodes Nothing None "Messages from the nodes to the others are lost; those the other way are not.",
    Ring "ring" All Nothing None "Each node reaches only its two neighbours.",
    Bridge "bridge" Bridge Nothing None "The nodes and the others reach each other only through one node that both reach.",
    Slow "slow" Links Span None "Messages take longer, by a time up to the amount.",
    Loss "loss" Links Permille None "Messages are lost.",
    Doubling "doubling" Links Permille None "Messages arrive twice, the second time perhaps much later.",
    Reordering "reordering" Links Span None "A third of all messages is held back, each for a time up to the amount.",
    Corruption "corruption" Links Permille None "Bits of messages are flipped on their way.",
    Bandwidth "bandwidth" Links Rate None "Messages queue for a link that carries so much and no more.",
    Crash "crash" Nodes Nothing None "The nodes lose their memory and what their disks had not synced; they start again when it is over.",
    AmbushRead "ambush-read" Nodes Nothing None "The nodes crash right after the next read is answered, and start again after this time.",
    AmbushWrite "ambush-write" Nodes Nothing None "The nodes crash right after the next write is acknowledged, and start again after this time.",
    AmbushSync "ambush-sync" Nodes Nothing None "Each of the nodes crashes when its next sync is done, before anybody hears of it, and starts again after this time.",
    Stop "stop" Nodes Nothing None "The nodes are stopped in good order, and start again when it is over.",
    Upgrade "upgrade" Nodes Nothing None "The nodes are stopped in good order; when it is over they start again with the newest version of frames, whatever they knew before.",
    Pause "pause" Nodes Nothing None "The nodes do nothing; what comes in waits, as during a long collection of garbage.",
    Sluggish "sluggish" Nodes Span None "The nodes take this long over every input.",
    WallAhead "wall-ahead" Nodes Span None "The nodes' wall clocks jump forward, and back when it is over.",
    WallBehind "wall-behind" Nodes Span None "The nodes' wall clocks jump back, and forward when it is over.",
    SlowDisk "slow-disk" Nodes Span None "The nodes' disks take longer over everything, by a time up to the amount.",
    Stall "stall" Nodes Nothing None "The nodes' disks finish nothing until it is over.",
    Full "full" Nodes Nothing None "The nodes' disks refuse every write.",
    ReadErrors "read-errors" Nodes Permille None "Reads and scans of the nodes' disks fail.",
    SyncFailure "sync-failure" Nodes Nothing None "The next sync of the nodes' disks fails, which stops them; they start again when it is over.",
    Wipe "wipe" Nodes Nothing Disk "The nodes crash; when it is over they start again over empty disks.",
    Rollback "rollback" Nodes Nothing Past "When it is over the nodes crash, and start again over their disks as these were when it began.",
    Lie "lie" Nodes Nothing Past "The nodes' disks say that they have synced and have not, until it is over; a crash shows it.",
    Rot "rot" Nodes Rows Disk "Bits of rows at rest are flipped; when it is over the nodes' disks are replaced by empty ones.",
    Bitrot "bitrot" Nodes Rows Disk "Bits of objects at rest are flipped; the nodes and their disks go on.",
    Join "join" Nodes Nothing None "The operator has the node join the cluster.",
    Leave "leave" Nodes Nothing None "The operator has the node leave the cluster.",
    Remove "remove" Nodes Nothing Past "The node crashes, and the operator removes it for good; when it is over it starts again, and may answer before it hears of it.",
    Replace "replace" Successor Nothing Past "The node crashes, and the operator puts another one in its place; when it is over it starts again, and may answer before it hears of it.",
    Phantom "phantom" Nodes Permille Beyond "The nodes' disks say that they have written what they have not; in the end they are replaced by empty ones.",
    Misdirection "misdirection" Nodes Permille Beyond "The nodes' disks write rows to other rows' places; in the end they are replaced by empty ones.",
}

impl Kind {
    /// The kind with this name.
    ///
    /// # Errors
    /// Which names there are.
    pub fn named(name: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("there is no fault \"{name}\": there are {} (or say all)", names.join(", "))
        })
    }

    /// Whether this waits for an answer of a kind.
    #[must_use]
    pub fn waits_for(self, act: Act) -> bool {
        match self {
            Self::AmbushRead => act == Act::Read,
            Self::AmbushWrite => act != Act::Read,
            _ => false,
        }
    }

    /// Whether this changes who belongs to the cluster.
    #[must_use]
    pub const fn changes_members(self) -> bool {
        matches!(self, Self::Join | Self::Leave | Self::Remove | Self::Replace)
    }

    /// Whether this waits for its moment, and lasts from then on.
    #[must_use]
    pub const fn is_ambush(self) -> bool {
        matches!(self, Self::AmbushRead | Self::AmbushWrite)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Something that goes wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins, in nanoseconds since the clients do.
    pub at_ns: u64,
    /// How long it lasts, at most until all faults are over.
    pub lasts_ns: u64,
    /// What goes wrong.
    pub kind: Kind,
    /// The nodes that it hits, or that messages come from; in order.
    pub nodes: Vec<usize>,
    /// The nodes that messages go to, or the bridge; in order.
    pub to: Vec<usize>,
    /// How much, in the kind's unit.
    pub amount: u64,
}

impl Fault {
    /// Whether this is an ambush for answers of this kind.
    #[must_use]
    pub fn waits_for(&self, act: Act) -> bool {
        self.kind.waits_for(act)
    }

    /// The nodes that this one is named for; all of `count` when it is aimed at none in particular.
    #[must_use]
    pub fn hits(&self, count: usize) -> Vec<usize> {
        let mut nodes: Vec<usize> = self.nodes.iter().chain(&self.to).copied().collect();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.is_empty() { (0..count).collect() } else { nodes }
    }

    /// What is wrong with it in a cluster of `nodes`, if anything.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self, nodes: usize) -> Result<(), String> {
        if let Some(node) = self.nodes.iter().chain(&self.to).find(|node| **node >= nodes) {
            return Err(format!("\"{self}\" names n{}, and there are {nodes} nodes", node + 1));
        }
        let is_complete = match self.kind.aim() {
            Aim::All => self.nodes.is_empty() && self.to.is_empty(),
            Aim::Nodes => !self.nodes.is_empty() && self.to.is_empty(),
            Aim::Links => true,
            Aim::Bridge => !self.nodes.is_empty() && self.to.len() == 1,
            Aim::Successor => self.nodes.len() == 1 && self.to.len() == 1 && self.nodes != self.to,
        };
        if !is_complete {
            return Err(format!("\"{self}\": {} is aimed at {}", self.kind, self.kind.aim()));
        }
        match self.kind.unit() {
            Unit::Permille if self.amount > 1_000 => {
                Err(format!("\"{self}\": {} of a thousand cannot be", self.amount))
            }
            Unit::Rate if self.amount == 0 => Err(format!("\"{self}\": nothing would ever arrive")),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "the whole cluster, and names no nodes",
            Self::Nodes => "nodes: n1 n2",
            Self::Links => "links: n1 n2 -> n3, or nothing for all of them",
            Self::Bridge => "one side and the bridge: n1 n2 -> n3",
            Self::Successor => "a node and the one that takes its place: n1 -> n4",
        })
    }
}

/// Names of nodes, with a space before each.
fn names(f: &mut fmt::Formatter<'_>, nodes: &[usize]) -> fmt::Result {
    nodes.iter().try_for_each(|node| write!(f, " n{}", node + 1))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_ns, lasts_ns, kind, nodes, to, amount } = self;
        write!(f, "at {} for {}: {kind}", span::exact(*at_ns), span::exact(*lasts_ns))?;
        names(f, nodes)?;
        if !to.is_empty() {
            f.write_str(" ->")?;
            names(f, to)?;
        }
        match kind.unit() {
            Unit::Nothing => Ok(()),
            Unit::Permille => write!(f, " by {amount} permille"),
            Unit::Span => write!(f, " by {}", span::exact(*amount)),
            Unit::Rate => write!(f, " by {amount} bytes/s"),
            Unit::Rows => write!(f, " by {amount} rows"),
        }
    }
}

/// The node with this name.
///
/// # Errors
/// That it is none.
pub fn node(name: &str) -> Result<usize, String> {
    let number = name.strip_prefix('n').and_then(|digits| digits.parse::<usize>().ok());
    number
        .filter(|number| *number > 0)
        .map(|number| number - 1)
        .ok_or_else(|| format!("\"{name}\" is no node: nodes are called n1, n2, …"))
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || {
            format!(
                "\"{text}\" is no fault: say \"at 1.2s for 300ms: crash n1\", with \"-> n2\" and \"by 300 permille\" where the kind takes them"
            )
        };
        let (head, rest) = text.split_once(": ").ok_or_else(shape)?;
        let head: Vec<&str> = head.split_whitespace().collect();
        let ["at", at, "for", lasts] = head[..] else { return Err(shape()) };
        let (at_ns, lasts_ns) = (span::parse(at)?, span::parse(lasts)?);
        let mut words = rest.split_whitespace().peekable();
        let kind = Kind::named(words.next().ok_or_else(shape)?)?;
        let mut nodes = || -> Result<Vec<usize>, String> {
            let mut nodes = Vec::new();
            while let Some(name) = words.next_if(|word| !matches!(*word, "->" | "by")) {
                nodes.push(node(name)?);
            }
            nodes.sort_unstable();
            nodes.dedup();
            Ok(nodes)
        };
        let from = nodes()?;
        let to = if words.next_if_eq(&"->").is_some() {
            let mut to = Vec::new();
            while let Some(name) = words.next_if(|word| *word != "by") {
                to.push(node(name)?);
            }
            to.sort_unstable();
            to.dedup();
            to
        } else {
            Vec::new()
        };
        let rest: Vec<&str> = words.collect();
        let whole = |number: &str| {
            number.parse::<u64>().map_err(|_| format!("\"{number}\" in \"{text}\" is no whole number"))
        };
        let amount = match (kind.unit(), &rest[..]) {
            (Unit::Nothing, []) => 0,
            (Unit::Permille, ["by", amount, "permille"]) => whole(amount)?,
            (Unit::Span, ["by", amount]) => span::parse(amount)?,
            (Unit::Rate, ["by", amount, "bytes/s"]) => whole(amount)?,
            (Unit::Rows, ["by", amount, "rows"]) => whole(amount)?,
            (unit, _) => {
                let takes = match unit {
                    Unit::Nothing => "no amount",
                    Unit::Permille => "\"by 300 permille\"",
                    Unit::Span => "\"by 20ms\"",
                    Unit::Rate => "\"by 10000 bytes/s\"",
                    Unit::Rows => "\"by 2 rows\"",
                };
                return Err(format!("\"{text}\": {kind} takes {takes}, not \"{}\"", rest.join(" ")));
            }
        };
        Ok(Self { at_ns, lasts_ns, kind, nodes: from, to, amount })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{MS, SECOND};

    #[test]
    fn every_kind_is_read_back_from_its_text() {
        for (place, &kind) in Kind::ALL.iter().enumerate() {
            let place = place as u64;
            let (nodes, to) = match kind.aim() {
                Aim::All => (vec![], vec![]),
                Aim::Nodes => (vec![0, 2], vec![]),
                Aim::Links => (vec![1], vec![0, 2]),
                Aim::Bridge | Aim::Successor => (vec![0], vec![1]),
            };
            let amount = if kind.unit() == Unit::Nothing { 0 } else { 100 + place };
            let fault = Fault { at_ns: SECOND + place, lasts_ns: 30 * MS, kind, nodes, to, amount };
            assert_eq!(fault.check(3), Ok(()));
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
    }

    #[test]
    fn what_is_wrong_with_a_fault_is_told() {
        let cases = [
            ("crash n1", "is no fault"),
            ("at 1s for 2: crash n1", "\"2\" is no span"),
            ("at 1s for 2s: explode n1", "there are partition, one-way"),
            ("at 1s for 2s: crash m1", "\"m1\" is no node"),
            ("at 1s for 2s: crash n0", "\"n0\" is no node"),
            ("at 1s for 2s: crash n1 by 3", "takes no amount"),
            ("at 1s for 2s: loss n1", "by 300 permille"),
            ("at 1s for 2s: loss by many permille", "\"many\""),
            ("at 1s for 2s: rot n1 by 2", "by 2 rows"),
        ];
        for (text, words) in cases {
            let error = text.parse::<Fault>().expect_err(text);
            assert!(error.contains(words), "{error}");
        }
        let cases = [
            ("at 1s for 2s: crash n4", "there are 3 nodes"),
            ("at 1s for 2s: crash", "crash is aimed at nodes"),
            ("at 1s for 2s: ring n1", "the whole cluster"),
            ("at 1s for 2s: bridge n1", "one side and the bridge"),
            ("at 1s for 2s: loss by 1001 permille", "1001 of a thousand"),
        ];
        for (text, words) in cases {
            let error = text.parse::<Fault>().expect(text).check(3).expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }
}
