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
