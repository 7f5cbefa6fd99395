//! The policy, asked again for everybody who is in: every 30 s, whenever it or a person changes, and when a grant or a
//! login runs out.

use std::sync::Arc;
use std::time::Duration;

use super::Gateway;
use super::sessions::Live;
use super::standing::Standing;
use crate::domain::access::{Action, Because};
use crate::domain::ending::EndReason;
use crate::domain::space::Space;

/// The longest time between two rounds.
const EVERY: Duration = Duration::from_secs(30);

/// Between two writings of what live sessions have moved.
const BYTES_EVERY: Duration = Duration::from_secs(30);

impl Gateway {
    /// Ends what the policy no longer allows, until the stop token is cancelled.
    pub(super) async fn run_judge(&self) {
        let mut standing = self.inner.standing.clone();
        loop {
            let pause = standing.next_lapse().map_or(EVERY, |lapse| EVERY.min(lapse));
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                () = standing.changed() => {}
                () = self.inner.clock.sleep(pause) => {}
            }
            self.judge().await;
        }
    }

    /// One round.
    pub(super) async fn judge(&self) {
        let inner = &self.inner;
        // Who owns a space, and who shares it, may have changed since a session or a link began.
        let newest =
            |space: &Space| inner.catalog.space(&space.domain, space.id).unwrap_or_else(|| space.clone());
        let lost = end_denied(&inner.sessions.all(), &inner.standing, newest);
        inner
            .links
            .close_denied(|user, space| inner.standing.still(user, &newest(space), Action::Open).is_ok());
        for (live, because) in lost {
            inner.audit_lost_right(&live, live.action(), &because).await;
        }
    }

    /// Writes down what live sessions have moved, until the stop token is cancelled.
    pub(super) async fn run_bytes(&self) {
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                () = self.inner.clock.sleep(BYTES_EVERY) => {}
            }
            let news: Vec<_> = self.inner.sessions.all().iter().filter_map(|live| live.news()).collect();
            if !news.is_empty() {
                self.inner.journal.record(news).await;
            }
        }
    }
}

