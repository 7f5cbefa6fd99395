//! One look for everybody: while anybody watches, one task reads, and all of them are told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::store::StoreError;

/// What a look may take of the time: a fifth. Where it takes long, the pauses grow with it.
const PAUSE_PER_LOOK: u32 = 4;
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Something that pages watch.
#[async_trait]
pub(super) trait Source: Send + Sync + 'static {
    /// What is seen of it.
    type Seen: Send + Sync + 'static;
    /// The pause between two looks.
    const PAUSE: Duration;

    /// Looks at it.
    async fn look(&self) -> Result<Self::Seen, StoreError>;
}

/// What was seen last; nothing before the first look.
pub(super) type Latest<S> = watch::Receiver<Option<Arc<<S as Source>::Seen>>>;

/// Looks at a source for all who watch it, and not at all when nobody does.
pub(super) struct Feed<S: Source> {
    source: S,
    latest: watch::Sender<Option<Arc<S::Seen>>>,
    /// Whether the task runs.
    looking: Mutex<bool>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<S: Source> Feed<S> {
    pub(super) fn new(source: S, tasks: TaskTracker, stop: CancellationToken) -> Arc<Self> {
        let latest = watch::Sender::new(None);
        Arc::new(Self { source, latest, looking: Mutex::new(false), tasks, stop })
    }

    /// Begins to watch. Dropping the receiver ends it.
    pub(super) fn watch(self: &Arc<Self>) -> Latest<S> {
        let mut looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latest = self.latest.subscribe();
        latest.mark_changed();
        if !std::mem::replace(&mut *looking, true) {
            self.tasks.spawn(Arc::clone(self).look_on());
        }
        latest
    }

    async fn look_on(self: Arc<Self>) {
        let mut failed = false;
        while !self.is_over() {
            let begun = tokio::time::Instant::now();
            match self.source.look().await {
                Ok(seen) => {
                    failed = false;
                    self.latest.send_replace(Some(Arc::new(seen)));
                }
                Err(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        warn!(error = error.detail(), "pages that are open are not told what changes");
                    }
                }
            }
            let pause = LONGEST_PAUSE.min(S::PAUSE.max(begun.elapsed() * PAUSE_PER_LOOK));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Whether nobody watches any more. Then the next who does starts the task anew.
    fn is_over(&self) -> bool {
        let mut looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let over = self.latest.receiver_count() == 0 || self.stop.is_cancelled();
        if over {
            *looking = false;
            self.latest.send_replace(None);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counted(Arc<AtomicUsize>);

    #[async_trait]
    impl Source for Counted {
        type Seen = usize;
        const PAUSE: Duration = Duration::from_millis(500);

        async fn look(&self) -> Result<usize, StoreError> {
            Ok(self.0.fetch_add(1, Ordering::SeqCst))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_task_looks_for_all_and_none_for_nobody() {
        let looks = Arc::new(AtomicUsize::new(0));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let feed = Feed::new(Counted(Arc::clone(&looks)), tasks.clone(), stop.clone());
        assert_eq!(tasks.len(), 0);
        let mut many: Vec<_> = (0..200).map(|_| feed.watch()).collect();
        assert_eq!(tasks.len(), 1);
        for latest in &mut many {
            let seen = latest.wait_for(|seen| seen.as_deref().is_some_and(|n| *n >= 2)).await.unwrap();
            assert!(seen.as_deref().is_some_and(|n| *n <= 3), "{seen:?}");
        }
        drop(many);
        tasks.close();
        tasks.wait().await;
        let before = looks.load(Ordering::SeqCst);
        let mut again = feed.watch();
        let seen = again.wait_for(Option::is_some).await.unwrap().as_deref().copied();
        assert_eq!(seen, Some(before), "nothing old is shown");
        stop.cancel();
        tasks.wait().await;
    }
}
