//! CloudTrail: who called what, and what came of it.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::roles::Principal;

/// The events kept. A test reads its own few; a demo that runs for days must not grow.
const KEPT: usize = 20_000;

/// One API call.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When, in RFC 3339.
    pub event_time: String,
    /// `StartSession`.
    pub event_name: String,
    /// `sagemaker.amazonaws.com`.
    pub event_source: String,
    /// The region that was called.
    pub aws_region: String,
    /// Who; absent if the signature proved nobody.
    pub user_identity: Option<Value>,
    /// The resource that was decided on.
    pub resource: Option<String>,
    /// Why it failed.
    pub error_code: Option<String>,
    /// In words.
    pub error_message: Option<String>,
    /// The request as it was sent.
    pub request_parameters: Value,
    /// Ids from the answer, never secrets.
    pub response_elements: Value,
    /// The request's id, which the caller was told.
    #[serde(rename = "requestID")]
    pub request_id: String,
}

impl Event {
    /// ARN of the caller.
    pub fn caller_arn(&self) -> Option<&str> {
        self.user_identity.as_ref()?.get("arn")?.as_str()
    }

    /// The source identity of the caller's session.
    pub fn source_identity(&self) -> Option<&str> {
        self.user_identity.as_ref()?.get("sessionContext")?.get("sourceIdentity")?.as_str()
    }

    /// Value of one tag of the caller's session.
    pub fn principal_tag(&self, key: &str) -> Option<&str> {
        self.user_identity.as_ref()?.get("sessionContext")?.get("principalTags")?.get(key)?.as_str()
    }
}

/// Time as CloudTrail writes it.
pub(crate) fn event_time(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

/// `userIdentity` of a caller.
pub(crate) fn identity(principal: &Principal, access_key: &str) -> Value {
    json!({
        "type": "AssumedRole",
        "principalId": principal.user_id(),
        "arn": principal.arn(),
        "accountId": principal.account,
        "accessKeyId": access_key,
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": principal.role_id,
                "arn": principal.role_arn(),
                "accountId": principal.account,
                "userName": principal.role,
            },
            "sourceIdentity": principal.source_identity,
            "principalTags": principal.tags,
        },
    })
}

/// The events, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Trail(VecDeque<Event>);

impl Trail {
    pub(crate) fn record(&mut self, event: Event) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