/// Ends the sessions that the policy no longer allows. All ends come before the first audit row, which may have to
/// wait for Postgres: a denial may not.
fn end_denied(
    sessions: &[Arc<Live>],
    standing: &Standing,
    newest: impl Fn(&Space) -> Space,
) -> Vec<(Arc<Live>, Because)> {
    let mut lost = Vec::new();
    for live in sessions.iter().filter(|live| live.end_so_far().is_none()) {
        if let Err(because) = standing.still(live.user, &newest(&live.space), live.action()) {
            live.end(EndReason::NoLongerAllowed(because.clone()));
            lost.push((Arc::clone(live), because));
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::sync::watch;

    use super::*;
    use crate::domain::access::{AccessPolicy, Denial};
    use crate::domain::grant::{Grant, HeldGrant};
    use crate::domain::ids::{GrantId, SessionId};
    use crate::domain::ports::Clock as _;
    use crate::domain::record::Mode;
    use crate::domain::user::{User, Users};
    use crate::gateway::fakes::{self, PausedClock, named};

    struct Scene {
        policy: watch::Sender<Arc<AccessPolicy>>,
        users: watch::Sender<Arc<Users>>,
        standing: Standing,
        live: Vec<Arc<Live>>,
    }

    fn known(people: &[&User]) -> Arc<Users> {
        Arc::new(people.iter().map(|user| (user.id, Arc::new((*user).clone()))).collect::<HashMap<_, _>>())
    }

    /// Alice and Bo, each in a space of their own, Bo through a jump.
    fn scene() -> (Scene, User, User) {
        let clock = PausedClock::start();
        let (journal, _) = fakes::journal(&clock);
        let (alice, bo) = (fakes::user("alice", "alice"), fakes::user("bo", "bo"));
        let (policy, policy_seen) = watch::channel(Arc::new(AccessPolicy::default()));
        let (users, users_seen) = watch::channel(known(&[&alice, &bo]));
        let standing = Standing::new(policy_seen, users_seen, journal.clone());
        let sessions = fakes::sessions(journal, &clock);
        let enter = |user: &User, mode| {
            let space = fakes::space("lab", "own", user.name.as_str());
            sessions.enter(SessionId::generate(), user.id, space, mode, fakes::connection(), None)
        };
        let live = vec![enter(&alice, Mode::Session), enter(&bo, Mode::Jump)];
        (Scene { policy, users, standing, live }, alice, bo)
    }

    fn ends(scene: &Scene) -> Vec<Option<EndReason>> {
        end_denied(&scene.live, &scene.standing, Space::clone);
        scene.live.iter().map(|live| live.end_so_far()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_stays() {
        let (scene, ..) = scene();
        assert_eq!(ends(&scene), [None, None]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_ends_the_sessions_it_is_about() {
        let (scene, alice, _) = scene();
        let reason = "left".to_owned();
        let denial = Denial { user: alice.name.clone(), domain: None, space: None, reason };
        scene.policy.send_replace(Arc::new(AccessPolicy { denials: vec![denial], ..Default::default() }));
        let denied = EndReason::NoLongerAllowed(Because::Denied("left".to_owned()));
        assert_eq!(ends(&scene), [Some(denied), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_who_is_gone_or_suspended_is_out() {
        let (scene, alice, bo) = scene();
        scene.users.send_replace(known(&[&User { suspended: true, ..bo }]));
        let out = |because| Some(EndReason::NoLongerAllowed(because));
        assert_eq!(ends(&scene), [out(Because::NoLongerAUser), out(Because::Suspended)]);
        scene.users.send_replace(known(&[&alice]));
        assert_eq!(ends(&scene), [out(Because::NoLongerAUser), out(Because::Suspended)], "the first stands");
    }

    #[tokio::test(start_paused = true)]
    async fn switching_jumps_off_for_a_group_ends_its_jumps_only() {
        let (scene, mut alice, mut bo) = scene();
        let group: crate::domain::ids::GroupName = named("okta/ml");
        alice.groups.insert(group.clone());
        bo.groups.insert(group.clone());
        scene.users.send_replace(known(&[&alice, &bo]));
        let policy = AccessPolicy { no_jump: [group.clone()].into(), ..Default::default() };
        scene.policy.send_replace(Arc::new(policy));
        let off = EndReason::NoLongerAllowed(Because::JumpSwitchedOff(group));
        assert_eq!(ends(&scene), [None, Some(off)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_space_that_changes_its_owner_loses_its_guests() {
        let (scene, ..) = scene();
        let owner = Some(named("dana"));
        let newest = |space: &Space| Space { owner: owner.clone(), ..space.clone() };
        assert_eq!(end_denied(&scene.live, &scene.standing, newest).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_grant_that_runs_out_is_waited_for_and_ends_its_sessions() {
        let (scene, alice, mut bo) = scene();
        assert_eq!(scene.standing.next_lapse(), None);
        let until = |seconds| PausedClock::start().now() + time::Duration::seconds(seconds);
        let grant = |seconds| Grant {
            domain: named("lab"),
            space: named("own"),
            until: until(seconds),
            reason: "cover".to_owned(),
        };
        bo.profiles.clear();
        bo.grants = [grant(20), grant(10)].map(|grant| HeldGrant { id: GrantId::generate(), grant }).into();
        scene.users.send_replace(known(&[&alice, &bo]));
        assert_eq!(scene.standing.next_lapse(), Some(Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(ends(&scene), [None, None], "the longer one counts");
        assert_eq!(scene.standing.next_lapse(), Some(Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(scene.standing.next_lapse(), None);
        let [None, Some(EndReason::NoLongerAllowed(Because::GrantEnded(_)))] = ends(&scene)[..] else {
            panic!("{:?}", ends(&scene))
        };
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_policy_or_people_is_noticed_at_once() {
        let (scene, alice, _) = scene();
        let mut standing = scene.standing.clone();
        scene.policy.send_replace(Arc::default());
        standing.changed().await;
        scene.users.send_replace(known(&[&alice]));
        standing.changed().await;
        let nothing = tokio::time::timeout(Duration::from_secs(1), standing.changed()).await;
        nothing.unwrap_err();
    }
}
