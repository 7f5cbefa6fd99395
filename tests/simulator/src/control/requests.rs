//! The bodies that the control API takes.

use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use crate::cloud::Delays;
use crate::faults::Switches;

/// A user profile to add; in the first domain if none is named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProfile {
    pub(super) domain: Option<String>,
    pub(super) name: String,
}

/// An identity provider to register.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProvider {
    pub(super) account: String,
    pub(super) url: String,
    pub(super) client_ids: Vec<String>,
}

/// How many apps of an instance type may run at once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quota {
    pub(super) limit: u32,
}

/// A price of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListedPrice {
    pub(super) region: String,
    pub(super) platform: String,
    pub(super) instance_type: String,
    pub(super) usd: String,
}

/// Calls of an operation that should fail.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fail {
    pub(super) operation: String,
    pub(super) error: String,
    pub(super) message: Option<String>,
    #[serde(default = "once")]
    pub(super) times: u32,
}

fn once() -> u32 {
    1
}

/// An operation that should be slow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DelayOf {
    pub(super) operation: String,
    pub(super) seconds: f64,
}

/// An instance type, or a space, that fails to start; no reason takes that back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Capacity {
    pub(super) what: String,
    pub(super) reason: Option<String>,
}

/// Switches to change; absent ones stay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchesPatch {
    resume: Option<bool>,
    unsigned_open: Option<bool>,
    presigned_urls: Option<bool>,
    single_use_tokens: Option<bool>,
}

impl SwitchesPatch {
    pub(super) fn apply(&self, switches: &mut Switches) {
        switches.resume = self.resume.unwrap_or(switches.resume);
        switches.unsigned_open = self.unsigned_open.unwrap_or(switches.unsigned_open);
        switches.presigned_urls = self.presigned_urls.unwrap_or(switches.presigned_urls);
        switches.single_use_tokens = self.single_use_tokens.unwrap_or(switches.single_use_tokens);
    }
}

/// Delays to change, in seconds of AWS; absent ones stay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DelaysPatch {
    app_start: Option<f64>,
    app_stop: Option<f64>,
    space_change: Option<f64>,
    registration_lag: Option<f64>,
    deleted_listed: Option<f64>,
    token_life: Option<f64>,
}

/// As `DelaysPatch`, with every number fit for a delay.
pub(super) struct CheckedDelays(Vec<(Part, Duration)>);

type Part = fn(&mut Delays) -> &mut Duration;

impl DelaysPatch {
    pub(super) fn checked(&self) -> anyhow::Result<CheckedDelays> {
        let parts: [(Part, Option<f64>); 6] = [
            (|delays| &mut delays.app_start, self.app_start),
            (|delays| &mut delays.app_stop, self.app_stop),
            (|delays| &mut delays.space_change, self.space_change),
            (|delays| &mut delays.registration_lag, self.registration_lag),
            (|delays| &mut delays.deleted_listed, self.deleted_listed),
            (|delays| &mut delays.token_life, self.token_life),
        ];
        let set = parts.into_iter().filter_map(|(part, value)| Some((part, value?)));
        set.map(|(part, value)| Ok((part, seconds(value)?))).collect::<anyhow::Result<_>>().map(CheckedDelays)
    }
}

impl CheckedDelays {
    pub(super) fn apply(self, delays: &mut Delays) {
        for (part, value) in self.0 {
            *part(delays) = value;
        }
    }
}

/// How far the account's clock is off.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClockOffset {
    pub(super) offset_seconds: i64,
}

/// Temporary credentials to end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expire {
    pub(super) access_key_id: String,
}

/// An action to deny to a role, or to allow again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ActionOfRole {
    pub(super) action: String,
}

/// Which events of CloudTrail to show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrailFilter {
    pub(super) name: Option<String>,
}

/// A number of seconds as a delay.
pub(super) fn seconds(value: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(value).with_context(|| format!("{value} s is no delay"))
}
