//! Every value of a history, kept once and named by a number.
//!
//! A history says the same few keys and values over and over, and checks ask little of them but whether two are the
//! same. So each distinct value is stored once in a [`Pool`], and an [`Atom`], four bytes, stands for it: equal values of
//! one history have equal atoms. A small whole number is its own atom and takes no room at all. A list is a slice
//! of atoms, so a set read a thousand times costs four bytes an element.

use std::cmp::Ordering;
use std::fmt;
use std::hash::Hasher;

use hashbrown::HashTable;

use super::value::{Float, Value, write_text};
use crate::engine::quick::QuickHasher;

/// A value of one history, as a number. Atoms of one history are equal exactly if their values are; their order is
/// that of small numbers, then of first appearance, so it is the same in every run but means nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Atom(u32);

/// Below this, an atom is the whole number itself.
const SMALL_MAX: u32 = 1 << 31;

impl Atom {
    /// No value at all: the field is not there.
    pub const ABSENT: Atom = Atom(SMALL_MAX);
    /// Nothing: `nil`, `null`.
    pub const NULL: Atom = Atom(SMALL_MAX + 1);
    const FALSE: Atom = Atom(SMALL_MAX + 2);
    const TRUE: Atom = Atom(SMALL_MAX + 3);

    /// Whether there is no value, or the value is nothing.
    #[must_use]
    pub fn is_null(self) -> bool {
        self == Atom::ABSENT || self == Atom::NULL
    }

    /// The value, if there is one.
    #[must_use]
    pub fn present(self) -> Option<Atom> {
        (self != Atom::ABSENT).then_some(self)
    }

    /// This value, or another if there is none.
    #[must_use]
    pub fn or(self, other: Atom) -> Atom {
        if self == Atom::ABSENT { other } else { self }
    }

    /// The number itself: below 2³¹ a whole number of that size, above it the place of a value in the pool.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_sub(SMALL_MAX) {
            None => write!(f, "{}", self.0),
            Some(place) => write!(f, "#{place}"),
        }
    }
}

/// Where the parts of a value are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Absent,
    Null,
    Bool(bool),
    Int(i64),
    Float(u64),
    Text {
        start: usize,
        length: u32,
    },
    List {
        start: usize,
        length: u32,
    },
    /// Keys and values in turn, ordered by key.
    Map {
        start: usize,
        length: u32,
    },
}

/// The values of one history.
#[derive(Clone)]
pub(super) struct Pool {
    nodes: Vec<Node>,
    text: String,
    items: Vec<Atom>,
    table: HashTable<u32>,
    is_full: bool,
}

impl Default for Pool {
    fn default() -> Self {
        let nodes = vec![Node::Absent, Node::Null, Node::Bool(false), Node::Bool(true)];
        Pool { nodes, text: String::new(), items: Vec::new(), table: HashTable::new(), is_full: false }
    }
}

/// What a hash of a value begins with, so that the same bytes as text and as a list differ.
#[derive(Clone, Copy)]
enum Seed {
    Int = 1,
    Float = 2,
    Text = 3,
    List = 4,
    Map = 5,
}

fn hash_number(seed: Seed, number: u64) -> u64 {
    let mut hasher = QuickHasher::default();
    hasher.write_u64(number);
    hasher.write_u8(seed as u8);
    hasher.finish()
}

fn hash_text(text: &str) -> u64 {
    let mut hasher = QuickHasher::default();
    hasher.write(text.as_bytes());
    hasher.write_u8(Seed::Text as u8);
    hasher.finish()
}

fn hash_items(seed: Seed, items: &[Atom]) -> u64 {
    let mut hasher = QuickHasher::default();
    items.iter().for_each(|item| hasher.write_u32(item.0));
    hasher.write_u8(seed as u8);
    hasher.finish()
}

