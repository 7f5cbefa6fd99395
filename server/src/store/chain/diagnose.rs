//! What was done to a seal that does not fit. Costs another walk over the log, and is asked once.

use sqlx::PgConnection;
use uuid::Uuid;

use super::verify::{Misfit, PAGE, Wrong};
use super::{ChainKey, HeadRow, image, mac_of};
use crate::domain::chain::{Mac, RowImage};
use crate::store::StoreError;

/// Names what was done.
///
/// Whether the row or the MAC was changed shows in what follows: the next MAC was made over the true one.
pub(super) async fn diagnose(
    on: &mut PgConnection,
    key: &ChainKey,
    head: Option<&HeadRow>,
    misfit: &Misfit,
) -> Result<Wrong, StoreError> {
    if let Some(moved) = moved(on, key, misfit).await? {
        return Ok(moved);
    }
    let (seq, row) = (misfit.before.seq + 1, misfit.row);
    let follows_on = follower(on, key, head, misfit).await?;
    Ok(match follows_on {
        Some(mac) if mac == misfit.mac => Wrong::RowChanged { seq, row },
        Some(_) => Wrong::SealChanged { seq, row },
        None => Wrong::Broken { seq, row },
    })
}

/// The one of the two MACs, stored and computed, that what follows was made over.
async fn follower(
    on: &mut PgConnection,
    key: &ChainKey,
    head: Option<&HeadRow>,
    misfit: &Misfit,
) -> Result<Option<Mac>, StoreError> {
    let seq = misfit.before.seq + 1;
    let either = [misfit.mac, misfit.computed];
    if let Some(row) = head.filter(|row| row.genuine && row.head.seq == seq) {
        return Ok(either.into_iter().find(|mac| *mac == row.head.mac));
    }
    let next = sqlx::query!(
        r#"SELECT s.mac, a.id, timestamptz_send(a.at) AS "at!", a.replica_id, a.actor_id, a.actor_name, a.space_id,
                  a.session_id, a.connection_id, a.kind, a.allowed, a.detail::text AS "detail!"
           FROM audit_seals s JOIN audit a ON a.id = s.audit_id
           WHERE s.seq = $1"#,
        seq + 1,
    )
    .fetch_optional(on)
    .await?;
    Ok(next.and_then(|next| {
        let found = mac_of(&next.mac);
        either.into_iter().find(|mac| key.seal(seq + 1, mac, &image!(next)) == found)
    }))
}

/// Looks for the row that the seal was made for, and for the seal that belongs in its place.
async fn moved(on: &mut PgConnection, key: &ChainKey, misfit: &Misfit) -> Result<Option<Wrong>, StoreError> {
    let seq = misfit.before.seq + 1;
    let mut after = Uuid::nil();
    loop {
        let page = sqlx::query!(
            r#"SELECT s.seq AS "seq?", s.mac AS "mac?", a.id, timestamptz_send(a.at) AS "at!", a.replica_id,
                      a.actor_id, a.actor_name, a.space_id, a.session_id, a.connection_id, a.kind, a.allowed,
                      a.detail::text AS "detail!"
               FROM audit a LEFT JOIN audit_seals s ON s.audit_id = a.id
               WHERE a.id > $1 ORDER BY a.id LIMIT $2"#,
            after,
            PAGE,
        )
        .fetch_all(&mut *on)
        .await?;
        let Some(last) = page.last() else { return Ok(None) };
        after = last.id;
        for row in &page {
            let mac = key.seal(seq, &misfit.before.mac, &image!(row));
            if mac == misfit.mac {
                return Ok(Some(Wrong::RowsReordered { seq, was: row.id, now: misfit.row }));
            }
            if let (Some(now), Some(found)) = (row.seq, &row.mac)
                && now != seq
                && mac_of(found) == mac
            {
                return Ok(Some(Wrong::SealsReordered { was: seq, now }));
            }
        }
    }
}
