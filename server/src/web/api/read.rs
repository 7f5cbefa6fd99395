//! What programs send: queries and bodies, each of which is either read whole or refused with what is wrong with it.

use std::fmt::{self, Display};
use std::str::FromStr;

use axum::Json;
use axum::body::{Body as Bytes, to_bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Query as AxumQuery, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};

use super::problem::{Kind, Problem};
use crate::domain::day::written_day;
use crate::web::query::{cursor, micros, of_micros, read_cursor};

/// Items of a page, if nothing else is asked for, and at most.
const ITEMS: u32 = 50;
const MOST_ITEMS: u32 = 200;
/// The largest body, which was measured on the way here.
const LARGEST: usize = 64 * 1_024;

/// A page of many.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// The items, in their order.
    pub(super) items: Vec<T>,
    /// What to ask for as `cursor` to get the next page; none after the last.
    pub(super) next: Option<String>,
}

/// The parameters of an address.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match AxumQuery::from_request_parts(parts, state).await {
            Ok(AxumQuery(asked)) => Ok(Self(asked)),
            Err(error) => Err(Problem::new(Kind::Malformed, sentence(&error.body_text()))),
        }
    }
}

/// A body of JSON. None is as good as an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let mut body = to_bytes(body, LARGEST).await.map_err(|_| Problem::broken())?;
        if body.is_empty() {
            body = "{}".into();
            parts.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        match Json::from_request(Request::from_parts(parts, Bytes::from(body)), state).await {
            Ok(Json(read)) => Ok(Self(read)),
            Err(error) => Err(Problem::new(kind(&error), sentence(&error.body_text()))),
        }
    }
}

fn kind(error: &JsonRejection) -> Kind {
    match error {
        JsonRejection::MissingJsonContentType(_) => Kind::MediaType,
        JsonRejection::JsonDataError(_) => Kind::Invalid,
        _ => Kind::Malformed,
    }
}

fn sentence(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    format!("{}.", text.trim_end_matches('.'))
}

/// Which page of many.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Paging {
    /// Items of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next` of the page before, with everything else as it was.
    cursor: Option<String>,
}

impl Paging {
    /// How many items the page has.
    pub(super) fn items(&self) -> Result<u32, Problem> {
        match self.limit {
            None => Ok(ITEMS),
            Some(limit) if (1..=MOST_ITEMS).contains(&limit) => Ok(limit),
            Some(limit) => {
                Err(Problem::new(Kind::Malformed, format!("limit is 1 to {MOST_ITEMS}, and not {limit}.")))
            }
        }
    }

    /// Where the page begins: behind what the last one ended with.
    pub(super) fn after<K: FromStr, I: FromStr>(&self) -> Result<Option<(K, I)>, Problem> {
        let Some(text) = self.cursor.as_deref() else { return Ok(None) };
        let read = read_cursor(text).and_then(|(key, id)| Some((key.parse().ok()?, id.parse().ok()?)));
        let detail = "cursor is what the page before gave as next. Leave it out to begin anew.";
        read.map(Some).ok_or_else(|| Problem::new(Kind::Malformed, detail))
    }
}

/// A time in a cursor, as exact as Postgres keeps it.
pub(super) struct Micros(pub(super) OffsetDateTime);

impl Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        micros(self.0).fmt(f)
    }
}

impl FromStr for Micros {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().ok().and_then(of_micros).map(Self).ok_or(())
    }
}

/// What is searched for, with `most` characters at the most.
pub(super) fn search(text: Option<&str>, most: usize) -> Result<String, Problem> {
    let text = text.unwrap_or_default();
    if text.chars().count() > most {
        return Err(Problem::new(Kind::Malformed, format!("q has at most {most} characters.")));
    }
    Ok(text.to_owned())
}

/// The day in a parameter.
pub(super) fn day(name: &str, text: Option<&str>) -> Result<Option<Date>, Problem> {
    let Some(text) = text else { return Ok(None) };
    // Years are those that Postgres and people know.
    let day = written_day(text).filter(|day| (1970..=9998).contains(&day.year()));
    let detail = || format!("{name} is a day such as 2026-11-27.");
    day.map(Some).ok_or_else(|| Problem::new(Kind::Malformed, detail()))
}

/// A page of items of which one more was read than it takes.
pub(super) fn page<T, K: Display, I: Display>(
    mut items: Vec<T>,
    limit: u32,
    place: impl Fn(&T) -> (K, I),
) -> Page<T> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(&place);
    Page { next: next.map(|(key, id)| cursor(&key.to_string(), &id.to_string())), items }
}
