//! What complete listings of a domain show: written as a whole, for every replica to read.

mod life;
mod rows;
mod runs;
mod tags;

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::life::{LifeStop, NewestSession, PastSession};
pub use self::rows::StoredListing;

use super::text::plain_option;
use super::{Store, StoreError};
use crate::domain::ids::{DomainAlias, SpaceId};
use crate::domain::space::{App, Sharing, Space};

impl Store {
    /// Writes what a complete listing of a domain showed: spaces seen and gone, runs begun, seen and ended, and that
    /// the domain was watched. Answers the same spaces with the ids of their rows.
    ///
    /// `at` is when the listing began: what it shows was so at that time or soon after. Listings further apart than
    /// `gap` leave the time between them unwatched. A listing that is older than one already written adds what it
    /// shows and ends nothing.
    ///
    /// # Errors
    /// When it could not be written; then nothing was.
    pub async fn write_listing(
        &self,
        domain: &DomainAlias,
        listed: Vec<Space>,
        at: OffsetDateTime,
        gap: Duration,
    ) -> Result<Vec<Space>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let newest = lock_domain(&mut tx, domain, at).await?;
        let arns: Vec<String> = listed.iter().map(|space| space.arn.to_string()).collect();
        write_spaces(&mut tx, domain, (&listed, &arns), at, newest).await?;
        if newest {
            sqlx::query!(
                "UPDATE spaces SET deleted_at = $3
                 WHERE domain = $1 AND deleted_at IS NULL AND arn <> ALL ($2)",
                domain.as_str(),
                &arns,
                at,
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
            runs::end(&mut tx, domain, &spaces, at).await?;
        }
        runs::begin(&mut tx, &spaces, at).await?;
        runs::see(&mut tx, &spaces, at).await?;
        if newest {
            runs::extend_watch(&mut tx, domain, at, gap).await?;
        }
        tx.commit().await?;
        Ok(spaces)
    }
}

/// Takes the lock under which one listing of a domain is written at a time; tells whether this one is the newest.
async fn lock_domain(
    on: &mut PgConnection,
    domain: &DomainAlias,
    at: OffsetDateTime,
) -> Result<bool, StoreError> {
    let newest = sqlx::query_scalar!(
        "INSERT INTO domains AS d (alias, synced_at, written_at) VALUES ($1, $2, clock_timestamp())
         ON CONFLICT (alias) DO UPDATE
         SET synced_at = greatest(d.synced_at, excluded.synced_at),
             written_at = CASE WHEN d.synced_at <= excluded.synced_at THEN excluded.written_at
                               ELSE d.written_at END
         RETURNING synced_at <= $2 AS \"newest!\"",
        domain.as_str(),
        at,
    )
    .fetch_one(on)
    .await?;
    Ok(newest)
}

