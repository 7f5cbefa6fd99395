//! Idleness: what is known of a run, what follows from it, and how a space is stopped.
//!
//! [`Evidence`] is one look at a space. [`Known`] adds looks up. [`judge()`] says what they mean under a [`Policy`]. The
//! [`Stopper`] turns verdicts into warnings and at last a `DeleteApp`. All of it is pure: time is an argument.
//!
//! Three rules hold everywhere. What is not known is never idle. What a user could make up inside the space can only
//! postpone a stop, and no longer than the policy's longest run. And time counts as idle only as far as somebody
//! looked: a gap between looks begins the idle time anew.

mod evidence;
mod heartbeat;
mod hours;
mod judge;
mod known;
mod policy;
mod replay;
#[cfg(test)]
pub(crate) mod schedules;
mod stopper;

pub use evidence::{CpuSource, CpuUse, Evidence, Hold, Inside, NoLook, Outside, Seen, Sign};
pub use heartbeat::Heartbeat;
pub use hours::Hours;
pub use judge::{Because, Doubt, Ground, Run, Verdict, grounds, in_a_line, judge};
pub use known::Known;
pub use policy::{InsideRule, Mode, Policies, Policy, Rule, Scope, Subject};
pub use replay::{Looks, Met, Replay, Replayed, WouldStop};
pub use stopper::{Answer, Calm, Check, Command, Input, Outcome, Phase, Stopper, Trigger};
