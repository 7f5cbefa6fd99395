//! A SageMaker Studio account on loopback, by the wire: tests and the demo run the product against it.
//!
//! `simulator` puts it together and is what tests hold; `fixture` describes what an account holds; `sessions` is the
//! boundary to the stream side, which serves the data channels. Nothing here is shared with the product.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may spawn tasks and look at the clock"))]

mod account;
mod clock;
mod cloud;
mod control;
mod error;
mod faults;
pub mod fixture;
mod handle;
mod http;
mod iam;
pub mod inside;
mod keys;
mod lifecycle;
mod live;
mod oidc;
mod percent;
mod policies;
mod pricing;
mod roles;
mod sagemaker;
pub mod sessions;
mod sigv4;
pub mod simulator;
pub mod space;
mod ssm;
pub mod stream;
mod sts;
pub mod studio;
#[cfg(test)]
mod testing;
mod trail;
mod xml;

pub use clock::Clock;
pub use cloud::Delays;
pub use faults::{RequestRate, Switches};
pub use fixture::{Fixture, SpaceSpec};
pub use handle::{SpaceChange, SpaceState};
pub use keys::Credentials;
pub use simulator::{Config, NoServers, Simulator, StreamSide};
pub use studio::Studio;
pub use trail::Event;
