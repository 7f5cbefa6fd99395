//! The audit log, for auditors and admins: looking for rows, and taking them out.

mod export;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

pub(in crate::web) use export::{csv, jsonl, rows};

use self::words::{KINDS, because, did};
use super::{Bar, Problem, page_of};
use crate::domain::day::{Zone, written_day};
use crate::store::StoreError;
use crate::store::audit::search::{AuditRow, Sealed};
use crate::store::chain::export::Wanted;
use crate::web::amounts::thousands;
use crate::web::show::{WallClock, When, zone_called};
use crate::web::site::Site;
use crate::web::visit::Onlooker;

/// Rows of a page.
const PAGE: u16 = 50;
/// The longest text that is looked for.
const LONGEST: usize = 200;

/// What is looked for, as the form has it; what is empty says nothing.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Asked {
    pub(in crate::web) who: String,
    pub(in crate::web) space: String,
    pub(in crate::web) session: String,
    pub(in crate::web) kind: String,
    pub(in crate::web) answer: String,
    pub(in crate::web) from: String,
    pub(in crate::web) to: String,
    /// Of an export: whose days `from` and `to` are, if not those of costs. Those of the page are its reader's.
    pub(in crate::web) zone: String,
    pub(in crate::web) before: String,
}

/// Why rows cannot be looked for.
#[derive(Debug)]
pub(in crate::web) enum NoFilter {
    /// A filter is none; what it must be.
    Malformed(&'static str),
    /// Postgres is away.
    Store(StoreError),
}

impl From<StoreError> for NoFilter {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NoFilter> for Problem {
    fn from(why: NoFilter) -> Self {
        match why {
            NoFilter::Malformed(_) => Self::Form,
            NoFilter::Store(error) => error.into(),
        }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    bar: Option<Bar>,
    chain: String,
    kinds: Vec<Kinds>,
    answers: [(&'static str, &'static str); 3],
    rows: Vec<Row>,
    asked: Asked,
    /// The filters, to put behind an address.
    filters: String,
    filtered: bool,
    /// What an export has behind its address.
    export: String,
    older: Option<String>,
}

/// Kinds that belong together.
struct Kinds {
    name: &'static str,
    /// What every one of them begins with.
    prefix: &'static str,
    kinds: &'static [(&'static str, &'static str)],
}

struct Row {
    at: When,
    who: String,
    did: String,
    space: Option<String>,
    session: Option<(String, String)>,
    allowed: Option<bool>,
    because: String,
}

impl Asked {
    /// The filters as they stand, each that says something.
    pub(in crate::web) fn filters(&self) -> [(&'static str, &str); 8] {
        [
            ("who", self.who.trim()),
            ("space", self.space.trim()),
            ("session", self.session.trim()),
            ("kind", self.kind.trim()),
            ("answer", self.answer.trim()),
            ("from", self.from.trim()),
            ("to", self.to.trim()),
            ("zone", self.zone.trim()),
        ]
    }

    /// The filters behind an address.
    fn query(&self) -> String {
        let said = self.filters().into_iter().filter(|(_, value)| !value.is_empty());
        let pairs = said.map(|(name, value)| {
            let value = askama::filters::urlencode_strict(value).map(|value| value.to_string());
            format!("{name}={}", value.unwrap_or_default())
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    /// The same for a file of the same rows, whoever takes it: where a day is named, it says whose day.
    fn export(&self, zone: &Zone) -> String {
        let days = !self.from.trim().is_empty() || !self.to.trim().is_empty();
        let zone = if days { zone.to_string() } else { String::new() };
        Self { zone, ..self.clone() }.query()
    }

    /// Whose days an export has.
    fn zone(&self, site: &Site) -> Result<Zone, NoFilter> {
        match self.zone.trim() {
            "" => Ok(site.ledger.costs.terms.zone.clone()),
            name => {
                zone_called(name).ok_or(NoFilter::Malformed("zone is a time zone such as Europe/Berlin."))
            }
        }
    }

    /// What is to be looked for, with days of this zone.
    pub(in crate::web) async fn wanted(&self, site: &Site, zone: &Zone) -> Result<Wanted, NoFilter> {
        if self.filters().iter().any(|(_, value)| value.chars().count() > LONGEST) {
            return Err(NoFilter::Malformed("A filter has at most 200 characters."));
        }
        let text = |value: &str| Some(value.trim().replace('\0', "")).filter(|value| !value.is_empty());
        let day = |value: &str| match value.trim() {
            "" => Ok(None),
            value => written_day(value)
                .map(Some)
                .ok_or(NoFilter::Malformed("from and to are days such as 2026-11-27.")),
        };
        let spaces = match text(&self.space) {
            Some(space) => Some(site.store.spaces_called(&space).await?),
            None => None,
        };
        let sessions = match text(&self.session) {
            Some(session) => Some(site.store.sessions_ending_in(&session).await?),
            None => None,
        };
        Ok(Wanted {
            since: day(&self.from)?.map(|day| zone.start(day)),
            until: day(&self.to)?.and_then(Date::next_day).map(|day| zone.start(day)),
            kind: text(&self.kind),
            who: text(&self.who),
            spaces,
            sessions,
            allowed: match self.answer.trim() {
                "allowed" => Some(true),
                "denied" => Some(false),
                "" => None,
                _ => return Err(NoFilter::Malformed("answer is allowed or denied.")),
            },
        })
    }
}

/// The newest rows of those that are looked for, or those before one.
pub(in crate::web) async fn list(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let asked = Asked { zone: String::new(), ..asked };
    let wanted = asked.wanted(&site, &person.zone).await?;
    let before = match asked.before.as_str() {
        "" => None,
        text => Some(place(text).ok_or(Problem::Form)?),
    };
    let mut rows = site.store.audit_page(&wanted, before, PAGE + 1).await?;
    let more = rows.len() > usize::from(PAGE);
    rows.truncate(usize::from(PAGE));
    let filters = asked.query();
    let last = rows.last().filter(|_| more);
    let older = last.map(|row| {
        let place = format!("before={}_{}", row.at.unix_timestamp_nanos() / 1_000, row.id);
        if filters.is_empty() { place } else { format!("{filters}&{place}") }
    });
    let wall = person.wall(site.clock.now());
    let sealed = site.store.audit_sealed().await?;
    Ok(page_of(&AuditPage {
        bar: Some(Bar::of(&person, "/audit")),
        chain: chain(&sealed, &wall),
        kinds: KINDS.into_iter().map(|(name, prefix, kinds)| Kinds { name, prefix, kinds }).collect(),
        answers: [("", "Any"), ("allowed", "Allowed"), ("denied", "Denied")],
        rows: rows.into_iter().map(|row| shown(row, &wall)).collect(),
        filtered: !filters.is_empty(),
        export: asked.export(&person.zone),
        filters,
        older,
        asked,
    }))
}

/// The place of a row: microseconds since 1970, and its id.
fn place(text: &str) -> Option<(OffsetDateTime, Uuid)> {
    let (at, id) = text.split_once('_')?;
    let at = i128::from(at.parse::<i64>().ok()?) * 1_000;
    Some((OffsetDateTime::from_unix_timestamp_nanos(at).ok()?, id.parse().ok()?))
}

fn shown(row: AuditRow, wall: &WallClock) -> Row {
    Row {
        at: When::second(row.at, wall),
        did: did(&row.kind),
        because: because(&row.kind, &row.detail, wall.zone()),
        who: row.actor_name,
        space: row.space,
        session: row.session.map(|session| (session.to_string(), session.short())),
        allowed: row.allowed,
    }
}

/// How far the log is sealed, in a sentence.
pub(super) fn chain(sealed: &Sealed, wall: &WallClock) -> String {
    let rows =
        |count: String, one: bool| if one { "1 row waits".to_owned() } else { format!("{count} rows wait") };
    let waiting = match (sealed.waiting, sealed.waits_since) {
        (0, _) => "no row waits for its seal".to_owned(),
        (count, since) => {
            let least = if sealed.more_wait() { "at least " } else { "" };
            let since = since.map(|since| format!(", the oldest since {}", When::at(since, wall).text));
            let rows = rows(format!("{least}{}", thousands(&count.to_string())), count == 1);
            format!("{rows} for a seal{}", since.unwrap_or_default())
        }
    };
    match sealed.head {
        Some((seq, at)) => format!(
            "Sealed up to number {} at {}; {waiting}.",
            thousands(&seq.to_string()),
            When::at(at, wall).text
        ),
        None => format!("Nothing is sealed yet; {waiting}."),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn filters_go_behind_an_address_and_nothing_else_does() {
        let asked = Asked { who: " a&b=c ".to_owned(), kind: "key.".to_owned(), ..Asked::default() };
        assert_eq!(asked.query(), "who=a%26b%3Dc&kind=key.");
        assert_eq!(Asked::default().query(), "");
        let zone: Zone = "Etc/GMT+1".parse().unwrap();
        assert_eq!(asked.export(&zone), asked.query(), "it names no day");
        let day = Asked { to: "2026-11-27".to_owned(), ..asked };
        assert_eq!(day.export(&zone), format!("{}&zone=Etc%2FGMT%2B1", day.query()));
    }

    #[test]
    fn a_place_is_a_time_and_an_id() {
        let id = Uuid::from_u128(7);
        let text = format!("1795000000123456_{id}");
        let (at, found) = place(&text).unwrap();
        assert_eq!((at.unix_timestamp_nanos(), found), (1_795_000_000_123_456_000, id));
        for bad in ["", "1_", "x_00000000-0000-0000-0000-000000000007", "9223372036854775807_7"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_chain_is_told_in_a_sentence() {
        let wall = |zone: &str| WallClock::new(zone.parse().unwrap(), datetime!(2026-11-27 14:32 UTC));
        let (utc, tokyo) = (wall("UTC"), wall("Asia/Tokyo"));
        let head = Some((1_234, datetime!(2026-11-27 14:31 UTC)));
        let says = |head, waiting, waits_since| chain(&Sealed { head, waiting, waits_since }, &utc);
        assert_eq!(says(head, 0, None), "Sealed up to number 1,234 at 14:31; no row waits for its seal.");
        assert_eq!(
            says(head, 1, Some(datetime!(2026-11-27 14:00 UTC))),
            "Sealed up to number 1,234 at 14:31; 1 row waits for a seal, the oldest since 14:00."
        );
        let sealed = Sealed { head, waiting: 0, waits_since: None };
        assert_eq!(chain(&sealed, &tokyo), "Sealed up to number 1,234 at 23:31; no row waits for its seal.");
        assert_eq!(says(None, 10_000, None), "Nothing is sealed yet; at least 10,000 rows wait for a seal.");
    }
}
