//! Spaces: what they are doing, what that costs, and hold, stop and start.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::admit::Caller;
use super::problem::{Kind, Problem};
use super::read::{Body, Page, Paging, Query, page};
use super::told::Json;
use crate::domain::grant::{Reason, Term};
use crate::domain::ids::InstanceType;
use crate::domain::space::{Space, SpaceState};
use crate::domain::user::Role;
use crate::domain::written::At;
use crate::gateway::idle::Stopping;
use crate::gateway::{AskError, SpaceStatus, StartWish, Started};
use crate::ssh::told;
use crate::web::find::{Found, find, find_stoppable, find_usable};
use crate::web::rows::CostRow;
use crate::web::site::Site;

/// Decimals of a dollar.
const DECIMALS: u32 = 9;
/// Days of a space that are told at most.
const MOST_DAYS: u8 = 31;

/// Whose spaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Of {
    /// Those that the person may open.
    #[default]
    Mine,
    /// All; for auditors and admins.
    Everybody,
}

/// Which spaces to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Wanted {
    /// Whose.
    #[param(inline)]
    of: Of,
    /// Text in the name, the domain or the owner.
    q: Option<String>,
    /// Only those that run, if it is true.
    running: bool,
}

/// Which space.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Named {
    /// Its domain, as the gateway calls it.
    domain: String,
    /// Its name.
    space: String,
}

impl Named {
    fn seen(self, site: &Site, caller: &Caller) -> Result<Found, Problem> {
        find(site, &caller.user, &(self.domain, self.space)).ok_or_else(Problem::not_found)
    }

    fn stoppable(self, site: &Site, caller: &Caller) -> Result<Found, Problem> {
        find_stoppable(site, &caller.user, &(self.domain, self.space)).ok_or_else(Problem::not_found)
    }

    fn usable(self, site: &Site, caller: &Caller) -> Result<Found, Problem> {
        find_usable(site, &caller.user, &(self.domain, self.space)).ok_or_else(Problem::not_found)
    }
}

/// How a space is to be held.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldWish {
    /// How long, as a number and `m`, `h` or `d`.
    #[serde(rename = "for")]
    #[schema(example = "4h", pattern = "^[1-9][0-9]{0,4}[smhd]$")]
    lasts: String,
    /// Why; others read it.
    #[serde(default)]
    #[schema(max_length = 300)]
    because: String,
}

/// How a space is to be stopped.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StopWish {
    /// Also while others are in it.
    force: bool,
}

/// How a space is to be started.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Starting {
    /// On what, if not on what it has; one that is up is restarted.
    #[schema(example = "ml.m5.xlarge", pattern = r"^ml\.[a-zA-Z0-9.-]{1,60}$")]
    instance_type: Option<String>,
    /// Restart it also while others are in it.
    force: bool,
}

/// A hold as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Held {
    /// Until when this person's hold keeps the space up; none after letting go.
    until: Option<At>,
    /// Until when anybody's does.
    longest_until: Option<At>,
    /// What that time costs about, in US dollars, where the price is known.
    usd: Option<String>,
}

/// What becomes of a space.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Moving {
    /// `starting`, `running` if it was up already, or `stopping`.
    state: &'static str,
}

/// How many days.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Days {
    /// Days up to today.
    #[param(minimum = 1, maximum = 31, default = 7)]
    days: Option<u8>,
}

