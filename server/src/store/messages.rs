//! Messages of admins to the terminals of sessions. A row is where the replica that was asked and the one that serves the
//! session meet: the one waits at it for the answer, the other takes it, shows it and writes in how many terminals.
//! A message is either taken or given up, never both: the row's lock decides.

use std::time::Duration;

use serde_json::json;

use super::control::{CHANNEL, Message};
use super::sessions::{audit_request, find_live};
use super::{Store, StoreError};
use crate::domain::ids::{MessageId, ReplicaId, SessionId, UserName};
use crate::domain::message::{MOST_IN_A_MINUTE, MessageText, Told};
use crate::domain::ports::Clock;
use crate::domain::record::Mode;

/// How long the replica that serves the session may take to take a message. It is told at once; a listener that has lost
/// its connection is back by then.
const TAKING: Duration = Duration::from_secs(5);
/// How long somebody waits for the answer altogether.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often the row is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// What became of sending a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageRequest {
    /// It is on its way.
    Sent(MessageId, SessionId),
    /// No live session has that id.
    NotLive,
    /// Several live sessions have that short id.
    Several(Vec<SessionId>),
    /// The session has had as many as it gets in a minute; the next after this time.
    TooMany(Duration),
}

/// A message that a replica has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenMessage {
    /// To which session.
    pub session: SessionId,
    /// Who wrote it.
    pub by: String,
    /// What.
    pub text: String,
}

/// How far a message is.
struct State {
    session: SessionId,
    told: Option<Told>,
    taken: bool,
}

