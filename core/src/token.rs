//! The client's token: a causal context as one opaque word.
//!
//! Base64url (no padding) of: a version byte, 8 bytes of the key's hash, the context, a CRC-32 of all before it.
//! A token that was cut, altered or read from another key is an error, never an empty context: an empty one would
//! turn an overwrite into a sibling, or a stale one into a loss, without anybody noticing.
//! The context's encoding is frozen with the version byte: a count of actors as LEB128; per actor its 16 bytes,
//! its base, the length of its cloud and the cloud's numbers, all LEB128.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::causal::{Context, Dot};
use crate::id::Life;
use crate::key::Key;

/// The longest token that is given out or taken, in characters.
pub const TOKEN_MAX: usize = 4096;

/// The most single dots of one actor that a token names.
const CLOUD_MAX: usize = 200;

/// The most actors that a node hands out to a client: more would not fit a token.
pub(crate) const CLIENT_ACTORS_MAX: usize = 128;

/// The first version of the token's format.
const V1: u8 = 1;

/// Why a token was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than any token that is ever given out.
    #[error("the clock is {0} characters long; none is longer than {TOKEN_MAX}")]
    TooLong(usize),
    /// Not base64url.
    #[error("the clock is not base64url: send it back exactly as it was received")]
    NotBase64,
    /// Cut short, or its checksum is wrong.
    #[error("the clock is damaged (its checksum does not match): send it back exactly as it was received")]
    Damaged,
    /// From a newer version.
    #[error("the clock has version {0}, which this node does not know")]
    Version(u8),
    /// Read from another key.
    #[error("the clock was given for another key: a clock belongs to the key that it was read from")]
    OtherKey,
}

/// The token of what a client has seen of `key`.
///
/// When it would exceed [`TOKEN_MAX`], actors are left out, those with the fewest dots first, and of each actor's single
/// dots only the newest are kept: leaving one out can make a later write keep a sibling too many, never lose one.
#[must_use]
pub fn encode(context: &Context, key: &Key) -> String {
    let mut kept: Vec<Life> = context.actors().collect();
    kept.sort_by_key(|&actor| core::cmp::Reverse(context.highest(actor)));
    loop {
        let token = encode_actors(context, &kept, key);
        if token.len() <= TOKEN_MAX {
            return token;
        }
        // A twentieth at a time: few rounds for a huge context, little lost for one just over the bound.
        kept.truncate(kept.len() - (kept.len() / 20).max(1));
    }
}

fn encode_actors(context: &Context, actors: &[Life], key: &Key) -> String {
    let mut bytes = Vec::with_capacity(13 + actors.len() * 20);
    bytes.push(V1);
    bytes.extend_from_slice(&key.hash().to_le_bytes());
    let mut clouds: alloc::collections::BTreeMap<Life, Vec<u64>> = Default::default();
    for dot in context.cloud() {
        clouds.entry(dot.actor).or_default().push(dot.n);
    }
    push_leb128(&mut bytes, actors.len() as u64);
    for actor in actors {
        bytes.extend_from_slice(&actor.0.to_le_bytes());
        push_leb128(&mut bytes, context.base(*actor));
        let cloud = clouds.get(actor).map_or(&[][..], Vec::as_slice);
        let cloud = &cloud[cloud.len().saturating_sub(CLOUD_MAX)..];
        push_leb128(&mut bytes, cloud.len() as u64);
        for &n in cloud {
            push_leb128(&mut bytes, n);
        }
    }
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a token that was given for `key`.
///
/// # Errors
/// [`TokenError`] says what is wrong with it; nothing is ever guessed.
pub fn decode(token: &str, key: &Key) -> Result<Context, TokenError> {
    if token.len() > TOKEN_MAX {
        return Err(TokenError::TooLong(token.len()));
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::NotBase64)?;
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or(TokenError::Damaged)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return Err(TokenError::Damaged);
    }
    let (&version, body) = body.split_first().ok_or(TokenError::Damaged)?;
    if version != V1 {
        return Err(TokenError::Version(version));
    }
    let (hash, mut body) = body.split_first_chunk::<8>().ok_or(TokenError::Damaged)?;
    if u64::from_le_bytes(*hash) != key.hash() {
        return Err(TokenError::OtherKey);
    }
    // From here on only somebody who forged the checksum can fail; the answer is the same.
    let context = read_context(&mut body).ok_or(TokenError::Damaged)?;
    if body.is_empty() { Ok(context) } else { Err(TokenError::Damaged) }
}

