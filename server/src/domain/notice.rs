//! What people are told outside terminals: about spaces that stop or should have, and money.
//!
//! Each notice has words for people and fields for machines. How it travels is the adapter's business.

#[cfg(test)]
mod tests;

use std::str::FromStr;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::ids::{DomainAlias, SpaceName};

/// The longest text of somebody else's that a notice repeats, in characters.
const REPEATED: usize = 500;

/// The space that a notice is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub space: SpaceName,
    /// Its domain.
    pub domain: DomainAlias,
    /// Whose it is, if it is somebody's.
    pub owner: Option<String>,
}

/// Something that people should know who look at no terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A space is about to be stopped.
    StopsSoon {
        /// Which.
        about: About,
        /// Since when it is idle.
        since: OffsetDateTime,
        /// When it stops.
        stop_at: OffsetDateTime,
        /// What it looks like inside: `no keys, no busy kernel, CPU 1 %`.
        why: String,
        /// The command that keeps it up.
        hold: String,
        /// The page that keeps it up.
        page: Option<String>,
        /// What it cost since it started, `$1.38`.
        cost: Option<String>,
    },
    /// A space that was about to be stopped is not.
    StaysUp {
        /// Which.
        about: About,
        /// What keeps it up: `somebody typed`.
        why: String,
    },
    /// A space was stopped.
    Stopped {
        /// Which.
        about: About,
        /// Since when it was idle, if that was why.
        since: Option<OffsetDateTime>,
        /// When it was gone.
        at: OffsetDateTime,
        /// What or who stopped it: `idleness`, `alice`.
        by: String,
        /// What it cost since it started.
        cost: Option<String>,
    },
    /// A space should be stopped and does not stop.
    StopFailed {
        /// Which.
        about: About,
        /// How often it was tried.
        tries: u32,
        /// What AWS said.
        said: Option<String>,
    },
    /// A space is up for longer than its policy lets any.
    RunsTooLong {
        /// Which.
        about: About,
        /// Since when.
        since: OffsetDateTime,
    },
    /// A part of a budget is spent.
    BudgetReached {
        /// Whose: `alice`, `team ml-research`.
        whose: String,
        /// How much of it, in per cent.
        percent: u32,
        /// What was spent, `$412.10`.
        spent: String,
        /// The budget, `$500`.
        limit: String,
        /// Of which month, `2026-11`.
        month: String,
    },
    /// Nothing happened: an operator tries the channels.
    Test,
}

/// Which kind of notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// [`Notice::StopsSoon`].
    StopsSoon,
    /// [`Notice::StaysUp`].
    StaysUp,
    /// [`Notice::Stopped`].
    Stopped,
    /// [`Notice::StopFailed`].
    StopFailed,
    /// [`Notice::RunsTooLong`].
    RunsTooLong,
    /// [`Notice::BudgetReached`].
    BudgetReached,
    /// [`Notice::Test`].
    Test,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::StopsSoon,
        Self::StaysUp,
        Self::Stopped,
        Self::StopFailed,
        Self::RunsTooLong,
        Self::BudgetReached,
        Self::Test,
    ];

    /// The name that machines know it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StopsSoon => "space.stops_soon",
            Self::StaysUp => "space.stays_up",
            Self::Stopped => "space.stopped",
            Self::StopFailed => "space.stop_failed",
            Self::RunsTooLong => "space.runs_too_long",
            Self::BudgetReached => "budget.reached",
            Self::Test => "test",
        }
    }
}

impl FromStr for Event {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            let names: Vec<&str> = Self::ALL.iter().map(|event| event.as_str()).collect();
            format!("there is no such event, there are {}", names.join(", "))
        };
        Self::ALL.into_iter().find(|event| event.as_str() == text).ok_or_else(unknown)
    }
}

/// Whom a notice is for. Webhooks get every notice that they want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Whoever it is about: a space's owner and those who work in it, a budget's people.
    People,
    /// The admins.
    Admins,
    /// Both.
    Both,
}

impl Notice {
    /// Which kind it is.
    #[must_use]
    pub const fn event(&self) -> Event {
        match self {
            Self::StopsSoon { .. } => Event::StopsSoon,
            Self::StaysUp { .. } => Event::StaysUp,
            Self::Stopped { .. } => Event::Stopped,
            Self::StopFailed { .. } => Event::StopFailed,
            Self::RunsTooLong { .. } => Event::RunsTooLong,
            Self::BudgetReached { .. } => Event::BudgetReached,
            Self::Test => Event::Test,
        }
    }

    /// Whom it is for.
    #[must_use]
    pub const fn audience(&self) -> Audience {
        match self {
            Self::StopsSoon { .. } | Self::StaysUp { .. } | Self::Stopped { .. } => Audience::People,
            Self::StopFailed { .. } | Self::RunsTooLong { .. } | Self::Test => Audience::Admins,
            Self::BudgetReached { .. } => Audience::Both,
        }
    }

    /// The page on which something can be done about it.
    #[must_use]
    pub fn page(&self) -> Option<&str> {
        match self {
            Self::StopsSoon { page, .. } => page.as_deref(),
            _ => None,
        }
    }

