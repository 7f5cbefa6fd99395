//! Approvals: what an SSH client asks, what a person answers in a browser, and the key that is bound in the end. One
//! replica may hold the SSH connection and another serve the page, so the row is all that they share.

mod answer;

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::answer::Answering;

use super::people::{AddedKey, Change, audit, finish, insert_key};
use super::text::plain;
use super::{Store, StoreError};
use crate::domain::approval::{ApprovalId, ApprovalState};
use crate::domain::ids::{ConnectionId, ReplicaId, UserId};

/// How long a row is kept after it is over, for whoever opens its page late.
const KEPT: time::Duration = time::Duration::days(1);

/// What an SSH client asks.
#[derive(Debug)]
pub struct NewApproval<'a> {
    /// The replica that it is connected to.
    pub replica: ReplicaId,
    /// Its connection.
    pub connection: ConnectionId,
    /// The login name.
    pub login: &'a str,
    /// The key as OpenSSH writes it, and its fingerprint; none for a client that has none.
    pub key: Option<(&'a str, &'a str)>,
    /// Where it connects from.
    pub address: IpAddr,
    /// Its version line.
    pub client_version: &'a str,
    /// When.
    pub asked_at: OffsetDateTime,
    /// Until when it can be answered.
    pub expires_at: OffsetDateTime,
}

/// An approval's row.
#[derive(Debug, Clone)]
pub struct Approval {
    /// The keyed digest of its code.
    pub code: Vec<u8>,
    /// Where it stands. [`ApprovalState::Pending`] also when its time is over and nobody has written that down.
    pub state: ApprovalState,
    /// The connection that asks.
    pub connection: ConnectionId,
    /// The login name.
    pub login: String,
    /// The key as OpenSSH writes it.
    pub public_key: Option<String>,
    /// Its fingerprint.
    pub fingerprint: Option<String>,
    /// Where the client connects from.
    pub address: IpAddr,
    /// The client's version line.
    pub client_version: String,
    /// When it was asked.
    pub asked_at: OffsetDateTime,
    /// Until when it can be answered; once approved, until when the client must have signed.
    pub expires_at: OffsetDateTime,
    /// Who answered.
    pub decided_by: Option<UserId>,
    /// Until when the key is to count.
    pub trusted_until: Option<OffsetDateTime>,
}

/// What became of an approved client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// It may come in: its key is the person's until then, if it has one.
    Yes,
    /// The key is somebody else's.
    SomebodyElses,
    /// The approval is not, or no longer, there to be used.
    NotApproved,
}

