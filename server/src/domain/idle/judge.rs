//! The judgement: what is known of a run, under a policy, at a time.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::evidence::{Evidence, Hold, Seen, Sign};
use super::known::{Known, Stretch};
use super::policy::{InsideRule, Policy};

/// What a judgement needs to know of the run itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// When its app came into service.
    pub began_at: OffsetDateTime,
}

/// Why a space counts as in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// Somebody or something was at work a moment ago.
    Seen(Seen),
    /// Somebody asked to keep it.
    Held(Hold),
}

/// Why nothing can be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Nobody has looked for a while.
    NotWatched {
        /// When somebody last did.
        since: Option<OffsetDateTime>,
    },
    /// Something may have passed by unseen.
    Unsure(String),
    /// Nobody could look inside.
    NoLook(String),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWatched { .. } => f.write_str("nobody has looked for a while"),
            Self::Unsure(why) | Self::NoLook(why) => f.write_str(why),
        }
    }
}

/// What a space is doing, as far as anybody can tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// In use.
    Active {
        /// Why.
        because: Because,
    },
    /// Not in use.
    Idle {
        /// The last sign of anything, or the end of the last gap in what is known.
        since: OffsetDateTime,
        /// When it may be warned about: idle time and hours have passed. Nothing under a policy that never stops.
        due_at: Option<OffsetDateTime>,
        /// When it stops unless something happens.
        stop_at: Option<OffsetDateTime>,
        /// Whether only the longest run says so: what is inside may look busy.
        over_longest_run: bool,
    },
    /// Nobody can tell. Never a reason to stop.
    Unknown {
        /// Why.
        because: Doubt,
    },
}

impl Verdict {
    /// The word that rows and JSON have.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Active { .. } => "active",
            Self::Idle { .. } => "idle",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Whether the space is idle and has been for long enough.
    #[must_use]
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        matches!(self, Self::Idle { due_at: Some(due), .. } if *due <= now)
    }
}

/// Judges a run by what is known of it.
#[must_use]
pub fn judge(now: OffsetDateTime, policy: &Policy, known: &Known, run: Run) -> Verdict {
    let last = known.last.as_ref();
    if let Some(hold) = last.and_then(|look| look.hold.as_ref()).filter(|hold| hold.until > now) {
        return Verdict::Active { because: Because::Held(hold.clone()) };
    }
    let over = policy.longest_run.is_some_and(|longest| now >= run.began_at + longest);
    let inside = if over { None } else { known.from_inside.as_ref() };
    let newest = newest(known.from_outside.as_ref(), inside);
    if let Some(seen) = newest.filter(|seen| now - seen.at < policy.fresh()) {
        return Verdict::Active { because: Because::Seen(seen.clone()) };
    }
    let since = match known_since(now, policy, known, last, over) {
        Ok(since) => since,
        Err(because) => return Verdict::Unknown { because },
    };
    let since = newest.map_or(since, |seen| seen.at.max(since));
    // Beyond the longest run neither hours nor anything inside postpone: only who is outside does.
    let due_at = match policy.longest_run.filter(|_| over) {
        Some(longest) => policy.stops().then(|| (run.began_at + longest).max(since + policy.idle)),
        None => policy.due(since),
    };
    Verdict::Idle {
        since,
        due_at,
        stop_at: due_at.map(|due| due + policy.grace),
        over_longest_run: over && looks_busy(now, policy, known),
    }
}

/// Since when everything is known that the policy wants known.
fn known_since(
    now: OffsetDateTime,
    policy: &Policy,
    known: &Known,
    last: Option<&Evidence>,
    over: bool,
) -> Result<OffsetDateTime, Doubt> {
    let fresh = |stretch: &&Stretch| now - stretch.until <= policy.longest_gap() && stretch.until <= now;
    let Some(watched) = known.watched.as_ref().filter(fresh) else {
        return Err(Doubt::NotWatched { since: known.watched.map(|stretch| stretch.until) });
    };
    let Some(last) = last else { return Err(Doubt::NotWatched { since: None }) };
    if let Some(why) = &last.outside.unsure {
        return Err(Doubt::Unsure(why.clone()));
    }
    if over {
        return Ok(watched.since);
    }
    match (&last.inside, policy.inside) {
        (Err(no_look), InsideRule::WhereSetUp) if no_look.not_set_up => Ok(watched.since),
        (Err(no_look), _) => Err(Doubt::NoLook(no_look.why.clone())),
        // As at the first look, or when a process that counts has come or gone: a job may hide in that.
        (Ok(inside), _) if inside.cpu_percent.is_none() => {
            Err(Doubt::NoLook("how busy the CPU is takes another look".to_owned()))
        }
        (Ok(_), _) => {
            let inside = known.inside.filter(|stretch| fresh(&stretch));
            inside.map(|inside| inside.since.max(watched.since)).ok_or(Doubt::NotWatched { since: None })
        }
    }
}

