//! Work that many want and one does: a start of a space, the opening of a link, a reading of the catalogue.
//!
//! A flight runs as a task of its own. Who asked first may leave; the others still get the answer.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::lock::lock;
use super::want::Progress;

/// Where work reports how it is getting on.
pub(super) type Report = watch::Sender<Option<Progress>>;

/// The work under way, at most one per key.
pub(super) struct Flights<K, R> {
    under_way: Arc<Mutex<HashMap<K, Flight<R>>>>,
}

/// One piece of work, for everybody who waits for it.
pub(super) struct Flight<R> {
    progress: watch::Receiver<Option<Progress>>,
    answer: watch::Receiver<Option<R>>,
}

impl<R> Clone for Flight<R> {
    fn clone(&self) -> Self {
        Self { progress: self.progress.clone(), answer: self.answer.clone() }
    }
}

impl<K, R> Flights<K, R>
where
    K: Clone + Eq + Hash + Send + 'static,
    R: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        Self { under_way: Arc::default() }
    }

    /// Joins the flight of this key, or takes off with `work`. The flag says whether the work is the caller's.
    pub(super) fn join<F, Work>(&self, key: &K, tracker: &TaskTracker, work: F) -> (Flight<R>, bool)
    where
        F: FnOnce(Report) -> Work,
        Work: Future<Output = R> + Send + 'static,
    {
        let (report, progress) = watch::channel(None);
        let (done, answer) = watch::channel(None);
        let flight = Flight { progress, answer };
        {
            let mut under_way = lock(&self.under_way);
            if let Some(flight) = under_way.get(key) {
                return (flight.clone(), false);
            }
            under_way.insert(key.clone(), flight.clone());
        }
        let landing = Landing { under_way: Arc::clone(&self.under_way), key: key.clone() };
        let work = work(report);
        tracker.spawn(async move {
            let answer = work.await;
            // Off the map first: who comes now and finds no result of it must not join a flight that is over.
            drop(landing);
            done.send_replace(Some(answer));
        });
        (flight, true)
    }
}

impl<R: Clone> Flight<R> {
    /// The answer, once it is there. Nothing if the work broke off. Meanwhile its progress goes to `report`.
    pub(super) async fn landed(self, report: &Report) -> Option<R> {
        let Self { mut progress, mut answer } = self;
        let last = progress.clone();
        let show = async {
            loop {
                forward(&progress.borrow_and_update(), report);
                if progress.changed().await.is_err() {
                    // The reporter goes before the answer comes.
                    std::future::pending::<()>().await;
                }
            }
        };
        let land = async { answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone()) };
        let answer = tokio::select! { biased; answer = land => answer, () = show => None };
        forward(&last.borrow(), report);
        answer
    }
}

fn forward(progress: &Option<Progress>, report: &Report) {
    report.send_if_modified(|shown| {
        let news = progress.is_some() && shown != progress;
        if news {
            shown.clone_from(progress);
        }
        news
    });
}

/// Takes a flight off the map, also when its work panics or is dropped.
struct Landing<K: Eq + Hash, R> {
    under_way: Arc<Mutex<HashMap<K, Flight<R>>>>,
    key: K,
}

impl<K: Eq + Hash, R> Drop for Landing<K, R> {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn those_who_come_meanwhile_share_one_piece_of_work() {
        let (flights, tracker) = (Flights::<&str, u32>::new(), TaskTracker::new());
        let (go, gone) = oneshot::channel::<()>();
        let (first, mine) = flights.join(&"space", &tracker, |_| async move {
            let _ = gone.await;
            7
        });
        let (second, also_mine) = flights.join(&"space", &tracker, |_| async { unreachable!() });
        let (other, others) = flights.join(&"other", &tracker, |_| async { 8 });
        assert_eq!((mine, also_mine, others), (true, false, true));
        let report = watch::Sender::new(None);
        drop(first);
        assert_eq!(other.landed(&report).await, Some(8));
        assert!(go.send(()).is_ok());
        assert_eq!(second.landed(&report).await, Some(7));
        let (third, fresh) = flights.join(&"space", &tracker, |_| async { 9 });
        assert!(fresh);
        assert_eq!(third.landed(&report).await, Some(9));
    }

    #[tokio::test]
    async fn work_that_breaks_off_leaves_nobody_waiting() {
        let (flights, tracker) = (Flights::<u8, u32>::new(), TaskTracker::new());
        let (flight, _) = flights.join(&1, &tracker, |_| async { panic!("broken on purpose") });
        assert_eq!(flight.landed(&watch::Sender::new(None)).await, None);
        assert!(flights.join(&1, &tracker, |_| async { 1 }).1);
    }
}
