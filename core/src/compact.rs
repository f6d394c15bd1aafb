//! Objects at rest in few bytes: format 2 of an object's row.
//!
//! Whatever the usual case can do without is left out: with one sibling, nothing remembered beyond the clock and no
//! expiry, an object takes a header byte, the number of an actor, its n, a date and the length of the content type;
//! the value is what is left of the row. Numbers are LEB128, seven bits to a byte, the lowest first. Actors are named
//! by their numbers in the partition's table ([`Actors`]); since a number is nothing without its table, the row's
//! checksum takes in the lives that the numbers stand for. Nothing is copied and nothing is allocated on the word of a
//! length: what does not fit the bytes that are there is no object.
//!
//! ```text
//! object   = header [context] [count] sibling*
//! header   = 1: not exactly one sibling, count follows | 2: context follows | 4: siblings have expiries
//! context  = count (actor base n*)*      each n as its distance from the one before, first from the base; 0 ends them
//! sibling  = actor n date [expiry] length content-type [length] value      the length of a lone value is not written
//! actor    = 0 and the life's 16 bytes, or its number in the table plus one
//! date     = 8 bytes, little endian
//! ```

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use crc32fast::Hasher;

use crate::actors::Actors;
use crate::causal::{Context, Dot, DotFun};
use crate::hlc::Hlc;
use crate::id::Life;
use crate::kind::{Object, Sibling};

const COUNTED: u8 = 1;
const CONTEXT: u8 = 2;
const EXPIRES: u8 = 4;
const HEADER_MAX: u8 = COUNTED | CONTEXT | EXPIRES;

/// Appends an object's bytes; `sum` takes in the actors that are named by number.
pub(crate) fn encode(object: &Object, actors: &mut Actors, sum: &mut Hasher, bytes: &mut Vec<u8>) {
    let siblings = &object.store.0;
    let is_counted = siblings.len() != 1;
    let expires = siblings.values().any(|sibling| sibling.expires != 0);
    let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
    let mut writer = Writer { actors, sum, bytes };
    writer
        .bytes
        .push(flag(is_counted, COUNTED) | flag(!object.context.is_empty(), CONTEXT) | flag(expires, EXPIRES));
    if !object.context.is_empty() {
        writer.context(&object.context);
    }
    if is_counted {
        writer.number(siblings.len() as u64);
    }
    for (dot, sibling) in siblings {
        writer.actor(dot.actor);
        writer.number(dot.n);
        writer.bytes.extend_from_slice(&sibling.at.0.to_le_bytes());
        if expires {
            writer.number(sibling.expires);
        }
        writer.number(sibling.content_type.len() as u64);
        writer.bytes.extend_from_slice(&sibling.content_type);
        if is_counted {
            writer.number(sibling.value.len() as u64);
        }
        writer.bytes.extend_from_slice(&sibling.value);
    }
}

struct Writer<'a> {
    actors: &'a mut Actors,
    sum: &'a mut Hasher,
    bytes: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn number(&mut self, mut n: u64) {
        while n > 0x7f {
            self.bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.bytes.push(n as u8);
    }

    fn actor(&mut self, life: Life) {
        if let Some(number) = self.actors.number(life) {
            self.sum.update(&life.0.to_be_bytes());
            self.number(u64::from(number) + 1);
        } else {
            self.bytes.push(0);
            self.bytes.extend_from_slice(&life.0.to_be_bytes());
        }
    }

    fn context(&mut self, context: &Context) {
        let mut cloud = context.cloud().peekable();
        self.number(context.actors().count() as u64);
        for actor in context.actors() {
            let base = context.base(actor);
            self.actor(actor);
            self.number(base);
            let mut last = base;
            while let Some(dot) = cloud.next_if(|dot| dot.actor == actor) {
                self.number(dot.n - last);
                last = dot.n;
            }
            self.number(0);
        }
    }
}

