//! The gateway itself: its policies, and how it stands.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use super::told::Json;
use crate::domain::idle::{InsideRule, Rule};
use crate::domain::written::At;
use crate::store::state::{DomainState, ReplicaState, RunningHold};
use crate::web::pages::health::{Found, problems, replica_words};
use crate::web::pages::policies::covered;
use crate::web::site::Site;

/// When spaces count as idle, and what keeps them up all the same.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Policies {
    /// The policies, the nearest first: the first that fits a space is its policy.
    policies: Vec<PolicyFacts>,
    /// The holds that run.
    holds: Vec<HoldFacts>,
    /// The longest hold that somebody may make, in seconds.
    longest_hold_s: u64,
}

/// A policy.
#[derive(Debug, Serialize, ToSchema)]
struct PolicyFacts {
    /// What it is for.
    #[serde(rename = "for")]
    scope: String,
    /// `stop`, `dry-run` or `never`.
    mode: &'static str,
    /// Seconds without a sign of work after which a space counts as idle.
    idle_s: u64,
    /// Seconds between the warning and the stop.
    grace_s: u64,
    /// Working hours in words, if they have an idle time of their own.
    hours: Option<String>,
    /// CPU use that counts as work, in percent of a core.
    cpu_percent: f64,
    /// GPU use that counts as work, in percent of a GPU.
    gpu_percent: f64,
    /// Whether a space is only stopped if somebody has looked inside.
    looks_inside: bool,
    /// Seconds of a run after which what is found inside no longer postpones a stop.
    longest_run_s: Option<u64>,
    /// Spaces that run under it now.
    running: usize,
}

/// A hold.
#[derive(Debug, Serialize, ToSchema)]
struct HoldFacts {
    /// Its space, as `SPACE.DOMAIN`.
    space: String,
    /// Whose it is.
    by: String,
    /// Why; may be empty.
    reason: String,
    /// Since when.
    made_at: At,
    /// Until when.
    until: At,
}

/// How the installation stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// What is not well, a sentence each; empty when all is well.
    problems: Vec<String>,
    /// The replicas that run, or ended within a day.
    replicas: Vec<ReplicaFacts>,
    /// The domains that it serves.
    domains: Vec<DomainFacts>,
}

/// A replica of the gateway.
#[derive(Debug, Serialize, ToSchema)]
struct ReplicaFacts {
    /// Its id.
    id: String,
    /// The machine it runs on.
    host: String,
    /// `up`, `draining`, `ended`, or `lapsed`: silent for too long.
    state: &'static str,
    /// The release, where it has said.
    version: Option<String>,
    /// Since when it runs.
    started_at: At,
    /// When it was heard of last.
    renewed_at: At,
    /// Its live sessions.
    sessions: u64,
}

/// A domain.
#[derive(Debug, Serialize, ToSchema)]
struct DomainFacts {
    /// What the gateway calls it.
    domain: String,
    /// When its spaces were listed last.
    listed_at: Option<At>,
    /// Since when it is watched without a gap.
    watched_since: Option<At>,
    /// Gaps of the last seven days.
    gaps: u64,
    /// Its spaces.
    spaces: u64,
    /// Those that run.
    running: u64,
}

impl PolicyFacts {
    fn of(rule: &Rule, running: usize) -> Self {
        let policy = &rule.policy;
        Self {
            scope: rule.scope.to_string(),
            mode: policy.mode.as_str(),
            idle_s: policy.idle.as_secs(),
            grace_s: policy.grace.as_secs(),
            hours: policy.hours.as_ref().map(ToString::to_string),
            cpu_percent: policy.cpu_percent,
            gpu_percent: policy.gpu_percent,
            looks_inside: matches!(policy.inside, InsideRule::Required),
            longest_run_s: policy.longest_run.map(|time| Duration::as_secs(&time)),
            running,
        }
    }
}

impl From<RunningHold> for HoldFacts {
    fn from(hold: RunningHold) -> Self {
        Self {
            space: hold.space,
            by: hold.by,
            reason: hold.reason,
            made_at: hold.made_at.into(),
            until: hold.until.into(),
        }
    }
}

impl From<&ReplicaState> for ReplicaFacts {
    fn from(replica: &ReplicaState) -> Self {
        Self {
            id: replica.id.to_string(),
            host: replica.host.clone(),
            state: replica_words(replica).0,
            version: replica.version.clone(),
            started_at: replica.started_at.into(),
            renewed_at: replica.renewed_at.into(),
            sessions: replica.sessions,
        }
    }
}

impl From<&DomainState> for DomainFacts {
    fn from(domain: &DomainState) -> Self {
        Self {
            domain: domain.alias.clone(),
            listed_at: domain.written_at.map(At::from),
            watched_since: domain.watched_since.map(At::from),
            gaps: domain.gaps,
            spaces: domain.spaces,
            running: domain.running,
        }
    }
}

/// Every policy, with how many spaces run under it now, and the holds that run.
#[utoipa::path(
    get, path = "/policies", operation_id = "getPolicies", tag = "Gateway",
    responses((status = 200, body = Policies)), security(("token" = ["gateway:read"]))
)]
pub(super) async fn policies(State(site): State<Arc<Site>>) -> Result<Json<Policies>, Problem> {
    let idle = &site.ledger.idle;
    let runs = site.store.open_runs().await?;
    let users = Arc::clone(&site.identity.everybody().borrow());
    let covered = covered(&idle.policies, &runs, &users);
    let running = |rule: &Rule| covered.get(&rule.scope).copied().unwrap_or_default();
    let holds = site.store.running_holds(site.clock.now()).await?;
    Ok(Json(Policies {
        policies: idle.policies.all().map(|rule| PolicyFacts::of(rule, running(rule))).collect(),
        holds: holds.into_iter().map(HoldFacts::from).collect(),
        longest_hold_s: idle.longest_hold.as_secs(),
    }))
}

/// What is not well, and every part of the gateway.
#[utoipa::path(
    get, path = "/health", operation_id = "getHealth", tag = "Gateway",
    responses((status = 200, body = Health)), security(("token" = ["gateway:read"]))
)]
pub(super) async fn health(State(site): State<Arc<Site>>) -> Result<Json<Health>, Problem> {
    let found = Found::read(&site).await?;
    let served = |domain: &&DomainState| site.ledger.domains.iter().any(|own| own.as_str() == domain.alias);
    Ok(Json(Health {
        problems: problems(&found, &site.ledger),
        replicas: found.replicas.iter().map(ReplicaFacts::from).collect(),
        domains: found.domains.iter().filter(served).map(DomainFacts::from).collect(),
    }))
}
