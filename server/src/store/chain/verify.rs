//! Walking the chain of seals, and naming the first thing in it that is wrong.
//!
//! Everything is read in one snapshot and in pages, so that memory does not grow with the log.

use sqlx::PgConnection;
use uuid::Uuid;

use super::diagnose::diagnose;
use super::{ChainKey, HeadRow, image, mac_of, read_head};
use crate::domain::chain::{Head, Mac, ROW_VERSION, RowImage};
use crate::store::{Store, StoreError};

/// Rows that are read at once.
pub(super) const PAGE: i64 = 500;

/// What is wrong with the audit log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A row is not as it was sealed.
    #[error("row {row} was changed after it was sealed as number {seq}")]
    RowChanged {
        /// The seal's number.
        seq: i64,
        /// The row.
        row: Uuid,
    },
    /// A sealed row is gone.
    #[error("row {row}, which was sealed as number {seq}, was removed")]
    RowRemoved {
        /// The seal's number.
        seq: i64,
        /// The row.
        row: Uuid,
    },
    /// A queued row is gone.
    #[error("row {0} was removed before it was sealed")]
    QueuedRowRemoved(Uuid),
    /// A seal names another row than it was made for.
    #[error("rows were reordered: seal {seq} was made for row {was} and now names row {now}")]
    RowsReordered {
        /// The seal's number.
        seq: i64,
        /// The row it was made for.
        was: Uuid,
        /// The row it names.
        now: Uuid,
    },
    /// A seal has another number than it was made with.
    #[error("rows were reordered: what was seal {was} is now seal {now}")]
    SealsReordered {
        /// The number it was made with.
        was: i64,
        /// The number it has.
        now: i64,
    },
    /// A seal's MAC is not as it was made.
    #[error("the MAC of seal {seq}, of row {row}, was changed")]
    SealChanged {
        /// The seal's number.
        seq: i64,
        /// Its row.
        row: Uuid,
    },
    /// There is a gap in the chain.
    #[error("seal {0} was removed")]
    SealRemoved(i64),
    /// A seal fits neither what is before it nor what comes after.
    #[error("the chain breaks at seal {seq}, of row {row}: seals were changed or removed")]
    Broken {
        /// The seal's number.
        seq: i64,
        /// Its row.
        row: Uuid,
    },
    /// A seal is of a version that this release does not know.
    #[error("seal {seq} is of version {version}, which this release does not know")]
    Version {
        /// The seal's number.
        seq: i64,
        /// Its version.
        version: i16,
    },
    /// The head row is gone.
    #[error("the head row of the chain was removed, or no server has sealed anything yet")]
    HeadRemoved,
    /// The head row is not as a sealer wrote it.
    #[error("the head row of the chain was changed")]
    HeadChanged,
    /// Seals at the end are gone.
    #[error("the end of the chain was cut: its last seal is {last}, and it had {head}")]
    TailCut {
        /// The last seal that is there.
        last: i64,
        /// The last seal that there was.
        head: i64,
    },
    /// There are more seals than the head row counts.
    #[error("the head row of the chain is an old one: it says {head}, and the last seal is {last}")]
    HeadOld {
        /// The last seal that is there.
        last: i64,
        /// The last seal by the head row.
        head: i64,
    },
    /// The chain is not the one that was logged.
    #[error("seal {seq} has the MAC {found}, and the log has another: the chain was cut and sealed anew")]
    NotAsLogged {
        /// The seal's number.
        seq: i64,
        /// Its MAC.
        found: Mac,
    },
    /// A row is in no seal and waits for none.
    #[error("row {0} is in no seal and in no queue for one")]
    RowNotInChain(Uuid),
    /// A row has waited too long for a seal.
    #[error("row {0} has waited for its seal for longer than a minute")]
    Overdue(Uuid),
}

impl Wrong {
    /// What an operator should do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Overdue(_) => {
                "See that a server runs and what its log says about sealing. If rows were many, it may be at it still."
            }
            Self::HeadRemoved => {
                "If a server ran before, somebody changed the database: keep a copy of it as evidence, and compare \
                 with a backup. Otherwise start one."
            }
            Self::Version { .. } => "Run this command from the release that the server has.",
            _ => {
                "Somebody changed the database: keep a copy of it as evidence, find out who could write to it, and \
                 compare with a backup and with the heads in the servers' logs (audit.head)."
            }
        }
    }
}

/// Why the chain was not found to be whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something is wrong with it.
    #[error(transparent)]
    Wrong(#[from] Wrong),
}

impl From<sqlx::Error> for VerifyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A chain that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its end; the number is how many rows are sealed.
    pub head: HeadRow,
    /// Rows that wait for their seal, none for longer than a minute.
    pub waiting: u64,
}

impl Store {
    /// Checks every row and every seal, and the end against one from a server's log.
    ///
    /// # Errors
    /// [`VerifyError::Wrong`] with the first thing that is wrong.
    pub async fn verify_audit(&self, key: &ChainKey, logged: Option<&Head>) -> Result<Whole, VerifyError> {
        let mut tx = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        // A page is read in much less, unless the disk is slow and has none of it in memory.
        sqlx::query!("SET LOCAL statement_timeout = '60s'").execute(&mut *tx).await?;
        let head = read_head(&mut tx, key).await?;
        let last = walk(&mut tx, key, head.as_ref(), logged).await?;
        let head = check_end(last, head, logged)?;
        let waiting = check_rows(&mut tx).await?;
        check_queue(&mut tx).await?;
        Ok(Whole { head, waiting })
    }
}

