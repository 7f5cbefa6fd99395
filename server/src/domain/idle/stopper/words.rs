//! What the stopper is told, what it answers, and where a run is on the way.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::domain::idle::judge::{Because, Doubt, Verdict};

/// Who or what wants the stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The policy, for idleness.
    Idle {
        /// Since when.
        since: OffsetDateTime,
        /// Whether what is inside looks busy and the longest run is over.
        over_longest_run: bool,
    },
    /// A person.
    Person {
        /// Who.
        by: String,
    },
}

/// Where a run is on the way to its stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is under way.
    Watching {
        /// Whether the last verdict was idle.
        idle_before: bool,
    },
    /// People have been told; nothing is done before `stop_at`.
    Warned {
        /// Why.
        trigger: Trigger,
        /// When it stops.
        stop_at: OffsetDateTime,
        /// Whether people have been told: nobody is of a dry run, and nobody was if the process that wrote this ended
        /// before it could.
        told: bool,
    },
    /// The last check is being made.
    Checking {
        /// Why.
        trigger: Trigger,
        /// How often `DeleteApp` has been tried.
        tries: u32,
        /// Since when; a check that got lost is made again.
        since: OffsetDateTime,
    },
    /// `DeleteApp` was sent; whether it was heard is seen by the app's going.
    Deleting {
        /// Why.
        trigger: Trigger,
        /// How often it has been tried.
        tries: u32,
        /// When it was sent last.
        since: OffsetDateTime,
        /// When to look at the app next.
        look_at: OffsetDateTime,
    },
    /// A try failed; the next one comes then.
    Pausing {
        /// Why.
        trigger: Trigger,
        /// How often it has been tried.
        tries: u32,
        /// When to try again.
        until: OffsetDateTime,
    },
    /// A dry run has come to where it would have stopped the space, and waits for it to be used again.
    WouldHave,
    /// The run is over.
    Over,
}

/// What the app was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The judged one, in service.
    Same,
    /// The judged one, being deleted.
    Going,
    /// Gone, or another one has taken its place.
    Gone,
    /// AWS did not say.
    Unclear,
}

/// What AWS said to `DeleteApp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It will be done.
    Accepted,
    /// It may or may not have been heard.
    Unclear,
    /// It will not be done; AWS's words.
    Refused(String),
}

/// Something has been seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A look at the space has been judged.
    Verdict(Verdict),
    /// People have been told of the warning.
    Told,
    /// A person wants it stopped.
    Asked {
        /// Who.
        by: String,
    },
    /// The last check: what the app is, and a verdict on a look made just now.
    Checked(Check, Verdict),
    /// AWS's answer to `DeleteApp`.
    Answered(Answer),
    /// What the app is, while it is being deleted.
    Seen(Check),
    /// Time has passed.
    Time,
    /// A listing has shown the run gone.
    Ended,
}

/// Why a stop is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calm {
    /// Somebody or something is at work again, or a hold was set.
    Active(Because),
    /// Nobody can tell any more.
    Unknown(Doubt),
    /// The policy has changed.
    Policy,
    /// A person asked for it, and it could not be done as that person.
    NotDone,
}

/// How a run's stop ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// We stopped it.
    Stopped(Trigger),
    /// It ended by itself, or somebody else ended it.
    EndedElsewhere,
    /// A dry run would have stopped it.
    WouldHave(Trigger),
}

/// What to do now.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Tell people that the space stops then.
    Warn {
        /// Why.
        trigger: Trigger,
        /// When.
        stop_at: OffsetDateTime,
    },
    /// It stays up after all.
    Stays {
        /// Why.
        calm: Calm,
        /// Whether people were told that it stops.
        told: bool,
    },
    /// Make the last check, and look at the space anew.
    Check,
    /// Send `DeleteApp`, still under the lock.
    Delete,
    /// See what has become of the app.
    Look,
    /// Tell admins that the space does not stop.
    Stuck {
        /// How often it has been tried.
        tries: u32,
        /// AWS's words, if it had any.
        said: Option<String>,
    },
    /// Tell admins that the space has run for too long and that what is inside kept it up.
    TooLong,
    /// Write down how it ended.
    Finish(Outcome),
}
