//! The server as its users meet it: real processes, real sockets, real disks.

mod client;
mod cluster;
mod crash;
mod hints;
mod life;
mod limits;
mod mec;
mod members;
mod metrics;
mod peers;
mod rolling;
mod space;
mod startup;
