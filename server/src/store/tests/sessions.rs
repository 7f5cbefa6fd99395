//! Sessions as pages ask for them: found, sorted, a page at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::{World, at, channel_opened, ended};
use crate::domain::idle::Sign;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::record::{Mode, SessionStart};
use crate::store::Store;
use crate::store::sessions::history::{EndedSession, HistoryFilter};
use crate::store::sessions::live::{LiveAfter, LiveFilter, LiveOrder, WatchedSession};
use crate::store::signs::NewSign;

/// A world with three people who have seven live sessions between them.
async fn busy() -> (World, Vec<SessionStart>) {
    let world = World::new().await;
    let mut people = vec![world.user];
    for name in ["Bo", "chen"] {
        people.push(world.store().ensure_user(name, &name.parse().unwrap(), at(0)).await.unwrap());
    }
    let mut starts = Vec::new();
    for n in 0..7 {
        let mut start = world.session(world.replica);
        start.user = people[n % 3].uuid();
        start.mode = if n == 6 { Mode::Jump } else { Mode::Session };
        start.client_address = format!("10.0.{n}.7").parse().unwrap();
        start.at = at(if n == 5 { 40 } else { n as i64 * 10 });
        world.write_session(&start).await;
        starts.push(start);
    }
    (world, starts)
}

async fn all(store: &Store, filter: &LiveFilter, order: LiveOrder, limit: u32) -> Vec<WatchedSession> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.live_page(filter, order, after.as_ref(), limit).await.unwrap();
        assert!(page.sessions.len() <= limit as usize);
        found.extend(page.sessions);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

fn ids(found: &[WatchedSession]) -> Vec<SessionId> {
    found.iter().map(|watched| watched.session.id).collect()
}

#[tokio::test]
async fn pages_of_live_sessions_miss_none_and_repeat_none_in_every_order() {
    let (world, starts) = busy().await;
    // Later than one session of theirs there began, and earlier than the other.
    let (space, user) = (world.space, starts[1].user.into());
    world.store().write_signs(&[NewSign { space, user, sign: Sign::Keys, at: at(35) }]).await.unwrap();
    let filter = LiveFilter::default();
    for order in [LiveOrder::Since, LiveOrder::Person, LiveOrder::Space, LiveOrder::Idle] {
        let whole = all(world.store(), &filter, order, 50).await;
        assert_eq!(whole.len(), starts.len());
        for limit in [1, 2, 3, 7] {
            assert_eq!(
                ids(&all(world.store(), &filter, order, limit).await),
                ids(&whole),
                "{order:?} {limit}"
            );
        }
        let sessions: Vec<_> = whole.iter().map(|watched| &watched.session).collect();
        let sorted = match order {
            LiveOrder::Since => sessions.is_sorted_by(|a, b| a.started_at >= b.started_at),
            LiveOrder::Person => sessions.is_sorted_by_key(|s| s.user.to_lowercase()),
            LiveOrder::Space => sessions.is_sorted_by_key(|s| s.space.clone()),
            LiveOrder::Idle => sessions.is_sorted_by_key(|s| s.quiet_since()),
        };
        assert!(sorted, "{order:?}: {sessions:?}");
        let seen = sessions.iter().filter(|s| s.last_seen_at == Some(at(35))).count();
        assert_eq!(seen, 2, "{order:?}");
    }
    let quiet: Vec<_> = all(world.store(), &filter, LiveOrder::Idle, 2).await;
    let quiet: Vec<_> = quiet.iter().map(|watched| watched.session.quiet_since()).collect();
    assert_eq!(quiet, [0, 20, 30, 35, 40, 40, 60].map(at));
    let count = world.store().live_page(&filter, LiveOrder::Since, None, 1).await.unwrap().count;
    assert_eq!((count.sessions, count.people, count.spaces), (7, 3, 1));
}

#[tokio::test]
async fn a_page_that_begins_behind_no_time_is_the_first() {
    let (world, starts) = busy().await;
    for key in ["", "bo", "-1", "99999999999999999999", "9223372036854775807"] {
        let after = LiveAfter { key: key.to_owned(), id: starts[0].session.into() };
        for order in [LiveOrder::Since, LiveOrder::Idle] {
            let page =
                world.store().live_page(&LiveFilter::default(), order, Some(&after), 50).await.unwrap();
            assert_eq!(page.sessions.len(), starts.len(), "{order:?} {key}");
        }
    }
}

