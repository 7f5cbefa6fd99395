//! Links by whose they are, each with who uses it; they linger for a while after the last use.
//!
//! Nothing here knows what a link is: it is counted, kept, and handed to be closed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lock::lock;
use crate::domain::ids::{SessionId, SpaceId, UserId};
use crate::domain::ports::Clock;

/// Whose link it is, to where, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LinkKey {
    /// Nobody's is the probe's.
    pub(super) user: Option<UserId>,
    pub(super) space: SpaceId,
    pub(super) role: Role,
}

/// What a link is for. A download on the bulk link never delays a keystroke on the interactive one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// Shells and whatever has a pty.
    Interactive,
    /// Commands without a pty, sftp, forwards.
    Bulk,
    /// One session alone: what the space opens on it, the person's agent above all, must reach no other laptop.
    Private(SessionId),
    /// A look inside that nobody asked for.
    Probe,
}

impl Role {
    /// The word that the link's row keeps.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
            Self::Private(_) => "private",
            Self::Probe => "probe",
        }
    }
}

/// How a pool treats what is in it.
pub(super) struct Terms<T> {
    /// How long a thing that nobody uses is kept.
    pub(super) linger: Duration,
    /// Users that a thing has at most at a time.
    pub(super) most: usize,
    /// Waits for the linger.
    pub(super) clock: Arc<dyn Clock>,
    /// Where the waiting runs.
    pub(super) tracker: TaskTracker,
    /// Ends every linger at once.
    pub(super) stop: CancellationToken,
    /// Closes a thing that has lingered out.
    pub(super) close: Box<dyn Fn(Arc<T>) + Send + Sync>,
}

/// Things by key, each with who uses it.
pub(super) struct Pool<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<T> {
    entries: Mutex<HashMap<LinkKey, Entry<T>>>,
    terms: Terms<T>,
}

struct Entry<T> {
    thing: Arc<T>,
    riders: HashMap<SessionId, usize>,
    /// Counts the times that it fell idle, so that a linger which began earlier does not end a later one.
    idle_turn: u64,
}

/// One use of a thing. Dropping it ends the use.
pub(super) struct Ride<T: Send + Sync + 'static> {
    pool: Pool<T>,
    key: LinkKey,
    thing: Arc<T>,
    rider: SessionId,
}

/// What asking for a use brings.
pub(super) enum Boarding<T: Send + Sync + 'static> {
    Aboard(Ride<T>),
    Full,
    Nothing,
}

impl<T: Send + Sync + 'static> Pool<T> {
    pub(super) fn new(terms: Terms<T>) -> Self {
        Self { shared: Arc::new(Shared { entries: Mutex::default(), terms }) }
    }

    /// Puts a thing in, idle at first.
    pub(super) fn put(&self, key: &LinkKey, thing: Arc<T>) {
        let entry = Entry { thing, riders: HashMap::new(), idle_turn: 0 };
        let before = lock(&self.shared.entries).insert(key.clone(), entry);
        if let Some(before) = before {
            (self.shared.terms.close)(before.thing);
        }
        self.linger(key.clone(), 0);
    }

    pub(super) fn has(&self, key: &LinkKey) -> bool {
        lock(&self.shared.entries).contains_key(key)
    }

    /// Begins a use for a session.
    pub(super) fn board(&self, key: &LinkKey, rider: SessionId) -> Boarding<T> {
        let mut entries = lock(&self.shared.entries);
        let Some(entry) = entries.get_mut(key) else { return Boarding::Nothing };
        if entry.riders.values().sum::<usize>() >= self.shared.terms.most {
            return Boarding::Full;
        }
        *entry.riders.entry(rider).or_default() += 1;
        let thing = Arc::clone(&entry.thing);
        drop(entries);
        Boarding::Aboard(Ride { pool: self.clone(), key: key.clone(), thing, rider })
    }

    /// Takes a thing out, if it is still this one, and says who was using it.
    pub(super) fn take_out(&self, key: &LinkKey, thing: &Arc<T>) -> Vec<SessionId> {
        let mut entries = lock(&self.shared.entries);
        match entries.get(key) {
            Some(entry) if Arc::ptr_eq(&entry.thing, thing) => {
                entries.remove(key).map(|entry| entry.riders.into_keys().collect()).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Everything in it.
    pub(super) fn things(&self) -> Vec<(LinkKey, Arc<T>)> {
        let entries = lock(&self.shared.entries);
        entries.iter().map(|(key, entry)| (key.clone(), Arc::clone(&entry.thing))).collect()
    }

    fn leave(&self, key: &LinkKey, thing: &Arc<T>, rider: SessionId) {
        let turn = {
            let mut entries = lock(&self.shared.entries);
            let Some(entry) = entries.get_mut(key).filter(|entry| Arc::ptr_eq(&entry.thing, thing)) else {
                return;
            };
            if let Some(uses) = entry.riders.get_mut(&rider) {
                *uses -= 1;
                if *uses == 0 {
                    entry.riders.remove(&rider);
                }
            }
            if !entry.riders.is_empty() {
                return;
            }
            entry.idle_turn += 1;
            entry.idle_turn
        };
        self.linger(key.clone(), turn);
    }

    fn linger(&self, key: LinkKey, turn: u64) {
        let pool = self.clone();
        let terms = &self.shared.terms;
        let (clock, stop, linger) = (Arc::clone(&terms.clock), terms.stop.clone(), terms.linger);
        terms.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock.sleep(linger) => {}
            }
            if let Some(thing) = pool.expire(&key, turn) {
                (pool.shared.terms.close)(thing);
            }
        });
    }

    fn expire(&self, key: &LinkKey, turn: u64) -> Option<Arc<T>> {
        let mut entries = lock(&self.shared.entries);
        let idle = entries.get(key).is_some_and(|entry| entry.riders.is_empty() && entry.idle_turn == turn);
        if idle { entries.remove(key).map(|entry| entry.thing) } else { None }
    }
}