/// Taking values in.
impl Pool {
    /// Whether there were more distinct values than atoms; then some atoms do not mean what they should.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn footprint(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.text.capacity()
            + 4 * self.items.capacity()
            + self.table.allocation_size()
    }

    pub(super) fn bool(truth: bool) -> Atom {
        if truth { Atom::TRUE } else { Atom::FALSE }
    }

    pub(super) fn int(&mut self, number: i64) -> Atom {
        match u32::try_from(number) {
            Ok(small) if small < SMALL_MAX => Atom(small),
            _ => self.intern(hash_number(Seed::Int, number.cast_unsigned()), Node::Int(number)),
        }
    }

    pub(super) fn float(&mut self, number: f64) -> Atom {
        self.intern(hash_number(Seed::Float, number.to_bits()), Node::Float(number.to_bits()))
    }

    pub(super) fn text(&mut self, text: &str) -> Atom {
        let hash = hash_text(text);
        let is_same = |place: &u32| self.text_at(self.nodes[*place as usize]) == Some(text);
        if let Some(place) = self.table.find(hash, is_same) {
            return Atom(SMALL_MAX + *place);
        }
        let Ok(length) = u32::try_from(text.len()) else {
            self.is_full = true;
            return Atom::ABSENT;
        };
        let start = self.text.len();
        self.text.push_str(text);
        self.insert(hash, Node::Text { start, length })
    }

    /// A list of these elements in this order.
    pub(super) fn list(&mut self, items: &[Atom]) -> Atom {
        self.slice(Seed::List, items)
    }

    /// A set: its elements sorted by value, repeats left out.
    pub(super) fn set(&mut self, items: &mut Vec<Atom>) -> Atom {
        self.sort(items);
        items.dedup();
        self.slice(Seed::List, items)
    }

    /// A map; of pairs with one key the last counts.
    pub(super) fn map(&mut self, pairs: &mut Vec<(Atom, Atom)>) -> Atom {
        pairs.reverse();
        pairs.sort_by(|a, b| self.compare(a.0, b.0));
        pairs.dedup_by_key(|pair| pair.0);
        let items: Vec<Atom> = pairs.iter().flat_map(|(key, value)| [*key, *value]).collect();
        self.slice(Seed::Map, &items)
    }

    /// The atom of a value that stands for itself.
    pub(super) fn value(&mut self, value: &Value) -> Atom {
        match value {
            Value::Null => Atom::NULL,
            Value::Bool(truth) => Pool::bool(*truth),
            Value::Int(number) => self.int(*number),
            Value::Float(Float(number)) => self.float(*number),
            Value::Str(text) => self.text(text),
            Value::List(values) => {
                let items: Vec<Atom> = values.iter().map(|value| self.value(value)).collect();
                self.list(&items)
            }
            Value::Map(map) => {
                let pair = |(key, value)| (self.value(key), self.value(value));
                let mut pairs: Vec<(Atom, Atom)> = map.iter().map(pair).collect();
                self.map(&mut pairs)
            }
        }
    }

    fn slice(&mut self, seed: Seed, items: &[Atom]) -> Atom {
        let hash = hash_items(seed, items);
        let is_same = |place: &u32| match (seed, self.nodes[*place as usize]) {
            (Seed::List, Node::List { start, length }) | (Seed::Map, Node::Map { start, length }) => {
                self.items[start..start + length as usize] == *items
            }
            _ => false,
        };
        if let Some(place) = self.table.find(hash, is_same) {
            return Atom(SMALL_MAX + *place);
        }
        let Ok(length) = u32::try_from(items.len()) else {
            self.is_full = true;
            return Atom::ABSENT;
        };
        let start = self.items.len();
        self.items.extend_from_slice(items);
        self.insert(
            hash,
            if matches!(seed, Seed::Map) {
                Node::Map { start, length }
            } else {
                Node::List { start, length }
            },
        )
    }

    fn intern(&mut self, hash: u64, node: Node) -> Atom {
        match self.table.find(hash, |place| self.nodes[*place as usize] == node) {
            Some(place) => Atom(SMALL_MAX + *place),
            None => self.insert(hash, node),
        }
    }

    fn insert(&mut self, hash: u64, node: Node) -> Atom {
        let place = self.nodes.len() as u32;
        if place >= SMALL_MAX {
            self.is_full = true;
            return Atom::ABSENT;
        }
        self.nodes.push(node);
        let Pool { nodes, text, items, table, .. } = self;
        table.insert_unique(hash, place, |place| match nodes[*place as usize] {
            Node::Int(number) => hash_number(Seed::Int, number.cast_unsigned()),
            Node::Float(bits) => hash_number(Seed::Float, bits),
            Node::Text { start, length } => hash_text(&text[start..start + length as usize]),
            Node::List { start, length } => hash_items(Seed::List, &items[start..start + length as usize]),
            Node::Map { start, length } => hash_items(Seed::Map, &items[start..start + length as usize]),
            Node::Absent | Node::Null | Node::Bool(_) => 0,
        });
        Atom(SMALL_MAX + place)
    }
}

