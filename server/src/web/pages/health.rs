//! How the installation stands, for auditors and admins: what is wrong first, then every part of it.
//!
//! This is for people. Load balancers and monitors ask the operators' listener.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use time::OffsetDateTime;

use super::{Bar, Problem, page_of};
use crate::domain::bytes;
use crate::domain::ids::ReplicaId;
use crate::store::StoreError;
use crate::store::audit::search::Sealed;
use crate::store::state::{DomainState, JobState, PriceState, ReplicaState};
use crate::web::amounts::thousands;
use crate::web::ledger::Ledger;
use crate::web::show::{WallClock, When};
use crate::web::site::Site;
use crate::web::visit::Onlooker;

/// A domain that was not listed for so many intervals, or this many seconds, is not watched.
const MISSED: f64 = 3.0;
const AT_LEAST_S: f64 = 60.0;
/// Rows of the audit log wait no longer than this for their seal; `spaceport audit verify` says the same.
const SEALED_WITHIN: time::Duration = time::Duration::minutes(1);

#[derive(Template)]
#[template(path = "health.html")]
struct HealthPage {
    bar: Option<Bar>,
    title: String,
    problems: Vec<String>,
    postgres: &'static str,
    spool: String,
    dropped: String,
    catalogue: &'static str,
    sealed: String,
    replicas: Vec<ReplicaRow>,
    domains: Vec<DomainRow>,
    jobs: Vec<JobRow>,
    prices: Vec<PriceRow>,
    providers: Vec<(String, String)>,
}

struct ReplicaRow {
    host: String,
    id: String,
    this: bool,
    state: &'static str,
    class: &'static str,
    version: String,
    since: When,
    renewed: String,
    sessions: u64,
}

struct DomainRow {
    alias: String,
    listed: String,
    late: bool,
    since: Option<When>,
    gaps: String,
    spaces: u64,
    running: u64,
}

struct JobRow {
    name: String,
    holder: String,
    until: Option<When>,
}

struct PriceRow {
    region: String,
    read: Option<When>,
    prices: String,
    due: When,
    problem: String,
}

/// Everything that the tables were asked.
pub(in crate::web) struct Found {
    now: OffsetDateTime,
    pub(in crate::web) replicas: Vec<ReplicaState>,
    pub(in crate::web) domains: Vec<DomainState>,
    jobs: Vec<JobState>,
    prices: Vec<PriceState>,
    sealed: Sealed,
}

impl Found {
    pub(in crate::web) async fn read(site: &Site) -> Result<Self, StoreError> {
        let store = &site.store;
        Ok(Self {
            now: site.clock.now(),
            replicas: store.replica_states().await?,
            domains: store.domain_states().await?,
            jobs: store.job_states().await?,
            prices: store.price_states().await?,
            sealed: store.audit_sealed().await?,
        })
    }
}

/// How everything stands.
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
) -> Result<Response, Problem> {
    let (ledger, found) = (&site.ledger, Found::read(&site).await?);
    let problems = problems(&found, ledger);
    let wall = person.wall(found.now);
    let (up, dropped) = (ledger.recorder.is_up(), ledger.recorder.dropped());
    Ok(page_of(&HealthPage {
        bar: Some(Bar::of(&person, "/health")),
        title: title(problems.len()),
        problems,
        postgres: if up { "up" } else { "away when it was last asked" },
        spool: match ledger.recorder.waiting_bytes() {
            0 => "empty".to_owned(),
            waiting => format!("{} wait to be replayed", bytes::shown(waiting)),
        },
        dropped: thousands(&dropped.to_string()),
        catalogue: if site.gateway.catalogue_read() { "read" } else { "not read yet" },
        sealed: super::audit::chain(&found.sealed, &wall),
        replicas: found.replicas.iter().map(|one| replica_row(one, ledger.replica, &wall)).collect(),
        domains: domain_rows(&found, ledger, &wall),
        jobs: found.jobs.iter().map(|job| job_row(job, &wall)).collect(),
        prices: found.prices.iter().map(|price| price_row(price, &wall)).collect(),
        providers: ledger.providers.iter().map(|(name, alias)| (name.clone(), alias.to_string())).collect(),
    }))
}

fn title(problems: usize) -> String {
    match problems {
        0 => "All is well".to_owned(),
        1 => "One thing is not well".to_owned(),
        many => format!("{many} things are not well"),
    }
}

