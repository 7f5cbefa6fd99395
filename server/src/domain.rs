//! Types and pure rules. Nothing here does I/O, reads a clock, spawns or logs.

pub mod access;
pub mod actor;
pub mod approval;
pub mod audit;
pub mod budget;
pub mod bytes;
pub mod chain;
pub mod cost;
pub mod day;
pub mod email;
pub mod ending;
pub mod grant;
pub mod idle;
pub mod ids;
pub mod money;
pub mod names;
pub mod network;
pub mod notice;
pub mod ownership;
pub mod ports;
pub mod price;
pub mod probe;
pub mod rate;
pub mod record;
pub mod refusals;
pub mod role;
pub mod run;
pub mod space;
pub mod space_news;
pub mod span;
pub mod start;
pub mod streams;
#[cfg(test)]
pub(crate) mod testing;
pub mod user;
pub mod vouched;