    /// One line: a subject.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::StopsSoon { about, stop_at, .. } => format!("{} stops at {}", about.space, hour(*stop_at)),
            Self::StaysUp { about, .. } => format!("{} stays up", about.space),
            Self::Stopped { about, at, .. } => format!("{} stopped at {}", about.space, hour(*at)),
            Self::StopFailed { about, .. } => format!("{} does not stop", about.space),
            Self::RunsTooLong { about, since } => format!("{} is up since {}", about.space, day(*since)),
            Self::BudgetReached { whose, percent, month, .. } => {
                format!("{percent} % of the budget of {} for {} is spent", plain(whose), plain(month))
            }
            Self::Test => "a test of Spaceport's notices".to_owned(),
        }
    }

    /// What happened, why, what to do: lines without an end of line.
    #[must_use]
    pub fn body(&self) -> Vec<String> {
        match self {
            Self::StopsSoon { about, since, stop_at, why, hold, page, cost } => {
                let mut lines = vec![
                    format!("{} stops at {}.", about.shown(), day(*stop_at)),
                    format!("Why:  idle since {}: {}.", hour(*since), plain(why)),
                ];
                lines.extend(cost.iter().map(|cost| format!("Cost: {} so far.", plain(cost))));
                lines.push("Keep: work in it, or run".to_owned());
                lines.push(format!("      {}", plain(hold)));
                lines.extend(page.iter().map(|page| format!("      or open {}", plain(page))));
                lines.push("Files are kept, memory is lost.".to_owned());
                lines
            }
            Self::StaysUp { about, why } => {
                vec![format!("{} stays up.", about.shown()), format!("Why:  {}.", plain(why))]
            }
            Self::Stopped { about, since, at, by, cost } => {
                let mut lines = vec![format!("{} stopped at {}. Files are kept.", about.shown(), day(*at))];
                let why = match since {
                    Some(since) => format!("Why:  idle since {}, stopped by {}.", hour(*since), plain(by)),
                    None => format!("Why:  stopped by {}.", plain(by)),
                };
                lines.push(why);
                lines.extend(cost.iter().map(|cost| format!("Cost: {}.", plain(cost))));
                lines.push("Next: connect again to start it.".to_owned());
                lines
            }
            Self::StopFailed { about, tries, said } => {
                let mut lines =
                    vec![format!("{} does not stop, after {tries} tries. It still costs.", about.shown())];
                lines.extend(said.iter().map(|said| format!("Why:  AWS said \"{}\".", plain(said))));
                lines.push("Next: look at it in SageMaker's console. It is tried again.".to_owned());
                lines
            }
            Self::RunsTooLong { about, since } => vec![
                format!("{} is up since {}.", about.shown(), day(*since)),
                "Why:  something in it looks busy for longer than its policy lets any space run.".to_owned(),
                "Next: ask its owner, or stop it.".to_owned(),
            ],
            Self::BudgetReached { whose, percent, spent, limit, month } => vec![format!(
                "{} spent {} of {} in {}: {percent} %.",
                plain(whose),
                plain(spent),
                plain(limit),
                plain(month)
            )],
            Self::Test => vec!["Nothing happened: somebody tried whether notices arrive.".to_owned()],
        }
    }

    /// What machines read. Fields may come; none that is here goes or changes its meaning.
    #[must_use]
    pub fn fields(&self) -> Map<String, Value> {
        let fields = match self {
            Self::StopsSoon { about, since, stop_at, why, hold, page, cost } => json!({
                "space": about.json(), "idle_since": stamp(*since), "stop_at": stamp(*stop_at), "why": why,
                "hold_command": hold, "page": page, "cost": cost,
            }),
            Self::StaysUp { about, why } => json!({ "space": about.json(), "why": why }),
            Self::Stopped { about, since, at, by, cost } => json!({
                "space": about.json(), "idle_since": since.map(stamp), "stopped_at": stamp(*at), "by": by,
                "cost": cost,
            }),
            Self::StopFailed { about, tries, said } => {
                json!({ "space": about.json(), "tries": tries, "aws_said": said })
            }
            Self::RunsTooLong { about, since } => {
                json!({ "space": about.json(), "running_since": stamp(*since) })
            }
            Self::BudgetReached { whose, percent, spent, limit, month } => json!({
                "budget": { "of": whose, "percent": percent, "spent": spent, "limit": limit, "month": month },
            }),
            Self::Test => json!({}),
        };
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

impl About {
    fn shown(&self) -> String {
        match &self.owner {
            Some(owner) => format!("{} of {} in {}", self.space, plain(owner), self.domain),
            None => format!("{} in {}", self.space, self.domain),
        }
    }

    fn json(&self) -> Value {
        json!({ "name": self.space.as_str(), "domain": self.domain.as_str(), "owner": self.owner })
    }
}

/// Text of somebody else's on one line: without control characters and without those that turn the direction of what
/// follows (Unicode UAX 9), and not for ever.
#[must_use]
pub fn plain(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let ends_line = |c: char| matches!(c, '\u{2028}' | '\u{2029}');
    let kept = text.chars().map(|c| if c.is_control() || ends_line(c) { ' ' } else { c });
    kept.filter(|c| !turns(*c)).take(REPEATED).collect::<String>().trim().to_owned()
}

/// `14:44 UTC`: where a reader is, nobody knows.
fn hour(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    at.format(format_description!("[hour]:[minute] UTC")).unwrap_or_default()
}

/// `Thu 26 Nov, 14:44 UTC`.
fn day(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let form = format_description!(
        "[weekday repr:short] [day padding:none] [month repr:short], [hour]:[minute] UTC"
    );
    at.format(form).unwrap_or_default()
}

fn stamp(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}