/// The object that these bytes hold, all of them; None when they do not. `sum` takes in the actors that are named by
/// number.
pub(crate) fn decode(bytes: &Bytes, actors: &Actors, sum: &mut Hasher) -> Option<Object> {
    let mut reader = Reader { whole: bytes, rest: bytes, actors, sum };
    let header = reader.byte()?;
    if header > HEADER_MAX {
        return None;
    }
    let has = |flag: u8| header & flag != 0;
    let context = if has(CONTEXT) { reader.context()? } else { Context::new() };
    let count = if has(COUNTED) { reader.number()? } else { 1 };
    let mut siblings = BTreeMap::new();
    for _ in 0..count {
        let dot = Dot { actor: reader.actor()?, n: reader.number()? };
        let at = Hlc(u64::from_le_bytes(reader.array()?));
        let expires = if has(EXPIRES) { reader.number()? } else { 0 };
        let content_type = reader.number()?;
        let content_type = reader.bytes(content_type)?;
        let value = if has(COUNTED) { reader.number()? } else { reader.rest.len() as u64 };
        let value = reader.bytes(value)?;
        let is_double = siblings.insert(dot, Sibling { value, content_type, at, expires }).is_some();
        if is_double {
            return None;
        }
    }
    reader.rest.is_empty().then_some(Object { store: DotFun(siblings), context })
}