/// Whether what is inside would keep the space up, were it believed.
fn looks_busy(now: OffsetDateTime, policy: &Policy, known: &Known) -> bool {
    let lately = known.from_inside.as_ref().is_some_and(|seen| now - seen.at < policy.idle);
    lately
        || known.last.as_ref().is_some_and(|look| look.inside.is_err())
            && policy.inside == InsideRule::Required
}

fn newest<'a>(one: Option<&'a Seen>, two: Option<&'a Seen>) -> Option<&'a Seen> {
    match (one, two) {
        (Some(one), Some(two)) => Some(if two.at > one.at { two } else { one }),
        (one, two) => one.or(two),
    }
}

/// One line of what a verdict rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Ground {
    /// When.
    pub at: OffsetDateTime,
    /// `active`, `idle`, `unknown`; `none` for what is no evidence either way.
    pub word: &'static str,
    /// What.
    pub what: String,
}

/// What a verdict rests on, in lines for people; the same for terminal, page and API.
#[must_use]
pub fn grounds(now: OffsetDateTime, policy: &Policy, known: &Known) -> Vec<Ground> {
    let mut lines = Vec::new();
    let Some(last) = &known.last else { return lines };
    match &last.inside {
        Ok(inside) => {
            if let Some((open, busy)) = inside.kernels {
                let what = match (busy, open) {
                    (0, 0) => "no kernel is open".to_owned(),
                    (0, open) => format!("no kernel is busy, {open} open"),
                    (busy, open) => format!("{busy} of {open} kernels busy"),
                };
                lines.push(Ground { at: last.at, word: word(busy > 0), what });
            }
            let cpu =
                inside.cpu_percent.map(|p| (p >= policy.cpu_percent, format!("CPU {p:.0} % of a core")));
            let gpu = inside.gpu_percent.map(|p| (p >= policy.gpu_percent, format!("GPU {p:.0} %")));
            let active = [&cpu, &gpu].into_iter().flatten().any(|(active, _)| *active);
            let texts: Vec<String> = [cpu, gpu].into_iter().flatten().map(|(_, text)| text).collect();
            if !texts.is_empty() {
                lines.push(Ground { at: last.at, word: word(active), what: texts.join(", ") });
            }
        }
        Err(no_look) => {
            lines.push(Ground { at: last.at, word: "unknown", what: no_look.why.clone() });
        }
    }
    if let Some(why) = &last.outside.unsure {
        lines.push(Ground { at: last.at, word: "unknown", what: why.clone() });
    }
    let inside = last.inside.as_ref().map(|inside| inside.signs.as_slice()).unwrap_or_default();
    let mut signs: Vec<&Seen> = last.outside.signs.iter().chain(inside).collect();
    signs.sort_by_key(|seen| std::cmp::Reverse(seen.at));
    for seen in signs.into_iter().filter(|seen| seen.sign != Sign::Started).take(4) {
        let who = seen.by.as_ref().map(|by| format!(", {by}")).unwrap_or_default();
        let active = now - seen.at < policy.fresh();
        lines.push(Ground { at: seen.at, word: word(active), what: format!("{}{who}", seen.sign) });
    }
    lines
}

/// What an idle verdict rests on, in one line.
#[must_use]
pub fn in_a_line(grounds: &[Ground]) -> String {
    let idle = grounds.iter().filter(|ground| ground.word == "idle").map(|ground| ground.what.as_str());
    idle.collect::<Vec<_>>().join(", ")
}

const fn word(active: bool) -> &'static str {
    if active { "active" } else { "idle" }
}
