//! Files that people take away: rows as CSV (RFC 4180) or as a JSON object a line, sent while they are read.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use serde_json::Value;
use tracing::error;

use super::site::Site;
use crate::domain::audit::AuditEvent;
use crate::domain::ids::AuditId;
use crate::domain::user::User;
use crate::store::StoreError;
use crate::store::audit::audit_change;

/// What a file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For spreadsheets.
    Csv,
    /// For programs.
    JsonLines,
}

impl Format {
    /// As the audit log names it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::JsonLines => "application/jsonl; charset=utf-8",
        }
    }
}

/// Writes down that somebody takes rows away or lets a program act: who, and which ones.
pub(super) async fn noted(
    site: &Site,
    user: &User,
    kind: &'static str,
    detail: Value,
) -> Result<(), StoreError> {
    let event = AuditEvent {
        actor: Some(user.id),
        actor_name: user.name.to_string(),
        space: None,
        session: None,
        connection: None,
        kind,
        allowed: Some(true),
        detail,
    };
    let change = audit_change(AuditId::generate(), site.clock.now(), site.ledger.replica, event);
    site.store.write_audit(&change).await
}

/// A file with this name, whose parts are read while it is sent. Should a part not come, it breaks off: the browser then
/// says that it failed.
pub(super) fn file(
    name: &str,
    format: Format,
    parts: impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static,
) -> Response {
    let parts = parts.inspect_err(|error| error!(error = error.detail(), "a file broke off"));
    let name = format!("attachment; filename=\"{name}\"");
    let headers = [(header::CONTENT_TYPE, format.kind().to_owned()), (header::CONTENT_DISPOSITION, name)];
    (headers, Body::from_stream(parts)).into_response()
}