/// A seal that does not fit.
pub(super) struct Misfit {
    pub(super) before: Head,
    pub(super) mac: Mac,
    pub(super) row: Uuid,
    /// The MAC that the row as it is would give it.
    pub(super) computed: Mac,
}

/// From the first seal to the last, which it answers.
async fn walk(
    on: &mut PgConnection,
    key: &ChainKey,
    head: Option<&HeadRow>,
    logged: Option<&Head>,
) -> Result<Head, VerifyError> {
    let mut last = Head::START;
    loop {
        // The columns of a row that is gone are filled with something, and not looked at.
        let page = sqlx::query!(
            r#"SELECT s.seq, s.audit_id AS id, s.version, s.mac, a.id IS NOT NULL AS "there!",
                      coalesce(timestamptz_send(a.at), '') AS "at!", coalesce(a.replica_id, s.audit_id) AS "replica_id!",
                      a.actor_id AS "actor_id?", coalesce(a.actor_name, '') AS "actor_name!",
                      a.space_id AS "space_id?", a.session_id AS "session_id?", a.connection_id AS "connection_id?",
                      coalesce(a.kind, '') AS "kind!", a.allowed AS "allowed?",
                      coalesce(a.detail::text, '') AS "detail!"
               FROM audit_seals s LEFT JOIN audit a ON a.id = s.audit_id
               WHERE s.seq > $1 ORDER BY s.seq LIMIT $2"#,
            last.seq,
            PAGE,
        )
        .fetch_all(&mut *on)
        .await?;
        if page.is_empty() {
            return Ok(last);
        }
        for row in page {
            let (seq, mac) = (last.seq + 1, mac_of(&row.mac));
            if row.seq != seq {
                return Err(Wrong::SealRemoved(seq).into());
            }
            if row.version != i16::from(ROW_VERSION) {
                return Err(Wrong::Version { seq, version: row.version }.into());
            }
            if !row.there {
                return Err(Wrong::RowRemoved { seq, row: row.id }.into());
            }
            let computed = key.seal(seq, &last.mac, &image!(row));
            if computed != mac {
                let misfit = Misfit { before: last, mac, row: row.id, computed };
                return Err(diagnose(on, key, head, &misfit).await?.into());
            }
            last = Head { seq, mac };
            if logged.is_some_and(|logged| logged.seq == seq && logged.mac != mac) {
                return Err(Wrong::NotAsLogged { seq, found: mac }.into());
            }
        }
    }
}

/// The end that was found against the one in the head row and the one in a log.
fn check_end(last: Head, head: Option<HeadRow>, logged: Option<&Head>) -> Result<HeadRow, Wrong> {
    if let Some(logged) = logged.filter(|logged| logged.seq > last.seq) {
        return Err(Wrong::TailCut { last: last.seq, head: logged.seq });
    }
    let row = head.ok_or(Wrong::HeadRemoved)?;
    if !row.genuine {
        return Err(Wrong::HeadChanged);
    }
    if row.head.seq > last.seq {
        return Err(Wrong::TailCut { last: last.seq, head: row.head.seq });
    }
    if row.head.seq < last.seq {
        return Err(Wrong::HeadOld { last: last.seq, head: row.head.seq });
    }
    if row.head.mac != last.mac {
        return Err(Wrong::HeadChanged);
    }
    Ok(row)
}

/// Every row is sealed, or has been queued for less than a minute. Answers how many are queued.
async fn check_rows(on: &mut PgConnection) -> Result<u64, VerifyError> {
    let (mut after, mut waiting) = (Uuid::nil(), 0);
    loop {
        let page = sqlx::query!(
            r#"SELECT a.id, EXISTS (SELECT FROM audit_seals s WHERE s.audit_id = a.id) AS "sealed!",
                      (SELECT min(queued_at) NOT BETWEEN now() - interval '1 minute' AND now() + interval '1 minute'
                       FROM audit_pending p WHERE p.audit_id = a.id) AS "late?"
               FROM audit a WHERE a.id > $1 ORDER BY a.id LIMIT $2"#,
            after,
            PAGE,
        )
        .fetch_all(&mut *on)
        .await?;
        let Some(last) = page.last() else { return Ok(waiting) };
        after = last.id;
        for row in page.iter().filter(|row| !row.sealed) {
            match row.late {
                None => return Err(Wrong::RowNotInChain(row.id).into()),
                Some(true) => return Err(Wrong::Overdue(row.id).into()),
                Some(false) => waiting += 1,
            }
        }
    }
}

/// Every queued row is there.
async fn check_queue(on: &mut PgConnection) -> Result<(), VerifyError> {
    let gone = sqlx::query_scalar!(
        "SELECT audit_id FROM audit_pending p WHERE NOT EXISTS (SELECT FROM audit a WHERE a.id = p.audit_id)
         ORDER BY place LIMIT 1"
    );
    match gone.fetch_optional(on).await? {
        Some(row) => Err(Wrong::QueuedRowRemoved(row).into()),
        None => Ok(()),
    }
}
