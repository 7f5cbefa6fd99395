//! Approvals: asked once, answered once, used once.

use super::*;
use crate::domain::approval::{ApprovalId, ApprovalState};
use crate::domain::ids::ConnectionId;
use crate::store::approvals::{Answering, Bound, NewApproval};
use crate::store::people::Change as Who;

const KEY: (&str, &str) = ("ssh-ed25519 AAAA", "SHA256:x");
const CLIENT: &str = "192.0.2.7";

fn id() -> ApprovalId {
    "H7RD2M".parse().unwrap()
}

fn who(world: &World, actor: Option<UserId>, at: OffsetDateTime) -> Who {
    let called = actor.map_or_else(|| CLIENT.to_owned(), |_| "alice".to_owned());
    Who { replica: world.replica, actor, called, address: CLIENT.parse().unwrap(), at }
}

async fn ask(world: &World, key: Option<(&str, &str)>) -> bool {
    let new = NewApproval {
        replica: world.replica,
        connection: ConnectionId::generate(),
        login: "fraud-gnn\0",
        key,
        address: CLIENT.parse().unwrap(),
        client_version: "SSH-2.0-OpenSSH_9.9",
        asked_at: NOON,
        expires_at: at(300),
    };
    world.store().ask_approval(&id(), b"digest", &new).await.unwrap()
}

async fn answering(world: &World) -> Answering {
    world.store().answer_approval(&id()).await.unwrap().unwrap()
}

async fn approve(world: &World, now: OffsetDateTime) {
    let change = who(world, Some(world.user), now);
    answering(world).await.approve(at(3600), now + Duration::from_secs(60), false, &change).await.unwrap();
}

async fn used(world: &World, person: UserId, now: OffsetDateTime) -> Bound {
    world.store().use_approval(&id(), person, "approved", &who(world, Some(person), now)).await.unwrap()
}

async fn state(world: &World) -> ApprovalState {
    world.store().approval(&id()).await.unwrap().unwrap().state
}

async fn kinds(world: &World) -> Vec<String> {
    sqlx::query_scalar("SELECT kind FROM audit ORDER BY id").fetch_all(world.pool()).await.unwrap()
}

#[tokio::test]
async fn an_approved_key_is_bound_once_in_one_transaction() {
    let world = World::new().await;
    assert!(ask(&world, Some(KEY)).await);
    assert!(!ask(&world, Some(KEY)).await, "an id is given once");
    assert_eq!(used(&world, world.user, NOON).await, Bound::NotApproved, "nobody has approved");
    let before = world.store().people_version().await.unwrap();
    approve(&world, at(10)).await;
    let other = world.store().ensure_user("subject-2", &"bo".parse().unwrap(), NOON).await.unwrap();
    assert_eq!(used(&world, other, at(11)).await, Bound::NotApproved, "somebody else approved");
    assert_eq!(used(&world, world.user, at(12)).await, Bound::Yes);
    assert_eq!(used(&world, world.user, at(13)).await, Bound::NotApproved, "a second time");
    let keys = world.store().known_keys().await.unwrap();
    let key = keys.first().unwrap();
    assert_eq!((key.user, key.expires_at, key.added_from.as_str()), (world.user, Some(at(3600)), CLIENT));
    assert!(world.store().people_version().await.unwrap() > before, "other replicas hear of it");
    assert_eq!(state(&world).await, ApprovalState::Used);
    assert_eq!(kinds(&world).await, ["approval.granted", "key.bound"]);
}

#[tokio::test]
async fn the_client_has_a_minute_to_sign_however_late_it_was_approved() {
    let world = World::new().await;
    ask(&world, Some(KEY)).await;
    approve(&world, at(299)).await;
    assert_eq!(used(&world, world.user, at(359)).await, Bound::NotApproved, "a minute is over");
    assert_eq!(used(&world, world.user, at(358)).await, Bound::Yes);
}

