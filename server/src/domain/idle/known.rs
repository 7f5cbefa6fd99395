//! What the looks at a run add up to.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::evidence::{CpuUse, Evidence, Inside, Seen, Sign};
use super::policy::Policy;

/// A stretch of time without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stretch {
    pub(super) since: OffsetDateTime,
    pub(super) until: OffsetDateTime,
}

/// What is known of a run. Kept in its row, so that another replica goes on where this one stops.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Since when somebody has looked from outside without a gap.
    pub(super) watched: Option<Stretch>,
    /// Since when somebody has looked inside without a gap.
    pub(super) inside: Option<Stretch>,
    /// The newest sign from outside.
    pub(super) from_outside: Option<Seen>,
    /// The newest sign from inside.
    pub(super) from_inside: Option<Seen>,
    /// The CPU counters of the last look that had any.
    pub(super) cpu: Option<CpuUse>,
    /// Levels, not moments, that the last look inside found: they may have lasted until the next look.
    pub(super) at_work: Vec<Sign>,
    /// The last look.
    pub(super) last: Option<Evidence>,
}

impl Known {
    /// Nothing yet about a run that began then. Its start is the first sign of life, and counts as watched if the
    /// first look follows soon.
    #[must_use]
    pub fn of_run(began_at: OffsetDateTime) -> Self {
        let began = Stretch { since: began_at, until: began_at };
        Self {
            watched: Some(began),
            inside: Some(began),
            from_outside: Some(Seen { sign: Sign::Started, at: began_at, by: None }),
            ..Self::default()
        }
    }

    /// The last look.
    #[must_use]
    pub const fn last(&self) -> Option<&Evidence> {
        self.last.as_ref()
    }

    /// Since when somebody has looked without a gap.
    #[must_use]
    pub fn watched_since(&self) -> Option<OffsetDateTime> {
        self.watched.map(|stretch| stretch.since)
    }

    /// The newest sign of each side, outside first.
    #[must_use]
    pub const fn newest(&self) -> (Option<&Seen>, Option<&Seen>) {
        (self.from_outside.as_ref(), self.from_inside.as_ref())
    }

    /// What the last look inside found at work, the plainest first.
    #[must_use]
    pub fn busy(&self) -> Option<Sign> {
        let seen = self.last.as_ref().is_some_and(|look| look.inside.is_ok());
        self.at_work.first().copied().filter(|_| seen)
    }

    /// Adds a look. One that is older than the last is from before a clock was put back: what was known ends there.
    pub fn take(&mut self, mut look: Evidence, policy: &Policy) {
        if let Ok(inside) = &mut look.inside {
            self.rate(inside);
        }
        let at = look.at;
        extend(&mut self.watched, at, look.steady, policy);
        for seen in &look.outside.signs {
            let side = if seen.sign.from_outside() { &mut self.from_outside } else { &mut self.from_inside };
            newer(side, seen.clone(), at);
        }
        if let Ok(inside) = &look.inside {
            // Without a rate of CPU use, as at the first look, a job may be at work unseen.
            let whole = inside.cpu_percent.is_some() && extend(&mut self.inside, at, look.steady, policy);
            for seen in inside.signs.iter().filter(|seen| !seen.sign.from_outside()) {
                newer(&mut self.from_inside, seen.clone(), at);
            }
            let found = levels(inside, policy);
            // What was at work at the last look and is not now may have ended a moment ago.
            let ended = if whole { self.at_work.as_slice() } else { &[] };
            let last = found.first().or_else(|| ended.first()).copied();
            if let Some(sign) = last {
                newer(&mut self.from_inside, Seen { sign, at, by: None }, at);
            }
            self.at_work = found;
        }
        self.last = Some(look);
    }
}

