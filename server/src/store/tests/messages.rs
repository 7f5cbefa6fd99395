//! Messages to sessions: taken once or given up, counted, and on record.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::ids::{MessageId, UserName};
use crate::domain::message::{MOST_IN_A_MINUTE, Told};
use crate::store::Control;
use crate::store::messages::{MessageRequest, TakenMessage};
use crate::store::testing::HandClock;

const PATIENCE: Duration = Duration::from_secs(30);

fn ada() -> UserName {
    "ada".parse().unwrap()
}

async fn send(world: &World, session: &str, text: &str) -> MessageRequest {
    world.store().send_message(session, &ada(), &text.parse().unwrap()).await.unwrap()
}

async fn sent(world: &World, session: Uuid, text: &str) -> MessageId {
    match send(world, &session.to_string(), text).await {
        MessageRequest::Sent(id, to) if to.uuid() == session => id,
        other => unreachable!("{other:?}"),
    }
}

/// What comes of a message, on a clock that somebody moves on.
async fn heard(world: &World, id: MessageId) -> Told {
    let clock = HandClock::default();
    let mut hearing = std::pin::pin!(world.store().hear_of_message(id, &clock));
    let hearing = async {
        loop {
            tokio::select! {
                biased;
                told = &mut hearing => break told.unwrap(),
                () = tokio::task::yield_now() => clock.advance(Duration::from_millis(10)),
            }
        }
    };
    tokio::time::timeout(PATIENCE, hearing).await.unwrap()
}

#[tokio::test]
async fn a_message_is_taken_once_by_the_serving_replica_and_its_sender_hears_what_came_of_it() {
    let world = World::new().await;
    let session = world.begin(world.replica).await.session;
    let mut controls = world.store().listen(world.replica, Arc::new(HandClock::default()));
    // One before anybody listens, one while somebody does.
    let first = sent(&world, session, "first").await;
    assert_eq!(controls.next().await, Control::ShowMessage(first));
    let second = sent(&world, session, &"\u{1f4be}".repeat(500)).await;
    let next = tokio::time::timeout(PATIENCE, controls.next()).await.unwrap();
    assert_eq!(next, Control::ShowMessage(second));

    let store = world.store();
    let other = ReplicaId::generate();
    store.register_replica(other, "gateway-2", 30).await.unwrap();
    assert_eq!(store.take_message(first, other).await.unwrap(), None, "it is not theirs");
    let taken = TakenMessage { session: session.into(), by: "ada".to_owned(), text: "first".to_owned() };
    assert_eq!(store.take_message(first, world.replica).await.unwrap(), Some(taken));
    assert_eq!(store.take_message(first, world.replica).await.unwrap(), None, "once");
    assert_eq!(store.message(first).await.unwrap(), Some((session.into(), Told::Unconfirmed)));
    assert_eq!(heard(&world, first).await, Told::Unconfirmed, "nobody waits for ever");
    store.answer_message(first, 2, 1).await.unwrap();
    let shown = Told::Shown { terminals: 2, waiting: 1 };
    assert_eq!(heard(&world, first).await, shown);
    assert_eq!(store.message(first).await.unwrap(), Some((session.into(), shown)));
    assert_eq!(store.message(MessageId::generate()).await.unwrap(), None);
}

#[tokio::test]
async fn a_message_that_nobody_takes_is_given_up_for_good_and_on_record() {
    let world = World::new().await;
    let session = world.begin(world.replica).await.session;
    let id = sent(&world, session, "to the dead").await;
    assert_eq!(heard(&world, id).await, Told::NotTaken);
    assert_eq!(world.store().take_message(id, world.replica).await.unwrap(), None, "not even later");
    assert_eq!(world.store().message(id).await.unwrap(), Some((session.into(), Told::NotTaken)));
    let noted = "SELECT count(*) FROM audit WHERE kind = 'session.messaged' AND actor_name = 'ada'
                 AND session_id IS NOT NULL AND space_id IS NOT NULL AND detail->>'text' = 'to the dead'
                 AND detail->>'terminals' = '0' AND detail ? 'error'";
    assert_eq!(world.count(noted).await, 1);
    // One whose sender died with it is too old.
    let old = sent(&world, session, "old").await;
    sqlx::query("UPDATE messages SET sent_at = sent_at - interval '11 seconds' WHERE id = $1")
        .bind(old.uuid())
        .execute(world.pool())
        .await
        .unwrap();
    assert_eq!(world.store().take_message(old, world.replica).await.unwrap(), None);
}

#[tokio::test]
async fn a_session_gets_so_many_in_a_minute_and_those_of_yesterday_are_forgotten() {
    let world = World::new().await;
    let (session, other) =
        (world.begin(world.replica).await.session, world.begin(world.replica).await.session);
    for n in 0..MOST_IN_A_MINUTE {
        sent(&world, session, &n.to_string()).await;
    }
    match send(&world, &session.to_string(), "one more").await {
        MessageRequest::TooMany(wait) => assert!((1..=60).contains(&wait.as_secs()), "{wait:?}"),
        request => unreachable!("{request:?}"),
    }
    sent(&world, other, "others have their own").await;
    sqlx::query("UPDATE messages SET sent_at = sent_at - interval '2 days'")
        .execute(world.pool())
        .await
        .unwrap();
    sent(&world, session, "the next").await;
    assert_eq!(world.count("SELECT count(*) FROM messages").await, 1);
    for unknown in ["", "%", "abc", "ffffffffffff"] {
        assert_eq!(send(&world, unknown, "x").await, MessageRequest::NotLive, "{unknown}");
    }
    world.write(&[ended(session, "client_left", 5)]).await;
    assert_eq!(send(&world, &session.to_string(), "x").await, MessageRequest::NotLive);
}
