//! What there is to say of a space, for terminal, page and API.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::cost::Cost;
use crate::domain::idle::{Because, Doubt, Ground, Hold, Mode, Trigger, Verdict};
use crate::domain::ids::InstanceType;
use crate::domain::money::Money;
use crate::domain::space::{Space, SpaceState};
use crate::gateway::idle::{Ended, Status, Up};
use crate::store::sessions::LiveSession;

/// How much longer than a gap a judgement may be on its way here until it no longer counts.
const LATE: time::Duration = time::Duration::seconds(30);
/// Decimals of a dollar.
const DECIMALS: u32 = 9;

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

    /// One object. Its names stay.
    #[must_use]
    pub fn json(&self) -> Value {
        let (up, space) = (self.up(), &self.space);
        let verdict = up.and_then(|up| up.verdict.as_ref());
        let (because, idle_since) = match verdict {
            Some(Verdict::Active { because: Because::Seen(seen) }) => (Some(seen.sign.to_string()), None),
            Some(Verdict::Active { because: Because::Held(_) }) => (Some("held".to_owned()), None),
            Some(Verdict::Idle { since, .. }) => (None, Some(*since)),
            Some(Verdict::Unknown { because }) => (Some(because.to_string()), None),
            None => (None, None),
        };
        let app_type = space.app.as_ref().map(|app| app.app_type).or(space.app_type);
        let word = up.map(|_| verdict.map_or("unknown", Verdict::as_str));
        json!({
            "space": space.name().as_str(),
            "domain": space.domain.as_str(),
            "owner": space.owner.as_ref().map(|owner| owner.as_str()),
            "app_type": app_type.map(|app_type| app_type.to_string()),
            "instance_type": self.instance_type.as_ref().map(InstanceType::as_str),
            "usd_per_hour": self.price.map(|price| price.decimal(DECIMALS)),
            "state": self.state().to_string(),
            "since": up.map(|up| written(up.run.began_at)).or_else(|| self.ended().map(|e| written(stopped_at(e)))),
            "verdict": word,
            "because": because,
            "idle_since": idle_since.map(written),
            "looked_at": up.and_then(|up| up.looked_at).map(written),
            "stops_at": up.filter(|up| up.rule.policy.mode == Mode::Stop).and_then(would_stop_at).map(written),
            "month": {
                "total_usd": self.month.total().decimal(DECIMALS),
                "idle_usd": self.month.spent.idle.decimal(DECIMALS),
                "at_least": self.month.at_least(),
            },
            "hold": up.and_then(|up| up.hold.as_ref()).map(hold),
            "policy": up.map(|up| json!({
                "for": up.rule.scope.to_string(),
                "mode": up.rule.policy.mode.as_str(),
                "idle_s": up.rule.policy.idle.as_secs(),
            })),
            "stopped": self.ended().map(stopped),
            "evidence": self.grounds().iter().map(ground).collect::<Vec<_>>(),
            "sessions": self.sessions.iter().map(session).collect::<Vec<_>>(),
        })
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

fn hold(hold: &Hold) -> Value {
    json!({ "until": written(hold.until), "by": hold.by, "reason": hold.reason })
}

fn stopped(ended: &Ended) -> Value {
    let (by, person) = match ended.stop.as_ref().map(|stop| &stop.trigger) {
        Some(Trigger::Idle { .. }) => ("idle", None),
        Some(Trigger::Person { by }) => ("person", Some(by)),
        None => ("other", None),
    };
    let policy = ended.stop.as_ref().map(|stop| &stop.policy);
    json!({ "at": written(stopped_at(ended)), "by": by, "person": person, "policy": policy })
}

fn ground(ground: &Ground) -> Value {
    json!({ "at": written(ground.at), "word": ground.word, "what": ground.what })
}

fn session(session: &LiveSession) -> Value {
    json!({
        "id": session.id.to_string(),
        "user": session.user,
        "mode": session.mode,
        "client": session.client_version,
        "address": session.client_address,
        "started_at": written(session.started_at),
        "quiet_since": written(session.quiet_since()),
    })
}

/// RFC 3339, in UTC, to the second.
fn written(at: OffsetDateTime) -> String {
    let at = at.replace_nanosecond(0).unwrap_or(at).to_offset(time::UtcOffset::UTC);
    at.format(&Rfc3339).unwrap_or_default()
}
