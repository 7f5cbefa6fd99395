//! Strips: what a time was, drawn as bands. SVG in per cent without a `viewBox`, so that type and hatching never
//! stretch; `templates/space_parts.html` has the elements.

use time::OffsetDateTime;

use super::show::{WallClock, length};
use crate::domain::bands::Band;
use crate::domain::cost::SpellKind;
use crate::domain::span::Span;

/// A rectangle of a strip.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) y: String,
    pub(super) height: String,
    pub(super) title: String,
}

impl Bar {
    /// A part of a whole, in per cent, as `share` drawings have it.
    pub(super) fn of_share(kind: &str, at: f64, part: f64) -> Self {
        let (class, y, height) = match kind {
            "active" => ("active-b", 0.0, 14.0),
            "idle" => ("idle-b", 7.0, 7.0),
            _ => ("unknown-b", 0.5, 13.0),
        };
        Self {
            class,
            x: percent(at),
            width: percent(part),
            y: px(y),
            height: px(height),
            title: String::new(),
        }
    }
}

/// A line across a strip.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub(super) x: String,
    pub(super) title: String,
}

/// A drawing of a time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Strip {
    /// What a person who does not see it reads.
    pub(super) label: String,
    pub(super) bars: Vec<Bar>,
    /// Sessions, below the bands.
    pub(super) sessions: Vec<Bar>,
    pub(super) stops: Vec<Mark>,
    /// The planned stop.
    pub(super) plan: Option<Mark>,
    pub(super) now: Option<String>,
    /// Where full hours of the clock are, each six hours.
    pub(super) grid: Vec<String>,
}

/// The time that a strip shows, by whose clock, and how high its bands are, in px.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) span: Span,
    pub(super) wall: &'a WallClock,
    pub(super) height: f64,
}

impl Frame<'_> {
    /// Where a moment is, in per cent.
    fn at(&self, at: OffsetDateTime) -> f64 {
        let whole = (self.span.until - self.span.from).as_seconds_f64().max(1.0);
        ((at - self.span.from).as_seconds_f64() / whole * 100.0).clamp(0.0, 100.0)
    }

    fn holds(&self, at: OffsetDateTime) -> bool {
        (self.span.from..self.span.until).contains(&at)
    }

    /// Bands, each with its kind and its times.
    pub(super) fn bars(&self, bands: &[Band]) -> Vec<Bar> {
        bands.iter().map(|band| self.bar(band)).collect()
    }

    fn bar(&self, band: &Band) -> Bar {
        // Active is full, idle half: a strip reads without colour.
        let (class, word, y, height) = match band.kind {
            SpellKind::Active => ("active-b", "Active", 0.0, self.height),
            SpellKind::Idle => ("idle-b", "Idle", self.height / 2.0, self.height / 2.0),
            SpellKind::Unknown => ("unknown-b", "Unknown", 0.5, self.height - 1.0),
        };
        let Span { from, until } = band.span;
        let (x, end) = (self.at(from), self.at(until));
        Bar {
            class,
            x: percent(x),
            width: percent(end - x),
            y: px(y),
            height: px(height),
            title: format!("{word} {} to {}", self.wall.clock(from), self.wall.clock(until)),
        }
    }

    /// A line below the bands.
    pub(super) fn below(&self, span: Span, row: u8, title: String) -> Bar {
        let (x, end) = (self.at(span.from), self.at(span.until));
        Bar {
            class: "use-b",
            x: percent(x),
            // A short one is seen too.
            width: percent((end - x).max(0.4)),
            y: px(self.height + 3.0 + f64::from(row) * 5.0),
            height: px(3.0),
            title,
        }
    }

    /// A line across, if it falls into the time: what it is, and when.
    pub(super) fn mark(&self, at: OffsetDateTime, what: &str) -> Option<Mark> {
        self.holds(at)
            .then(|| Mark { x: percent(self.at(at)), title: format!("{what} {}", self.wall.clock(at)) })
    }

    /// Where now is, if it falls into the time.
    pub(super) fn now(&self) -> Option<String> {
        let now = self.wall.now();
        self.holds(now).then(|| percent(self.at(now)))
    }

    /// Where each six hours of the clock are.
    pub(super) fn grid(&self) -> Vec<String> {
        self.wall.zone().six_hours(self.span).map(|at| percent(self.at(at))).collect()
    }
}

