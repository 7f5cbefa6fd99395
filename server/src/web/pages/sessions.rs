//! Sessions: the live ones, those that ended, each by itself, and messages to them.

pub(in crate::web) mod history;
pub(in crate::web) mod live;
pub(in crate::web) mod message;
pub(in crate::web) mod one;
pub(in crate::web) mod rows;
