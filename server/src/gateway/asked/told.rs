//! A report as programs read it, on the command line and through the API. Its names stay.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use super::report::{Report, stopped_at, would_stop_at};
use crate::domain::cost::Cost;
use crate::domain::idle::{Because, Ground, Hold, Mode, Trigger, Verdict};
use crate::domain::ids::InstanceType;
use crate::domain::written::At;
use crate::gateway::idle::{Ended, Up};
use crate::store::sessions::LiveSession;

/// Decimals of a dollar.
const DECIMALS: u32 = 9;

/// What a space is doing and why, what it costs, and who is in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpaceStatus {
    /// Its name.
    #[schema(example = "churn-model")]
    space: String,
    /// Its domain, as the gateway calls it.
    #[schema(example = "main")]
    domain: String,
    /// The user profile that owns it; none of a shared space.
    owner: Option<String>,
    /// `JupyterLab` or `CodeEditor`, if it is known.
    app_type: Option<String>,
    /// What it runs on, ran on last or is set to run on.
    #[schema(example = "ml.t3.medium")]
    instance_type: Option<String>,
    /// The price of an hour in US dollars, with nine decimals; none where it is not known.
    #[schema(example = "0.050000000")]
    usd_per_hour: Option<String>,
    /// `running`, `starting`, `stopping`, `stopped`, `updating` or `failed`.
    state: String,
    /// Since when it runs or is stopped.
    since: Option<At>,
    /// Of one that runs: `active`, `idle` or `unknown`.
    verdict: Option<&'static str>,
    /// What the verdict rests on: a sign of work, `held`, or why nothing is known.
    because: Option<String>,
    /// The last sign of work of an idle space.
    idle_since: Option<At>,
    /// When it was judged last.
    looked_at: Option<At>,
    /// When it will be stopped unless somebody uses it.
    stops_at: Option<At>,
    /// What it cost since the month began.
    month: MonthCost,
    /// The hold that keeps it up longest.
    hold: Option<HoldStatus>,
    /// The policy for it while it runs.
    policy: Option<PolicyStatus>,
    /// How it ended.
    stopped: Option<StopStatus>,
    /// What the verdict or the stop rests on, newest first.
    evidence: Vec<Evidence>,
    /// The sessions of people who are in it.
    sessions: Vec<SpaceSession>,
}

/// What a space cost since the month began, in US dollars.
#[derive(Debug, Serialize, ToSchema)]
struct MonthCost {
    /// Everything with a known price.
    total_usd: String,
    /// The part of it in which nobody worked.
    idle_usd: String,
    /// Whether something has no known price, so that it cost more.
    at_least: bool,
}

/// A hold on a space.
#[derive(Debug, Serialize, ToSchema)]
struct HoldStatus {
    /// Until when it keeps the space up.
    until: At,
    /// Whose it is.
    by: String,
    /// Why, in their words; may be empty.
    reason: String,
}

/// The policy for a space.
#[derive(Debug, Serialize, ToSchema)]
struct PolicyStatus {
    /// What it is for.
    #[serde(rename = "for")]
    scope: String,
    /// `stop`, `dry-run` or `never`.
    mode: &'static str,
    /// Seconds without a sign of work after which the space counts as idle.
    idle_s: u64,
}

/// How a space was stopped.
#[derive(Debug, Serialize, ToSchema)]
struct StopStatus {
    /// When.
    at: At,
    /// `idle`, `person`, or `other`: not by the gateway.
    by: &'static str,
    /// Who, if a person did.
    person: Option<String>,
    /// The policy by which the gateway did.
    policy: Option<String>,
}

/// Something that was seen of a space.
#[derive(Debug, Serialize, ToSchema)]
struct Evidence {
    /// When.
    at: At,
    /// What kind of sign it is.
    word: &'static str,
    /// What was seen.
    what: String,
}

/// A session of a person in a space.
#[derive(Debug, Serialize, ToSchema)]
struct SpaceSession {
    /// Its id.
    id: String,
    /// Who.
    user: String,
    /// `session`, or `jump` if ssh is encrypted up to the space.
    mode: String,
    /// The client's version line.
    client: String,
    /// Where the client connects from.
    address: String,
    /// Since when.
    started_at: At,
    /// Since when the person has done nothing.
    quiet_since: At,
}

