//! The JSON that travels in messages and in the first frame.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::frame::{FLAGS_BOTH, Message, kind, payload};

/// The first frame of a client.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct OpenFrame {
    pub(crate) message_schema_version: String,
    pub(crate) request_id: String,
    pub(crate) token_value: String,
    pub(crate) client_id: String,
    pub(crate) client_version: String,
}

impl OpenFrame {
    /// Reads and judges the first frame. The service was seen to take a `ClientId` that is no UUID.
    pub(crate) fn parse(text: &str, any_client_id: bool) -> Result<Self, String> {
        let open: Self = serde_json::from_str(text).map_err(|error| format!("open frame: {error}"))?;
        if open.message_schema_version != "1.0" {
            return Err(format!("MessageSchemaVersion {:?} is not \"1.0\"", open.message_schema_version));
        }
        for (name, id) in [("RequestId", &open.request_id), ("ClientId", &open.client_id)] {
            if any_client_id && name == "ClientId" && !id.is_empty() {
                continue;
            }
            let parsed = Uuid::try_parse(id).map_err(|_| format!("{name} is not a UUID"))?;
            if parsed.hyphenated().to_string() != *id || parsed.get_version_num() != 4 {
                return Err(format!("{name} is not a hyphenated lower-case UUIDv4"));
            }
        }
        let numbers = open.client_version.split('.').collect::<Vec<_>>();
        if numbers.len() != 4
            || numbers.iter().any(|n| n.is_empty() || !n.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(format!("ClientVersion {:?} is not four numbers", open.client_version));
        }
        if open.token_value.is_empty() || open.token_value.len() > 1024 {
            return Err("TokenValue is empty or over 1024 characters".to_owned());
        }
        Ok(open)
    }
}

/// The payload of an acknowledgement.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Acknowledgement {
    pub(crate) acknowledged_message_type: String,
    pub(crate) acknowledged_message_id: String,
    pub(crate) acknowledged_message_sequence_number: i64,
    pub(crate) is_sequential_message: bool,
}

/// The acknowledgement of a stream message.
pub(crate) fn acknowledge(of: &Message, created_ms: u64) -> Message {
    let body = Acknowledgement {
        acknowledged_message_type: of.kind.clone(),
        acknowledged_message_id: of.id.hyphenated().to_string(),
        acknowledged_message_sequence_number: of.sequence,
        is_sequential_message: true,
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut message = Message::new(kind::ACKNOWLEDGE, created_ms, 0, payload::NONE, body.into());
    message.flags = FLAGS_BOTH;
    message
}

/// The agent's offer of a raw port session.
pub(crate) fn handshake_request(agent_version: &str, port: u16) -> Bytes {
    let body = json!({
        "AgentVersion": agent_version,
        "RequestedClientActions": [{
            "ActionType": "SessionType",
            "ActionParameters": {"SessionType": "Port", "Properties": {"portNumber": port.to_string()}},
        }],
    });
    body.to_string().into()
}

/// The end of the handshake.
pub(crate) fn handshake_complete(took: std::time::Duration) -> Bytes {
    json!({"HandshakeTimeToComplete": u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), "CustomerMessage": ""})
        .to_string()
        .into()
}

/// The client's answer to a handshake request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HandshakeResponse {
    pub(crate) client_version: String,
    pub(crate) processed_client_actions: Vec<ProcessedAction>,
    #[serde(default)]
    pub(crate) errors: Option<Vec<String>>,
}

/// What the client did about one requested action.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ProcessedAction {
    pub(crate) action_type: String,
    pub(crate) action_status: i64,
    #[serde(default, rename = "Error")]
    pub(crate) error: String,
}

impl HandshakeResponse {
    /// Reads a response and says why the agent would cancel the session over it.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let response: Self =
            serde_json::from_slice(body).map_err(|error| format!("handshake response: {error}"))?;
        if let Some(errors) = response.errors.as_ref().filter(|errors| !errors.is_empty()) {
            return Err(format!("handshake errors: {}", errors.join("; ")));
        }
        let by_type: BTreeMap<_, _> = response
            .processed_client_actions
            .iter()
            .map(|action| (action.action_type.as_str(), action))
            .collect();
        match by_type.get("SessionType") {
            Some(action) if action.action_status == 1 => Ok(response),
            Some(action) => Err(format!("{} failed on client: {}", action.action_type, action.error)),
            None => Err("the SessionType action was not answered".to_owned()),
        }
    }
}

/// The end of a session as the gateway tells a client.
pub(crate) fn channel_closed(session_id: &str, output: &str, created_ms: u64) -> Message {
    let id = Uuid::new_v4();
    let body: Value = json!({
        "MessageId": id.hyphenated().to_string(),
        "CreatedDate": created_ms.to_string(),
        "DestinationId": session_id,
        "SessionId": session_id,
        "MessageType": kind::CHANNEL_CLOSED,
        "SchemaVersion": 1,
        "Output": output,
    });
    let mut message = Message::new(
        kind::CHANNEL_CLOSED,
        created_ms,
        0,
        payload::CLOSED_BY_SERVICE,
        body.to_string().into(),
    );
    message.id = id;
    message
}

/// A start or pause. Reports differ on how the service sends it: `plain` has no payload; otherwise it has one, and a
/// length in the wrong byte order. Neither has a date or a digest.
pub(crate) fn publication(kind: &str, plain: bool) -> Message {
    let body = if plain { Bytes::new() } else { Bytes::from_static(b"{\"SchemaVersion\":1}") };
    let mut message = Message::new(kind, 0, 0, payload::NONE, body);
    message.digest = [0; 32];
    message.payload_length = message.payload_length.swap_bytes();
    message
}

/// What the agent tells the gateway when it has connected; no client ever sees it.
pub(crate) fn agent_state(session_id: &str, created_ms: u64) -> Message {
    let body = json!({"SchemaVersion": 1, "SessionState": "Connected", "SessionId": session_id});
    let mut message = Message::new(kind::AGENT_STATE, created_ms, 0, payload::NONE, body.to_string().into());
    message.flags = FLAGS_BOTH;
    message
}
