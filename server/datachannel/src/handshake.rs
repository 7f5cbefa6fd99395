//! The agent's questions and our answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::{CLIENT_VERSION, MAX_NAME};
use crate::payload::{cut, json};

/// More questions than exist.
const MAX_ACTIONS: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    #[serde(default)]
    agent_version: Option<String>,
    #[serde(default)]
    requested_client_actions: Option<Vec<Action>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Action {
    #[serde(default)]
    action_type: String,
    #[serde(default)]
    action_parameters: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Response<'a> {
    client_version: &'a str,
    processed_client_actions: Vec<Processed>,
    errors: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Processed {
    action_type: String,
    action_status: u8,
    action_result: Option<()>,
    error: String,
}

const SUCCESS: u8 = 1;
const FAILED: u8 = 2;
const UNSUPPORTED: u8 = 3;

/// What to say to the agent, and whether the session is of use to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The payload of the handshake response.
    pub response: Vec<u8>,
    /// The agent's version; for logs.
    pub agent_version: String,
    /// What the agent asked for that we do not do.
    pub refused: Option<String>,
}

/// Answers a handshake request.
///
/// # Errors
/// When it is not one.
pub fn answer(payload: &[u8]) -> Result<Answer, String> {
    let request: Request = serde_json::from_slice(payload)
        .map_err(|error| format!("an unreadable handshake request: {error}"))?;
    let actions = request.requested_client_actions.unwrap_or_default();
    if actions.len() > MAX_ACTIONS {
        return Err(format!("a handshake request with {} actions", actions.len()));
    }
    if actions.iter().any(|action| action.action_type.len() > MAX_NAME) {
        return Err("a handshake request for an action with an endless name".to_owned());
    }
    let mut refused = None;
    let mut has_session_type = false;
    let processed = actions
        .into_iter()
        .map(|action| {
            has_session_type |= action.action_type == "SessionType";
            let verdict = judge(&action);
            let (action_status, error) = match verdict {
                Ok(()) => (SUCCESS, String::new()),
                Err((status, what)) => {
                    refused.get_or_insert_with(|| what.clone());
                    (status, format!("not supported by this client: {what}"))
                }
            };
            Processed { action_type: action.action_type, action_status, action_result: None, error }
        })
        .collect();
    if !has_session_type {
        refused.get_or_insert_with(|| "a session without a type".to_owned());
    }
    let response =
        Response { client_version: CLIENT_VERSION, processed_client_actions: processed, errors: None };
    Ok(Answer {
        response: json(&response),
        agent_version: cut(request.agent_version.unwrap_or_default(), MAX_NAME),
        refused,
    })
}

/// Only plain Port sessions carry raw bytes; everything else would put foreign bytes into the stream.
fn judge(action: &Action) -> Result<(), (u8, String)> {
    match action.action_type.as_str() {
        "SessionType" => judge_session(&action.action_parameters),
        "KMSEncryption" => Err((FAILED, "encryption with a KMS key".to_owned())),
        other => Err((UNSUPPORTED, format!("the action {other:?}"))),
    }
}

fn judge_session(parameters: &Value) -> Result<(), (u8, String)> {
    let text =
        |value: Option<&Value>| cut(value.and_then(Value::as_str).unwrap_or_default().to_owned(), MAX_NAME);
    let session_type = text(parameters.get("SessionType"));
    if session_type != "Port" {
        return Err((UNSUPPORTED, format!("a session of type {session_type:?}")));
    }
    let forwarding = text(parameters.get("Properties").and_then(|properties| properties.get("type")));
    if forwarding == "LocalPortForwarding" {
        return Err((UNSUPPORTED, "a Port session of type \"LocalPortForwarding\"".to_owned()));
    }
    Ok(())
}