struct Reader<'a> {
    whole: &'a Bytes,
    rest: &'a [u8],
    actors: &'a Actors,
    sum: &'a mut Hasher,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn bytes(&mut self, length: u64) -> Option<Bytes> {
        self.take(length).map(|taken| self.whole.slice_ref(taken))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N as u64)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A number in as few bytes as it needs; None for one in more, or of more than 64 bits.
    fn number(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            n |= bits << shift;
            if byte & 0x80 == 0 {
                let fits = bits << shift >> shift == bits;
                let is_shortest = byte != 0 || shift == 0;
                return (fits && is_shortest).then_some(n);
            }
        }
        None
    }

    fn actor(&mut self) -> Option<Life> {
        let Some(number) = self.number()?.checked_sub(1) else {
            return self.array().map(|life| Life(u128::from_be_bytes(life)));
        };
        let life = self.actors.life(number)?;
        self.sum.update(&life.0.to_be_bytes());
        Some(life)
    }

    fn context(&mut self) -> Option<Context> {
        let mut context = Context::new();
        for _ in 0..self.number()? {
            let actor = self.actor()?;
            let mut n = self.number()?;
            context.raise(actor, n);
            loop {
                let distance = self.number()?;
                if distance == 0 {
                    break;
                }
                n = n.checked_add(distance)?;
                context.insert(Dot { actor, n });
            }
        }
        Some(context)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::vec;

    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    /// The same cases on every machine; another number here is another set of them.
    const SEED: u64 = 1;

    fn table() -> Actors {
        let mut actors = Actors::new();
        for life in 1..=3 {
            actors.number(Life(life));
        }
        actors
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..300u64, Just(1 << 28), Just(u64::MAX - 1), Just(u64::MAX), any::<u64>()]
    }

    fn text() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
    }

    fn dot() -> impl Strategy<Value = Dot> {
        (0..6u128, number()).prop_map(|(actor, n)| Dot { actor: Life(actor), n })
    }

    fn object() -> impl Strategy<Value = Object> {
        let sibling = (text(), text(), number(), prop_oneof![Just(0), number()]);
        let sibling = sibling.prop_map(|(value, content_type, at, expires)| Sibling {
            value,
            content_type,
            at: Hlc(at),
            expires,
        });
        let store = prop::collection::btree_map(dot(), sibling, 0..4).prop_map(DotFun);
        let bases = prop::collection::vec(dot(), 0..4);
        (store, bases, prop::collection::vec(dot(), 0..6)).prop_map(|(store, bases, cloud)| {
            let mut context: Context = cloud.into_iter().collect();
            for base in bases {
                context.raise(base.actor, base.n);
            }
            Object { store, context }
        })
    }

    fn encoded(object: &Object, actors: &mut Actors) -> (Bytes, u32) {
        let (mut bytes, mut sum) = (Vec::new(), Hasher::new());
        encode(object, actors, &mut sum, &mut bytes);
        (bytes.into(), sum.finalize())
    }

    fn decoded(bytes: &Bytes, actors: &Actors) -> (Option<Object>, u32) {
        let mut sum = Hasher::new();
        (decode(bytes, actors, &mut sum), sum.finalize())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, rng_seed: RngSeed::Fixed(SEED), ..ProptestConfig::default() })]

        #[test]
        fn what_was_encoded_is_decoded(object in object(), is_full in any::<bool>()) {
            let mut actors = table();
            for life in 0..if is_full { crate::actors::ACTORS_MAX as u128 } else { 0 } {
                actors.number(Life(life + 1_000));
            }
            let (bytes, sum) = encoded(&object, &mut actors);
            prop_assert_eq!(decoded(&bytes, &actors), (Some(object), sum));
            for cut in 0..bytes.len() {
                // A value that nothing delimits can be cut; only the checksum shows it.
                let cut = decoded(&bytes.slice(..cut), &actors).0;
                prop_assert!(cut.is_none_or(|object| object.store.0.len() == 1));
            }
        }

        #[test]
        fn any_bytes_are_an_object_or_none(
            header in 0..9u8,
            body in prop::collection::vec(prop_oneof![0..5u8, any::<u8>()], 0..60)
        ) {
            let bytes: Bytes = [&[header], &body[..]].concat().into();
            let mut actors = table();
            if let (Some(object), _) = decoded(&bytes, &actors) {
                let held: usize = object.siblings().map(Sibling::size).sum();
                prop_assert!(held + object.store.0.len() + object.context.size() <= bytes.len());
                let (again, sum) = encoded(&object, &mut actors);
                prop_assert_eq!(decoded(&again, &actors), (Some(object), sum));
            }
        }
    }

    #[test]
    fn what_is_too_long_too_wide_twice_or_nobodys_is_no_object() {
        let actors = table();
        let is_object = |parts: &[&[u8]]| decoded(&parts.concat().into(), &actors).0.is_some();
        let date = &[0u8; 8];
        assert!(is_object(&[&[0, 1, 5], date, &[0]]));
        assert!(is_object(&[&[0, 1, 5], date, &[0], b"value"]));
        assert!(!is_object(&[&[8, 1, 5], date, &[0]]), "a header of a later version");
        assert!(!is_object(&[&[0, 4, 5], date, &[0]]), "the fourth of three actors");
        assert!(!is_object(&[&[0, 1, 0x85, 0], date, &[0]]), "five in two bytes");
        assert!(is_object(&[&[0, 1], &[0xff; 9], &[1], date, &[0]]));
        assert!(!is_object(&[&[0, 1], &[0xff; 9], &[2], date, &[0]]), "65 bits");
        assert!(!is_object(&[&[0, 1], &[0xff; 10], &[0], date, &[0]]), "71 bits");
        assert!(!is_object(&[&[0, 1, 5], date, &[1]]), "a content type that is not there");
        assert!(is_object(&[&[1, 0]]) && !is_object(&[&[1, 0, 0]]), "a byte too many");
        let sibling = [&[1, 5][..], date, &[0, 0]].concat();
        assert!(
            is_object(&[&[1, 1], &sibling]) && !is_object(&[&[1, 2], &sibling, &sibling]),
            "one dot twice"
        );
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert!(!is_object(&[&[1], &huge, &sibling]) && !is_object(&[&[3], &huge, &[1, 5, 0]]));
        assert!(!is_object(&[&[3, 1, 1, 5], &huge, &[0, 0]]), "a number past the last");
    }

    #[test]
    fn the_checksum_tells_tables_apart() {
        let mut object = Object::default();
        object.context.raise(Life(2), 5);
        let mut actors = table();
        let (bytes, sum) = encoded(&object, &mut actors);
        assert_eq!(bytes, vec![3, 1, 2, 5, 0, 0]);
        let mut other = Actors::new();
        other.number(Life(1));
        other.number(Life(7));
        let (read, other_sum) = decoded(&bytes, &other);
        assert!(read.is_some_and(|read| read != object) && other_sum != sum);
    }
}
