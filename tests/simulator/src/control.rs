//! The control API: what `Simulator`'s methods can do, as JSON over HTTP behind a bearer token.
//! `README.md` lists the routes; their bodies are the types of `requests`.

mod requests;

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use self::requests::{
    ActionOfRole, Capacity, ClockOffset, DelayOf, DelaysPatch, Expire, Fail, ListedPrice, NewProfile,
    NewProvider, Quota, SwitchesPatch, TrailFilter,
};
use crate::faults::RequestRate;
use crate::fixture::SpaceSpec;
use crate::handle::SpaceChange;
use crate::inside::{Gpus, Jupyter};
use crate::sessions::StreamFaults;
use crate::simulator::Simulator;

/// What the control API works on.
pub(crate) struct Control {
    pub(crate) simulator: Simulator,
    pub(crate) stream_faults: Option<Arc<dyn StreamFaults>>,
}

type Shared = State<Arc<Control>>;

/// A refusal in words.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self(StatusCode::BAD_REQUEST, format!("{error:#}"))
    }
}

type Answer = Result<Json<Value>, Refused>;

fn done() -> Json<Value> {
    Json(json!({}))
}

fn shown(value: impl serde::Serialize) -> Answer {
    serde_json::to_value(value).map(Json).map_err(|error| anyhow::Error::new(error).into())
}

/// The routes.
pub(crate) fn router(control: Control) -> Router {
    let control = Arc::new(control);
    Router::new()
        .route("/spaces", get(list_spaces).post(create_space))
        .route("/spaces/{domain}/{name}", get(show_space).patch(change_space).delete(delete_space))
        .route("/spaces/{domain}/{name}/start", post(start_app))
        .route("/spaces/{domain}/{name}/stop", post(stop_app))
        .route("/spaces/{domain}/{name}/jupyter", put(set_jupyter))
        .route("/spaces/{domain}/{name}/gpus", put(set_gpus))
        .route("/spaces/{domain}/{name}/tmp/{file}", get(read_tmp))
        .route("/profiles", post(create_profile))
        .route("/profiles/{domain}/{name}", axum::routing::delete(delete_profile))
        .route("/quotas/{instance_type}", put(set_quota))
        .route("/prices", put(set_price).delete(clear_prices))
        .route("/faults", axum::routing::delete(clear_faults))
        .route("/faults/fail", post(fail))
        .route("/faults/delay", post(delay))
        .route("/faults/capacity", post(capacity))
        .route("/faults/stream", post(stream_fault))
        .route("/rate", put(limit_rate).delete(unlimit_rate))
        .route("/switches", get(switches).patch(switch))
        .route("/delays", axum::routing::patch(delays))
        .route("/clock", put(clock))
        .route("/credentials/expire", post(expire))
        .route("/roles/{account}/{role}/policy", put(role_policy))
        .route("/roles/{account}/{role}/trust", put(role_trust))
        .route("/roles/{account}/{role}/deny", post(deny_action))
        .route("/roles/{account}/{role}/allow", post(allow_action))
        .route("/oidc-providers", post(oidc_provider))
        .route("/cloudtrail", get(cloudtrail).delete(clear_cloudtrail))
        .layer(middleware::from_fn_with_state(Arc::clone(&control), authorize))
        .route("/health", get(|| async { "ok" }))
        .with_state(control)
}

async fn authorize(State(control): Shared, request: Request, next: Next) -> Response {
    let sent = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = sent.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let expected = control.simulator.control_token();
    match aws_lc_rs::constant_time::verify_slices_are_equal(token.as_bytes(), expected.as_bytes()) {
        Ok(()) => next.run(request).await,
        Err(_) => Refused(StatusCode::UNAUTHORIZED, "the bearer token is wrong".to_owned()).into_response(),
    }
}

impl Control {
    fn arn(&self, (domain, name): &(String, String)) -> Result<String, Refused> {
        self.simulator
            .space_arn_in(domain, name)
            .ok_or_else(|| Refused(StatusCode::NOT_FOUND, format!("no space {name} in {domain}")))
    }
}