/// What the bands say, in words: `active 4 h 57 min, idle 29 min`.
pub(super) fn sum(bands: &[Band]) -> String {
    let of = |kind: SpellKind| {
        let spans = bands.iter().filter(|band| band.kind == kind);
        spans.map(|band| band.span.until - band.span.from).sum::<time::Duration>()
    };
    let kinds = [(SpellKind::Active, "active"), (SpellKind::Idle, "idle"), (SpellKind::Unknown, "unknown")];
    let parts = kinds.into_iter().filter_map(|(kind, word)| {
        let time = of(kind);
        time.is_positive().then(|| format!("{word} {}", length(time)))
    });
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "did not run".to_owned() } else { parts.join(", ") }
}

fn percent(value: f64) -> String {
    format!("{value:.3}%")
}

fn px(value: f64) -> String {
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    fn wall(zone: &str, now: OffsetDateTime) -> WallClock {
        WallClock::new(zone.parse().unwrap(), now)
    }

    #[test]
    fn a_strip_is_in_per_cent_of_its_time_and_kinds_have_heights() {
        let from = datetime!(2026-11-24 00:00 UTC);
        let hour = |hour: i64| from + time::Duration::hours(hour);
        let wall = wall("UTC", hour(3));
        let frame = Frame { span: Span { from, until: hour(24) }, wall: &wall, height: 16.0 };
        let bands = [(6, 12, SpellKind::Active), (12, 18, SpellKind::Idle), (18, 21, SpellKind::Unknown)]
            .map(|(from, until, kind)| Band { span: Span { from: hour(from), until: hour(until) }, kind });
        let bars = frame.bars(&bands);
        let drawn: Vec<_> =
            bars.iter().map(|bar| (bar.x.as_str(), bar.width.as_str(), bar.height.as_str())).collect();
        assert_eq!(
            drawn,
            [("25.000%", "25.000%", "16"), ("50.000%", "25.000%", "8"), ("75.000%", "12.500%", "15")]
        );
        assert_eq!(bars.first().map(|bar| bar.title.as_str()), Some("Active 06:00 to 12:00"));
        assert_eq!(sum(&bands), "active 6 h, idle 6 h, unknown 3 h");
        assert_eq!(sum(&[]), "did not run");
        assert_eq!(frame.mark(hour(25), "Stopped"), None);
        assert_eq!(frame.now().as_deref(), Some("12.500%"));
        assert_eq!(frame.grid(), ["0.000%", "25.000%", "50.000%", "75.000%"]);
    }

    #[test]
    fn a_day_of_23_or_25_hours_fills_its_strip() {
        // From the third hour of the clocks to the end of the day: what is skipped, or comes twice, lies before it.
        for (day, hours, begin, grid) in [
            (date!(2026 - 03 - 29), 23, "8.696%", ["0.000%", "21.739%", "47.826%", "73.913%"]),
            (date!(2026 - 10 - 25), 25, "16.000%", ["0.000%", "28.000%", "52.000%", "76.000%"]),
            (date!(2026 - 10 - 26), 24, "12.500%", ["0.000%", "25.000%", "50.000%", "75.000%"]),
        ] {
            let berlin = wall("Europe/Berlin", datetime!(2026-11-27 12:00 UTC));
            let day = berlin.zone().days(day, day)[0];
            let span = Span { from: day.begins_at, until: day.ends_at };
            assert_eq!((span.until - span.from).whole_hours(), hours);
            let frame = Frame { span, wall: &berlin, height: 16.0 };
            let three = Span { from: span.until - time::Duration::hours(21), until: span.until };
            let [bar] = &frame.bars(&[Band { span: three, kind: SpellKind::Active }])[..] else { panic!() };
            assert_eq!((bar.x.as_str(), bar.title.as_str()), (begin, "Active 03:00 to 00:00"));
            let end = |text: &str| text.trim_end_matches('%').parse::<f64>().unwrap();
            assert!((end(&bar.x) + end(&bar.width) - 100.0).abs() < 0.01, "{bar:?}");
            assert_eq!(frame.grid(), grid);
            let noon = frame.mark(span.until - time::Duration::hours(12), "Stopped").unwrap();
            assert_eq!((noon.x.as_str(), noon.title.as_str()), (grid[2], "Stopped 12:00"));
            assert_eq!(frame.now(), None, "it is another day");
        }
    }
}
