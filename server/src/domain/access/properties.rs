//! What holds of the policy whatever its rules are.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::super::grant::{Grant, HeldGrant};
use super::super::ids::GrantId;
use super::super::testing::{space_in, user};
use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);
const USERS: [&str; 2] = ["alice", "bo"];
const DOMAINS: [&str; 2] = ["main", "west"];
const SPACES: [&str; 2] = ["demo", "team"];
const GROUPS: [&str; 3] = ["okta/ml", "okta/gpu", "local/ml"];
const ACTIONS: [Action; 8] = [
    Action::Open,
    Action::Jump,
    Action::Start,
    Action::Change,
    Action::ForwardAgent,
    Action::See,
    Action::Hold,
    Action::Stop,
];

fn one_of<T: FromStr<Err: fmt::Debug> + fmt::Debug>(
    words: &'static [&'static str],
) -> impl Strategy<Value = T> {
    select(words).prop_map(|word| word.parse().unwrap())
}

fn a_membership() -> impl Strategy<Value = Membership> {
    (one_of(&DOMAINS), one_of(&GROUPS)).prop_map(|(domain, group)| Membership { domain, group })
}

fn a_grant() -> impl Strategy<Value = Grant> {
    (one_of(&DOMAINS), one_of(&SPACES), -2..3_i64).prop_map(|(domain, space, hours)| Grant {
        domain,
        space,
        until: NOW + Duration::hours(hours),
        reason: "cover".into(),
    })
}

fn a_listed_grant() -> impl Strategy<Value = ListedGrant> {
    (one_of(&USERS), a_grant()).prop_map(|(user, grant)| ListedGrant { user, grant })
}

fn a_held_grant() -> impl Strategy<Value = HeldGrant> {
    a_grant().prop_map(|grant| HeldGrant { id: GrantId::generate(), grant })
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
    (vec(a_membership(), 0..3), vec(a_listed_grant(), 0..4), vec(a_denial(), 0..2), no_jump, any::<bool>())
        .prop_map(|(members, grants, denials, no_jump, agent_into_shared)| {
            let no_jump = no_jump.iter().map(|group| group.parse().unwrap()).collect();
            AccessPolicy { members, grants, denials, no_jump, agent_into_shared }
        })
}

fn a_standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        3 => Just(Standing::Configured),
        3 => (-1..3_i64).prop_map(|hours| Standing::Until(NOW + Duration::hours(hours))),
        1 => select(&[Withdrawal::Refused, Withdrawal::LeftGroup])
            .prop_map(|why| Standing::Withdrawn { at: NOW, why }),
    ]
}

