//! Frames: how a message crosses a stream of bytes.
//!
//! A frame is a length (u32, little endian, of all that follows it), a CRC-32 (of all that follows it), a version
//! byte, a kind byte and a body. Two nodes speak the newest version that both know. A frame whose checksum does not match, whose body is not wholly used, or whose
//! length is over [`FRAME_MAX`] is an error; what it said is never guessed. Bodies are frozen per version in `v1`.

mod v1;
mod v2;

use alloc::vec::Vec;

use crate::layout::active::View;
use crate::message::Message;

/// The oldest version that this build reads and writes. It knows no layouts.
pub const VERSION_MIN: u8 = 1;

/// The newest version that this build reads and writes.
pub const VERSION_MAX: u8 = 2;

/// The most bytes that may follow a frame's length.
pub const FRAME_MAX: usize = crate::frozen::ENCODED_MAX + 64;

/// Bytes of the length prefix.
pub const PREFIX: usize = 4;

/// Bytes between the length and the body: checksum, version, kind.
const HEADER: usize = 6;

/// Why a frame was not understood. The connection that it came over cannot be trusted any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Its length is out of bounds.
    #[error("a frame claims {0} bytes; it must have between {HEADER} and {FRAME_MAX}")]
    Length(u64),
    /// Its bytes are not those that were sent.
    #[error("a frame does not match its checksum")]
    Checksum,
    /// It is from another version.
    #[error("a frame has version {0}; this node speaks {VERSION_MIN} to {VERSION_MAX}")]
    Version(u8),
    /// It is of a kind that its version does not have.
    #[error("a frame has the unknown kind {0}")]
    Kind(u8),
    /// Its body is not what its kind says.
    #[error("the body of a frame of kind {0} is malformed")]
    Body(u8),
}

/// Appends the frame of `message`, sent by a node with this view, to `out`. False when that version cannot say it, and
/// nothing was appended: to lose such a message is as good as not to send it.
///
/// # Panics
/// When this build does not know `version`.
pub fn encode(version: u8, view: View, message: &Message, out: &mut Vec<u8>) -> bool {
    assert!((VERSION_MIN..=VERSION_MAX).contains(&version), "version {version}");
    let body = if version == 1 { v1::encode(message) } else { Some(v2::encode(view, message)) };
    let Some((kind, body)) = body else { return false };
    let length = HEADER + body.len();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version, kind]);
    hasher.update(&body);
    out.reserve(PREFIX + length);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&hasher.finalize().to_le_bytes());
    out.extend_from_slice(&[version, kind]);
    out.extend_from_slice(&body);
    true
}

/// How many bytes follow a frame's length prefix.
///
/// # Errors
/// [`DecodeError::Length`] when that is out of bounds; nothing should then be allocated or read.
pub fn length(prefix: [u8; PREFIX]) -> Result<usize, DecodeError> {
    let length = u32::from_le_bytes(prefix);
    match usize::try_from(length) {
        Ok(length) if (HEADER..=FRAME_MAX).contains(&length) => Ok(length),
        _ => Err(DecodeError::Length(u64::from(length))),
    }
}

/// The message in a frame, its length prefix taken off, and its sender's view.
///
/// # Errors
/// [`DecodeError`] says what is wrong with it.
pub fn decode(frame: &[u8]) -> Result<(View, Message), DecodeError> {
    let length = DecodeError::Length(frame.len() as u64);
    let (sum, checked) = frame.split_first_chunk::<4>().ok_or(length)?;
    let (&[version, kind], body) = checked.split_first_chunk::<2>().ok_or(length)?;
    if crc32fast::hash(checked) != u32::from_le_bytes(*sum) {
        return Err(DecodeError::Checksum);
    }
    match version {
        1 => Ok((View::FIXED, v1::decode(kind, body)?)),
        2 => v2::decode(kind, body),
        other => Err(DecodeError::Version(other)),
    }
}