/// Spaces and what each is doing, by name.
#[utoipa::path(
    get, path = "/spaces", operation_id = "listSpaces", tag = "Spaces", params(Wanted, Paging),
    responses((status = 200, body = Page<SpaceStatus>)), security(("token" = ["spaces:read"]))
)]
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<SpaceStatus>>, Problem> {
    let limit = paging.items()?;
    let behind = paging.after::<String, String>()?;
    let mut spaces = match wanted.of {
        Of::Mine => site.gateway.spaces(&caller.user),
        Of::Everybody => {
            caller.at_least(Role::Auditor)?;
            site.gateway.every_space()
        }
    };
    let text = wanted.q.unwrap_or_default().trim().to_lowercase();
    spaces.retain(|space| space.is_called(&text));
    if wanted.running {
        spaces.retain(|space| space.state() == SpaceState::Running);
    }
    let place = |space: &Space| (space.name().to_string(), space.domain.to_string());
    spaces.sort_by_cached_key(place);
    spaces.retain(|space| behind.as_ref().is_none_or(|behind| place(space) > *behind));
    let Page { items, next } = page(spaces, limit, place);
    let reports = site.gateway.reports(items).await;
    let reports = reports.map_err(|error| Problem::asked(&error, "", &site))?;
    Ok(Json(Page { items: reports.iter().map(SpaceStatus::from).collect(), next }))
}

/// One space.
#[utoipa::path(
    get, path = "/spaces/{domain}/{space}", operation_id = "getSpace", tag = "Spaces",
    params(Named),
    responses((status = 200, body = SpaceStatus)), security(("token" = ["spaces:read"]))
)]
pub(super) async fn show(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(named): Path<Named>,
) -> Result<Json<SpaceStatus>, Problem> {
    let found = named.seen(&site, &caller)?;
    let report = site.gateway.report(&found.space).await;
    let report = report.map_err(|error| Problem::asked(&error, found.space.name().as_str(), &site))?;
    Ok(Json(SpaceStatus::from(&report)))
}

/// What a space cost on each of the last days, the newest last.
#[utoipa::path(
    get, path = "/spaces/{domain}/{space}/days", operation_id = "listSpaceDays", tag = "Spaces",
    params(Named, Days),
    responses((status = 200, body = Page<CostRow>)), security(("token" = ["spaces:read"]))
)]
pub(super) async fn days(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(named): Path<Named>,
    Query(wanted): Query<Days>,
) -> Result<Json<Page<CostRow>>, Problem> {
    let count = wanted.days.unwrap_or(7);
    if !(1..=MOST_DAYS).contains(&count) {
        return Err(Problem::new(Kind::Malformed, format!("days is 1 to {MOST_DAYS}, and not {count}.")));
    }
    let found = named.seen(&site, &caller)?;
    let (zone, now) = (site.gateway.cost_zone(), site.clock.now());
    let today = zone.date(now);
    let days = zone.days(today - time::Duration::days(i64::from(count) - 1), today);
    let costs = site.gateway.days_of_space(found.space.id, &days).await;
    let costs = costs.map_err(|error| Problem::asked(&error, found.space.name().as_str(), &site))?;
    let items = days.iter().zip(&costs).map(|(day, cost)| CostRow::of(&day.date.to_string(), cost)).collect();
    Ok(Json(Page { items, next: None }))
}

/// Keeps a space up for a time, in place of an earlier hold of the same person.
#[utoipa::path(
    post, path = "/spaces/{domain}/{space}/hold", operation_id = "holdSpace", tag = "Spaces",
    params(Named),
    request_body = HoldWish,
    responses((status = 200, body = Held)), security(("token" = ["spaces:write"]))
)]
pub(super) async fn hold(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(named): Path<Named>,
    Body(wish): Body<HoldWish>,
) -> Result<Json<Held>, Problem> {
    let term = wish.lasts.parse::<Term>().ok().and_then(|term| term.within(Duration::MAX).ok());
    let rule = "for is how long the space is held, such as 90m, 4h or 1d.";
    let length = term.ok_or_else(|| Problem::invalid(rule))?;
    let reason = match wish.because.parse::<Reason>() {
        Ok(reason) => reason.as_str().to_owned(),
        Err(_) if wish.because.trim().is_empty() => String::new(),
        Err(why) => return Err(Problem::invalid(format!("It is not held: {why}."))),
    };
    holding(&site, &caller, named, (Some(length), &reason)).await
}

