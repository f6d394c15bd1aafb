//! Kinds of data: which dot store a key holds, and how clients change and read it.

pub mod register;

pub use register::{Object, Register, Sibling};
