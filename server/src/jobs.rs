//! Work that goes on by itself: each job is a loop that the composition root spawns on its task tracker.

pub mod budgets;
pub mod idle;
pub mod lead;
pub mod lease;
pub mod prices;
pub mod profiles;
pub mod seal;
pub mod tags;
