//! What programs are told: JSON that shows nothing but itself in a terminal, too.

use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;

use crate::domain::plain;

/// An answer of JSON.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_string(&self.0) {
            Ok(text) => {
                let kind = HeaderValue::from_static("application/json");
                ([(CONTENT_TYPE, kind)], plain::json(&text).into_owned()).into_response()
            }
            Err(error) => {
                error!(%error, "an answer of the API could not be written");
                super::problem::Problem::broken().into_response()
            }
        }
    }
}
