//! What everybody with a terminal in a space is told about it, wherever their connection ends.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::idle::{Because, Calm, Doubt, Trigger, in_a_line};
use super::ids::SpaceId;
use super::ports::IdleNews;

/// The longest text of somebody else's that news repeats, in characters: the news has to fit into one notification of
/// Postgres, whose limit is 8000 bytes, whatever its characters are.
const REPEATED: usize = 300;

/// News of a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceNotice {
    space: Uuid,
    /// What there is to know.
    pub news: SpaceNews,
}

/// What becomes of a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpaceNews {
    /// It is about to be stopped.
    StopsSoon {
        /// Since when it is idle.
        since: OffsetDateTime,
        /// When it stops.
        stop_at: OffsetDateTime,
        /// What that rests on, in one line.
        why: String,
    },
    /// It stays up after all.
    StaysUp(Calm),
    /// It is being stopped.
    Stopping(Trigger),
}

impl SpaceNotice {
    /// News of a space, with texts that people wrote cut to a length that can be sent.
    #[must_use]
    pub fn new(space: SpaceId, news: SpaceNews) -> Self {
        Self { space: space.uuid(), news: news.cut() }
    }

    /// The space.
    #[must_use]
    pub fn space(&self) -> SpaceId {
        self.space.into()
    }
}

impl SpaceNews {
    /// What of the news about a run is for terminals.
    #[must_use]
    pub fn of(news: &IdleNews) -> Option<Self> {
        match news {
            IdleNews::StopsSoon { trigger: Trigger::Idle { since, .. }, stop_at, grounds } => {
                Some(Self::StopsSoon { since: *since, stop_at: *stop_at, why: in_a_line(grounds) })
            }
            IdleNews::Stays(calm) => Some(Self::StaysUp(calm.clone())),
            IdleNews::Stopping(trigger) => Some(Self::Stopping(trigger.clone())),
            // Whoever stops a space by hand waits for it; what is gone takes its terminals along.
            IdleNews::StopsSoon { trigger: Trigger::Person { .. }, .. }
            | IdleNews::Stopped(_)
            | IdleNews::Stuck { .. }
            | IdleNews::TooLong => None,
        }
    }

    fn cut(mut self) -> Self {
        match &mut self {
            Self::StopsSoon { why, .. } => cut(why),
            Self::StaysUp(Calm::Active(Because::Held(hold))) => {
                cut(&mut hold.by);
                cut(&mut hold.reason);
            }
            Self::StaysUp(Calm::Active(Because::Seen(seen))) => {
                if let Some(by) = &mut seen.by {
                    cut(by);
                }
            }
            Self::StaysUp(Calm::Unknown(Doubt::Unsure(why) | Doubt::NoLook(why))) => cut(why),
            Self::Stopping(Trigger::Person { by }) => cut(by),
            Self::StaysUp(Calm::Unknown(Doubt::NotWatched { .. }) | Calm::Policy | Calm::NotDone)
            | Self::Stopping(Trigger::Idle { .. }) => {}
        }
        self
    }
}

fn cut(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(REPEATED) {
        text.truncate(at);
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::idle::Hold;

    const AT: OffsetDateTime = datetime!(2026-11-26 14:44 UTC);
    /// What one notification of Postgres takes.
    const NOTIFICATION: usize = 7_999;

    #[test]
    fn whatever_people_write_fits_into_a_notification() {
        // What JSON makes most of, and what takes most bytes as it is.
        for text in ["\u{1}".repeat(5_000), "\u{1f980}".repeat(5_000)] {
            let hold = Hold { until: AT, by: text.clone(), reason: text.clone() };
            for news in [
                SpaceNews::StaysUp(Calm::Active(Because::Held(hold))),
                SpaceNews::StopsSoon { since: AT, stop_at: AT, why: text.clone() },
                SpaceNews::StaysUp(Calm::Unknown(Doubt::NoLook(text.clone()))),
                SpaceNews::Stopping(Trigger::Person { by: text.clone() }),
            ] {
                let space = SpaceId::generate();
                let notice = SpaceNotice::new(space, news);
                let written = serde_json::to_string(&notice).unwrap();
                assert!(written.len() < NOTIFICATION - 100, "{} bytes", written.len());
                let read: SpaceNotice = serde_json::from_str(&written).unwrap();
                assert_eq!((read.space(), &read), (space, &notice));
            }
        }
    }
}
