//! The gateway and the agent seen from a client that is written from the wire description alone.

mod client;
mod ends;
mod faults;
mod handshake;
mod inside;
mod legs;
mod pump;
mod reliability;
mod rig;
mod ssh;
mod vectors;
