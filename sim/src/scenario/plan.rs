//! What a client is going to call: one call as data and as a line of text.
//!
//! Everything that a session does is laid down before the run, except for what it has seen by then. As text a call reads
//! `after 3ms: write k7 blind quorum 2 ttl 50ms`.

use std::fmt;
use std::str::FromStr;

use super::span;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Read a key.
    Read,
    /// Write a value to a key.
    Write,
    /// Delete a key.
    Delete,
    /// List so many keys at most, from the key on or from the first.
    List {
        /// At most so many.
        limit: u32,
        /// Whether to begin after the key.
        after: bool,
    },
}

/// A call that a session is going to make. Keys are told by their number, the one in their name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How long the session pauses before it.
    pub after_ns: u64,
    /// What it does.
    pub deed: Deed,
    /// The key's number.
    pub key: u32,
    /// A write that leaves out the context that the session has.
    pub blind: bool,
    /// A write of a few hundred bytes and not of a few.
    pub large: bool,
    /// How long what it writes is kept; for ever unless that is said.
    pub ttl_ns: Option<u64>,
    /// Whether an unknown outcome is followed by a second attempt with what the first one had seen.
    pub retry: bool,
    /// The replicas that must answer, where it differs from the cluster's.
    pub quorum: Option<usize>,
    /// The time that it has, where it differs from the cluster's.
    pub timeout_ns: Option<u64>,
    /// By how many nodes the session moves on when the call fails.
    pub turn: usize,
}

impl Plan {
    /// A call without any wishes.
    #[must_use]
    pub const fn new(after_ns: u64, deed: Deed, key: u32) -> Self {
        Self {
            after_ns,
            deed,
            key,
            blind: false,
            large: false,
            ttl_ns: None,
            retry: false,
            quorum: None,
            timeout_ns: None,
            turn: 0,
        }
    }

    /// Whether it changes the key.
    #[must_use]
    pub const fn is_change(&self) -> bool {
        matches!(self.deed, Deed::Write | Deed::Delete)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {}: ", span::exact(self.after_ns))?;
        match self.deed {
            Deed::Read => write!(f, "read k{}", self.key)?,
            Deed::Write => write!(f, "write k{}", self.key)?,
            Deed::Delete => write!(f, "delete k{}", self.key)?,
            Deed::List { limit, after: true } => write!(f, "list {limit} past k{}", self.key)?,
            Deed::List { limit, after: false } => write!(f, "list {limit}")?,
        }
        for (is_on, word) in [(self.blind, " blind"), (self.large, " large"), (self.retry, " retry")] {
            if is_on {
                f.write_str(word)?;
            }
        }
        if let Some(ttl_ns) = self.ttl_ns {
            write!(f, " ttl {}", span::exact(ttl_ns))?;
        }
        if let Some(quorum) = self.quorum {
            write!(f, " quorum {quorum}")?;
        }
        if let Some(timeout_ns) = self.timeout_ns {
            write!(f, " within {}", span::exact(timeout_ns))?;
        }
        if self.turn > 0 {
            write!(f, " turn {}", self.turn)?;
        }
        Ok(())
    }
}

/// The number of the key with this name.
///
/// # Errors
/// That it is none.
pub fn key(name: &str) -> Result<u32, String> {
    let number = name.strip_prefix('k').and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| format!("\"{name}\" is no key: keys are called k0, k1, …"))
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || {
            format!(
                "\"{text}\" is no call: say \"after 3ms: read k1\", with write, delete or list 5 for read, and behind it blind, large, retry, ttl 50ms, quorum 2, within 20ms or turn 1"
            )
        };
        let (head, rest) = text.split_once(": ").ok_or_else(shape)?;
        let after_ns = span::parse(head.strip_prefix("after ").ok_or_else(shape)?.trim())?;
        let mut words = rest.split_whitespace().peekable();
        let mut word = || words.next().ok_or_else(shape);
        let (deed, key) = match word()? {
            "read" => (Deed::Read, key(word()?)?),
            "write" => (Deed::Write, key(word()?)?),
            "delete" => (Deed::Delete, key(word()?)?),
            "list" => {
                let limit = word()?.parse().map_err(|_| shape())?;
                let after = words.next_if_eq(&"past").is_some();
                let key = if after { key(words.next().ok_or_else(shape)?)? } else { 0 };
                (Deed::List { limit, after }, key)
            }
            _ => return Err(shape()),
        };
        let mut plan = Self::new(after_ns, deed, key);
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|word| word.parse::<usize>().ok()).ok_or_else(shape);
            match word {
                "blind" => plan.blind = true,
                "large" => plan.large = true,
                "retry" => plan.retry = true,
                "quorum" => plan.quorum = Some(number()?),
                "turn" => plan.turn = number()?,
                "ttl" => plan.ttl_ns = Some(span::parse(words.next().ok_or_else(shape)?)?),
                "within" => plan.timeout_ns = Some(span::parse(words.next().ok_or_else(shape)?)?),
                _ => return Err(shape()),
            }
        }
        if !plan.is_change() && (plan.blind || plan.large || plan.retry) {
            return Err(format!("\"{text}\": only writes and deletes are blind, large or retried"));
        }
        if plan.deed != Deed::Write && plan.ttl_ns.is_some() {
            return Err(format!("\"{text}\": only what is written expires"));
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::MS;

    #[test]
    fn every_call_is_read_back_from_its_text() {
        let deeds = [
            Deed::Read,
            Deed::Write,
            Deed::Delete,
            Deed::List { limit: 4, after: false },
            Deed::List { limit: 4, after: true },
        ];
        for deed in deeds {
            let key = if deed == (Deed::List { limit: 4, after: false }) { 0 } else { 17 };
            let plain = Plan::new(3 * MS, deed, key);
            assert_eq!(plain.to_string().parse(), Ok(plain.clone()));
            let is_change = plain.is_change();
            let full = Plan {
                blind: is_change,
                large: is_change,
                ttl_ns: (deed == Deed::Write).then_some(50 * MS),
                retry: is_change,
                quorum: Some(2),
                timeout_ns: Some(20 * MS),
                turn: 3,
                ..plain
            };
            assert_eq!(full.to_string().parse(), Ok(full));
        }
    }

    #[test]
    fn what_is_no_call_is_refused() {
        for text in [
            "read k1",
            "after 3: read k1",
            "after 3ms: look k1",
            "after 3ms: read",
            "after 3ms: read q1",
            "after 3ms: read k1 twice",
            "after 3ms: read k1 quorum",
            "after 3ms: list k1",
            "after 3ms: read k1 blind",
            "after 3ms: delete k1 ttl 50ms",
            "after 3ms: write k1 ttl",
        ] {
            assert!(text.parse::<Plan>().is_err(), "{text}");
        }
    }
}
