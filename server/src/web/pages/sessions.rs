//! Sessions: the live ones, those that ended, and each by itself.

pub(in crate::web) mod history;
pub(in crate::web) mod live;
pub(in crate::web) mod one;
pub(in crate::web) mod rows;
