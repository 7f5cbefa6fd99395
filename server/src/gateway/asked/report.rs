//! What there is to say of a space, for terminal, page and API.

use time::OffsetDateTime;

use crate::domain::cost::Cost;
use crate::domain::idle::{Doubt, Ground, Verdict};
use crate::domain::ids::InstanceType;
use crate::domain::money::Money;
use crate::domain::space::{Space, SpaceState};
use crate::gateway::idle::{Ended, Status, Up};
use crate::store::sessions::LiveSession;

/// How much longer than a gap a judgement may be on its way here until it no longer counts.
const LATE: time::Duration = time::Duration::seconds(30);

/// What a space is doing, what that rests on, what it costs and who is in it.
#[derive(Debug, Clone)]
pub struct Report {
    /// The space, as listed last.
    pub space: Space,
    /// As of when.
    pub now: OffsetDateTime,
    /// What it runs on, or will.
    pub instance_type: Option<InstanceType>,
    /// What an hour costs, where it is known.
    pub price: Option<Money>,
    /// What it is doing, or how it ended.
    pub status: Status,
    /// What it cost this month.
    pub month: Cost,
    /// Who is in it.
    pub sessions: Vec<LiveSession>,
}

impl Report {
    /// What nobody has looked at for too long is unknown, whatever it was.
    pub(super) fn with_old_looks_unknown(mut self) -> Self {
        if let Some(up) = &mut self.status.up
            && let Some(at) = up.looked_at
            && self.now - at > up.rule.policy.longest_gap() + LATE
        {
            up.verdict = Some(Verdict::Unknown { because: Doubt::NotWatched { since: Some(at) } });
            up.stops_at = None;
        }
        self
    }

    /// The run, if the space runs.
    #[must_use]
    pub fn up(&self) -> Option<&Up> {
        self.status.up.as_ref().filter(|_| self.state() == SpaceState::Running)
    }

    /// How the last run ended, if the space is down.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        self.status.ended.as_ref().filter(|_| self.state() == SpaceState::Stopped)
    }

    /// What it is doing. A run that is on record counts before a listing of a moment ago that did not show it yet.
    #[must_use]
    pub fn state(&self) -> SpaceState {
        match (self.space.state(), &self.status.up) {
            (SpaceState::Running, None) => SpaceState::Stopped,
            (state, _) => state,
        }
    }

    /// What the verdict rests on, or the last stop.
    #[must_use]
    pub fn grounds(&self) -> &[Ground] {
        match (self.up(), self.ended()) {
            (Some(up), _) => &up.grounds,
            (None, Some(ended)) => &ended.grounds,
            (None, None) => &[],
        }
    }
}

/// When a run ended: the gateway's own stop is known better than by a listing.
#[must_use]
pub fn stopped_at(ended: &Ended) -> OffsetDateTime {
    ended.stop.as_ref().map_or(ended.at, |stop| stop.ended_at)
}

/// When a run stops unless somebody uses it, or would if its policy were no dry run.
#[must_use]
pub fn would_stop_at(up: &Up) -> Option<OffsetDateTime> {
    match &up.verdict {
        Some(Verdict::Idle { stop_at, .. }) => up.stops_at.or(*stop_at),
        _ => None,
    }
}