#[tokio::test]
async fn a_key_that_became_somebody_elses_is_not_bound() {
    let world = World::new().await;
    ask(&world, Some(KEY)).await;
    approve(&world, at(10)).await;
    let other = world.store().ensure_user("subject-2", &"bo".parse().unwrap(), NOON).await.unwrap();
    let words = (KEY.0, KEY.1, "bo's");
    world.store().add_key(other, words, None, &who(&world, Some(other), at(11))).await.unwrap();
    assert_eq!(used(&world, world.user, at(12)).await, Bound::SomebodyElses);
    assert_eq!(state(&world).await, ApprovalState::Void);
    assert_eq!(kinds(&world).await, ["approval.granted", "key.added", "key.refused"]);
}

#[tokio::test]
async fn guesses_come_one_by_one_and_make_it_void() {
    let world = World::new().await;
    ask(&world, Some(KEY)).await;
    let guess = async || {
        let answering = answering(&world).await;
        if answering.approval.state != ApprovalState::Pending {
            return None;
        }
        Some(answering.wrong_code(3, &who(&world, Some(world.user), at(1))).await.unwrap())
    };
    let (a, b, c, d, e) = tokio::join!(guess(), guess(), guess(), guess(), guess());
    let mut left = [a, b, c, d, e];
    left.sort();
    assert_eq!(left, [None, None, Some(0), Some(1), Some(2)]);
    assert_eq!(state(&world).await, ApprovalState::Void);
    assert_eq!(world.store().wrong_codes(world.user, NOON).await.unwrap(), 3);
    assert_eq!(world.store().wrong_codes(world.user, at(1)).await.unwrap(), 0, "they are old by then");
    assert_eq!(kinds(&world).await, ["approval.wrong_code"; 3]);
}

#[tokio::test]
async fn what_ends_without_an_answer_is_written_down_once() {
    let world = World::new().await;
    let end = async |end, now| {
        world.store().end_approval(&id(), end, "so", &who(&world, None, now)).await.unwrap();
    };
    ask(&world, None).await;
    end(ApprovalState::Left, at(1)).await;
    assert_eq!(kinds(&world).await, Vec::<String>::new(), "who merely left is counted elsewhere");
    end(ApprovalState::Expired, at(2)).await;
    assert_eq!(state(&world).await, ApprovalState::Left);
    let later = NewApproval {
        replica: world.replica,
        connection: ConnectionId::generate(),
        login: "x",
        key: None,
        address: CLIENT.parse().unwrap(),
        client_version: "",
        asked_at: at(300 + 24 * 3600 + 1),
        expires_at: at(600 + 24 * 3600),
    };
    assert!(world.store().ask_approval(&id(), b"", &later).await.unwrap(), "old rows are forgotten");
    end(ApprovalState::Expired, at(600 + 24 * 3600)).await;
    end(ApprovalState::Expired, at(601 + 24 * 3600)).await;
    assert_eq!(kinds(&world).await, ["approval.expired"]);
}

#[tokio::test]
async fn who_has_no_key_is_let_in_and_nothing_is_bound() {
    let world = World::new().await;
    ask(&world, None).await;
    approve(&world, at(10)).await;
    assert_eq!(used(&world, world.user, at(11)).await, Bound::Yes);
    assert!(world.store().known_keys().await.unwrap().is_empty());
    assert_eq!(kinds(&world).await, ["approval.granted", "approval.used"]);
}

#[tokio::test]
async fn a_denial_stands() {
    let world = World::new().await;
    ask(&world, Some(KEY)).await;
    answering(&world).await.deny(&who(&world, Some(world.user), at(1))).await.unwrap();
    assert_eq!(used(&world, world.user, at(2)).await, Bound::NotApproved);
    assert_eq!(state(&world).await, ApprovalState::Denied);
    let refusing = answering(&world).await;
    refusing.refuse("it is over", &who(&world, Some(world.user), at(3))).await.unwrap();
    assert_eq!(kinds(&world).await, ["approval.denied", "approval.refused"]);
}
