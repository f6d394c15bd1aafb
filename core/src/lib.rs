//! Godown's replication protocol as one deterministic state machine without I/O.
//!
//! A [`Node`](node::Node) takes one [`Input`](input::Input) at a time and appends
//! [`Effect`](effect::Effect)s to a buffer: messages to send, replies to give, rows to read, write and scan.
//! It owns no clock, socket, file, thread or source of randomness; a driver hands in the time, carries out the
//! effects and reports their completions. The same inputs give the same effects on every machine, which is what
//! lets a simulator run years of bad weather in minutes and replay any of it.
//!
//! The files form levels, each using only those above it: words (`time`, `id`, `key`, `config`), pure values
//! (`causal`, `kind`, `hlc`, `quorum`, `layout`, `token`, `actors`, `replica`, `fingerprint`), vocabulary (`message`,
//! `input`, `effect`, `note`, `stats`), machines (`cx`, `timers`, `slots`, `get`, `put`, `list`, `peers`, `swim`,
//! `cluster`, `ranges`, `pace`, `sync`, `scrub`, `sweep`, `expiry`, `retire`, `hints`), and on top `node`.
//! `wire` and `stored` turn messages and rows into bytes, in the shapes that `frozen` and `compact` fix.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[macro_use]
mod moment;
#[macro_use]
mod plant;

pub mod config;
pub mod id;
pub mod key;
pub mod time;

pub mod actors;
pub mod causal;
pub mod fingerprint;
pub mod hlc;
pub mod kind;
pub mod layout;
pub mod quorum;
pub mod replica;
pub mod token;

pub mod effect;
pub mod input;
pub mod message;
pub mod note;
pub mod stats;

pub mod cluster;
mod cx;
mod expiry;
mod get;
mod hints;
mod list;
mod pace;
mod peers;
mod put;
mod ranges;
mod retire;
mod scrub;
mod slots;
mod sweep;
mod swim;
mod sync;
mod timers;

mod compact;
mod frozen;
pub mod node;
pub mod stored;
pub mod wire;

#[cfg(feature = "simulation")]
pub use moment::{Moment, Moments};
#[cfg(feature = "simulation")]
pub use plant::{Plant, Plants};