#[tokio::test]
async fn the_search_in_postgres_and_the_one_in_memory_find_the_same() {
    let (world, starts) = busy().await;
    let id = starts[3].session.simple().to_string();
    let asked = [
        ("", 7),
        ("bo", 2),
        ("BO", 2),
        ("fore", 7),
        ("forecast.main", 7),
        ("10.0.4", 1),
        (" 10.0.4.7 ", 1),
        ("0.4.7", 0),
        (&id[24..], 1),
        ("%", 0),
        ("_", 0),
        ("'; DROP TABLE sessions", 0),
        ("\0", 0),
    ];
    let snapshot = world.store().live_snapshot().await.unwrap();
    let check = async |filter: LiveFilter, count: usize| {
        let found: BTreeSet<_> =
            ids(&all(world.store(), &filter, LiveOrder::Since, 50).await).into_iter().collect();
        let taken = snapshot.sessions.values().filter(|w| filter.takes(&w.session, snapshot.now));
        let taken: BTreeSet<_> = taken.map(|w| w.session.id).collect();
        assert_eq!(found, taken, "{filter:?}");
        assert_eq!(found.len(), count, "{filter:?}");
    };
    for (words, count) in asked {
        check(LiveFilter::new(words, None, None), count).await;
    }
    check(LiveFilter::new("", Some(Mode::Jump), None), 1).await;
    let idle = |secs| LiveFilter::new("", None, Some(Duration::from_secs(secs)));
    let since_noon = snapshot.now - at(0);
    check(idle(3_600), 7).await;
    check(idle(since_noon.whole_seconds().unsigned_abs() + 3_600), 0).await;
    assert_eq!(snapshot.newest.len(), 7);
}

#[tokio::test]
async fn open_channels_are_counted_by_kind() {
    let (world, starts) = busy().await;
    let open = [channel_opened(&starts[0], Uuid::now_v7()), channel_opened(&starts[0], Uuid::now_v7())];
    world.write(&open).await;
    let id = SessionId::from(starts[0].session);
    let page = all(world.store(), &LiveFilter::default(), LiveOrder::Since, 50).await;
    let snapshot = world.store().live_snapshot().await.unwrap();
    let of = |watched: &WatchedSession| watched.channels.clone();
    let expected = vec![("exec".to_owned(), 2)];
    assert_eq!(of(page.iter().find(|w| w.session.id == id).unwrap()), expected);
    assert_eq!(of(&snapshot.sessions[&id]), expected);
    let one = world.store().session(id).await.unwrap().unwrap();
    assert_eq!((one.channels.len(), one.channel_count, one.audit.len()), (2, 2, 1));
    assert_eq!((one.gateway.as_str(), one.end, one.streams.len()), ("gateway-1", None, 0));
    assert!(world.store().session(SessionId::generate()).await.unwrap().is_none());
}

async fn history(store: &Store, filter: HistoryFilter, limit: u32) -> Vec<EndedSession> {
    let search = store.history_search(filter).await.unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.history(&search, after, limit).await.unwrap();
        let full = page.len() == limit as usize;
        after = page.last().map(|last| (last.started_at, last.id));
        found.extend(page);
        if !full {
            assert_eq!(store.history_count(&search).await.unwrap(), found.len() as u64);
            return found;
        }
    }
}

#[tokio::test]
async fn the_history_is_found_by_what_people_remember() {
    let (world, starts) = busy().await;
    for (n, start) in starts.iter().enumerate().skip(1) {
        let code = if n % 2 == 0 { "client_left" } else { "drained" };
        world.write(&[ended(start.session, code, 100)]).await;
    }
    let whole = history(world.store(), HistoryFilter::default(), 50).await;
    assert_eq!(whole.len(), 6, "the live one is none of them");
    assert!(whole.is_sorted_by(|a, b| (a.started_at, a.id) > (b.started_at, b.id)));
    let listed = |found: &[EndedSession]| found.iter().map(|session| session.id).collect::<Vec<_>>();
    for limit in [1, 2, 3] {
        assert_eq!(listed(&history(world.store(), HistoryFilter::default(), limit).await), listed(&whole));
    }
    let id = starts[3].session.simple().to_string();
    for (words, count) in [
        ("BO", 2),
        ("forecast", 6),
        ("10.0.4.7", 1),
        ("10.0.4.0/23", 2),
        ("10.0.4", 0),
        (&id[20..], 1),
        ("nobody", 0),
        ("\0%_", 0),
    ] {
        let filter = HistoryFilter { words: words.to_owned(), ..HistoryFilter::default() };
        assert_eq!(history(world.store(), filter, 50).await.len(), count, "{words}");
    }
    let with = |from: Option<OffsetDateTime>, until, end: Option<&str>, person: Option<UserId>| {
        HistoryFilter { words: String::new(), from, until, end: end.map(str::to_owned), person }
    };
    for (filter, count) in [
        (with(Some(at(40)), None, None, None), 3),
        (with(Some(at(20)), Some(at(40)), None, None), 2),
        (with(None, None, Some("drained"), None), 3),
        (with(None, None, None, Some(world.user)), 2),
    ] {
        assert_eq!(history(world.store(), filter.clone(), 50).await.len(), count, "{filter:?}");
    }
}