impl Store {
    /// Keeps what a client asks, and forgets what is long over. Answers whether the id was free.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn ask_approval(
        &self,
        id: &ApprovalId,
        code: &[u8],
        new: &NewApproval<'_>,
    ) -> Result<bool, StoreError> {
        sqlx::query!("DELETE FROM approvals WHERE expires_at < $1", new.asked_at - KEPT)
            .execute(&self.pool)
            .await?;
        let asked = sqlx::query!(
            "INSERT INTO approvals (id, code, replica_id, connection_id, login, public_key, fingerprint, client_address,
                                    client_version, asked_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, ($8::text)::inet, $9, $10, $11)
             ON CONFLICT (id) DO NOTHING",
            id.as_str(),
            code,
            new.replica.uuid(),
            new.connection.uuid(),
            &*plain(new.login),
            new.key.map(|(line, _)| line),
            new.key.map(|(_, fingerprint)| fingerprint),
            new.address.to_string(),
            &*plain(new.client_version),
            new.asked_at,
            new.expires_at,
        )
        .execute(&self.pool)
        .await?;
        Ok(asked.rows_affected() > 0)
    }

    /// An approval as it stands.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"SELECT code, state, connection_id, login, public_key, fingerprint,
                      host(client_address) AS "client_address!", client_version, asked_at, expires_at, decided_by,
                      trusted_until
               FROM approvals WHERE id = $1"#,
            id.as_str(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(Approval::from))
    }

    /// Uses an approval, once: its key, whose signature was verified on the connection that asked, becomes the
    /// person's. A key that lapsed gives way.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn use_approval(
        &self,
        id: &ApprovalId,
        person: UserId,
        key_name: &str,
        change: &Change,
    ) -> Result<Bound, StoreError> {
        let mut tx = self.pool.begin().await?;
        let approval = locked(&mut tx, id).await?.map(Approval::from);
        let approval = approval.filter(|approval| {
            approval.state == ApprovalState::Approved
                && approval.decided_by == Some(person)
                && change.at < approval.expires_at
        });
        let Some(approval) = approval else { return Ok(Bound::NotApproved) };
        let detail = json!({
            "approval": id.as_str(), "fingerprint": approval.fingerprint, "address": approval.address,
            "client": approval.client_version, "login": approval.login, "until": shown(approval.trusted_until),
            "connection": approval.connection.to_string(),
        });
        let Some((line, fingerprint)) = approval.public_key.as_deref().zip(approval.fingerprint.as_deref())
        else {
            set_state(&mut tx, id, ApprovalState::Used).await?;
            audit(&mut tx, change, "approval.used", Some(true), detail).await?;
            tx.commit().await?;
            return Ok(Bound::Yes);
        };
        let words = (line, fingerprint, key_name);
        if insert_key(&mut tx, person, words, approval.trusted_until, change).await?
            == AddedKey::SomebodyElses
        {
            set_state(&mut tx, id, ApprovalState::Void).await?;
            let detail = with(detail, "because", json!("it is somebody else's"));
            audit(&mut tx, change, "key.refused", Some(false), detail).await?;
            tx.commit().await?;
            return Ok(Bound::SomebodyElses);
        }
        set_state(&mut tx, id, ApprovalState::Used).await?;
        audit(&mut tx, change, "key.bound", Some(true), detail).await?;
        finish(tx).await?;
        Ok(Bound::Yes)
    }

    /// Ends an approval that nobody answered in time, or whose client went away. What was approved in vain, or was
    /// not answered, is an audit row; a client that merely left is counted with the refused logins.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn end_approval(
        &self,
        id: &ApprovalId,
        end: ApprovalState,
        because: &str,
        change: &Change,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let Some(approval) = locked(&mut tx, id).await?.map(Approval::from) else { return Ok(()) };
        let kind = match (approval.state, end) {
            (ApprovalState::Pending, ApprovalState::Expired) => Some("approval.expired"),
            (ApprovalState::Pending, _) => None,
            (ApprovalState::Approved, _) => Some("approval.unused"),
            _ => return Ok(()),
        };
        set_state(&mut tx, id, end).await?;
        if let Some(kind) = kind {
            let detail = with(about(id, &approval), "because", json!(because));
            audit(&mut tx, change, kind, Some(false), detail).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

struct Row {
    code: Vec<u8>,
    state: String,
    connection_id: Uuid,
    login: String,
    public_key: Option<String>,
    fingerprint: Option<String>,
    client_address: String,
    client_version: String,
    asked_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    decided_by: Option<Uuid>,
    trusted_until: Option<OffsetDateTime>,
}

impl From<Row> for Approval {
    fn from(row: Row) -> Self {
        Self {
            code: row.code,
            state: ApprovalState::from_code(&row.state),
            connection: row.connection_id.into(),
            login: row.login,
            public_key: row.public_key,
            fingerprint: row.fingerprint,
            // Postgres writes no address that cannot be read; this one is nobody's.
            address: row.client_address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            client_version: row.client_version,
            asked_at: row.asked_at,
            expires_at: row.expires_at,
            decided_by: row.decided_by.map(UserId::from),
            trusted_until: row.trusted_until,
        }
    }
}

async fn locked(tx: &mut Transaction<'static, Postgres>, id: &ApprovalId) -> Result<Option<Row>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT code, state, connection_id, login, public_key, fingerprint,
                  host(client_address) AS "client_address!", client_version, asked_at, expires_at, decided_by,
                  trusted_until
           FROM approvals WHERE id = $1 FOR UPDATE"#,
        id.as_str(),
    );
    Ok(row.fetch_optional(&mut **tx).await?)
}

async fn set_state(
    tx: &mut Transaction<'static, Postgres>,
    id: &ApprovalId,
    state: ApprovalState,
) -> Result<(), StoreError> {
    sqlx::query!("UPDATE approvals SET state = $2 WHERE id = $1", id.as_str(), state.code())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What each audit row of an approval says.
fn about(id: &ApprovalId, approval: &Approval) -> Value {
    json!({
        "approval": id.as_str(), "fingerprint": approval.fingerprint, "address": approval.address,
        "client": approval.client_version, "login": approval.login,
        "connection": approval.connection.to_string(),
    })
}

fn with(mut detail: Value, key: &str, value: Value) -> Value {
    if let Value::Object(fields) = &mut detail {
        fields.insert(key.to_owned(), value);
    }
    detail
}

fn shown(at: Option<OffsetDateTime>) -> Option<String> {
    at?.format(&time::format_description::well_known::Rfc3339).ok()
}