fn read_context(bytes: &mut &[u8]) -> Option<Context> {
    let mut context = Context::new();
    for _ in 0..read_leb128(bytes)? {
        let (actor, rest) = bytes.split_first_chunk::<16>()?;
        *bytes = rest;
        let actor = Life(u128::from_le_bytes(*actor));
        context.raise(actor, read_leb128(bytes)?);
        for _ in 0..read_leb128(bytes)? {
            context.insert(Dot { actor, n: read_leb128(bytes)? });
        }
    }
    Some(context)
}

fn push_leb128(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_leb128(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn context() -> Context {
        let mut context = Context::new();
        context.raise(Life(7), 1 << 40);
        context.insert(Dot { actor: Life(u128::MAX), n: u64::MAX });
        context
    }

    #[test]
    fn a_token_gives_its_context_back() {
        let key = Key::from("region");
        for context in [Context::new(), context()] {
            assert_eq!(decode(&encode(&context, &key), &key), Ok(context));
        }
    }

    #[test]
    fn a_tokens_bytes_never_change() {
        let mut context = Context::new();
        context.raise(Life(7), 300);
        context.insert(Dot { actor: Life(7), n: 302 });
        assert_eq!(encode(&context, &Key::from("k")), "AR2I2k9w4yGpAQcAAAAAAAAAAAAAAAAAAACsAgGuAh2QT5A");
    }

    #[test]
    fn every_damaged_token_is_refused() {
        let key = Key::from("region");
        let token = encode(&context(), &key);
        assert_eq!(decode("", &key), Err(TokenError::Damaged));
        assert_eq!(decode("not base64!", &key), Err(TokenError::NotBase64));
        assert_eq!(decode(&"A".repeat(TOKEN_MAX + 1), &key), Err(TokenError::TooLong(TOKEN_MAX + 1)));
        assert_eq!(decode(&token, &Key::from("other")), Err(TokenError::OtherKey));
        for cut in 1..token.len() {
            assert!(decode(&token[..cut], &key).is_err(), "cut to {cut}");
        }
        for index in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
            let altered = core::str::from_utf8(&altered).expect("ASCII");
            assert!(decode(altered, &key).is_err(), "altered at {index}");
        }
    }

    #[test]
    fn a_huge_context_leaves_actors_out_and_stays_under_the_bound() {
        let key = Key::from("region");
        let mut context = Context::new();
        for actor in 0..1_000u64 {
            context.raise(Life(u128::from(actor)), actor + 1);
        }
        let token = encode(&context, &key);
        assert!(token.len() <= TOKEN_MAX && token.len() > TOKEN_MAX * 9 / 10, "{}", token.len());
        let kept = decode(&token, &key).expect("a valid token");
        assert!(context.covers(&kept));
        assert_eq!(kept.base(Life(999)), 1_000, "the busiest actors are kept");
    }

    #[test]
    fn of_many_single_dots_the_newest_are_kept() {
        let key = Key::from("region");
        let context: Context = (1..=1_000).map(|n| Dot { actor: Life(7), n: n * 2 }).collect();
        let kept = decode(&encode(&context, &key), &key).expect("a valid token");
        assert_eq!(kept.cloud().count(), CLOUD_MAX);
        assert!(kept.has(Dot { actor: Life(7), n: 2_000 }) && !kept.has(Dot { actor: Life(7), n: 2 }));
    }

    #[test]
    fn errors_say_what_to_do() {
        assert!(TokenError::Damaged.to_string().contains("send it back exactly as it was received"));
    }
}
