//! Godown's simulator: one scenario, two worlds, and what must hold of every run.
//!
//! A [`scenario`] is data drawn from a seed: a cluster, its clients and a list of faults. A [`world`] runs it with
//! the core's own nodes over simulated [`disk`]s and networks, while a [`workload`] of clients calls them and a
//! [`record`] keeps what they saw. Then [`check`] judges the run. Two runs of one seed have one [`digest`], on any
//! machine and in any build; nothing here reads a clock, the environment or the operating system's randomness.
//! A [`campaign`] runs many seeds and counts.

pub mod campaign;
pub mod check;
pub mod cost;
pub mod digest;
pub mod disk;
pub mod host;
pub mod moment;
pub mod page;
pub mod record;
pub mod rng;
pub mod scenario;
pub mod score;
pub mod shrink;
pub mod story;
pub mod walls;
pub mod workload;
pub mod world;
