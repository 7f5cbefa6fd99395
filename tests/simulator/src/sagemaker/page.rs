//! Lists in pages: sorted, filtered, and continued by a token that fits only the same question.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cloud::Call;
use crate::error::ApiError;
use crate::sigv4::{hex, hmac_sha256};

/// Entries of a page if the caller does not say.
const DEFAULT_PAGE: usize = 10;

/// An entry of a list, with what it may be sorted by. `name` makes the order total.
pub(super) struct Entry {
    pub(super) created: OffsetDateTime,
    pub(super) modified: OffsetDateTime,
    pub(super) name: String,
    pub(super) shown: Value,
}

type Position = (i128, String);

/// Answers a list operation with one page under `member`.
pub(super) fn answer(call: &Call<'_>, member: &str, entries: Vec<Entry>) -> Result<Value, ApiError> {
    let by_modified = call.text("SortBy") == Some("LastModifiedTime");
    let descending = call.text("SortOrder") == Some("Descending");
    let mut entries: Vec<(Position, Value)> = entries
        .into_iter()
        .map(|entry| {
            let time = if by_modified { entry.modified } else { entry.created };
            ((time.unix_timestamp_nanos(), entry.name), entry.shown)
        })
        .collect();
    entries.sort_by(|(a, _), (b, _)| if descending { b.cmp(a) } else { a.cmp(b) });

    let question = question(call);
    if let Some(token) = call.text("NextToken") {
        let after = read_token(call, token, &question)
            .ok_or_else(|| ApiError::validation("The NextToken is invalid for this request."))?;
        entries.retain(|(position, _)| if descending { *position < after } else { *position > after });
    }
    let size = call.input.get("MaxResults").and_then(Value::as_u64).map_or(DEFAULT_PAGE, |n| n as usize);
    let more = entries.len() > size;
    entries.truncate(size);
    let last = entries.last().map(|(position, _)| position.clone());
    let shown: Vec<Value> = entries.into_iter().map(|(_, shown)| shown).collect();
    let mut answer = json!({ member: shown });
    super::put(
        &mut answer,
        "NextToken",
        last.filter(|_| more).map(|last| json!(token(call, &last, &question))),
    );
    Ok(answer)
}

/// Everything in the request that a token must not be used across.
fn question(call: &Call<'_>) -> String {
    let mut input = call.input.clone();
    input.remove("NextToken");
    input.remove("MaxResults");
    format!("{} {} {} {}", call.operation, call.account(), call.region(), Value::Object(input))
}

fn token(call: &Call<'_>, (time, name): &Position, question: &str) -> String {
    let position = format!("{time}/{name}");
    let mac = mac(call, &position, question);
    URL_SAFE_NO_PAD.encode(format!("{mac}/{position}"))
}

fn read_token(call: &Call<'_>, token: &str, question: &str) -> Option<Position> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (sent, position) = text.split_once('/')?;
    if sent != mac(call, position, question) {
        return None;
    }
    let (time, name) = position.split_once('/')?;
    Some((time.parse().ok()?, name.to_owned()))
}

fn mac(call: &Call<'_>, position: &str, question: &str) -> String {
    hex(&hmac_sha256(call.cloud.page_secret.as_bytes(), format!("{position} {question}").as_bytes()))
}
