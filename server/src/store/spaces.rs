//! Spaces and runs, as complete listings of a domain show them.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::ids::{DomainAlias, RunId, SpaceId};
use crate::domain::space::{App, AppStatus, Sharing, Space, SpaceStatus};

impl Store {
    /// Writes what a complete listing of a domain showed: spaces seen and gone, runs begun and ended. Answers the
    /// same spaces with the ids of their rows.
    ///
    /// A listing that is older than one already written adds what it shows and ends nothing.
    ///
    /// # Errors
    /// When it could not be written; then nothing was.
    pub async fn sync_spaces(
        &self,
        domain: &DomainAlias,
        listed: Vec<Space>,
        now: OffsetDateTime,
    ) -> Result<Vec<Space>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let newest = lock_domain(&mut tx, domain, now).await?;
        let arns: Vec<String> = listed.iter().map(|space| space.arn.to_string()).collect();
        write_spaces(&mut tx, domain, &listed, &arns, now).await?;
        if newest {
            sqlx::query!(
                "UPDATE spaces SET deleted_at = $3
                 WHERE domain = $1 AND deleted_at IS NULL AND arn <> ALL ($2)",
                domain.as_str(),
                &arns,
                now,
            )
            .execute(&mut *tx)
            .await?;
        }
        let ids = ids_by_arn(&mut tx, &arns).await?;
        let spaces: Vec<Space> = listed
            .into_iter()
            .zip(&arns)
            .filter_map(|(space, arn)| Some(Space { id: *ids.get(arn)?, ..space }))
            .collect();
        if newest {
            end_runs(&mut tx, domain, &spaces, now).await?;
        }
        begin_runs(&mut tx, &spaces, now).await?;
        tx.commit().await?;
        Ok(spaces)
    }
}

impl Store {
    /// The spaces that the newest listings showed, as far as rules look at them: whether a space is up is not kept.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn known_spaces(&self) -> Result<Vec<Space>, StoreError> {
        let rows = sqlx::query!(
            "SELECT id, arn, domain, owner, sharing, app_type, remote_access FROM spaces
             WHERE deleted_at IS NULL ORDER BY domain, name"
        )
        .fetch_all(&self.pool)
        .await?;
        let spaces = rows.into_iter().filter_map(|row| {
            Some(Space {
                id: row.id.into(),
                arn: row.arn.parse().ok()?,
                domain: row.domain.parse().ok()?,
                owner: row.owner.and_then(|owner| owner.parse().ok()),
                sharing: if row.sharing == sharing_word(Sharing::Shared) {
                    Sharing::Shared
                } else {
                    Sharing::Private
                },
                app_type: row.app_type.and_then(|app_type| app_type.parse().ok()),
                remote_access: row.remote_access,
                status: SpaceStatus::InService,
                app: None,
            })
        });
        Ok(spaces.collect())
    }
}

/// Takes the lock under which one listing of a domain is written at a time; tells whether this one is the newest.
async fn lock_domain(
    on: &mut PgConnection,
    domain: &DomainAlias,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let synced_at = sqlx::query_scalar!(
        "INSERT INTO domains (alias, synced_at) VALUES ($1, $2)
         ON CONFLICT (alias) DO UPDATE SET synced_at = greatest(domains.synced_at, excluded.synced_at)
         RETURNING synced_at <= $2 AS \"newest!\"",
        domain.as_str(),
        now,
    )
    .fetch_one(on)
    .await?;
    Ok(synced_at)
}

async fn write_spaces(
    on: &mut PgConnection,
    domain: &DomainAlias,
    listed: &[Space],
    arns: &[String],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = listed.iter().map(|_| SpaceId::generate().uuid()).collect();
    let names: Vec<String> = listed.iter().map(|space| space.name().to_string()).collect();
    let owners: Vec<Option<String>> =
        listed.iter().map(|space| space.owner.as_ref().map(ToString::to_string)).collect();
    let sharing: Vec<String> = listed.iter().map(|space| sharing_word(space.sharing).to_owned()).collect();
    let app_types: Vec<Option<String>> =
        listed.iter().map(|space| space.app_type.as_ref().map(ToString::to_string)).collect();
    let remote_access: Vec<bool> = listed.iter().map(|space| space.remote_access).collect();
    // DISTINCT ON: a listing that was paged while it changed may show a space twice.
    sqlx::query!(
        "INSERT INTO spaces AS s (id, arn, domain, name, owner, sharing, app_type, remote_access, first_seen_at)
         SELECT DISTINCT ON (arn) id, arn, $1, name, owner, sharing, app_type, remote_access, $2
         FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::boolean[])
              AS listed (id, arn, name, owner, sharing, app_type, remote_access)
         ON CONFLICT (arn) WHERE deleted_at IS NULL DO UPDATE
         SET domain = excluded.domain, owner = excluded.owner, sharing = excluded.sharing,
             app_type = excluded.app_type, remote_access = excluded.remote_access
         WHERE (s.domain, s.owner, s.sharing, s.app_type, s.remote_access) IS DISTINCT FROM
               (excluded.domain, excluded.owner, excluded.sharing, excluded.app_type, excluded.remote_access)",
        domain.as_str(),
        now,
        &ids,
        arns,
        &names,
        &owners as &[Option<String>],
        &sharing,
        &app_types as &[Option<String>],
        &remote_access,
    )
    .execute(on)
    .await?;
    Ok(())
}

