//! Signs of people at work, as they pass through the gateway.

use std::collections::HashMap;

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::idle::{Outside, Seen, Sign};
use crate::domain::ids::{SpaceId, UserId};

/// A sign of one person in one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSign {
    /// Where.
    pub space: SpaceId,
    /// Who.
    pub user: UserId,
    /// What.
    pub sign: Sign,
    /// When.
    pub at: OffsetDateTime,
}

impl Store {
    /// Writes signs. The newest of each stays, whatever replica saw it.
    ///
    /// # Errors
    /// When they could not be written.
    pub async fn write_signs(&self, signs: &[NewSign]) -> Result<(), StoreError> {
        let spaces: Vec<Uuid> = signs.iter().map(|sign| sign.space.uuid()).collect();
        let users: Vec<Uuid> = signs.iter().map(|sign| sign.user.uuid()).collect();
        let words: Vec<String> = signs.iter().map(|sign| sign.sign.as_str().to_owned()).collect();
        let times: Vec<OffsetDateTime> = signs.iter().map(|sign| sign.at).collect();
        sqlx::query!(
            "INSERT INTO signs AS s (space_id, user_id, sign, at)
             SELECT space_id, user_id, sign, max(at)
             FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[]) AS n (space_id, user_id, sign, at)
             GROUP BY space_id, user_id, sign ORDER BY space_id, user_id, sign
             ON CONFLICT (space_id, user_id, sign) DO UPDATE SET at = excluded.at WHERE s.at < excluded.at",
            &spaces,
            &users,
            &words,
            &times,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What the gateway has seen in each of these spaces, and whether that may not be everything: a replica with live
    /// sessions there has fallen silent, or did so a moment ago with its last signs unwritten.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn outside_of(&self, spaces: &[SpaceId]) -> Result<HashMap<SpaceId, Outside>, StoreError> {
        let spaces: Vec<Uuid> = spaces.iter().map(|space| space.uuid()).collect();
        let mut outside: HashMap<SpaceId, Outside> = HashMap::new();
        // Silence first: a replica that comes back in between is then unsure rather than sure with old signs.
        let silent = sqlx::query!(
            "SELECT DISTINCT s.space_id, r.host
             FROM sessions s JOIN replicas r ON r.id = s.replica_id
             WHERE s.space_id = ANY ($1)
               AND (s.ended_at IS NULL AND r.renewed_at + make_interval(secs => r.lease_s) < now()
                    OR s.end_code = 'gateway_crashed' AND r.lapsed_at + make_interval(secs => 2 * r.lease_s) > now())",
            &spaces,
        )
        .fetch_all(&self.pool)
        .await?;
        for row in silent {
            outside.entry(row.space_id.into()).or_default().unsure =
                Some(format!("the gateway on {} has fallen silent with sessions in it", row.host));
        }
        let rows = sqlx::query!(
            "SELECT DISTINCT ON (s.space_id, s.sign) s.space_id, s.sign, s.at, u.name
             FROM signs s JOIN users u ON u.id = s.user_id
             WHERE s.space_id = ANY ($1) ORDER BY s.space_id, s.sign, s.at DESC",
            &spaces,
        )
        .fetch_all(&self.pool)
        .await?;
        for row in rows {
            let all = [Sign::Keys, Sign::Opened, Sign::Sent, Sign::Received, Sign::Screen];
            let Some(sign) = all.into_iter().find(|sign| sign.as_str() == row.sign) else { continue };
            let seen = Seen { sign, at: row.at, by: Some(row.name) };
            outside.entry(row.space_id.into()).or_default().signs.push(seen);
        }
        Ok(outside)
    }
}
