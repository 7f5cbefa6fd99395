use time::macros::datetime;

use super::super::grant::{Grant, HeldGrant};
use super::super::ids::GrantId;
use super::super::testing::{space, space_in, user};
use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);

fn policy() -> AccessPolicy {
    AccessPolicy {
        members: vec![Membership { domain: "main".parse().unwrap(), group: "okta/ml".parse().unwrap() }],
        ..AccessPolicy::default()
    }
}

fn what(space: &str, until: OffsetDateTime) -> Grant {
    let (domain, space) = ("main".parse().unwrap(), space.parse().unwrap());
    Grant { domain, space, until, reason: "on call".into() }
}

fn grant(user: &str, space: &str, until: OffsetDateTime) -> ListedGrant {
    ListedGrant { user: user.parse().unwrap(), grant: what(space, until) }
}

#[test]
fn owner_may_open_and_a_stranger_may_not() {
    let demo = space("demo", "alice", Sharing::Private);
    assert_eq!(
        decide(&policy(), &user("alice", &[]), &demo, Action::Open, NOW),
        Decision::Allow(Because::Owner)
    );
    let no = decide(&policy(), &user("bo", &["okta/ml"]), &demo, Action::Open, NOW);
    assert_eq!(no, Decision::Deny(Because::PrivateTo(Some("alice".into()))));
}

#[test]
fn a_profile_counts_in_its_own_domain_only() {
    let alice = user("alice", &[]);
    assert!(alice.owns(&space("demo", "alice", Sharing::Private)));
    let strangers = space_in("west", "demo", "alice", Sharing::Private);
    for action in [Action::Open, Action::Jump, Action::Start, Action::Change, Action::ForwardAgent] {
        let answer = decide(&policy(), &alice, &strangers, action, NOW);
        assert_eq!(answer, Decision::Deny(Because::PrivateTo(Some("alice".into()))), "{action}");
    }
}

#[test]
fn a_denial_is_as_wide_as_it_is_written() {
    let mut alice = user("alice", &[]);
    alice.profiles.insert("west/alice".parse().unwrap());
    let denied = |domain: Option<&str>, name: Option<&str>| {
        let denial = Denial {
            user: "alice".parse().unwrap(),
            domain: domain.map(|alias| alias.parse().unwrap()),
            space: name.map(|name| name.parse().unwrap()),
            reason: String::new(),
        };
        let policy = AccessPolicy { denials: vec![denial], ..policy() };
        [("main", "demo"), ("main", "other"), ("west", "demo"), ("west", "other")].map(|(domain, name)| {
            let space = space_in(domain, name, "alice", Sharing::Private);
            matches!(decide(&policy, &alice, &space, Action::Open, NOW), Decision::Deny(_))
        })
    };
    assert_eq!(denied(None, None), [true; 4]);
    assert_eq!(denied(Some("west"), None), [false, false, true, true]);
    assert_eq!(denied(None, Some("demo")), [true, false, true, false]);
    assert_eq!(denied(Some("west"), Some("demo")), [false, false, true, false]);
}

#[test]
fn shared_space_is_for_members_of_its_domain_only() {
    let team = space("team", "carol", Sharing::Shared);
    let group: GroupName = "okta/ml".parse().unwrap();
    let yes = decide(&policy(), &user("bo", &["okta/ml"]), &team, Action::Open, NOW);
    assert_eq!(yes, Decision::Allow(Because::Member(group)));
    let no = decide(&policy(), &user("bo", &["other/ml"]), &team, Action::Open, NOW);
    assert_eq!(no, Decision::Deny(Because::NotAMember("main".parse().unwrap())));
}

#[test]
fn grant_counts_until_its_end_and_says_when_it_ended() {
    let until = datetime!(2026-11-25 12:00:01 UTC);
    let policy = AccessPolicy { grants: vec![grant("bo", "demo", until)], ..policy() };
    let demo = space("demo", "alice", Sharing::Private);
    let bo = user("bo", &[]);
    assert!(matches!(
        decide(&policy, &bo, &demo, Action::Open, NOW),
        Decision::Allow(Because::Granted { .. })
    ));
    assert_eq!(decide(&policy, &bo, &demo, Action::Open, until), Decision::Deny(Because::GrantEnded(until)));
}

#[test]
fn denial_and_suspension_win_over_ownership() {
    let demo = space("demo", "alice", Sharing::Private);
    let user_name = "alice".parse().unwrap();
    let denial = Denial { user: user_name, domain: None, space: None, reason: "audit".into() };
    let denied = AccessPolicy { denials: vec![denial], ..policy() };
    let alice = user("alice", &[]);
    let answer = decide(&denied, &alice, &demo, Action::Open, NOW);
    assert_eq!(answer, Decision::Deny(Because::Denied("audit".into())));
    let suspended = User { suspended: true, ..alice };
    assert_eq!(decide(&policy(), &suspended, &demo, Action::Open, NOW), Decision::Deny(Because::Suspended));
}

#[test]
fn jump_mode_is_switched_off_per_group() {
    let policy = AccessPolicy { no_jump: ["okta/interns".parse().unwrap()].into(), ..policy() };
    let demo = space("demo", "alice", Sharing::Private);
    let intern = user("alice", &["okta/interns"]);
    assert!(matches!(
        decide(&policy, &intern, &demo, Action::Jump, NOW),
        Decision::Deny(Because::JumpSwitchedOff(_))
    ));
    assert!(matches!(decide(&policy, &intern, &demo, Action::Open, NOW), Decision::Allow(_)));
}