/// As JSON, on one line.
impl fmt::Display for SpaceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl From<&Report> for SpaceStatus {
    fn from(report: &Report) -> Self {
        let (up, space) = (report.up(), &report.space);
        let verdict = up.and_then(|up| up.verdict.as_ref());
        let (because, idle_since) = match verdict {
            Some(Verdict::Active { because: Because::Seen(seen) }) => (Some(seen.sign.to_string()), None),
            Some(Verdict::Active { because: Because::Held(_) }) => (Some("held".to_owned()), None),
            Some(Verdict::Idle { since, .. }) => (None, Some(*since)),
            Some(Verdict::Unknown { because }) => (Some(because.to_string()), None),
            None => (None, None),
        };
        let app_type = space.app.as_ref().map(|app| app.app_type).or(space.app_type);
        let stops = up.filter(|up| up.rule.policy.mode == Mode::Stop).and_then(would_stop_at);
        let since = up.map(|up| up.run.began_at).or_else(|| report.ended().map(stopped_at));
        Self {
            space: space.name().to_string(),
            domain: space.domain.to_string(),
            owner: space.owner.as_ref().map(ToString::to_string),
            app_type: app_type.map(|app_type| app_type.to_string()),
            instance_type: report.instance_type.as_ref().map(InstanceType::to_string),
            usd_per_hour: report.price.map(|price| price.decimal(DECIMALS)),
            state: report.state().to_string(),
            since: since.map(At::second),
            verdict: up.map(|_| verdict.map_or("unknown", Verdict::as_str)),
            because,
            idle_since: idle_since.map(At::second),
            looked_at: up.and_then(|up| up.looked_at).map(At::second),
            stops_at: stops.map(At::second),
            month: MonthCost::from(&report.month),
            hold: up.and_then(|up| up.hold.as_ref()).map(HoldStatus::from),
            policy: up.map(PolicyStatus::from),
            stopped: report.ended().map(StopStatus::from),
            evidence: report.grounds().iter().map(Evidence::from).collect(),
            sessions: report.sessions.iter().map(SpaceSession::from).collect(),
        }
    }
}

impl From<&Cost> for MonthCost {
    fn from(month: &Cost) -> Self {
        Self {
            total_usd: month.total().decimal(DECIMALS),
            idle_usd: month.spent.idle.decimal(DECIMALS),
            at_least: month.at_least(),
        }
    }
}

impl From<&Hold> for HoldStatus {
    fn from(hold: &Hold) -> Self {
        Self { until: At::second(hold.until), by: hold.by.clone(), reason: hold.reason.clone() }
    }
}

impl From<&Up> for PolicyStatus {
    fn from(up: &Up) -> Self {
        let policy = &up.rule.policy;
        Self { scope: up.rule.scope.to_string(), mode: policy.mode.as_str(), idle_s: policy.idle.as_secs() }
    }
}

impl From<&Ended> for StopStatus {
    fn from(ended: &Ended) -> Self {
        let (by, person) = match ended.stop.as_ref().map(|stop| &stop.trigger) {
            Some(Trigger::Idle { .. }) => ("idle", None),
            Some(Trigger::Person { by }) => ("person", Some(by.to_string())),
            None => ("other", None),
        };
        let policy = ended.stop.as_ref().map(|stop| stop.policy.to_string());
        Self { at: At::second(stopped_at(ended)), by, person, policy }
    }
}

impl From<&Ground> for Evidence {
    fn from(ground: &Ground) -> Self {
        Self { at: At::second(ground.at), word: ground.word, what: ground.what.clone() }
    }
}

impl From<&LiveSession> for SpaceSession {
    fn from(session: &LiveSession) -> Self {
        Self {
            id: session.id.to_string(),
            user: session.user.clone(),
            mode: session.mode.clone(),
            client: session.client_version.clone(),
            address: session.client_address.clone(),
            started_at: At::second(session.started_at),
            quiet_since: At::second(session.quiet_since()),
        }
    }
}
