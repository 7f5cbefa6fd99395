//! Stopping, step by step: what to do next, given what has been seen. No I/O and no clock; `jobs::idle` carries it out.
//!
//! The way to a stop for idleness: two idle verdicts, of which the second is due; a warning; the grace; a last check,
//! under the lock that starts also take, that the app is the one that was judged and that it is still idle; `DeleteApp`;
//! and a look that it has gone. Before every further try the check is made again, since `DeleteApp` knows no
//! precondition. Anything but an idle verdict on the way leads back to the beginning. That people were told is written
//! down once they are: a warning that got lost with its process is given again, with the whole grace.

mod words;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use self::words::{Answer, Calm, Check, Command, Input, Outcome, Phase, Trigger};
use super::judge::Verdict;
use super::policy::{Mode, Policy};

/// Tries after which admins are told that a space does not stop.
const TRIES: u32 = 3;
/// How long AWS may take to delete an app before it is asked again.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between tries that failed.
const PAUSE: Duration = Duration::from_secs(60);
/// Between two looks at an app that is being deleted.
const LOOK: Duration = Duration::from_secs(5);

/// One run on its way to a stop, or not on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopper {
    phase: Phase,
}

impl Default for Stopper {
    fn default() -> Self {
        Self { phase: Phase::Watching { idle_before: false } }
    }
}

impl Stopper {
    /// Where it is.
    #[must_use]
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Who or what wants the stop that is under way.
    #[must_use]
    pub const fn trigger(&self) -> Option<&Trigger> {
        match &self.phase {
            Phase::Warned { trigger, .. }
            | Phase::Checking { trigger, .. }
            | Phase::Deleting { trigger, .. }
            | Phase::Pausing { trigger, .. } => Some(trigger),
            Phase::Watching { .. } | Phase::WouldHave | Phase::Over => None,
        }
    }

    /// When [`Input::Time`] has something to do at the latest; nothing while only looks matter.
    #[must_use]
    pub fn wakes_at(&self) -> Option<OffsetDateTime> {
        match &self.phase {
            Phase::Warned { stop_at, .. } => Some(*stop_at),
            Phase::Pausing { until, .. } => Some(*until),
            Phase::Checking { since, .. } => Some(*since + PAUSE),
            Phase::Deleting { look_at, .. } => Some(*look_at),
            Phase::Watching { .. } | Phase::WouldHave | Phase::Over => None,
        }
    }

    /// Takes what has been seen; says what to do, in this order.
    pub fn step(&mut self, now: OffsetDateTime, policy: &Policy, input: Input) -> Vec<Command> {
        if self.phase == Phase::Over {
            return Vec::new();
        }
        match input {
            Input::Verdict(verdict) => self.judged(now, policy, verdict),
            Input::Told => self.told(),
            Input::Asked { by } => self.asked(now, by),
            Input::Checked(check, verdict) => self.checked(now, policy, check, verdict),
            Input::Answered(answer) => self.answered(now, answer),
            Input::Seen(check) => self.seen(now, check),
            Input::Time => self.time(now, policy),
            Input::Ended => self.ended(),
        }
    }

    fn judged(&mut self, now: OffsetDateTime, policy: &Policy, verdict: Verdict) -> Vec<Command> {
        let due = verdict.is_due(now);
        match (self.phase.clone(), verdict) {
            (Phase::Watching { idle_before }, Verdict::Idle { since, over_longest_run, .. }) => {
                self.phase = Phase::Watching { idle_before: true };
                if !due || !idle_before {
                    return Vec::new();
                }
                self.warn(now, policy, Trigger::Idle { since, over_longest_run })
            }
            (Phase::Watching { .. }, _) => {
                self.phase = Phase::Watching { idle_before: false };
                Vec::new()
            }
            (Phase::WouldHave, verdict) => {
                // A policy that now stops in earnest begins with a warning.
                if !due || policy.mode == Mode::Stop {
                    self.phase = Phase::Watching { idle_before: matches!(verdict, Verdict::Idle { .. }) };
                }
                Vec::new()
            }
            // Whoever asked for a stop by hand knows what is at work.
            (Phase::Warned { trigger: Trigger::Idle { .. }, told, .. }, verdict) if !due => {
                self.calm(verdict, told)
            }
            // Whoever was to tell people is gone, or a dry run has become earnest: the grace begins once they know.
            (Phase::Warned { trigger, told: false, .. }, _) if policy.mode == Mode::Stop => {
                self.warn(now, policy, trigger)
            }
            // A try that failed has not stopped anything yet: the same rules hold for the next.
            (Phase::Pausing { trigger: Trigger::Idle { .. }, .. }, verdict) if !due => {
                self.calm(verdict, true)
            }
            _ => Vec::new(),
        }
    }

    fn warn(&mut self, now: OffsetDateTime, policy: &Policy, trigger: Trigger) -> Vec<Command> {
        let stop_at = now + policy.grace;
        self.phase = Phase::Warned { trigger: trigger.clone(), stop_at, told: false };
        let too_long = matches!(trigger, Trigger::Idle { over_longest_run: true, .. });
        let mut commands = vec![Command::Warn { trigger, stop_at }];
        commands.extend(too_long.then_some(Command::TooLong));
        commands
    }

    fn told(&mut self) -> Vec<Command> {
        if let Phase::Warned { told, .. } = &mut self.phase {
            *told = true;
        }
        Vec::new()
    }