#[test]
fn agents_stay_out_of_shared_spaces_unless_configured() {
    let team = space("team", "alice", Sharing::Shared);
    let alice = user("alice", &[]);
    let no = decide(&policy(), &alice, &team, Action::ForwardAgent, NOW);
    assert_eq!(no, Decision::Deny(Because::AgentIntoShared));
    let policy = AccessPolicy { agent_into_shared: true, ..policy() };
    assert!(matches!(decide(&policy, &alice, &team, Action::ForwardAgent, NOW), Decision::Allow(_)));
}

#[test]
fn nobody_gets_in_whose_login_has_lapsed_or_was_withdrawn() {
    let (demo, mut alice) = (space("demo", "alice", Sharing::Private), user("alice", &[]));
    let open = |alice: &User| decide(&policy(), alice, &demo, Action::Open, NOW);
    alice.standing = Standing::Until(NOW + time::Duration::SECOND);
    assert_eq!(open(&alice), Decision::Allow(Because::Owner));
    alice.standing = Standing::Until(NOW);
    assert_eq!(open(&alice), Decision::Deny(Because::LoginLapsed(NOW)));
    for why in [Withdrawal::Refused, Withdrawal::LeftGroup] {
        alice.standing = Standing::Withdrawn { at: NOW, why };
        assert_eq!(open(&alice), Decision::Deny(Because::Withdrawn(why)));
    }
}

#[test]
fn grant_of_a_configured_person_is_not_that_of_a_namesake_who_signed_in() {
    let demo = space("demo", "bo", Sharing::Private);
    let mut policy = policy();
    policy.grants.push(grant("alice", "demo", NOW + time::Duration::HOUR));
    let mut alice = user("alice", &[]);
    assert!(matches!(decide(&policy, &alice, &demo, Action::Open, NOW), Decision::Allow(_)));
    alice.standing = Standing::Until(NOW + time::Duration::HOUR);
    assert!(matches!(decide(&policy, &alice, &demo, Action::Open, NOW), Decision::Deny(_)));
}

#[test]
fn a_held_grant_is_its_persons_whoever_vouches_for_them_and_no_namesakes() {
    let demo = space("demo", "alice", Sharing::Private);
    let until = NOW + time::Duration::HOUR;
    let held = HeldGrant { id: GrantId::generate(), grant: what("demo", until) };
    let namesake = user("bo", &[]);
    for standing in [Standing::Configured, Standing::Until(until)] {
        let bo = User { grants: vec![held.clone()], standing, ..user("bo", &[]) };
        let because = Because::Granted { until, reason: "on call".into() };
        let explained = explain(&policy(), &bo, &demo, Action::Open, NOW);
        assert_eq!(explained.decision, Decision::Allow(because));
        assert_eq!(explained.rule, Rule::HeldGrant(held.id));
    }
    let no = Decision::Deny(Because::PrivateTo(Some("alice".into())));
    assert_eq!(decide(&policy(), &namesake, &demo, Action::Open, NOW), no);
    let other = space_in("west", "demo", "alice", Sharing::Private);
    let bo = User { grants: vec![held], ..namesake };
    assert_eq!(decide(&policy(), &bo, &other, Action::Open, NOW), no, "another domain");
}

#[test]
fn of_several_grants_the_one_that_runs_longest_counts_whichever_its_kind() {
    let demo = space("demo", "alice", Sharing::Private);
    let (soon, later) = (NOW + time::Duration::MINUTE, NOW + time::Duration::HOUR);
    let rule = |listed, held| {
        let policy = AccessPolicy { grants: vec![grant("bo", "demo", listed)], ..policy() };
        let grants = vec![HeldGrant { id: GrantId::generate(), grant: what("demo", held) }];
        let bo = User { grants, ..user("bo", &[]) };
        explain(&policy, &bo, &demo, Action::Open, NOW).rule
    };
    assert_eq!(rule(later, soon), Rule::ListedGrant(0));
    assert!(matches!(rule(soon, later), Rule::HeldGrant(_)));
    assert!(matches!(rule(NOW, soon), Rule::HeldGrant(_)), "one that has ended hides none that runs");
}

#[test]
fn a_denial_by_name_is_about_everybody_who_is_called_so() {
    let demo = space("demo", "alice", Sharing::Private);
    let denial = Denial { user: "alice".parse().unwrap(), domain: None, space: None, reason: "audit".into() };
    let policy = AccessPolicy { denials: vec![denial], ..policy() };
    for standing in [Standing::Configured, Standing::Until(NOW + time::Duration::HOUR)] {
        let alice = User { standing, ..user("alice", &[]) };
        let explained = explain(&policy, &alice, &demo, Action::Open, NOW);
        assert_eq!(explained.decision, Decision::Deny(Because::Denied("audit".into())));
        assert_eq!(explained.rule, Rule::Denial(0));
    }
}

#[test]
fn actions_are_read_as_operators_write_them() {
    let words = ["open", "jump", "start", "change", "forward-agent"];
    let actions = [Action::Open, Action::Jump, Action::Start, Action::Change, Action::ForwardAgent];
    assert_eq!(words.map(|word| word.parse::<Action>().unwrap()), actions);
    assert!("Open".parse::<Action>().is_err());
}
