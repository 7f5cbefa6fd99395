//! Credentials between `StartSession` and the dial that follows it: the dial is signed by who started the session,
//! without a second role session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;

use crate::domain::ports::Clock;

/// A grant is dialled at once or not at all.
const KEPT: Duration = Duration::from_secs(60);
/// Above this, somebody starts sessions and dials none. The dial then mints its own credentials.
const MOST: usize = 1_024;

struct Waiting {
    credentials: Credentials,
    since: Duration,
}

/// Sessions that were started and not dialled yet.
pub(super) struct Grants {
    waiting: Mutex<HashMap<String, Waiting>>,
    clock: Arc<dyn Clock>,
}

impl Grants {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { waiting: Mutex::default(), clock }
    }

    /// Keeps the credentials that started a session.
    pub(super) fn keep(&self, session_id: &str, credentials: Credentials) {
        let now = self.clock.elapsed();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, entry| now.saturating_sub(entry.since) < KEPT);
        if waiting.len() < MOST {
            waiting.insert(session_id.to_owned(), Waiting { credentials, since: now });
        }
    }

    /// Takes them out, once.
    pub(super) fn take(&self, session_id: &str) -> Option<Credentials> {
        let now = self.clock.elapsed();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = waiting.remove(session_id)?;
        (now.saturating_sub(entry.since) < KEPT).then_some(entry.credentials)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::HandClock;
    use super::*;

    fn keys(name: &str) -> Credentials {
        Credentials::new(name, "s", Some("t".to_owned()), None, "test")
    }

    #[test]
    fn credentials_wait_for_one_dial_and_for_a_minute_at_most() {
        let clock = Arc::new(HandClock::default());
        let grants = Grants::new(Arc::clone(&clock) as Arc<dyn Clock>);
        grants.keep("one", keys("A"));
        grants.keep("two", keys("B"));
        assert_eq!(grants.take("one").unwrap().access_key_id(), "A");
        assert!(grants.take("one").is_none(), "they are gone once they were taken");
        clock.pass(KEPT);
        assert!(grants.take("two").is_none());
        // What nobody dialled is forgotten with the next one, and there are never more than so many.
        grants.keep("three", keys("C"));
        clock.pass(KEPT);
        (0..=MOST).for_each(|n| grants.keep(&n.to_string(), keys("D")));
        assert_eq!(grants.waiting.lock().unwrap().len(), MOST);
        assert!(grants.take("three").is_none());
    }
}
