use time::macros::datetime;

use super::super::testing::{space, space_in, user};
use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);

fn policy() -> AccessPolicy {
    AccessPolicy {
        members: vec![Membership { domain: "main".parse().unwrap(), group: "okta/ml".parse().unwrap() }],
        ..AccessPolicy::default()
    }
}

fn grant(user: &str, space: &str, until: OffsetDateTime) -> Grant {
    Grant {
        user: user.parse().unwrap(),
        domain: "main".parse().unwrap(),
        space: space.parse().unwrap(),
        until,
        reason: "on call".into(),
    }
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
