//! StartSession: whether a space can be reached now, and the ways in if it can.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::account::{App, AppStatus, space_of_arn};
use crate::cloud::{Call, Cloud};
use crate::error::ApiError;
use crate::keys::random_hex;
use crate::live::{Issued, STREAMS_PER_SPACE, URL_KEY};
use crate::sigv4::sign::Signer;

/// How long a presigned stream URL holds.
const PRESIGNED_S: u32 = 300;
/// Instance types with less than the 8 GiB that remote access needs.
const TOO_SMALL: &[&str] = &[
    "ml.t3.micro",
    "ml.t3.small",
    "ml.t3.medium",
    "ml.c5.large",
    "ml.c6i.large",
    "ml.c6id.large",
    "ml.c7i.large",
];

pub(super) fn start(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let arn = call.required("ResourceIdentifier");
    call.authorize("sagemaker:StartSession", &arn, |_| {})?;
    let run = reachable(call, &arn)?;
    let life = call.cloud.token_life();
    let issued = {
        let mut live = call.cloud.live();
        if live.count(&arn, call.now, life) >= STREAMS_PER_SPACE {
            return Err(ApiError::limit(format!(
                "The maximum number of {STREAMS_PER_SPACE} remote connections to {arn} is reached."
            )));
        }
        live.issue(call.caller, &arn, &run, call.now)
    };
    call.issued.insert("SessionId".to_owned(), json!(issued.session_id));
    Ok(call.cloud.way_in(&issued, call.region()))
}

/// The run of the space's app, if the space can be reached.
fn reachable(call: &Call<'_>, arn: &str) -> Result<String, ApiError> {
    let (domain, name) =
        space_of_arn(arn).ok_or_else(|| ApiError::validation(format!("{arn} is not the ARN of a space.")))?;
    let world = call.cloud.world();
    if !arn.starts_with(&call.arn("space/")) || world.space_by_arn(arn).is_none() {
        return Err(ApiError::not_found(format!("Space {arn} does not exist.")));
    }
    let app = world
        .live_app(domain, name)
        .map(|(_, app)| app)
        .filter(|app| app.status == AppStatus::InService)
        .ok_or_else(|| ApiError::validation(format!("Space {name} has no app that is InService.")))?;
    if !app.remote_access {
        return Err(ApiError::validation(format!(
            "Remote access is not enabled for the running app of space {name}. Enable it and restart the app."
        )));
    }
    if TOO_SMALL.contains(&app.instance_type()) {
        return Err(ApiError::validation(format!(
            "Instance type {} has not the 8 GiB of memory that remote access requires.",
            app.instance_type()
        )));
    }
    registered(call, app)?;
    Ok(app.run.clone())
}

/// The agent in the space registers some time after the app came into service.
fn registered(call: &Call<'_>, app: &App) -> Result<(), ApiError> {
    let lag = call.cloud.clock.scaled(call.cloud.delays().registration_lag);
    match app.in_service {
        Some(since) if since + lag <= call.now => Ok(()),
        _ => Err(ApiError::internal("The request processing has failed because of an unknown error.")),
    }
}

impl Cloud {
    /// Answers a session's id, token and stream URL.
    pub(crate) fn way_in(&self, issued: &Issued, region: &str) -> Value {
        let host = self.stream_host.get().map_or("", String::as_str);
        let path = format!("/v1/data-channel/{}", issued.session_id);
        let query = format!("role=publish_subscribe&cell-number={}", cell_number());
        let presigned =
            self.faults().switches.presigned_urls.then(|| self.presign(host, &path, &query, region));
        let query = presigned.map_or_else(|| query.clone(), |added| format!("{query}&{added}"));
        json!({
            "SessionId": issued.session_id,
            "StreamUrl": format!("ws://{host}{path}?{query}"),
            "TokenValue": issued.token,
        })
    }

    fn presign(&self, host: &str, path: &str, query: &str, region: &str) -> String {
        let signer = Signer {
            access_key: URL_KEY,
            secret: &self.url_secret,
            token: None,
            region,
            service: "ssmmessages",
            at: self.clock.now(),
        };
        signer.presign(host, path, query, PRESIGNED_S)
    }
}

/// Opaque base64 that surely has the characters `+`, `/` and `=`, which must survive a client's handling of URLs.
fn cell_number() -> String {
    let mut raw = vec![0xfb, 0xff, 0xfe];
    raw.extend(random_hex(46).into_bytes());
    STANDARD.encode(raw)
}