/// Giving values out.
impl Pool {
    fn node(&self, atom: Atom) -> Node {
        match atom.0.checked_sub(SMALL_MAX) {
            None => Node::Int(atom.0.into()),
            // An atom of another history names nothing here.
            Some(place) => self.nodes.get(place as usize).copied().unwrap_or(Node::Absent),
        }
    }

    fn text_at(&self, node: Node) -> Option<&str> {
        match node {
            Node::Text { start, length } => Some(&self.text[start..start + length as usize]),
            _ => None,
        }
    }

    pub(super) fn as_text(&self, atom: Atom) -> Option<&str> {
        self.text_at(self.node(atom))
    }

    pub(super) fn as_int(&self, atom: Atom) -> Option<i64> {
        match self.node(atom) {
            Node::Int(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn as_list(&self, atom: Atom) -> Option<&[Atom]> {
        match self.node(atom) {
            Node::List { start, length } => Some(&self.items[start..start + length as usize]),
            _ => None,
        }
    }

    /// Keys and values in turn.
    pub(super) fn as_map(&self, atom: Atom) -> Option<&[Atom]> {
        match self.node(atom) {
            Node::Map { start, length } => Some(&self.items[start..start + length as usize]),
            _ => None,
        }
    }

    /// The value that an atom stands for; nothing for none.
    pub(super) fn decode(&self, atom: Atom) -> Value {
        match self.node(atom) {
            Node::Absent | Node::Null => Value::Null,
            Node::Bool(truth) => Value::Bool(truth),
            Node::Int(number) => Value::Int(number),
            Node::Float(bits) => f64::from_bits(bits).into(),
            node @ Node::Text { .. } => self.text_at(node).unwrap_or_default().into(),
            Node::List { .. } => {
                self.as_list(atom).unwrap_or_default().iter().map(|item| self.decode(*item)).collect()
            }
            Node::Map { .. } => {
                let pairs = self.as_map(atom).unwrap_or_default().chunks_exact(2);
                let map = pairs.map(|pair| (self.decode(pair[0]), self.decode(pair[1])));
                Value::Map(Box::new(map.collect()))
            }
        }
    }

    /// The order of the values, as [`Value`] has it.
    pub(super) fn compare(&self, a: Atom, b: Atom) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        let rank = |node| match node {
            Node::Absent | Node::Null => 0,
            Node::Bool(_) => 1,
            Node::Int(_) => 2,
            Node::Float(_) => 3,
            Node::Text { .. } => 4,
            Node::List { .. } => 5,
            Node::Map { .. } => 6,
        };
        let (left, right) = (self.node(a), self.node(b));
        match (left, right) {
            (Node::Bool(x), Node::Bool(y)) => x.cmp(&y),
            (Node::Int(x), Node::Int(y)) => x.cmp(&y),
            (Node::Float(x), Node::Float(y)) => Float(f64::from_bits(x)).cmp(&Float(f64::from_bits(y))),
            (Node::Text { .. }, Node::Text { .. }) => self.text_at(left).cmp(&self.text_at(right)),
            (Node::List { .. }, Node::List { .. }) | (Node::Map { .. }, Node::Map { .. }) => {
                let items = |atom| self.as_list(atom).or_else(|| self.as_map(atom)).unwrap_or_default();
                let pairs = items(a).iter().zip(items(b));
                let unequal = pairs.map(|(x, y)| self.compare(*x, *y)).find(|order| order.is_ne());
                unequal.unwrap_or_else(|| items(a).len().cmp(&items(b).len()))
            }
            _ => rank(left).cmp(&rank(right)),
        }
    }

    pub(super) fn sort(&self, items: &mut [Atom]) {
        items.sort_unstable_by(|a, b| self.compare(*a, *b));
    }

    pub(super) fn write(&self, atom: Atom, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node(atom) {
            Node::Text { start, length } => write_text(&self.text[start..start + length as usize], f),
            Node::Int(number) => write!(f, "{number}"),
            _ => write!(f, "{}", self.decode(atom)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Value> {
        let map = |pairs: &[(&str, i64)]| {
            Value::from(
                pairs
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), *value))
                    .collect::<std::collections::BTreeMap<_, _>>(),
            )
        };
        vec![
            Value::Null,
            false.into(),
            true.into(),
            (-5).into(),
            0.into(),
            7.into(),
            i64::from(SMALL_MAX - 1).into(),
            i64::from(SMALL_MAX).into(),
            i64::MAX.into(),
            (-0.0).into(),
            0.0.into(),
            1.5.into(),
            "".into(),
            "7".into(),
            "a".into(),
            Vec::<i64>::new().into(),
            [Value::Null].into(),
            ["a"].into(),
            [1, 2].into(),
            [1, 2, 3].into(),
            [2].into(),
            Value::from([Value::from([1]), "x".into()]),
            map(&[]),
            map(&[("a", 1)]),
            map(&[("a", 2), ("b", 1)]),
            map(&[("b", 1)]),
        ]
    }

    #[test]
    fn equal_values_have_equal_atoms_and_different_ones_do_not() {
        let mut pool = Pool::default();
        let atoms: Vec<Atom> = samples().iter().map(|value| pool.value(value)).collect();
        let again: Vec<Atom> = samples().iter().map(|value| pool.value(value)).collect();
        assert_eq!(atoms, again);
        let mut distinct = atoms.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), atoms.len());
    }

