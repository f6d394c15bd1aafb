//! Load: clients that are cheap enough to share a machine with the servers that they measure.
//!
//! [`http`] speaks just enough HTTP/1.1 over one kept-alive connection; [`mec`] is the `/mec/{key}` face seen from
//! outside, and says of every failure whether the call may have happened; [`multipart`] takes several values apart.
//! [`cluster`] starts three nodes of this very program as children, and stops them whatever happens.
//! [`hlog`] writes latencies as an HdrHistogram interval log, [`pace`] keeps the beat of an open loop, and
//! [`screen`] says what is going on. Nothing here knows what the load is for: `demo` and `bench` do.

pub(crate) mod cluster;
pub(crate) mod hlog;
pub(crate) mod http;
pub(crate) mod mec;
pub(crate) mod multipart;
pub(crate) mod pace;
pub(crate) mod screen;