const fn sharing_word(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Private => "private",
        Sharing::Shared => "shared",
    }
}

async fn ids_by_arn(on: &mut PgConnection, arns: &[String]) -> Result<HashMap<String, SpaceId>, StoreError> {
    let rows = sqlx::query!("SELECT arn, id FROM spaces WHERE deleted_at IS NULL AND arn = ANY ($1)", arns)
        .fetch_all(on)
        .await?;
    Ok(rows.into_iter().map(|row| (row.arn, row.id.into())).collect())
}

/// The app whose run goes on: it is up, or on its way up or down.
fn living(space: &Space) -> Option<&App> {
    space.app.as_ref().filter(|app| !matches!(app.status, AppStatus::Deleted | AppStatus::Failed))
}

/// Ends the open runs of a domain whose app is gone, or is another one.
async fn end_runs(
    on: &mut PgConnection,
    domain: &DomainAlias,
    spaces: &[Space],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let (ids, created): (Vec<Uuid>, Vec<OffsetDateTime>) =
        spaces.iter().filter_map(|space| Some((space.id.uuid(), living(space)?.created_at))).unzip();
    sqlx::query!(
        "UPDATE runs r SET ended_at = $2
         FROM spaces s
         WHERE s.id = r.space_id AND s.domain = $1 AND r.ended_at IS NULL
           AND NOT EXISTS (SELECT FROM unnest($3::uuid[], $4::timestamptz[]) AS alive (space_id, created_at)
                           WHERE alive.space_id = r.space_id AND alive.created_at = r.app_created_at)",
        domain.as_str(),
        now,
        &ids,
        &created,
    )
    .execute(on)
    .await?;
    Ok(())
}

/// Begins the runs of apps that are in service, and goes on with one that a listing had wrongly shown as gone.
async fn begin_runs(on: &mut PgConnection, spaces: &[Space], now: OffsetDateTime) -> Result<(), StoreError> {
    let up: Vec<(&Space, &App)> = spaces
        .iter()
        .filter_map(|space| Some((space, space.app.as_ref()?)))
        .filter(|(_, app)| app.status == AppStatus::InService)
        .collect();
    let ids: Vec<Uuid> = up.iter().map(|_| RunId::generate().uuid()).collect();
    let space_ids: Vec<Uuid> = up.iter().map(|(space, _)| space.id.uuid()).collect();
    let app_types: Vec<String> = up.iter().map(|(_, app)| app.app_type.to_string()).collect();
    let created: Vec<OffsetDateTime> = up.iter().map(|(_, app)| app.created_at).collect();
    let instances: Vec<Option<String>> =
        up.iter().map(|(_, app)| app.instance_type.as_ref().map(ToString::to_string)).collect();
    sqlx::query!(
        "INSERT INTO runs AS r (id, space_id, app_type, app_created_at, instance_type, began_at)
         SELECT DISTINCT ON (space_id) id, space_id, app_type, app_created_at, instance_type, $1
         FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[])
              AS up (id, space_id, app_type, app_created_at, instance_type)
         ON CONFLICT (space_id, app_created_at) DO UPDATE
         SET ended_at = NULL, instance_type = coalesce(excluded.instance_type, r.instance_type)
         WHERE r.ended_at < $1 OR r.instance_type IS NULL AND excluded.instance_type IS NOT NULL",
        now,
        &ids,
        &space_ids,
        &app_types,
        &created,
        &instances as &[Option<String>],
    )
    .execute(on)
    .await?;
    Ok(())
}