    #[test]
    fn a_value_comes_out_as_it_went_in_and_in_the_same_order() {
        let mut pool = Pool::default();
        let values = samples();
        let atoms: Vec<Atom> = values.iter().map(|value| pool.value(value)).collect();
        for (atom, value) in atoms.iter().zip(&values) {
            assert_eq!(pool.decode(*atom), *value);
            for (other_atom, other) in atoms.iter().zip(&values) {
                assert_eq!(pool.compare(*atom, *other_atom), value.cmp(other), "{value} {other}");
            }
        }
    }

    #[test]
    fn a_set_has_no_order_and_no_repeats_and_of_equal_keys_the_last_counts() {
        let mut pool = Pool::default();
        let [three, minus, word] = [pool.int(3), pool.int(-1), pool.text("w")];
        let set = pool.set(&mut vec![word, three, minus, three]);
        assert_eq!(pool.as_list(set), Some(&[minus, three, word][..]));
        let map = pool.map(&mut vec![(word, three), (word, minus)]);
        assert_eq!(pool.as_map(map), Some(&[word, minus][..]));
    }

    #[test]
    fn the_table_survives_growing() {
        let mut pool = Pool::default();
        let numbers: Vec<Atom> = (1..20_000).map(|number| pool.int(-number)).collect();
        let texts: Vec<Atom> = (1..20_000).map(|number| pool.text(&number.to_string())).collect();
        for (place, number) in (1..20_000).enumerate() {
            assert_eq!(pool.int(-number), numbers[place]);
            assert_eq!(pool.as_text(texts[place]), Some(number.to_string().as_str()));
        }
    }
}