impl Known {
    /// Works out the rate of CPU use since the look before.
    fn rate(&mut self, inside: &mut Inside) {
        let now = inside.cpu;
        inside.cpu_percent = self.cpu.zip(now).and_then(|(before, now)| {
            let (used_s, up_s) = (now.used_s - before.used_s, now.up_s - before.up_s);
            let comparable = before.source == now.source;
            (comparable && used_s >= 0.0 && up_s > 0.0).then(|| 100.0 * used_s / up_s)
        });
        self.cpu = now.or(self.cpu);
    }
}

/// Goes on with a stretch, or begins another after a gap; tells whether it went on.
fn extend(stretch: &mut Option<Stretch>, at: OffsetDateTime, steady: bool, policy: &Policy) -> bool {
    match stretch {
        Some(now) if steady && at >= now.until && at - now.until <= policy.longest_gap() => {
            now.until = at;
            true
        }
        _ => {
            *stretch = Some(Stretch { since: at, until: at });
            false
        }
    }
}

/// Keeps the newer of two. Nothing is from the future.
fn newer(side: &mut Option<Seen>, seen: Seen, at: OffsetDateTime) {
    let seen = Seen { at: seen.at.min(at), ..seen };
    // A time that a clock has since been put back behind is brought down to now.
    if let Some(old) = side
        && old.at > at
    {
        old.at = at;
    }
    if side.as_ref().is_none_or(|old| old.at <= seen.at) {
        *side = Some(seen);
    }
}

/// What is at work now, the plainest first.
fn levels(inside: &Inside, policy: &Policy) -> Vec<Sign> {
    let busy = inside.kernels.is_some_and(|(_, busy)| busy > 0);
    let cpu = inside.cpu_percent.is_some_and(|percent| percent >= policy.cpu_percent);
    let gpu = inside.gpu_percent.is_some_and(|percent| percent >= policy.gpu_percent);
    [(busy, Sign::KernelBusy), (gpu, Sign::Gpu), (cpu, Sign::Cpu)]
        .into_iter()
        .filter_map(|(found, sign)| found.then_some(sign))
        .collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::idle::{CpuSource, Outside};

    /// The rate that the second of two looks, 60 s apart, makes with the first.
    fn rate(first: (CpuSource, f64), second: (CpuSource, f64)) -> Option<f64> {
        let mut known = Known::default();
        for (nth, (source, used_s)) in [first, second].into_iter().enumerate() {
            let cpu = Some(CpuUse { source, used_s, up_s: 60.0 * nth as f64 });
            let at = datetime!(2026-11-25 14:00 UTC) + time::Duration::minutes(nth as i64);
            let inside = Ok(Inside { cpu, ..Inside::default() });
            let look = Evidence { at, steady: true, outside: Outside::default(), inside, hold: None };
            known.take(look, &Policy::default());
        }
        known.last().unwrap().inside.as_ref().unwrap().cpu_percent
    }

    #[test]
    fn counters_of_two_sources_make_no_rate() {
        let (group, processes) = (CpuSource::Cgroup2, CpuSource::Processes);
        assert_eq!(rate((group, 10.0), (group, 40.0)), Some(50.0));
        assert_eq!(rate((group, 10.0), (CpuSource::Cgroup1, 40.0)), None);
        assert_eq!(rate((processes(1), 10.0), (processes(1), 40.0)), Some(50.0));
        // A busy process has ended and took 25 s out of the sum, while another used 30 s: that is not 5 s of use.
        assert_eq!(rate((processes(1), 10.0), (processes(2), 15.0)), None);
        assert_eq!(rate((processes(1), 40.0), (processes(1), 10.0)), None);
    }

    #[test]
    fn counters_that_were_written_without_a_source_are_still_read() {
        let old: CpuUse = serde_json::from_str(r#"{"used_s": 1.5, "up_s": 2.5}"#).unwrap();
        assert_eq!(old, CpuUse { source: CpuSource::Cgroup2, used_s: 1.5, up_s: 2.5 });
        let new = CpuUse { source: CpuSource::Processes(7), ..old };
        assert_eq!(serde_json::from_str::<CpuUse>(&serde_json::to_string(&new).unwrap()).unwrap(), new);
    }
}