/// What is not well, a sentence each.
pub(in crate::web) fn problems(found: &Found, ledger: &Ledger) -> Vec<String> {
    let mut problems = Vec::new();
    if !ledger.recorder.is_up() {
        problems.push("This replica has lost touch with Postgres: new sessions are refused.".to_owned());
    }
    if ledger.recorder.dropped() > 0 {
        problems.push(
            "Changes of the record were dropped, because the spool was full or its disk failed.".to_owned(),
        );
    }
    for replica in found.replicas.iter().filter(|replica| replica.lapsed) {
        problems.push(format!(
            "The replica on {} renewed its lease last {} ago, and did not end in order.",
            replica.host,
            seconds(replica.age_s)
        ));
    }
    for alias in &ledger.domains {
        let state = found.domains.iter().find(|state| state.alias == alias.as_str());
        match state.and_then(|state| state.age_s) {
            None => problems.push(format!("Domain {alias} has not been listed yet: its spaces are unknown.")),
            Some(age) if is_late(age, ledger) => {
                problems.push(format!("Domain {alias} was last listed {} ago.", seconds(age)));
            }
            Some(_) => {}
        }
    }
    for price in &found.prices {
        if let Some(problem) = &price.problem {
            problems.push(format!("The price list of {} could not be read: {problem}.", price.region));
        }
    }
    if found.sealed.waits_since.is_some_and(|since| found.now - since > SEALED_WITHIN) {
        problems.push("The audit log is not being sealed: rows have waited for over a minute.".to_owned());
    }
    problems
}

fn is_late(age_s: f64, ledger: &Ledger) -> bool {
    age_s > (ledger.listed_every.as_secs_f64() * MISSED).max(AT_LEAST_S)
}

/// A length of time that Postgres told.
fn seconds(age_s: f64) -> String {
    let whole = age_s.max(0.0) as u64;
    if whole < 120 {
        crate::domain::span::shown(whole)
    } else {
        crate::domain::span::rough(time::Duration::seconds_f64(age_s))
    }
}

/// How a replica stands, and the colour of that.
pub(in crate::web) const fn replica_words(state: &ReplicaState) -> (&'static str, &'static str) {
    match (state.released_at, state.lapsed, state.draining_at) {
        (Some(_), ..) => ("ended", "stopped"),
        (None, true, _) => ("lapsed", "failed"),
        (None, false, Some(_)) => ("draining", "stopping"),
        (None, false, None) => ("up", "running"),
    }
}

fn replica_row(state: &ReplicaState, own: ReplicaId, wall: &WallClock) -> ReplicaRow {
    let (word, class) = replica_words(state);
    ReplicaRow {
        host: state.host.clone(),
        id: state.id.short(),
        this: state.id == own,
        state: word,
        class,
        version: state.version.clone().unwrap_or_else(|| "unknown".to_owned()),
        since: When::at(state.started_at, wall),
        renewed: format!("{} ago, good for {} s", seconds(state.age_s), state.lease_s),
        sessions: state.sessions,
    }
}

/// The configured domains; those that are no longer are not watched.
fn domain_rows(found: &Found, ledger: &Ledger, wall: &WallClock) -> Vec<DomainRow> {
    let row = |alias: &str| {
        let state = found.domains.iter().find(|state| state.alias == alias);
        let age = state.and_then(|state| state.age_s);
        DomainRow {
            alias: alias.to_owned(),
            listed: age.map_or_else(|| "unknown".to_owned(), |age| format!("{} ago", seconds(age))),
            late: age.is_none_or(|age| is_late(age, ledger)),
            since: state.and_then(|state| state.watched_since).map(|since| When::at(since, wall)),
            gaps: state.map_or_else(|| "unknown".to_owned(), |state| state.gaps.to_string()),
            spaces: state.map_or(0, |state| state.spaces),
            running: state.map_or(0, |state| state.running),
        }
    };
    ledger.domains.iter().map(|alias| row(alias.as_str())).collect()
}

fn job_row(job: &JobState, wall: &WallClock) -> JobRow {
    let host = job.host.as_deref().unwrap_or("unknown");
    JobRow {
        name: job.name.clone(),
        holder: if job.over { "nobody".to_owned() } else { format!("{host}, {}", job.replica.short()) },
        until: (!job.over).then(|| When::at(job.until, wall)),
    }
}

fn price_row(price: &PriceState, wall: &WallClock) -> PriceRow {
    let count = |count: Option<i32>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let unreadable = price.malformed.filter(|count| *count > 0);
    PriceRow {
        region: price.region.clone(),
        read: price.read_at.map(|at| When::at(at, wall)),
        prices: count(price.prices),
        due: When::at(price.due_at, wall),
        problem: match (&price.problem, unreadable) {
            (Some(problem), _) => problem.clone(),
            (None, Some(count)) => format!("{count} of its rows cannot be read"),
            (None, None) => String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_as_closely_as_they_matter() {
        assert_eq!([0.4, 59.9, 119.0, 7_260.0].map(seconds), ["0 s", "59 s", "1 min 59 s", "2 h 1 min"]);
        assert_eq!([0, 1, 3].map(title), ["All is well", "One thing is not well", "3 things are not well"]);
    }
}