    fn calm(&mut self, verdict: Verdict, told: bool) -> Vec<Command> {
        let idle = matches!(verdict, Verdict::Idle { .. });
        self.phase = Phase::Watching { idle_before: idle };
        let calm = match verdict {
            Verdict::Active { because } => Calm::Active(because),
            Verdict::Unknown { because } => Calm::Unknown(because),
            // Idle, but by the policy as it is now not for long enough.
            Verdict::Idle { .. } => Calm::Policy,
        };
        vec![Command::Stays { calm, told }]
    }

    fn asked(&mut self, now: OffsetDateTime, by: String) -> Vec<Command> {
        match self.phase {
            Phase::Checking { .. } | Phase::Deleting { .. } => Vec::new(),
            _ => self.check(now, Trigger::Person { by }, 0),
        }
    }

    fn check(&mut self, now: OffsetDateTime, trigger: Trigger, tries: u32) -> Vec<Command> {
        self.phase = Phase::Checking { trigger, tries, since: now };
        vec![Command::Check]
    }

    fn checked(
        &mut self,
        now: OffsetDateTime,
        policy: &Policy,
        check: Check,
        verdict: Verdict,
    ) -> Vec<Command> {
        let Phase::Checking { trigger, tries, .. } = self.phase.clone() else { return Vec::new() };
        let for_idleness = matches!(trigger, Trigger::Idle { .. });
        match check {
            Check::Gone => self.gone(&trigger, tries),
            Check::Going => {
                self.deleting(now, trigger, tries);
                Vec::new()
            }
            Check::Unclear => self.pause(now, trigger, tries, None),
            Check::Same if for_idleness && !verdict.is_due(now) => {
                self.calm(verdict, policy.mode == Mode::Stop)
            }
            Check::Same if for_idleness && policy.mode == Mode::DryRun => {
                self.phase = Phase::WouldHave;
                vec![Command::Finish(Outcome::WouldHave(trigger))]
            }
            Check::Same => {
                self.deleting(now, trigger, tries + 1);
                vec![Command::Delete]
            }
        }
    }

    fn deleting(&mut self, now: OffsetDateTime, trigger: Trigger, tries: u32) {
        self.phase = Phase::Deleting { trigger, tries, since: now, look_at: now + LOOK };
    }

    fn answered(&mut self, now: OffsetDateTime, answer: Answer) -> Vec<Command> {
        let Phase::Deleting { trigger, tries, .. } = self.phase.clone() else { return Vec::new() };
        match answer {
            Answer::Accepted | Answer::Unclear => {
                self.deleting(now, trigger, tries);
                Vec::new()
            }
            Answer::Refused(said) => self.pause(now, trigger, tries, Some(said)),
        }
    }

    fn seen(&mut self, now: OffsetDateTime, check: Check) -> Vec<Command> {
        let Phase::Deleting { trigger, tries, since, .. } = self.phase.clone() else { return Vec::new() };
        match check {
            Check::Gone => self.gone(&trigger, tries),
            // Not heard, it seems: from the check again.
            Check::Same | Check::Unclear if now - since >= PATIENCE => self.pause(now, trigger, tries, None),
            Check::Same | Check::Going | Check::Unclear => {
                self.phase = Phase::Deleting { trigger, tries, since, look_at: now + LOOK };
                Vec::new()
            }
        }
    }

    fn gone(&mut self, trigger: &Trigger, tries: u32) -> Vec<Command> {
        self.phase = Phase::Over;
        vec![Command::Finish(if tries == 0 {
            Outcome::EndedElsewhere
        } else {
            Outcome::Stopped(trigger.clone())
        })]
    }

    fn ended(&mut self) -> Vec<Command> {
        match self.phase.clone() {
            Phase::Deleting { trigger, tries, .. }
            | Phase::Checking { trigger, tries, .. }
            | Phase::Pausing { trigger, tries, .. } => self.gone(&trigger, tries),
            Phase::Warned { trigger, .. } => self.gone(&trigger, 0),
            Phase::Watching { .. } | Phase::WouldHave | Phase::Over => {
                self.phase = Phase::Over;
                Vec::new()
            }
        }
    }

    fn pause(
        &mut self,
        now: OffsetDateTime,
        trigger: Trigger,
        tries: u32,
        said: Option<String>,
    ) -> Vec<Command> {
        // Told once, at the third failure; it goes on being tried.
        let told = tries == TRIES;
        self.phase = Phase::Pausing { trigger, tries, until: now + PAUSE };
        if told { vec![Command::Stuck { tries, said }] } else { Vec::new() }
    }

    fn time(&mut self, now: OffsetDateTime, policy: &Policy) -> Vec<Command> {
        match self.phase.clone() {
            Phase::Warned { trigger, stop_at, told } if now >= stop_at => {
                // Nobody is stopped who was not told, be it of a dry run that has become earnest.
                if policy.mode == Mode::Stop && !told {
                    return self.warn(now, policy, trigger);
                }
                self.check(now, trigger, 0)
            }
            Phase::Pausing { trigger, tries, until } if now >= until => self.again(now, trigger, tries),
            // The process that was at it is gone.
            Phase::Checking { trigger, tries, since } if now - since >= PAUSE => {
                self.again(now, trigger, tries)
            }
            Phase::Deleting { look_at, .. } if now >= look_at => vec![Command::Look],
            _ => Vec::new(),
        }
    }

    /// Another try, for idleness. What a person asked for is done as that person, while they wait, or not at all.
    fn again(&mut self, now: OffsetDateTime, trigger: Trigger, tries: u32) -> Vec<Command> {
        if matches!(trigger, Trigger::Idle { .. }) {
            return self.check(now, trigger, tries);
        }
        self.phase = Phase::Watching { idle_before: false };
        vec![Command::Stays { calm: Calm::NotDone, told: false }]
    }
}

#[cfg(test)]
mod tests;
