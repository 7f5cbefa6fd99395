//! The other side, written from the protocol's description and without the crate's own codec.

pub(crate) mod agent;
pub(crate) mod bench;
pub(crate) mod gateway;
pub(crate) mod link;
pub(crate) mod sigv4;
pub(crate) mod wire;