impl<T: Send + Sync + 'static> Ride<T> {
    pub(super) const fn thing(&self) -> &Arc<T> {
        &self.thing
    }
}

impl<T: Send + Sync + 'static> Drop for Ride<T> {
    fn drop(&mut self) {
        self.pool.leave(&self.key, &self.thing, self.rider);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::fakes::PausedClock;
    use tokio::sync::mpsc;

    type Links = Pool<&'static str>;

    /// Keys that differ by nothing but their role, which is enough to tell them apart.
    struct Keys {
        key: LinkKey,
        other: LinkKey,
    }

    fn keys() -> Keys {
        let (user, space) = (Some(UserId::generate()), SpaceId::generate());
        let key = |role| LinkKey { user, space, role };
        Keys { key: key(Role::Interactive), other: key(Role::Bulk) }
    }

    fn pool(stop: &CancellationToken) -> (Links, mpsc::Receiver<&'static str>, PausedClock) {
        let (closed, closings) = mpsc::channel(8);
        let clock = PausedClock::start();
        let terms = Terms {
            linger: Duration::from_secs(120),
            most: 2,
            clock: Arc::new(clock),
            tracker: TaskTracker::new(),
            stop: stop.clone(),
            close: Box::new(move |thing: Arc<&'static str>| {
                let _ = closed.try_send(*thing);
            }),
        };
        (Pool::new(terms), closings, clock)
    }

    fn aboard(pool: &Links, key: &LinkKey, rider: SessionId) -> Ride<&'static str> {
        match pool.board(key, rider) {
            Boarding::Aboard(ride) => ride,
            Boarding::Full => panic!("full"),
            Boarding::Nothing => panic!("nothing"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_lingers_after_its_last_use_and_a_use_meanwhile_keeps_it() {
        let Keys { key, other: _ } = keys();
        let (pool, mut closings, clock) = pool(&CancellationToken::new());
        let rider = SessionId::generate();
        pool.put(&key, Arc::new("link"));
        let (one, two) = (aboard(&pool, &key, rider), aboard(&pool, &key, rider));
        clock.sleep(Duration::from_secs(500)).await;
        drop(one);
        drop(two);
        clock.sleep(Duration::from_secs(100)).await;
        drop(aboard(&pool, &key, rider));
        clock.sleep(Duration::from_secs(110)).await;
        assert!(pool.has(&key), "the second linger had not run out");
        let before = clock.elapsed();
        assert_eq!(closings.recv().await, Some("link"));
        assert_eq!((clock.elapsed() - before).as_secs(), 10);
        assert!(!pool.has(&key));
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_nobody_takes_lingers_out_too() {
        let Keys { key, other: _ } = keys();
        let (pool, mut closings, clock) = pool(&CancellationToken::new());
        pool.put(&key, Arc::new("link"));
        assert_eq!(closings.recv().await, Some("link"));
        assert_eq!(clock.elapsed().as_secs(), 120);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_linger_of_idle_links_only() {
        let Keys { key, other } = keys();
        let stop = CancellationToken::new();
        let (pool, mut closings, _) = pool(&stop);
        pool.put(&other, Arc::new("idle"));
        pool.put(&key, Arc::new("used"));
        let ride = aboard(&pool, &key, SessionId::generate());
        stop.cancel();
        assert_eq!(closings.recv().await, Some("idle"));
        assert!(pool.has(&key));
        drop(ride);
        assert_eq!(closings.recv().await, Some("used"));
    }

    #[tokio::test(start_paused = true)]
    async fn channels_on_a_link_are_bounded() {
        let Keys { key, other: _ } = keys();
        let (pool, _closings, _) = pool(&CancellationToken::new());
        pool.put(&key, Arc::new("link"));
        let one = aboard(&pool, &key, SessionId::generate());
        let _two = aboard(&pool, &key, SessionId::generate());
        assert!(matches!(pool.board(&key, SessionId::generate()), Boarding::Full));
        drop(one);
        let _three = aboard(&pool, &key, SessionId::generate());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_link_names_its_riders_and_is_gone_at_once() {
        let Keys { key, other: _ } = keys();
        let (pool, mut closings, clock) = pool(&CancellationToken::new());
        pool.put(&key, Arc::new("first"));
        let rider = SessionId::generate();
        let ride = aboard(&pool, &key, rider);
        let lost = Arc::clone(ride.thing());
        assert_eq!(pool.take_out(&key, &lost), [rider]);
        assert!(matches!(pool.board(&key, rider), Boarding::Nothing));
        pool.put(&key, Arc::new("second"));
        let _new = aboard(&pool, &key, rider);
        drop(ride);
        assert!(pool.take_out(&key, &lost).is_empty());
        clock.sleep(Duration::from_secs(500)).await;
        assert!(pool.has(&key));
        assert!(closings.try_recv().is_err());
    }
}
