//! Grants, suspensions, and what an admin takes away.

use super::*;
use crate::domain::grant::Reason;
use crate::domain::ids::{DomainAlias, GrantId, SpaceName};
use crate::store::grants::{GrantEnd, NewGrant};
use crate::store::people::{AddedKey, Change as Who};

const KEY: (&str, &str, &str) = ("ssh-ed25519 AAAA", "SHA256:one", "laptop");

fn who(world: &World, seconds: i64) -> Who {
    let address = "192.0.2.7".parse().unwrap();
    Who { replica: world.replica, actor: None, called: "chen\0".to_owned(), address, at: at(seconds) }
}

fn reason(text: &str) -> Reason {
    text.parse().unwrap()
}

async fn granted(world: &World, until: OffsetDateTime) -> GrantId {
    let (domain, space): (DomainAlias, SpaceName) = ("main".parse().unwrap(), "forecast".parse().unwrap());
    let reason = reason("on call");
    let new = NewGrant { user: world.user, domain: &domain, space: &space, until, reason: &reason };
    world.store().add_grant(&new, &who(world, 0)).await.unwrap()
}

async fn version(world: &World) -> i64 {
    world.store().people_version().await.unwrap()
}

async fn audited(world: &World, kind: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM audit WHERE kind = $1")
        .bind(kind)
        .fetch_one(world.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_grant_runs_until_its_time_and_is_remembered_for_a_while() {
    let world = World::new().await;
    let before = version(&world).await;
    let id = granted(&world, at(60)).await;
    assert!(version(&world).await > before, "replicas hear of it");
    assert_eq!(audited(&world, "grant.added").await, 1);
    let running = world.store().running_grants(at(59)).await.unwrap();
    assert_eq!((running[0].id, running[0].name.as_str(), running.len()), (id, "alice", 1));
    assert!(world.store().running_grants(at(60)).await.unwrap().is_empty());
    let known = async |now| world.store().known_grants(now).await.unwrap();
    let (user, held) = known(at(3600)).await.remove(0);
    assert_eq!((user, held.id, held.grant.until), (world.user, id, at(60)));
    assert!(known(at(60) + time::Duration::days(31)).await.is_empty());
}

#[tokio::test]
async fn an_ended_grant_is_over_even_where_the_clock_is_behind() {
    let world = World::new().await;
    let id = granted(&world, at(3600)).await;
    let before = version(&world).await;
    let end = async |id: &str, seconds| world.store().end_grant(id, &who(&world, seconds)).await.unwrap();
    assert_eq!(end("beef", 10).await, GrantEnd::NotRunning);
    assert_eq!(end(&id.short(), 600).await, GrantEnd::Ended(id));
    assert!(version(&world).await > before);
    assert_eq!(end(&id.to_string(), 601).await, GrantEnd::NotRunning, "once is enough");
    assert_eq!(audited(&world, "grant.ended").await, 1);
    for (now, until) in [(at(100), at(100)), (at(700), at(600))] {
        let known = world.store().known_grants(now).await.unwrap();
        assert_eq!(known[0].1.grant.until, until);
    }
}

#[tokio::test]
async fn two_grants_with_the_same_short_id_are_both_named() {
    let world = World::new().await;
    let (one, two) = (granted(&world, at(60)).await, granted(&world, at(70)).await);
    for (id, new) in
        [(one, "00000000-0000-7000-8000-00000000beef"), (two, "00000000-0000-7000-8000-0000000abeef")]
    {
        sqlx::query("UPDATE grants SET id = $2::uuid WHERE id = $1")
            .bind(id.uuid())
            .bind(new)
            .execute(world.pool())
            .await
            .unwrap();
    }
    let GrantEnd::Several(ids) = world.store().end_grant("beef", &who(&world, 1)).await.unwrap() else {
        panic!("two grants match")
    };
    assert_eq!(ids.len(), 2);
    assert!(matches!(world.store().end_grant("abeef", &who(&world, 1)).await.unwrap(), GrantEnd::Ended(_)));
}

#[tokio::test]
async fn a_suspension_says_who_when_and_why_and_is_lifted_once() {
    let world = World::new().await;
    let suspend = async |seconds| {
        world.store().suspend(world.user, &reason("laptop lost"), &who(&world, seconds)).await.unwrap()
    };
    let before = version(&world).await;
    assert!(suspend(1).await);
    assert!(!suspend(2).await, "the first stands");
    assert_eq!(version(&world).await, before + 1);
    let suspended = world.store().suspensions().await.unwrap();
    let suspension = &suspended[&world.user];
    assert_eq!((suspension.at, suspension.reason.as_str()), (at(1), "laptop lost"));
    assert_eq!(suspension.by, "chen\u{fffd}");
    let own = Who { actor: Some(world.user), ..who(&world, 2) };
    assert!(!world.store().resume(world.user, &own).await.unwrap(), "nobody lets themselves in");
    let resume = async || world.store().resume(world.user, &who(&world, 3)).await.unwrap();
    assert!(resume().await);
    assert!(!resume().await);
    assert!(world.store().suspensions().await.unwrap().is_empty());
    assert_eq!(version(&world).await, before + 2);
    assert_eq!((audited(&world, "user.suspended").await, audited(&world, "user.resumed").await), (1, 1));
}

#[tokio::test]
async fn a_revoked_key_is_nobodys_and_may_be_added_again() {
    let world = World::new().await;
    let add = async || world.store().add_key(world.user, KEY, None, &who(&world, 0)).await.unwrap();
    let AddedKey::Added(id) = add().await else { panic!("it was nobody's") };
    let keys = world.store().added_keys(Some(world.user), at(1)).await.unwrap();
    assert_eq!((keys[0].owner.as_str(), keys[0].added_from.as_str()), ("alice", "192.0.2.7"));
    assert!(world.store().added_keys(Some(UserId::generate()), at(1)).await.unwrap().is_empty());
    let revoke = async |which: &str| world.store().revoke_key(which, &who(&world, 1)).await.unwrap();
    assert_eq!(revoke("SHA256:two").await, None);
    assert_eq!(revoke(&id.to_string()).await, Some(("SHA256:one".to_owned(), "alice".to_owned())));
    assert_eq!(revoke("SHA256:one").await, None);
    assert!(world.store().added_keys(None, at(2)).await.unwrap().is_empty());
    assert!(matches!(add().await, AddedKey::Added(_)));
    assert_eq!(audited(&world, "key.revoked").await, 1);
}

#[tokio::test]
async fn the_spaces_that_rules_look_at_are_read_back_as_they_were_listed() {
    let world = World::new().await;
    let wanted = Space { id: world.space, status: SpaceStatus::InService, app: None, ..listed("forecast") };
    assert_eq!(world.store().known_spaces().await.unwrap(), [wanted]);
}