/// Lets go of a space: the person's hold is over.
#[utoipa::path(
    delete, path = "/spaces/{domain}/{space}/hold", operation_id = "releaseSpace", tag = "Spaces",
    params(Named),
    responses((status = 200, body = Held)), security(("token" = ["spaces:write"]))
)]
pub(super) async fn release(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(named): Path<Named>,
) -> Result<Json<Held>, Problem> {
    holding(&site, &caller, named, (None, "")).await
}

async fn holding(
    site: &Site,
    caller: &Caller,
    named: Named,
    wish: (Option<Duration>, &str),
) -> Result<Json<Held>, Problem> {
    let found = named.stoppable(site, caller)?;
    let held = site.gateway.hold(&caller.asker(), &found.space, wish).await;
    let held = held.map_err(|error| refused(site, &found, &error))?;
    Ok(Json(Held {
        until: held.until.map(At::second),
        longest_until: held.longest.map(|hold| At::second(hold.until)),
        usd: held.cost.map(|cost| cost.decimal(DECIMALS)),
    }))
}

/// Stops a space. Files stay.
#[utoipa::path(
    post, path = "/spaces/{domain}/{space}/stop", operation_id = "stopSpace", tag = "Spaces",
    params(Named),
    request_body = Option<StopWish>,
    responses((status = 202, body = Moving)), security(("token" = ["spaces:write"]))
)]
pub(super) async fn stop(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(named): Path<Named>,
    Body(wish): Body<StopWish>,
) -> Result<(StatusCode, Json<Moving>), Problem> {
    let found = named.stoppable(&site, &caller)?;
    let stopped = site.gateway.stop(&caller.asker(), &found.space, wish.force).await;
    let stopped = stopped.map_err(|error| refused(&site, &found, &error))?;
    if stopped.outcome == Stopping::Stopping {
        return Ok((StatusCode::ACCEPTED, Json(Moving { state: "stopping" })));
    }
    let kind = if stopped.outcome == Stopping::Refused { Kind::Aws } else { Kind::Conflict };
    let why = told::not_stopped(&stopped.outcome, found.space.name().as_str(), found.space.state());
    Err(Problem::new(kind, why))
}

/// Starts a space, or restarts it on another instance type. It goes on by itself: ask for the space to see how far it is.
#[utoipa::path(
    post, path = "/spaces/{domain}/{space}/start", operation_id = "startSpace", tag = "Spaces",
    params(Named),
    request_body = Option<Starting>,
    responses((status = 200, description = "It is up already", body = Moving),
              (status = 202, description = "It is starting", body = Moving)),
    security(("token" = ["spaces:write"]))
)]
pub(super) async fn start(
    State(site): State<Arc<Site>>,
    caller: Caller,
    Path(named): Path<Named>,
    Body(wish): Body<Starting>,
) -> Result<(StatusCode, Json<Moving>), Problem> {
    let found = named.usable(&site, &caller)?;
    let instance_type = wish.instance_type.map(|text| text.parse::<InstanceType>()).transpose();
    let instance_type = instance_type.map_err(|error| Problem::invalid(format!("{error}.")))?;
    let wish = StartWish { instance_type, force: wish.force };
    let (name, clock, address) =
        (found.space.name().to_string(), Arc::clone(&site.clock), site.address.clone());
    let tell = move |error: &AskError| told::refusal(error, &name, clock.now(), &address);
    match site.gateway.start_alone(&caller.asker(), &found.space, &wish, tell).await {
        Ok(Started::Now) => Ok((StatusCode::ACCEPTED, Json(Moving { state: "starting" }))),
        Ok(Started::Already) => Ok((StatusCode::OK, Json(Moving { state: "running" }))),
        Err(error) => Err(refused(&site, &found, &error)),
    }
}

fn refused(site: &Site, found: &Found, error: &AskError) -> Problem {
    Problem::asked(error, found.space.name().as_str(), site)
}
