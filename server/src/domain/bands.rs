//! What the time of a space was, as bands of one kind each: for drawings.

use std::time::Duration;

use time::OffsetDateTime;

use super::cost::{RunFacts, SpellKind};
use super::span::Span;

/// A time of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// From when to when.
    pub span: Span,
    /// What it was.
    pub kind: SpellKind,
}

/// The bands of these runs within a time, in their order; between two of them nothing ran. What no spell covers is
/// unknown, but for the newest moments of a run that lasts: they are what came before them until `late` has passed.
#[must_use]
pub fn bands(runs: &[RunFacts], within: Span, now: OffsetDateTime, late: Duration) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for run in runs {
        let (from, until) =
            (run.began_at.max(within.from), run.ended_at.unwrap_or(now).min(within.until).min(now));
        let mut at = from;
        for spell in run.spells.iter().filter(|spell| spell.ended_at > from && spell.began_at < until) {
            push(&mut bands, at, spell.began_at.min(until), SpellKind::Unknown);
            at = at.max(spell.began_at);
            push(&mut bands, at, spell.ended_at.min(until), spell.kind);
            at = at.max(spell.ended_at.min(until));
        }
        let fresh = run.ended_at.is_none() && now - at <= late;
        let kind = run.spells.last().filter(|_| fresh).map_or(SpellKind::Unknown, |spell| spell.kind);
        push(&mut bands, at, until, kind);
    }
    bands
}

/// Adds a band, or makes the one that it goes on from longer.
fn push(bands: &mut Vec<Band>, from: OffsetDateTime, until: OffsetDateTime, kind: SpellKind) {
    if from >= until {
        return;
    }
    match bands.last_mut() {
        Some(last) if last.kind == kind && last.span.until == from => last.span.until = until,
        _ => bands.push(Band { span: Span { from, until }, kind }),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::cost::Spell;
    use crate::domain::ids::{RunId, SpaceId};
    use crate::domain::space::AppType;

    const DAY: OffsetDateTime = datetime!(2026-11-24 00:00 UTC);

    fn at(hour: i64) -> OffsetDateTime {
        DAY + time::Duration::hours(hour)
    }

    fn run(began: i64, ended: Option<i64>, spells: &[(i64, i64, SpellKind)]) -> RunFacts {
        let spells =
            spells.iter().map(|&(from, until, kind)| Spell { began_at: at(from), ended_at: at(until), kind });
        RunFacts {
            id: RunId::generate(),
            space: SpaceId::generate(),
            app_type: AppType::JupyterLab,
            instance_type: None,
            began_at: at(began),
            ended_at: ended.map(at),
            spells: spells.collect(),
        }
    }

    fn drawn(runs: &[RunFacts], now: OffsetDateTime) -> Vec<(i64, i64, SpellKind)> {
        let within = Span { from: DAY, until: at(24) };
        let hour = |at: OffsetDateTime| (at - DAY).whole_hours();
        let bands = bands(runs, within, now, Duration::from_secs(180));
        bands.into_iter().map(|band| (hour(band.span.from), hour(band.span.until), band.kind)).collect()
    }

    #[test]
    fn what_no_spell_covers_is_unknown_and_what_did_not_run_is_nothing() {
        use SpellKind::{Active, Idle, Unknown};
        let first = run(-5, Some(4), &[(-5, 1, Active), (2, 4, Idle)]);
        let second = run(6, None, &[(6, 7, Active), (7, 8, Active), (8, 9, Idle)]);
        let expected = [(0, 1, Active), (1, 2, Unknown), (2, 4, Idle), (6, 8, Active), (8, 9, Idle)];
        assert_eq!(drawn(&[first.clone(), second.clone()], at(9) + Duration::from_secs(60)), expected);
        let now = at(12);
        assert_eq!(drawn(&[first, second], now).last(), Some(&(9, 12, Unknown)));
    }

    #[test]
    fn a_run_that_nobody_has_judged_is_unknown() {
        assert_eq!(drawn(&[run(20, None, &[])], at(23)), [(20, 23, SpellKind::Unknown)]);
        assert_eq!(drawn(&[run(30, None, &[])], at(23)), []);
    }
}
