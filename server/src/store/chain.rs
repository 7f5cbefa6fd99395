//! The chain of seals over the audit log: sealing. Verifying is in [`verify`].
//!
//! A row is queued by a trigger in the transaction that writes it. The sealer takes queued rows in batches, under an
//! advisory lock that only sealers take, and moves each from the queue into the chain in one transaction. Writers
//! only insert, so nobody of them waits for a sealer or for another writer; a row that commits late, with an older
//! time, is queued when it commits and gets a later place.
//!
//! A seal's MAC is HMAC-SHA256 over a label, its number, the MAC before it and the row's bytes
//! ([`RowImage::bytes`]); the head row's is over another label, the number, the MAC and the time.
//!
//! What is *not* here: what a row's bytes are (`domain::chain`), and when sealing is done (`jobs`).

mod diagnose;
pub mod export;
pub mod verify;

use std::collections::HashSet;

use aws_lc_rs::hmac;
use futures_util::TryStreamExt;
use secrecy::ExposeSecret;
use sqlx::PgConnection;
use uuid::Uuid;

use super::secrets::SealingKey;
use super::{Store, StoreError};
use crate::domain::chain::{Head, Mac, ROW_VERSION, RowImage};

/// The name under which the key of the MACs is kept in the database, the same for every replica.
const SECRET: &str = "audit_chain_key";
/// The advisory lock of sealers: a number of our own.
const LOCK: i64 = 0x7370_6163_6561_7564;
/// Sets MACs of seals apart from all others under the same key.
const SEAL_LABEL: &[u8] = b"spaceport audit seal\0";
/// Sets MACs of head rows apart.
const HEAD_LABEL: &[u8] = b"spaceport audit head\0";

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The database did not do it.
    #[error("the audit log could not be sealed: {0}")]
    Store(#[from] StoreError),
    /// The head row is not as the last sealer wrote it. Sealing on would cover up what was done.
    #[error(
        "the audit log is no longer sealed: the end of its chain was changed or removed; run `spaceport audit verify`"
    )]
    Head,
}

impl From<sqlx::Error> for SealError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The key of the chain's MACs.
pub struct ChainKey(hmac::Key);

impl ChainKey {
    fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A seal's MAC.
    fn seal(&self, seq: i64, before: &Mac, row: &RowImage<'_>) -> Mac {
        self.mac(&[SEAL_LABEL, &seq.to_be_bytes(), &before.0, &row.bytes()])
    }

    /// The head row's MAC. The time is as Postgres sends it.
    fn head(&self, head: &Head, at: &[u8]) -> Mac {
        self.mac(&[HEAD_LABEL, &head.seq.to_be_bytes(), &head.mac.0, at])
    }

    fn mac(&self, parts: &[&[u8]]) -> Mac {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        // HMAC-SHA256 gives 32 bytes; anything else would match no seal.
        Mac(context.sign().as_ref().try_into().unwrap_or_default())
    }
}

/// The chain's end as the head row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRow {
    /// The end.
    pub head: Head,
    /// When the last seal was made, as text (RFC 3339, UTC).
    pub at: String,
    /// Whether its own MAC is right.
    genuine: bool,
}

/// What one pass of a sealer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// Another sealer is at it.
    Busy,
    /// This many queued rows were dealt with.
    Done {
        /// How many.
        rows: usize,
        /// The chain's end after that.
        head: HeadRow,
    },
}

/// The image of a row that a query gave under the columns' own names.
macro_rules! image {
    ($row:expr) => {
        RowImage {
            id: $row.id,
            at: &$row.at,
            replica: $row.replica_id,
            actor: $row.actor_id,
            actor_name: &$row.actor_name,
            space: $row.space_id,
            session: $row.session_id,
            connection: $row.connection_id,
            kind: &$row.kind,
            allowed: $row.allowed,
            detail: &$row.detail,
        }
    };
}
use image;

impl Store {
    /// The key of the chain's MACs, made and kept on first use.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when it was sealed with another key.
    pub async fn chain_key(&self, sealing: &SealingKey) -> Result<ChainKey, StoreError> {
        let make = || rand::random::<[u8; 32]>().to_vec();
        Ok(ChainKey::new(self.sealed(SECRET, make, sealing).await?.expose_secret()))
    }

    /// The key of the chain's MACs, if a server has made it.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when it was sealed with another key.
    pub async fn existing_chain_key(&self, sealing: &SealingKey) -> Result<Option<ChainKey>, StoreError> {
        let secret = self.sealed_if_made(SECRET, sealing).await?;
        Ok(secret.map(|secret| ChainKey::new(secret.expose_secret())))
    }

    /// Seals at most `batch` queued rows.
    ///
    /// # Errors
    /// When it could not be done; then nothing was.
    pub async fn seal_audit(&self, key: &ChainKey, batch: u16) -> Result<Pass, SealError> {
        let mut tx = self.pool.begin().await?;
        let pass = seal(&mut tx, key, batch).await?;
        tx.commit().await?;
        Ok(pass)
    }
}

