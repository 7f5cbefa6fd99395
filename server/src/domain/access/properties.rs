//! What holds of the policy whatever its rules are.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::super::testing::{space_in, user};
use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);
const USERS: [&str; 2] = ["alice", "bo"];
const DOMAINS: [&str; 2] = ["main", "west"];
const SPACES: [&str; 2] = ["demo", "team"];
const GROUPS: [&str; 3] = ["okta/ml", "okta/gpu", "local/ml"];
const ACTIONS: [Action; 5] =
    [Action::Open, Action::Jump, Action::Start, Action::Change, Action::ForwardAgent];

fn one_of<T: std::str::FromStr<Err: fmt::Debug> + fmt::Debug>(
    words: &'static [&'static str],
) -> impl Strategy<Value = T> {
    select(words).prop_map(|word| word.parse().unwrap())
}

fn a_membership() -> impl Strategy<Value = Membership> {
    (one_of(&DOMAINS), one_of(&GROUPS)).prop_map(|(domain, group)| Membership { domain, group })
}

fn a_grant() -> impl Strategy<Value = Grant> {
    (one_of(&USERS), one_of(&DOMAINS), one_of(&SPACES), -2..3_i64).prop_map(|(user, domain, space, hours)| {
        Grant { user, domain, space, until: NOW + Duration::hours(hours), reason: "cover".into() }
    })
}

fn a_denial() -> impl Strategy<Value = Denial> {
    let (domain, space) = (option::of(one_of(&DOMAINS)), option::of(one_of(&SPACES)));
    (one_of(&USERS), domain, space).prop_map(|(user, domain, space)| Denial {
        user,
        domain,
        space,
        reason: "no".into(),
    })
}

fn a_policy() -> impl Strategy<Value = AccessPolicy> {
    let no_jump = subsequence(GROUPS.to_vec(), 0..=1);
    (vec(a_membership(), 0..3), vec(a_grant(), 0..4), vec(a_denial(), 0..2), no_jump, any::<bool>()).prop_map(
        |(members, grants, denials, no_jump, agent_into_shared)| {
            let no_jump = no_jump.iter().map(|group| group.parse().unwrap()).collect();
            AccessPolicy { members, grants, denials, no_jump, agent_into_shared }
        },
    )
}

fn a_user() -> impl Strategy<Value = User> {
    let profiles = vec((select(&DOMAINS), select(&USERS)), 0..3);
    (select(&USERS), subsequence(GROUPS.to_vec(), 0..=2), profiles, any::<bool>()).prop_map(
        |(name, groups, profiles, suspended)| {
            let profiles = profiles.iter().map(|(domain, name)| format!("{domain}/{name}").parse().unwrap());
            User { profiles: profiles.collect(), suspended, ..user(name, &groups) }
        },
    )
}

fn a_space() -> impl Strategy<Value = Space> {
    let sharing = select(&[Sharing::Private, Sharing::Shared]);
    (select(&DOMAINS), select(&SPACES), option::of(select(&USERS)), sharing).prop_map(
        |(domain, name, owner, sharing)| {
            let owned = space_in(domain, name, owner.unwrap_or("nobody"), sharing);
            Space { owner: owned.owner.filter(|_| owner.is_some()), ..owned }
        },
    )
}

/// Whether a rule names the space for the user, said once more and in other words than [`reach`] says it.
fn is_named(policy: &AccessPolicy, user: &User, space: &Space) -> bool {
    let own = space.owner.as_ref().map(|owner| format!("{}/{owner}", space.domain));
    let owned = own.is_some_and(|own| user.profiles.iter().any(|profile| profile.to_string() == own));
    let granted = policy.grants.iter().any(|grant| {
        (&grant.user, &grant.domain, &grant.space) == (&user.name, &space.domain, space.name())
            && grant.until > NOW
    });
    let shared = policy
        .members
        .iter()
        .any(|m| m.domain == space.domain && user.groups.iter().any(|group| *group == m.group));
    owned || granted || (shared && space.sharing == Sharing::Shared)
}

fn allows(policy: &AccessPolicy, user: &User, space: &Space, action: Action) -> bool {
    matches!(decide(policy, user, space, action, NOW), Decision::Allow(_))
}

proptest! {
    #[test]
    fn nobody_reaches_a_space_that_no_rule_names(policy in a_policy(), user in a_user(), space in a_space()) {
        for action in ACTIONS {
            let named = is_named(&policy, &user, &space);
            prop_assert!(named || !allows(&policy, &user, &space, action), "{}", action);
        }
    }

    #[test]
    fn what_a_rule_names_and_nothing_denies_may_be_opened(policy in a_policy(), user in a_user(), space in a_space()) {
        let policy = AccessPolicy { denials: Vec::new(), ..policy };
        let user = User { suspended: false, ..user };
        let named = is_named(&policy, &user, &space);
        prop_assert_eq!(allows(&policy, &user, &space, Action::Open), named);
    }

    #[test]
    fn a_denial_wins_over_whatever_else_stands(policy in a_policy(), user in a_user(), space in a_space(), wide in 0..4_u8) {
        let mut policy = policy;
        policy.denials.push(Denial {
            user: user.name.clone(),
            domain: (wide & 1 == 0).then(|| space.domain.clone()),
            space: (wide & 2 == 0).then(|| space.name().clone()),
            reason: "no".into(),
        });
        for action in ACTIONS {
            prop_assert!(!allows(&policy, &user, &space, action), "{}", action);
        }
    }

    #[test]
    fn a_suspended_person_may_nothing(policy in a_policy(), user in a_user(), space in a_space()) {
        let user = User { suspended: true, ..user };
        for action in ACTIONS {
            let answer = decide(&policy, &user, &space, action, NOW);
            prop_assert_eq!(answer, Decision::Deny(Because::Suspended));
        }
    }

    #[test]
    fn another_denial_never_opens_anything(policy in a_policy(), user in a_user(), space in a_space(), denial in a_denial()) {
        let mut stricter = policy.clone();
        stricter.denials.push(denial);
        for action in ACTIONS {
            let before = allows(&policy, &user, &space, action);
            prop_assert!(before || !allows(&stricter, &user, &space, action), "{}", action);
        }
    }

    #[test]
    fn authorize_agrees_with_decide(policy in a_policy(), user in a_user(), space in a_space()) {
        for action in ACTIONS {
            let proof = authorize(&policy, &user, &space, action, NOW).map(|proof| proof.because().clone());
            let proof = proof.map_or_else(Decision::Deny, Decision::Allow);
            prop_assert_eq!(proof, decide(&policy, &user, &space, action, NOW));
        }
    }
}
