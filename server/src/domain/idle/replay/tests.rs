//! Replays of looks that are written down by hand. Those of random schedules are in `schedules`.

use time::macros::datetime;

use super::super::evidence::{CpuSource, CpuUse, Hold, Inside, NoLook, Outside};
use super::super::policy::InsideRule;
use super::*;

const BEGIN: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

fn minute(minutes: i64) -> OffsetDateTime {
    BEGIN + time::Duration::minutes(minutes)
}

/// Idle after an hour, and five minutes of grace.
fn policy() -> Policy {
    Policy { inside: InsideRule::WhereSetUp, ..Policy::default() }
}

fn look(at: i64, key: Option<i64>) -> Evidence {
    let signs = key.map(|key| Seen { sign: Sign::Keys, at: minute(key), by: Some("alice".to_owned()) });
    Evidence {
        at: minute(at),
        steady: true,
        outside: Outside { signs: signs.into_iter().collect(), unsure: None },
        inside: Err(NoLook { why: "no look inside is set up".to_owned(), not_set_up: true }),
        hold: None,
    }
}

fn replay(policy: &Policy, looks: impl IntoIterator<Item = Evidence>) -> Replayed {
    let mut replay = Replay::new(policy, BEGIN);
    looks.into_iter().for_each(|look| replay.take(look));
    replay.done()
}

/// Looks every minute; the keys that were pressed.
fn looks(upto: i64, keys: &[i64]) -> Vec<Evidence> {
    (1..=upto).map(|at| look(at, keys.iter().copied().filter(|key| *key <= at).max())).collect()
}

#[test]
fn a_stop_says_when_why_and_whom_it_would_have_met() {
    let replayed = replay(&policy(), looks(200, &[10, 87]));
    let stop = replayed.stop.unwrap();
    assert_eq!((stop.warned_at, stop.at), (minute(70), minute(75)));
    assert_eq!(stop.trigger, Trigger::Idle { since: minute(10), over_longest_run: false });
    assert!(stop.grounds.iter().any(|ground| ground.what == "last key in any terminal, alice"));
    let met = stop.met.clone().unwrap();
    assert_eq!((met.words().as_str(), met.after(&stop)), ("a key of alice", Duration::from_secs(12 * 60)));
    assert_eq!((replayed.last, replayed.doubt), (Some(minute(200)), None));
    let Looks { active, idle, unknown } = replayed.looks;
    assert_eq!((active + idle, unknown), (75, 0));
    // Somebody who comes much later would have started it again.
    assert_eq!(replay(&policy(), looks(200, &[10, 160])).stop.unwrap().met, None);
    // And who comes in time takes the warning back.
    assert_eq!(replay(&policy(), looks(130, &[10, 72])).stop, None);
}

#[test]
fn a_dry_run_is_replayed_in_earnest_and_never_stays_never() {
    for (mode, stops) in [(Mode::DryRun, true), (Mode::Stop, true), (Mode::Never, false)] {
        let replayed = replay(&Policy { mode, ..policy() }, looks(100, &[]));
        assert_eq!(replayed.stop.is_some(), stops, "{mode:?}");
    }
}

#[test]
fn what_is_unknown_stops_nothing_and_says_why() {
    let strict = Policy { inside: InsideRule::Required, ..policy() };
    let replayed = replay(&strict, looks(100, &[]));
    assert_eq!(replayed.stop, None);
    assert_eq!(replayed.doubt, Some(Doubt::NoLook("no look inside is set up".to_owned())));
    assert_eq!(replayed.looks.unknown, 96, "after five minutes that count as in use from the start");
    // A gap between looks begins the idle time anew.
    let with_gap = looks(120, &[]).into_iter().filter(|look| !(minute(30)..minute(50)).contains(&look.at));
    let stop = replay(&policy(), with_gap).stop.unwrap();
    assert_eq!((stop.warned_at, stop.at), (minute(110), minute(115)));
}

#[test]
fn thresholds_are_the_policys_since_looks_hold_what_was_found() {
    // 30 % of a core throughout.
    let working = |at: i64| Evidence {
        inside: Ok(Inside {
            cpu: Some(CpuUse {
                source: CpuSource::Cgroup2,
                used_s: at as f64 * 18.0,
                up_s: at as f64 * 60.0,
            }),
            // What was worked out at the time does not count.
            cpu_percent: Some(99.0),
            ..Inside::default()
        }),
        ..look(at, None)
    };
    let at = |cpu_percent| replay(&Policy { cpu_percent, ..policy() }, (1..=100).map(working)).stop;
    assert_eq!(at(20.0), None);
    assert_eq!(at(40.0).unwrap().at, minute(65));
}

#[test]
fn a_hold_or_a_busy_kernel_after_the_stop_is_met_too() {
    let mut held = looks(100, &[]);
    let hold = Hold { until: minute(300), by: "bo".to_owned(), reason: "runs".to_owned() };
    held[79].hold = Some(hold);
    let stop = replay(&policy(), held).stop.unwrap();
    let met = stop.met.clone().unwrap();
    assert_eq!((met.words().as_str(), met.at), ("a hold by bo", minute(80)));
    let mut busy = looks(100, &[]);
    busy[89].inside = Ok(Inside { kernels: Some((1, 1)), ..Inside::default() });
    let met = replay(&policy(), busy).stop.unwrap().met.unwrap();
    assert_eq!((met.words().as_str(), met.at), ("a busy kernel", minute(90)));
}