async fn list_spaces(State(control): Shared) -> Answer {
    shown(control.simulator.spaces())
}

async fn create_space(State(control): Shared, Json(spec): Json<SpaceSpec>) -> Answer {
    let arn = control.simulator.create_space(spec).await?;
    shown(control.simulator.space(&arn)?)
}

async fn show_space(State(control): Shared, Path(path): Path<(String, String)>) -> Answer {
    shown(control.simulator.space(&control.arn(&path)?)?)
}

async fn change_space(
    State(control): Shared,
    Path(path): Path<(String, String)>,
    Json(change): Json<SpaceChange>,
) -> Answer {
    let arn = control.arn(&path)?;
    control.simulator.change_space(&arn, |wanted| *wanted = change)?;
    shown(control.simulator.space(&arn)?)
}

async fn delete_space(State(control): Shared, Path(path): Path<(String, String)>) -> Answer {
    control.simulator.delete_space(&control.arn(&path)?).await?;
    Ok(done())
}

async fn start_app(State(control): Shared, Path(path): Path<(String, String)>) -> Answer {
    let arn = control.arn(&path)?;
    control.simulator.start_app(&arn)?;
    shown(control.simulator.space(&arn)?)
}

async fn stop_app(State(control): Shared, Path(path): Path<(String, String)>) -> Answer {
    let arn = control.arn(&path)?;
    control.simulator.stop_app(&arn)?;
    shown(control.simulator.space(&arn)?)
}

async fn set_jupyter(
    State(control): Shared,
    Path(path): Path<(String, String)>,
    Json(jupyter): Json<Jupyter>,
) -> Answer {
    control.simulator.set_jupyter(&control.arn(&path)?, jupyter).await?;
    Ok(done())
}

async fn set_gpus(
    State(control): Shared,
    Path(path): Path<(String, String)>,
    Json(gpus): Json<Gpus>,
) -> Answer {
    control.simulator.set_gpus(&control.arn(&path)?, gpus).await?;
    Ok(done())
}

async fn read_tmp(
    State(control): Shared,
    Path((domain, name, file)): Path<(String, String, String)>,
) -> Answer {
    let arn = control.arn(&(domain, name))?;
    shown(json!({ "text": control.simulator.read_tmp(&arn, &file)? }))
}

async fn create_profile(State(control): Shared, Json(new): Json<NewProfile>) -> Answer {
    let domain = new.domain.as_deref().unwrap_or_else(|| control.simulator.default_domain());
    control.simulator.create_profile(domain, &new.name)?;
    Ok(done())
}

async fn delete_profile(State(control): Shared, Path((domain, name)): Path<(String, String)>) -> Answer {
    control.simulator.delete_profile(&domain, &name)?;
    Ok(done())
}

async fn set_quota(State(control): Shared, Path(kind): Path<String>, Json(quota): Json<Quota>) -> Answer {
    control.simulator.set_quota(&kind, quota.limit);
    Ok(done())
}

async fn set_price(State(control): Shared, Json(price): Json<ListedPrice>) -> Answer {
    control.simulator.set_price(&price.region, &price.platform, &price.instance_type, &price.usd);
    Ok(done())
}

async fn clear_prices(State(control): Shared) -> Answer {
    control.simulator.clear_products();
    Ok(done())
}

async fn clear_faults(State(control): Shared) -> Answer {
    control.simulator.clear_faults();
    Ok(done())
}

async fn fail(State(control): Shared, Json(fail): Json<Fail>) -> Answer {
    match &fail.message {
        Some(words) => control.simulator.fail_next_with(&fail.operation, &fail.error, words, fail.times),
        None => control.simulator.fail_next(&fail.operation, &fail.error, fail.times),
    }
    Ok(done())
}