fn a_user() -> impl Strategy<Value = User> {
    let profiles = vec((select(&DOMAINS), select(&USERS)), 0..3);
    let (groups, grants) = (subsequence(GROUPS.to_vec(), 0..=2), vec(a_held_grant(), 0..3));
    let role = select(&[Role::User, Role::Auditor, Role::Admin]);
    (select(&USERS), groups, profiles, grants, any::<bool>(), a_standing(), role).prop_map(
        |(name, groups, profiles, grants, suspended, standing, role)| {
            let profiles = profiles.iter().map(|(domain, name)| format!("{domain}/{name}").parse().unwrap());
            User { profiles: profiles.collect(), grants, suspended, standing, role, ..user(name, &groups) }
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
    let runs =
        |grant: &Grant| (&grant.domain, &grant.space) == (&space.domain, space.name()) && grant.until > NOW;
    let listed = policy.grants.iter().any(|listed| listed.user == user.name && runs(&listed.grant));
    let held = user.grants.iter().any(|held| runs(&held.grant));
    let shared = policy
        .members
        .iter()
        .any(|m| m.domain == space.domain && user.groups.iter().any(|group| *group == m.group));
    let listed = listed && user.standing == Standing::Configured;
    owned || listed || held || (shared && space.sharing == Sharing::Shared)
}

/// Whether it is an admin's to do, said once more.
fn is_for_admins(user: &User, action: Action) -> bool {
    user.role == Role::Admin && [Action::Hold, Action::Stop].contains(&action)
}

/// Whether the person may connect at all.
fn is_in(user: &User) -> bool {
    let vouched = match user.standing {
        Standing::Configured => true,
        Standing::Until(until) => until > NOW,
        Standing::Withdrawn { .. } => false,
    };
    vouched && !user.suspended
}

/// The same policy and user without the rule that an explanation names; nothing where there is none to take away.
fn without(rule: &Rule, policy: &AccessPolicy, user: &User) -> Option<(AccessPolicy, User)> {
    let (mut policy, mut user) = (policy.clone(), user.clone());
    match rule {
        Rule::Suspension => user.suspended = false,
        Rule::Standing => user.standing = Standing::Until(NOW + Duration::HOUR),
        Rule::Denial(at) => drop(policy.denials.remove(*at)),
        Rule::Profile(profile) => assert!(user.profiles.remove(profile)),
        Rule::Role => user.role = Role::User,
        Rule::ListedGrant(at) => drop(policy.grants.remove(*at)),
        Rule::HeldGrant(id) => {
            let before = user.grants.len();
            user.grants.retain(|held| held.id != *id);
            assert_eq!(user.grants.len() + 1, before);
        }
        Rule::Member(at) => drop(policy.members.remove(*at)),
        Rule::NoJump(group) => assert!(policy.no_jump.remove(group)),
        Rule::AgentIntoShared => policy.agent_into_shared = true,
        Rule::Nothing => return None,
    }
    Some((policy, user))
}

/// One step in the life of a policy and a person.
#[derive(Debug, Clone)]
enum Step {
    List(ListedGrant),
    Hold(HeldGrant),
    /// The grants of this place among both kinds end.
    End(usize),
    Join(GroupName),
    Leave(GroupName),
    Share(Membership),
    Deny(Denial),
    /// The newest denial is taken back.
    Forgive,
    Suspend(bool),
    Stand(Standing),
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        a_listed_grant().prop_map(Step::List),
        a_held_grant().prop_map(Step::Hold),
        (0..3_usize).prop_map(Step::End),
        one_of(&GROUPS).prop_map(Step::Join),
        one_of(&GROUPS).prop_map(Step::Leave),
        a_membership().prop_map(Step::Share),
        a_denial().prop_map(Step::Deny),
        Just(Step::Forgive),
        any::<bool>().prop_map(Step::Suspend),
        a_standing().prop_map(Step::Stand),
    ]
}

fn take(step: Step, policy: &mut AccessPolicy, user: &mut User) {
    match step {
        Step::List(grant) => policy.grants.push(grant),
        Step::Hold(grant) => user.grants.push(grant),
        Step::End(at) => {
            let listed = policy.grants.get_mut(at).map(|listed| &mut listed.grant);
            let held = user.grants.get_mut(at).map(|held| &mut held.grant);
            listed.into_iter().chain(held).for_each(|grant| grant.until = grant.until.min(NOW));
        }
        Step::Join(group) => drop(user.groups.insert(group)),
        Step::Leave(group) => drop(user.groups.remove(&group)),
        Step::Share(membership) => policy.members.push(membership),
        Step::Deny(denial) => policy.denials.push(denial),
        Step::Forgive => drop(policy.denials.pop()),
        Step::Suspend(suspended) => user.suspended = suspended,
        Step::Stand(standing) => user.standing = standing,
    }
}

fn allows(policy: &AccessPolicy, user: &User, space: &Space, action: Action) -> bool {
    matches!(decide(policy, user, space, action, NOW), Decision::Allow(_))
}

proptest! {
    #[test]
    fn nobody_reaches_a_space_that_no_rule_names(policy in a_policy(), user in a_user(), space in a_space()) {
        for action in ACTIONS {
            let named = is_named(&policy, &user, &space) || is_for_admins(&user, action);
            prop_assert!(named || !allows(&policy, &user, &space, action), "{}", action);
        }
    }

    #[test]
    fn what_a_rule_names_and_nothing_denies_may_be_opened(policy in a_policy(), user in a_user(), space in a_space()) {
        let policy = AccessPolicy { denials: Vec::new(), ..policy };
        let user = User { suspended: false, standing: Standing::Configured, ..user };
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
    #[test]
    fn no_sequence_of_grants_groups_and_denials_opens_what_no_rule_names(
        steps in vec(a_step(), 1..24), policy in a_policy(), user in a_user(), space in a_space(),
    ) {
        let (mut policy, mut user) = (policy, user);
        for step in steps {
            take(step, &mut policy, &mut user);
            let (named, in_) = (is_named(&policy, &user, &space), is_in(&user));
            for action in ACTIONS {
                let named = in_ && (named || is_for_admins(&user, action));
                prop_assert!(named || !allows(&policy, &user, &space, action), "{}", action);
            }
            let denied = policy.denials.iter().any(|denial| denial.covers(&user, &space));
            prop_assert_eq!(allows(&policy, &user, &space, Action::Open), in_ && named && !denied);
        }
    }

    #[test]
    fn an_explanation_is_the_decision_and_names_the_rule_that_made_it(
        policy in a_policy(), user in a_user(), space in a_space(),
    ) {
        for action in ACTIONS {
            let explained = explain(&policy, &user, &space, action, NOW);
            prop_assert_eq!(&explained.decision, &decide(&policy, &user, &space, action, NOW));
            // Without the rule that is named, either the answer or the rule is another.
            let Some((policy, user)) = without(&explained.rule, &policy, &user) else {
                prop_assert!(!is_named(&policy, &user, &space), "no rule is named, and one there is");
                continue;
            };
            let (before, after) = (explained, explain(&policy, &user, &space, action, NOW));
            let same_place = matches!(before.rule, Rule::Denial(_) | Rule::ListedGrant(_) | Rule::Member(_));
            prop_assert!(same_place || before.rule != after.rule, "{:?}", after);
        }
    }

    #[test]
    fn a_rule_that_is_named_says_what_the_decision_says(policy in a_policy(), user in a_user(), space in a_space()) {
        for action in ACTIONS {
            let Explanation { decision, rule } = explain(&policy, &user, &space, action, NOW);
            let (allowed, because) = match decision {
                Decision::Allow(because) => (true, because),
                Decision::Deny(because) => (false, because),
            };
            let granted = |grant: &Grant| match &because {
                Because::Granted { until, .. } => allowed && grant.until == *until && grant.covers(&space),
                Because::GrantEnded(at) => !allowed && grant.until == *at && grant.covers(&space),
                _ => false,
            };
            let fits = match &rule {
                Rule::Suspension => user.suspended && because == Because::Suspended,
                Rule::Standing => !is_in(&user) && !user.suspended,
                Rule::Denial(at) => !allowed && policy.denials[*at].covers(&user, &space),
                Rule::Profile(profile) => user.profiles.contains(profile) && because == Because::Owner,
                Rule::Role => allowed && because == Because::Admin && is_for_admins(&user, action),
                Rule::ListedGrant(at) => {
                    let listed = &policy.grants[*at];
                    let theirs = listed.user == user.name && user.standing == Standing::Configured;
                    theirs && granted(&listed.grant)
                }
                Rule::HeldGrant(id) => user.grants.iter().any(|held| held.id == *id && granted(&held.grant)),
                Rule::Member(at) => because == Because::Member(policy.members[*at].group.clone()),
                Rule::NoJump(group) => because == Because::JumpSwitchedOff(group.clone()),
                Rule::AgentIntoShared => because == Because::AgentIntoShared,
                Rule::Nothing => !allowed,
            };
            prop_assert!(fits, "{:?} {:?}", because, rule);
        }
    }
}