async fn write_spaces(
    on: &mut PgConnection,
    domain: &DomainAlias,
    (listed, arns): (&[Space], &[String]),
    at: OffsetDateTime,
    newest: bool,
) -> Result<(), StoreError> {
    let texts = |of: fn(&Space) -> Option<String>| -> Vec<Option<String>> { listed.iter().map(of).collect() };
    let apps = |of: fn(&App) -> Option<String>| -> Vec<Option<String>> {
        listed.iter().map(|space| space.app.as_ref().and_then(of)).collect()
    };
    let ids: Vec<Uuid> = listed.iter().map(|_| SpaceId::generate().uuid()).collect();
    let remote_access: Vec<bool> = listed.iter().map(|space| space.remote_access).collect();
    let storage: Vec<Option<i32>> = listed.iter().map(|space| gib(space.storage_gib)).collect();
    let created: Vec<Option<OffsetDateTime>> =
        listed.iter().map(|space| space.app.as_ref().map(|app| app.created_at)).collect();
    // DISTINCT ON: a listing that was paged while it changed may show a space twice.
    sqlx::query!(
        "INSERT INTO spaces AS s (id, arn, domain, name, owner, sharing, app_type, remote_access, first_seen_at,
                                  status, storage_gib, listed_app_type, listed_app_status, listed_app_created_at,
                                  listed_app_instance_type, listed_app_image, listed_app_image_version)
         SELECT DISTINCT ON (arn) id, arn, $1, name, owner, sharing, app_type, remote_access, $2,
                status, storage_gib, listed_app_type, listed_app_status, listed_app_created_at,
                listed_app_instance_type, listed_app_image, listed_app_image_version
         FROM unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::boolean[],
                     $11::text[], $12::integer[], $13::text[], $14::text[], $15::timestamptz[], $16::text[],
                     $17::text[], $18::text[])
              AS listed (id, arn, name, owner, sharing, app_type, remote_access, status, storage_gib,
                         listed_app_type, listed_app_status, listed_app_created_at, listed_app_instance_type,
                         listed_app_image, listed_app_image_version)
         ON CONFLICT (arn) WHERE deleted_at IS NULL DO UPDATE
         SET domain = excluded.domain, owner = excluded.owner, sharing = excluded.sharing,
             app_type = excluded.app_type, remote_access = excluded.remote_access, status = excluded.status,
             storage_gib = excluded.storage_gib, listed_app_type = excluded.listed_app_type,
             listed_app_status = excluded.listed_app_status,
             listed_app_created_at = excluded.listed_app_created_at,
             listed_app_instance_type = excluded.listed_app_instance_type,
             listed_app_image = excluded.listed_app_image,
             listed_app_image_version = excluded.listed_app_image_version
         WHERE $3 AND (s.domain, s.owner, s.sharing, s.app_type, s.remote_access, s.status, s.storage_gib,
                       s.listed_app_type, s.listed_app_status, s.listed_app_created_at,
                       s.listed_app_instance_type, s.listed_app_image, s.listed_app_image_version)
             IS DISTINCT FROM
               (excluded.domain, excluded.owner, excluded.sharing, excluded.app_type, excluded.remote_access,
                excluded.status, excluded.storage_gib, excluded.listed_app_type, excluded.listed_app_status,
                excluded.listed_app_created_at, excluded.listed_app_instance_type, excluded.listed_app_image,
                excluded.listed_app_image_version)",
        domain.as_str(),
        at,
        newest,
        &ids,
        arns,
        &texts(|space| Some(space.name().to_string())) as &[Option<String>],
        &texts(|space| space.owner.as_ref().map(ToString::to_string)) as &[Option<String>],
        &texts(|space| Some(sharing_word(space.sharing).to_owned())) as &[Option<String>],
        &texts(|space| space.app_type.as_ref().map(ToString::to_string)) as &[Option<String>],
        &remote_access,
        &texts(|space| Some(space.status.word().to_owned())) as &[Option<String>],
        &storage as &[Option<i32>],
        &apps(|app| Some(app.app_type.to_string())) as &[Option<String>],
        &apps(|app| Some(app.status.word().to_owned())) as &[Option<String>],
        &created as &[Option<OffsetDateTime>],
        &apps(|app| app.instance_type.as_ref().map(ToString::to_string)) as &[Option<String>],
        &apps(image) as &[Option<String>],
        &apps(image_version) as &[Option<String>],
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

fn gib(storage_gib: Option<u32>) -> Option<i32> {
    storage_gib.and_then(|gib| i32::try_from(gib).ok())
}

fn image(app: &App) -> Option<String> {
    plain_option(app.image.as_ref().map(|image| image.arn.as_str()))
}

fn image_version(app: &App) -> Option<String> {
    plain_option(app.image.as_ref().and_then(|image| image.version.as_deref()))
}

async fn ids_by_arn(on: &mut PgConnection, arns: &[String]) -> Result<HashMap<String, SpaceId>, StoreError> {
    let rows = sqlx::query!("SELECT arn, id FROM spaces WHERE deleted_at IS NULL AND arn = ANY ($1)", arns)
        .fetch_all(on)
        .await?;
    Ok(rows.into_iter().map(|row| (row.arn, row.id.into())).collect())
}
