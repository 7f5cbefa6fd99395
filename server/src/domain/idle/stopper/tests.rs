//! Steps that random schedules do not come to.

use time::macros::datetime;

use super::super::judge::Doubt;
use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

fn idle() -> Verdict {
    let since = NOW - Duration::from_secs(86_400);
    Verdict::Idle { since, due_at: Some(since), stop_at: Some(since), over_longest_run: false }
}

fn policy(mode: Mode) -> Policy {
    Policy { mode, ..Policy::default() }
}

fn warned(stopper: &mut Stopper, policy: &Policy) -> OffsetDateTime {
    assert_eq!(stopper.step(NOW, policy, Input::Verdict(idle())), []);
    let [Command::Warn { stop_at, .. }] = stopper.step(NOW, policy, Input::Verdict(idle()))[..] else {
        panic!("the second idle verdict warns: {stopper:?}")
    };
    if policy.mode == Mode::Stop {
        assert_eq!(stopper.step(NOW, policy, Input::Told), []);
    }
    stop_at
}

#[test]
fn a_warning_that_nobody_gave_is_given_again_with_the_whole_grace() {
    let policy = policy(Mode::Stop);
    let mut stopper = Stopper::default();
    stopper.step(NOW, &policy, Input::Verdict(idle()));
    let warning = stopper.step(NOW, &policy, Input::Verdict(idle()));
    assert!(matches!(warning[..], [Command::Warn { .. }]), "{warning:?}");
    // The process ends here. Whoever leads next finds its row.
    let mut stopper: Stopper = serde_json::from_str(&serde_json::to_string(&stopper).unwrap()).unwrap();
    let later = NOW + policy.look_every;
    let again = stopper.step(later, &policy, Input::Verdict(idle()));
    assert!(matches!(again[..], [Command::Warn { stop_at, .. }] if stop_at == later + policy.grace));
    stopper.step(later, &policy, Input::Told);
    // Told once, it is not said again with each look.
    assert_eq!(stopper.step(later + policy.look_every, &policy, Input::Verdict(idle())), []);
    assert_eq!(stopper.step(later + policy.grace, &policy, Input::Time), [Command::Check]);
    // Where no look comes before its time, it is the time that warns.
    let mut waiting = Stopper::default();
    waiting.step(NOW, &policy, Input::Verdict(idle()));
    waiting.step(NOW, &policy, Input::Verdict(idle()));
    let at = waiting.wakes_at().unwrap();
    let again = waiting.step(at, &policy, Input::Time);
    assert!(matches!(again[..], [Command::Warn { stop_at, .. }] if stop_at == at + policy.grace));
    // What nobody was told of is not taken back either.
    let active = Verdict::Unknown { because: Doubt::Unsure(String::new()) };
    let calm = Calm::Unknown(Doubt::Unsure(String::new()));
    assert_eq!(waiting.step(at, &policy, Input::Verdict(active)), [Command::Stays { calm, told: false }]);
}

#[test]
fn a_dry_run_that_becomes_earnest_warns_before_anything_is_stopped() {
    let (dry, earnest) = (policy(Mode::DryRun), policy(Mode::Stop));
    // While it waits for the end of a grace that nobody was told of, be it by the next look or at its end.
    for input in [Input::Verdict(idle()), Input::Time] {
        let mut waiting = Stopper::default();
        let at = warned(&mut waiting, &dry);
        let commands = waiting.step(at, &earnest, input);
        assert!(matches!(commands[..], [Command::Warn { stop_at, .. }] if stop_at == at + earnest.grace));
    }
    // And after it has written down what it would have done.
    let mut done = Stopper::default();
    let at = warned(&mut done, &dry);
    assert_eq!(done.step(at, &dry, Input::Time), [Command::Check]);
    let checked = Input::Checked(Check::Same, idle());
    assert!(matches!(done.step(at, &dry, checked)[..], [Command::Finish(Outcome::WouldHave(_))]));
    assert_eq!(done.step(at, &earnest, Input::Verdict(idle())), []);
    let commands = done.step(at, &earnest, Input::Verdict(idle()));
    assert!(matches!(commands[..], [Command::Warn { .. }]), "{commands:?}");
}

#[test]
fn what_a_person_may_not_stop_is_not_stopped_for_them_later() {
    let (mut stopper, policy) = (Stopper::default(), policy(Mode::Stop));
    assert_eq!(stopper.step(NOW, &policy, Input::Asked { by: "alice".to_owned() }), [Command::Check]);
    let unknown = Verdict::Unknown { because: Doubt::Unsure(String::new()) };
    assert_eq!(stopper.step(NOW, &policy, Input::Checked(Check::Same, unknown)), [Command::Delete]);
    let refused = Input::Answered(Answer::Refused("AccessDeniedException".to_owned()));
    assert_eq!(stopper.step(NOW, &policy, refused), []);
    let later = stopper.wakes_at().unwrap();
    let over = Command::Stays { calm: Calm::NotDone, told: false };
    assert_eq!(stopper.step(later, &policy, Input::Time), [over]);
    assert_eq!(stopper.wakes_at(), None);
}

#[test]
fn an_app_that_is_being_deleted_is_looked_at_every_few_seconds() {
    let (mut stopper, policy) = (Stopper::default(), policy(Mode::Stop));
    let at = warned(&mut stopper, &policy);
    stopper.step(at, &policy, Input::Time);
    assert_eq!(stopper.step(at, &policy, Input::Checked(Check::Same, idle())), [Command::Delete]);
    stopper.step(at, &policy, Input::Answered(Answer::Accepted));
    assert_eq!(stopper.step(at, &policy, Input::Time), []);
    assert_eq!(stopper.step(at + LOOK, &policy, Input::Time), [Command::Look]);
    stopper.step(at + LOOK, &policy, Input::Seen(Check::Going));
    assert_eq!(stopper.wakes_at(), Some(at + LOOK + LOOK));
}
