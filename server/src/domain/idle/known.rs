//! What the looks at a run add up to.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::evidence::{CpuUse, Evidence, Inside, Seen, Sign};
use super::policy::Policy;

/// Over so many seconds a rate of CPU use is one: the look's own use and the counter's ticks are less than 1 % by then.
const SHORTEST_S: f64 = 5.0;

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
    /// The CPU counters of the last look that had any, and of one that was a good while before it.
    pub(super) cpu: Option<CpuUse>,
    #[serde(default)]
    pub(super) cpu_before: Option<CpuUse>,
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
            self.rate(inside, policy);
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
    /// Works out the rate of CPU use since the look before. Two looks that follow hard on each other, as the last check
    /// on a pass, have too few of the counter's ticks between them, and the look itself among those: then it is since
    /// the one before.
    fn rate(&mut self, inside: &mut Inside, policy: &Policy) {
        let Some(now) = inside.cpu else { return };
        let shortest = (policy.longest_gap().as_secs_f64() / 6.0).min(SHORTEST_S);
        let hard_on = self.cpu.is_some_and(|last| now.up_s >= last.up_s && now.up_s - last.up_s < shortest);
        let since = if hard_on { self.cpu_before } else { self.cpu };
        inside.cpu_percent = since.and_then(|before| {
            let (used_s, up_s) = (now.used_s - before.used_s, now.up_s - before.up_s);
            let same = now.source == before.source;
            // Over a time in which looks failed, what has just begun must not be thinned out.
            let over_s = up_s.min(policy.look_every.as_secs_f64());
            (same && used_s >= 0.0 && over_s > 0.0).then(|| 100.0 * used_s / over_s)
        });
        if !hard_on {
            self.cpu_before = self.cpu.replace(now);
        }
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
    use super::*;
    use crate::domain::idle::{Because, CpuSource, Outside, Run, Verdict, judge};

    const BEGAN: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    /// Adds a look at this time of the machine, with so much CPU time used.
    fn look(known: &mut Known, (up_s, used_s, source): (f64, f64, CpuSource)) -> OffsetDateTime {
        let inside = Inside { cpu: Some(CpuUse { used_s, up_s, source }), ..Inside::default() };
        let (at, outside) = (BEGAN + time::Duration::seconds_f64(up_s), Outside::default());
        known
            .take(Evidence { at, steady: true, outside, inside: Ok(inside), hold: None }, &Policy::default());
        at
    }

    /// The rates that looks come to.
    fn rates(looks: &[(f64, f64, CpuSource)]) -> Vec<Option<f64>> {
        let mut known = Known::of_run(BEGAN);
        let mut rate = |&seen| {
            look(&mut known, seen);
            known.last()?.inside.as_ref().ok()?.cpu_percent.map(f64::round)
        };
        looks.iter().map(&mut rate).collect()
    }

    #[test]
    fn a_look_hard_on_another_is_no_measure_of_the_time_between_them() {
        let of = |up_s, used_s| (up_s, used_s, CpuSource::Cgroup2);
        // One tick in twenty milliseconds is half a core; since the look before the last it is next to nothing.
        assert_eq!(
            rates(&[of(60.0, 1.0), of(120.0, 1.6), of(120.02, 1.61), of(180.0, 31.6), of(181.0, 32.6)]),
            [None, Some(1.0), Some(1.0), Some(50.0), Some(52.0)]
        );
        assert_eq!(rates(&[of(60.0, 1.0), of(60.5, 1.5)]), [None, None]);
    }

    #[test]
    fn a_job_that_has_just_begun_is_not_thinned_out_by_a_time_without_looks() {
        let of = |up_s, used_s| (up_s, used_s, CpuSource::Cgroup2);
        // It began 20 s before the second look.
        assert_eq!(rates(&[of(660.0, 0.0), of(820.0, 20.0)]), [None, Some(33.0)]);
    }

    #[test]
    fn counters_that_differ_or_begin_anew_make_no_rate() {
        let of = |up_s, used_s, set| (up_s, used_s, CpuSource::Processes(set));
        let looks = [of(60.0, 50.0, 1), of(120.0, 56.0, 1), of(180.0, 20.0, 2), of(240.0, 26.0, 2)];
        assert_eq!(rates(&looks), [None, Some(10.0), None, Some(10.0)]);
        assert_eq!(rates(&[of(60.0, 1.0, 1), (120.0, 7.0, CpuSource::Cgroup1)]), [None, None]);
        // The machine is another one.
        assert_eq!(
            rates(&[of(600.0, 50.0, 1), of(60.0, 60.0, 1), of(120.0, 66.0, 1)]),
            [None, None, Some(10.0)]
        );
    }

    #[test]
    fn a_job_that_makes_the_counters_another_source_is_not_idleness() {
        let (mut known, policy) = (Known::of_run(BEGAN), Policy::default());
        let mut verdict = |seen| {
            let now = look(&mut known, seen);
            judge(now, &policy, &known, Run { began_at: BEGAN })
        };
        let quiet = (1..=90).map(|minute| (f64::from(minute) * 60.0, 5.0, CpuSource::Processes(1)));
        let before: Vec<Verdict> = quiet.map(&mut verdict).collect();
        assert!(matches!(before.last(), Some(Verdict::Idle { .. })), "{:?}", before.last());
        // The job has used 25 s, and is now one of the processes that count.
        let begun = verdict((5_430.0, 30.0, CpuSource::Processes(2)));
        assert!(matches!(begun, Verdict::Unknown { .. }), "{begun:?}");
        let seen = verdict((5_460.0, 60.0, CpuSource::Processes(2)));
        let by_cpu = |because: &Because| matches!(because, Because::Seen(seen) if seen.sign == Sign::Cpu);
        assert!(matches!(&seen, Verdict::Active { because } if by_cpu(because)), "{seen:?}");
    }

    #[test]
    fn counters_that_were_written_without_a_source_are_still_read() {
        let old: CpuUse = serde_json::from_str(r#"{"used_s": 1.5, "up_s": 2.5}"#).unwrap();
        assert_eq!(old, CpuUse { source: CpuSource::Cgroup2, used_s: 1.5, up_s: 2.5 });
    }
}