/// Seals on a connection that is in a transaction; the lock is held until that ends.
pub(super) async fn seal(on: &mut PgConnection, key: &ChainKey, batch: u16) -> Result<Pass, SealError> {
    let locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "locked!""#, LOCK);
    if !locked.fetch_one(&mut *on).await? {
        return Ok(Pass::Busy);
    }
    let before = match read_head(on, key).await? {
        Some(row) if row.genuine => Some(row),
        Some(_) => return Err(SealError::Head),
        None if has_seals(on).await? => return Err(SealError::Head),
        None => None,
    };
    let links = next_links(on, key, before.as_ref().map_or(Head::START, |row| row.head), batch).await?;
    let rows = links.places.len();
    let head = match before {
        Some(row) if links.ids.is_empty() => row,
        _ => write_head(on, key, links.head).await?,
    };
    if rows > 0 {
        let (ids, macs, places) = (&links.ids, &links.macs, &links.places);
        sqlx::query!(
            "INSERT INTO audit_seals (seq, audit_id, version, mac)
             SELECT seq, audit_id, $4, mac FROM unnest($1::bigint[], $2::uuid[], $3::bytea[]) AS s (seq, audit_id, mac)",
            &links.seqs,
            ids,
            macs,
            i16::from(ROW_VERSION),
        )
        .execute(&mut *on)
        .await?;
        sqlx::query!("DELETE FROM audit_pending WHERE place = ANY ($1)", places).execute(&mut *on).await?;
    }
    Ok(Pass::Done { rows, head })
}

/// Seals that were made and not yet written.
struct Links {
    head: Head,
    seqs: Vec<i64>,
    ids: Vec<Uuid>,
    macs: Vec<Vec<u8>>,
    /// The places in the queue that are dealt with.
    places: Vec<i64>,
}

/// Makes the next seals. The rows themselves are looked at one by one.
async fn next_links(
    on: &mut PgConnection,
    key: &ChainKey,
    head: Head,
    batch: u16,
) -> Result<Links, SealError> {
    let mut links = Links { head, seqs: Vec::new(), ids: Vec::new(), macs: Vec::new(), places: Vec::new() };
    let mut seen = HashSet::new();
    // A queued row that is gone stays queued, as evidence.
    let mut queued = sqlx::query!(
        r#"SELECT p.place, EXISTS (SELECT FROM audit_seals s WHERE s.audit_id = a.id) AS "sealed!",
                  a.id, timestamptz_send(a.at) AS "at!", a.replica_id, a.actor_id, a.actor_name, a.space_id,
                  a.session_id, a.connection_id, a.kind, a.allowed, a.detail::text AS "detail!"
           FROM audit_pending p JOIN audit a ON a.id = p.audit_id
           ORDER BY p.place LIMIT $1"#,
        i64::from(batch),
    )
    .fetch(on);
    while let Some(row) = queued.try_next().await? {
        links.places.push(row.place);
        // The migration may queue a row twice.
        if row.sealed || !seen.insert(row.id) {
            continue;
        }
        let seq = links.head.seq + 1;
        let mac = key.seal(seq, &links.head.mac, &image!(row));
        links.head = Head { seq, mac };
        links.seqs.push(seq);
        links.ids.push(row.id);
        links.macs.push(mac.0.to_vec());
    }
    Ok(links)
}

async fn read_head(on: &mut PgConnection, key: &ChainKey) -> Result<Option<HeadRow>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT seq, mac, timestamptz_send(at) AS "sent!", head_mac,
                  coalesce(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '') AS "at!"
           FROM audit_head"#
    )
    .fetch_optional(on)
    .await?;
    Ok(row.map(|row| {
        let head = Head { seq: row.seq, mac: mac_of(&row.mac) };
        let genuine = key.head(&head, &row.sent).0 == *row.head_mac;
        HeadRow { head, at: row.at, genuine }
    }))
}

async fn write_head(on: &mut PgConnection, key: &ChainKey, head: Head) -> Result<HeadRow, StoreError> {
    // `now()` is the same all through a transaction.
    let now = sqlx::query!(
        r#"SELECT timestamptz_send(now()) AS "sent!",
                  to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS "at!""#
    )
    .fetch_one(&mut *on)
    .await?;
    sqlx::query!(
        "INSERT INTO audit_head (seq, mac, at, head_mac) VALUES ($1, $2, now(), $3)
         ON CONFLICT (one) DO UPDATE
         SET seq = excluded.seq, mac = excluded.mac, at = excluded.at, head_mac = excluded.head_mac",
        head.seq,
        &head.mac.0[..],
        &key.head(&head, &now.sent).0[..],
    )
    .execute(on)
    .await?;
    Ok(HeadRow { head, at: now.at, genuine: true })
}

async fn has_seals(on: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM audit_seals) AS "some!""#).fetch_one(on).await?)
}

/// A MAC from its column, which a check keeps 32 bytes long; any other matches no seal.
fn mac_of(bytes: &[u8]) -> Mac {
    Mac(bytes.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_never_change() {
        let key = ChainKey::new(&[7; 32]);
        let row = RowImage {
            id: Uuid::from_bytes([1; 16]),
            at: &[0; 8],
            replica: Uuid::from_bytes([2; 16]),
            actor: None,
            actor_name: "anna",
            space: None,
            session: None,
            connection: None,
            kind: "access.allowed",
            allowed: Some(true),
            detail: "{}",
        };
        let first = key.seal(1, &Mac::START, &row);
        let second = key.seal(2, &first, &row);
        let head = key.head(&Head { seq: 2, mac: second }, &[0; 8]);
        // Computed with Python's hmac.
        assert_eq!(first.to_string(), "ef96b646f9fa6903f41d091d6a43f5d0388b6d2826bf38f2defde4886f9ad972");
        assert_eq!(second.to_string(), "3111c1cb2585eeb09cfc23a7964caa458a3d2103d11ecd006a746a4db7791233");
        assert_eq!(head.to_string(), "24aa7a70d80d2f7ec2d34fa93b712304366e195c6a4a4ca31f5bc0612ee10634");
        assert_ne!(ChainKey::new(&[8; 32]).seal(1, &Mac::START, &row), first);
    }
}
