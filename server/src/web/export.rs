//! Files that people take away: rows as CSV (RFC 4180) or as a JSON object a line, sent while they are read.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;

use crate::store::StoreError;

/// What a file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For spreadsheets.
    Csv,
    /// For programs.
    JsonLines,
}

impl Format {
    const fn kind(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::JsonLines => "application/jsonl; charset=utf-8",
        }
    }
}

/// One record of CSV.
pub(super) fn csv_line<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for (n, field) in fields.into_iter().enumerate() {
        if n > 0 {
            line.push(',');
        }
        csv_field(&mut line, field);
    }
    line.push_str("\r\n");
    line
}

/// A field. Text that a spreadsheet would take for a formula begins with an apostrophe, so that it is none: what is in
/// it was chosen by clients and people (OWASP, CSV Injection).
fn csv_field(line: &mut String, field: &str) {
    let number = field.strip_prefix('-').is_some_and(|rest| rest.parse::<u64>().is_ok());
    let formula = field
        .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    let guard = if formula && !number { "'" } else { "" };
    if guard.is_empty() && !field.contains(['"', ',', '\r', '\n']) {
        line.push_str(field);
        return;
    }
    let _ = write!(line, "\"{guard}{}\"", field.replace('"', "\"\""));
}

/// A file with this name, whose parts are read while it is sent. Should a part not come, it breaks off: the browser then
/// says that it failed.
pub(super) fn file(
    name: &str,
    format: Format,
    parts: impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static,
) -> Response {
    let name = format!("attachment; filename=\"{name}\"");
    let headers = [(header::CONTENT_TYPE, format.kind().to_owned()), (header::CONTENT_DISPOSITION, name)];
    (headers, Body::from_stream(parts)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_quoted_where_it_must_be_and_is_never_a_formula() {
        assert_eq!(csv_line(["a", "1", "-5", "b c"]), "a,1,-5,b c\r\n");
        assert_eq!(
            csv_line(["a,b", "say \"x\"", "two\r\nlines", ""]),
            "\"a,b\",\"say \"\"x\"\"\",\"two\r\nlines\",\r\n"
        );
        for formula in ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "-x"] {
            assert!(csv_line([formula]).starts_with("\"'"), "{formula:?}");
        }
        assert_eq!(csv_line(["=cmd|'/c x'!A0,\""]), "\"'=cmd|'/c x'!A0,\"\"\"\r\n");
    }
}
