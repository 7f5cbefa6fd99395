//! The signed form: fields as JSON, and the MAC that proves who sent them.

use std::fmt::Write;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Told;

/// The header with the time of the attempt and the MAC.
pub(super) const SIGNATURE: &str = "spaceport-signature";
/// The header with the notice's id, the same at every attempt.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What is sent.
pub(super) fn body(told: &Told) -> String {
    let mut fields = told.notice.fields();
    let at = told.at.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default();
    fields.insert("id".to_owned(), json!(told.id));
    fields.insert("event".to_owned(), json!(told.notice.event().as_str()));
    fields.insert("at".to_owned(), json!(at));
    fields.insert("title".to_owned(), json!(told.notice.title()));
    serde_json::Value::Object(fields).to_string()
}

/// `t=UNIX,v1=HEX`: HMAC-SHA-256 over `UNIX.BODY`. The time is that of the attempt, so that receivers may refuse what
/// is old and still take a late attempt.
pub(super) fn signature(secret: &SecretString, now: OffsetDateTime, body: &str) -> String {
    let at = now.unix_timestamp();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let mac = hmac::sign(&key, format!("{at}.{body}").as_bytes());
    let mut text = format!("t={at},v1=");
    for byte in mac.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
