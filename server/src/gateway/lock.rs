//! Short locks over plain state. None is ever held over an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. A panic elsewhere under the lock leaves plain maps and counters, which stay usable.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