async fn delay(State(control): Shared, Json(delay): Json<DelayOf>) -> Answer {
    control.simulator.delay(&delay.operation, requests::seconds(delay.seconds)?);
    Ok(done())
}

async fn capacity(State(control): Shared, Json(capacity): Json<Capacity>) -> Answer {
    control.simulator.set_capacity_failure(&capacity.what, capacity.reason.as_deref());
    Ok(done())
}

async fn stream_fault(State(control): Shared, Json(fault): Json<Value>) -> Answer {
    let faults = control.stream_faults.as_ref();
    let faults =
        faults.ok_or_else(|| Refused(StatusCode::NOT_FOUND, "there are no streams here".to_owned()))?;
    faults.apply(fault).map_err(|why| Refused(StatusCode::BAD_REQUEST, why))?;
    Ok(done())
}

async fn limit_rate(State(control): Shared, Json(rate): Json<RequestRate>) -> Answer {
    control.simulator.limit_rate(Some(rate));
    Ok(done())
}

async fn unlimit_rate(State(control): Shared) -> Answer {
    control.simulator.limit_rate(None);
    Ok(done())
}

async fn switches(State(control): Shared) -> Answer {
    shown(control.simulator.switches())
}

async fn switch(State(control): Shared, Json(patch): Json<SwitchesPatch>) -> Answer {
    control.simulator.switch(|switches| patch.apply(switches));
    shown(control.simulator.switches())
}

async fn delays(State(control): Shared, Json(patch): Json<DelaysPatch>) -> Answer {
    let patch = patch.checked()?;
    control.simulator.set_delays(|delays| patch.apply(delays));
    Ok(done())
}

async fn clock(State(control): Shared, Json(clock): Json<ClockOffset>) -> Answer {
    control.simulator.set_clock_offset(time::Duration::seconds(clock.offset_seconds));
    Ok(done())
}

async fn expire(State(control): Shared, Json(expire): Json<Expire>) -> Answer {
    if control.simulator.expire_credentials(&expire.access_key_id) {
        return Ok(done());
    }
    Err(Refused(StatusCode::NOT_FOUND, "no temporary credentials have this key".to_owned()))
}

async fn role_policy(
    State(control): Shared,
    Path((account, role)): Path<(String, String)>,
    Json(document): Json<Value>,
) -> Answer {
    control.simulator.set_role_policy(&account, &role, &document)?;
    Ok(done())
}

async fn role_trust(
    State(control): Shared,
    Path((account, role)): Path<(String, String)>,
    Json(document): Json<Value>,
) -> Answer {
    control.simulator.set_role_trust(&account, &role, &document)?;
    Ok(done())
}

async fn deny_action(
    State(control): Shared,
    Path((account, role)): Path<(String, String)>,
    Json(wanted): Json<ActionOfRole>,
) -> Answer {
    control.simulator.deny_action(&account, &role, &wanted.action)?;
    Ok(done())
}

async fn allow_action(
    State(control): Shared,
    Path((account, role)): Path<(String, String)>,
    Json(wanted): Json<ActionOfRole>,
) -> Answer {
    control.simulator.allow_action(&account, &role, &wanted.action)?;
    Ok(done())
}

async fn oidc_provider(State(control): Shared, Json(new): Json<NewProvider>) -> Answer {
    let client_ids: Vec<&str> = new.client_ids.iter().map(String::as_str).collect();
    let arn = control.simulator.register_oidc_provider(&new.account, &new.url, &client_ids)?;
    shown(json!({ "arn": arn }))
}

async fn cloudtrail(State(control): Shared, Query(filter): Query<TrailFilter>) -> Answer {
    let mut events = control.simulator.cloudtrail();
    events.retain(|event| filter.name.as_ref().is_none_or(|name| *name == event.event_name));
    shown(json!({ "events": events }))
}

async fn clear_cloudtrail(State(control): Shared) -> Answer {
    control.simulator.clear_cloudtrail();
    Ok(done())
}

#[cfg(test)]
mod tests;