impl Store {
    /// Sends a message to whichever replica serves a session; `id` is the session's id or the end of it.
    ///
    /// # Errors
    /// When it could not be written; then nobody was told.
    pub async fn send_message(
        &self,
        id: &str,
        by: &UserName,
        text: &MessageText,
    ) -> Result<MessageRequest, StoreError> {
        sqlx::query!("DELETE FROM messages WHERE sent_at < now() - interval '1 day'")
            .execute(&self.pool)
            .await?;
        let mut tx = self.pool.begin().await?;
        // The session's row is locked, so that those who write at once are counted one by one.
        let found = find_live(&mut tx, id).await?;
        let session = match found.as_slice() {
            [] => return Ok(MessageRequest::NotLive),
            [session] => *session,
            _ => return Ok(MessageRequest::Several(found.into_iter().map(SessionId::from).collect())),
        };
        let recent = sqlx::query!(
            r#"SELECT count(*) AS "sent!",
                      ceil(extract(epoch FROM min(sent_at) + interval '1 minute' - now()))::bigint AS wait_s
               FROM messages WHERE session_id = $1 AND sent_at > now() - interval '1 minute'"#,
            session,
        )
        .fetch_one(&mut *tx)
        .await?;
        if recent.sent >= i64::from(MOST_IN_A_MINUTE) {
            let seconds = recent.wait_s.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(1);
            return Ok(MessageRequest::TooMany(Duration::from_secs(seconds.max(1))));
        }
        let message = MessageId::generate();
        let replica = sqlx::query_scalar!(
            r#"WITH written AS (INSERT INTO messages (id, session_id, sent_by, text) VALUES ($1, $2, $3, $4))
               SELECT replica_id FROM sessions WHERE id = $2"#,
            message.uuid(),
            session,
            by.as_str(),
            text.as_str(),
        )
        .fetch_one(&mut *tx)
        .await?;
        // Only the row's id: a notification holds 8,000 bytes (PostgreSQL manual, NOTIFY).
        let payload = Message::Show { replica, message: message.uuid() }.payload();
        sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, payload).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(MessageRequest::Sent(message, session.into()))
    }

    /// Waits for what comes of a message, for a bounded time: if nobody takes it, it is given up and not shown later.
    ///
    /// # Errors
    /// When Postgres is away meanwhile.
    pub async fn hear_of_message(&self, id: MessageId, clock: &dyn Clock) -> Result<Told, StoreError> {
        let begun = clock.elapsed();
        loop {
            let state = self.state_of_message(id).await?;
            if let Some(told) = state.as_ref().and_then(|state| state.told) {
                return Ok(told);
            }
            let waited = clock.elapsed().saturating_sub(begun);
            let taken = state.is_none_or(|state| state.taken);
            if !taken && waited >= TAKING && self.give_up_message(id).await? {
                return Ok(Told::NotTaken);
            }
            if waited >= LONGEST_WAIT {
                return Ok(Told::Unconfirmed);
            }
            clock.sleep(LOOK).await;
        }
    }

    /// What is known of a message, and to which session it went.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn message(&self, id: MessageId) -> Result<Option<(SessionId, Told)>, StoreError> {
        let state = self.state_of_message(id).await?;
        Ok(state.map(|state| (state.session, state.told.unwrap_or(Told::Unconfirmed))))
    }

    async fn state_of_message(&self, id: MessageId) -> Result<Option<State>, StoreError> {
        let row = sqlx::query!(
            r#"SELECT m.session_id, m.taken_at IS NOT NULL AS "taken!", m.given_up_at IS NOT NULL AS "given_up!",
                      m.terminals, m.waiting, s.mode
               FROM messages m JOIN sessions s ON s.id = m.session_id
               WHERE m.id = $1"#,
            id.uuid(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| {
            let mode = if row.mode == Mode::Jump.as_str() { Mode::Jump } else { Mode::Session };
            let count = |n: i32| u32::try_from(n).unwrap_or_default();
            let counted = row.terminals.zip(row.waiting);
            let counted = counted.map(|(shown, waiting)| Told::counted(count(shown), count(waiting), mode));
            State {
                session: row.session_id.into(),
                told: if row.given_up { Some(Told::NotTaken) } else { counted },
                taken: row.taken,
            }
        }))
    }

    /// Takes a message back that nobody has taken. Answers whether it was so.
    async fn give_up_message(&self, id: MessageId) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query!(
            "UPDATE messages SET given_up_at = now() WHERE id = $1 AND taken_at IS NULL AND given_up_at IS NULL
             RETURNING session_id, sent_by, text",
            id.uuid(),
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let error = "the gateway that serves the session did not answer";
        let detail = json!({ "text": row.text, "terminals": 0, "error": error });
        audit_request(&mut tx, row.session_id, &row.sent_by, "session.messaged", detail).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Takes a message to a session of this replica, to show it; nothing if somebody has, or it was given up. One whose
    /// sender is gone is too old to be shown.
    ///
    /// # Errors
    /// When it could not be taken; then it is not to be shown.
    pub async fn take_message(
        &self,
        id: MessageId,
        replica: ReplicaId,
    ) -> Result<Option<TakenMessage>, StoreError> {
        let row = sqlx::query!(
            "UPDATE messages m SET taken_at = now()
             FROM sessions s
             WHERE m.id = $1 AND s.id = m.session_id AND s.replica_id = $2 AND m.taken_at IS NULL
               AND m.given_up_at IS NULL AND m.sent_at > now() - make_interval(secs => $3)
             RETURNING m.session_id, m.sent_by, m.text",
            id.uuid(),
            replica.uuid(),
            LONGEST_WAIT.as_secs_f64(),
        )
        .fetch_optional(&self.pool)
        .await?;
        let taken = |session: uuid::Uuid, by, text| TakenMessage { session: session.into(), by, text };
        Ok(row.map(|row| taken(row.session_id, row.sent_by, row.text)))
    }

    /// Writes in how many terminals a message was shown, and how many more have it and show nothing.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn answer_message(&self, id: MessageId, shown: u32, waiting: u32) -> Result<(), StoreError> {
        let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        sqlx::query!(
            "UPDATE messages SET terminals = $2, waiting = $3 WHERE id = $1 AND taken_at IS NOT NULL",
            id.uuid(),
            count(shown),
            count(waiting),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Messages to this replica's sessions that nobody has taken: for after a lost connection.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) async fn pending_messages(&self, replica: ReplicaId) -> Result<Vec<MessageId>, StoreError> {
        let ids = sqlx::query_scalar!(
            "SELECT m.id FROM messages m JOIN sessions s ON s.id = m.session_id
             WHERE s.replica_id = $1 AND m.taken_at IS NULL AND m.given_up_at IS NULL
               AND m.sent_at > now() - make_interval(secs => $2)
             ORDER BY m.sent_at, m.id",
            replica.uuid(),
            LONGEST_WAIT.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(MessageId::from).collect())
    }
}
