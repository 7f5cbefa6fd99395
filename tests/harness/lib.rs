//! What the suite, the demo and the benchmarks share: a simulated account, a gateway process beside Postgres, keys,
//! and the system's own SSH client.

#![allow(clippy::disallowed_methods, reason = "tests may spawn tasks and look at the clock")]

pub mod account;
pub mod balancer;
pub mod browser;
pub mod carrier;
pub mod client;
pub mod form;
pub mod gateway;
pub mod hook;
pub mod mail;
pub mod noise;
pub mod provider;
pub mod proxy;
pub mod until;
pub mod visitor;
pub mod world;
