//! Replaying looks: what a policy would have stopped, of what was seen.
//!
//! The rules are those of the passes, and so is their order: a look is added, judged, and taken to the stopper; what is
//! due by then is done, on that same look. AWS has no part in it: every app is found, and every `DeleteApp` heard. The
//! looks after a stop show whom it would have met.

use std::collections::VecDeque;
use std::time::Duration;

use time::OffsetDateTime;

use super::evidence::{Evidence, Seen, Sign};
use super::judge::{Because, Doubt, Ground, Run, Verdict, grounds, judge};
use super::known::Known;
use super::policy::{Mode, Policy};
use super::stopper::{Check, Command, Input, Stopper, Trigger};

/// A stop that would have been.
#[derive(Debug, Clone, PartialEq)]
pub struct WouldStop {
    /// When people would have been warned.
    pub warned_at: OffsetDateTime,
    /// When it would have been stopped.
    pub at: OffsetDateTime,
    /// Why.
    pub trigger: Trigger,
    /// What that rests on.
    pub grounds: Vec<Ground>,
    /// Who or what was at work soon after, as it really was: then it was the wrong time for a stop.
    pub met: Option<Met>,
}

/// Somebody or something at work after a stop that would have been.
#[derive(Debug, Clone, PartialEq)]
pub struct Met {
    /// When.
    pub at: OffsetDateTime,
    /// What: a sign, or a hold.
    pub what: Because,
}

/// How many looks were judged as what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looks {
    /// In use.
    pub active: u64,
    /// Not in use.
    pub idle: u64,
    /// Nobody could tell.
    pub unknown: u64,
}

/// What became of a run in a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// Its stop, if it would have been stopped.
    pub stop: Option<WouldStop>,
    /// Its looks up to then.
    pub looks: Looks,
    /// The last reason for not knowing, if there was one.
    pub doubt: Option<Doubt>,
    /// The last look.
    pub last: Option<OffsetDateTime>,
}

/// One run under one policy.
#[derive(Debug, Clone)]
pub struct Replay {
    policy: Policy,
    run: Run,
    known: Known,
    stopper: Stopper,
    warned_at: Option<OffsetDateTime>,
    replayed: Replayed,
}

impl Replay {
    /// A run that began then. A dry run is replayed in earnest.
    #[must_use]
    pub fn new(policy: &Policy, began_at: OffsetDateTime) -> Self {
        let mode = if policy.stops() { Mode::Stop } else { Mode::Never };
        Self {
            policy: Policy { mode, ..policy.clone() },
            run: Run { began_at },
            known: Known::of_run(began_at),
            stopper: Stopper::default(),
            warned_at: None,
            replayed: Replayed { stop: None, looks: Looks::default(), doubt: None, last: None },
        }
    }

    /// The next look.
    pub fn take(&mut self, look: Evidence) {
        let now = look.at;
        self.replayed.last = Some(now);
        self.known.take(look, &self.policy);
        if self.replayed.stop.is_some() {
            self.meet(now);
            return;
        }
        let verdict = judge(now, &self.policy, &self.known, self.run);
        let looks = &mut self.replayed.looks;
        match &verdict {
            Verdict::Active { .. } => looks.active += 1,
            Verdict::Idle { .. } => looks.idle += 1,
            Verdict::Unknown { because } => {
                looks.unknown += 1;
                self.replayed.doubt = Some(because.clone());
            }
        }
        self.step(now, Input::Verdict(verdict.clone()), &verdict);
        if self.stopper.wakes_at().is_some_and(|at| at <= now) {
            self.step(now, Input::Time, &verdict);
        }
    }

    /// What came of it.
    #[must_use]
    pub fn done(self) -> Replayed {
        self.replayed
    }

    fn step(&mut self, now: OffsetDateTime, input: Input, verdict: &Verdict) {
        let mut queue = VecDeque::from(self.stopper.step(now, &self.policy, input));
        while let Some(command) = queue.pop_front() {
            let input = match command {
                Command::Warn { .. } => {
                    self.warned_at = Some(now);
                    Input::Told
                }
                Command::Check => {
                    // The app is there, and this look is the last.
                    let trigger = self.stopper.trigger().cloned();
                    let checked = Input::Checked(Check::Same, verdict.clone());
                    let more = self.stopper.step(now, &self.policy, checked);
                    if more.contains(&Command::Delete)
                        && let Some(trigger) = trigger
                    {
                        return self.stop(now, trigger);
                    }
                    queue.extend(more);
                    continue;
                }
                Command::Delete
                | Command::Look
                | Command::Stays { .. }
                | Command::Stuck { .. }
                | Command::TooLong
                | Command::Finish(_) => continue,
            };
            queue.extend(self.stopper.step(now, &self.policy, input));
        }
    }

    fn stop(&mut self, now: OffsetDateTime, trigger: Trigger) {
        self.replayed.stop = Some(WouldStop {
            warned_at: self.warned_at.unwrap_or(now),
            at: now,
            trigger,
            grounds: grounds(now, &self.policy, &self.known),
            met: None,
        });
    }

    /// Whether a look after the stop shows somebody at work, soon enough that they would have missed the space.
    fn meet(&mut self, now: OffsetDateTime) {
        let (idle, known) = (self.policy.idle, &self.known);
        let Some(stop) = self.replayed.stop.as_mut().filter(|stop| stop.met.is_none()) else { return };
        let Some(look) = known.last() else { return };
        let soon = |at: OffsetDateTime| stop.at < at && at - stop.at <= idle;
        let from_outside = look.outside.signs.iter().filter(|seen| seen.sign.from_outside());
        let person = from_outside.filter(|seen| soon(seen.at)).min_by_key(|seen| seen.at).cloned();
        // What is at work inside, be it true or made up.
        let busy = known.busy().filter(|_| soon(now));
        let busy = busy.map(|sign| Seen { sign, at: now, by: None });
        let held = look.hold.as_ref().filter(|hold| hold.until > now && soon(now));
        stop.met = match (person, held, busy) {
            (Some(seen), ..) => Some(Met { at: seen.at, what: Because::Seen(seen) }),
            (None, Some(hold), _) => Some(Met { at: now, what: Because::Held(hold.clone()) }),
            (None, None, Some(seen)) => Some(Met { at: now, what: Because::Seen(seen) }),
            (None, None, None) => None,
        };
    }
}

impl Met {
    /// What it was, in a few words: `a key`, `a kernel at work`.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.what {
            Because::Held(hold) => format!("a hold by {}", hold.by),
            Because::Seen(seen) => {
                let what = match seen.sign {
                    Sign::Started => "a start",
                    Sign::Keys => "a key",
                    Sign::Opened => "a shell or sftp",
                    Sign::Sent => "traffic to the space",
                    Sign::Received => "traffic from the space",
                    Sign::Screen => "output in a terminal",
                    Sign::KernelBusy => "a busy kernel",
                    Sign::Kernel => "a word of a kernel",
                    Sign::JupyterTerminal | Sign::Pty => "output in a terminal inside",
                    Sign::Cpu => "work on the CPU",
                    Sign::Gpu => "work on the GPU",
                };
                seen.by.as_ref().map_or_else(|| what.to_owned(), |by| format!("{what} of {by}"))
            }
        }
    }

    /// How long after the stop.
    #[must_use]
    pub fn after(&self, stop: &WouldStop) -> Duration {
        Duration::try_from(self.at - stop.at).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
