//! Runs: begun, seen and ended by listings, and when somebody watched.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::rows::SpaceRow;
use super::tags::tags_of;
use super::{gib, image, image_version};
use crate::domain::ids::{DomainAlias, RunId, SpaceId};
use crate::domain::run::OpenRun;
use crate::domain::space::{App, AppStatus, Space};
use crate::domain::span::Span;
use crate::store::{Store, StoreError};

impl Store {
    /// Every run that no listing has shown gone.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn open_runs(&self) -> Result<Vec<OpenRun>, StoreError> {
        self.runs_of(None, None).await
    }

    /// The run of a space that no listing has shown gone, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn open_run(&self, space: SpaceId) -> Result<Option<OpenRun>, StoreError> {
        let mut runs = self.runs_of(Some(&[space.uuid()]), None).await?;
        Ok(runs.pop())
    }

    /// The runs of these spaces that no listing has shown gone.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn open_runs_in(&self, spaces: &[SpaceId]) -> Result<Vec<OpenRun>, StoreError> {
        let spaces: Vec<Uuid> = spaces.iter().map(|space| space.uuid()).collect();
        self.runs_of(Some(&spaces), None).await
    }

    /// A run, whether it lasts or not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn run(&self, run: RunId) -> Result<Option<OpenRun>, StoreError> {
        let mut runs = self.runs_of(None, Some(run)).await?;
        Ok(runs.pop())
    }

    /// Those that last, of these spaces only, or the one that is named; the oldest first.
    async fn runs_of(&self, spaces: Option<&[Uuid]>, run: Option<RunId>) -> Result<Vec<OpenRun>, StoreError> {
        let rows = sqlx::query_as!(
            RunRow,
            r#"SELECT r.id AS run, r.app_created_at, r.began_at, r.instance_type, r.storage_gib AS run_storage_gib,
                      coalesce(r.last_seen_up_at, r.began_at) AS "last_seen_up_at!", s.tags, s.id, s.arn, s.domain,
                      s.owner, s.sharing, s.app_type, s.remote_access, s.status, s.storage_gib, s.listed_app_type,
                      s.listed_app_status, s.listed_app_created_at, s.listed_app_instance_type,
                      s.listed_app_image, s.listed_app_image_version
               FROM runs r JOIN spaces s ON s.id = r.space_id
               WHERE ($2::uuid IS NULL AND r.ended_at IS NULL OR r.id = $2)
                 AND ($1::uuid[] IS NULL OR r.space_id = ANY ($1))
               ORDER BY r.app_created_at, r.id"#,
            spaces,
            run.map(RunId::uuid),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().filter_map(RunRow::run).collect())
    }

    /// When a domain was watched between two moments: listed without a gap. The time that is missing is unknown.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn watched(
        &self,
        domain: &DomainAlias,
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Result<Vec<Span>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT greatest(began_at, $2) AS "from!", least(ended_at, $3) AS "until!"
               FROM watches WHERE domain = $1 AND ended_at >= $2 AND began_at <= $3
               ORDER BY began_at"#,
            domain.as_str(),
            from,
            to,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| Span { from: row.from, until: row.until }).collect())
    }
}

/// A row of `runs` with its space.
struct RunRow {
    run: Uuid,
    app_created_at: OffsetDateTime,
    began_at: OffsetDateTime,
    last_seen_up_at: OffsetDateTime,
    instance_type: Option<String>,
    run_storage_gib: Option<i32>,
    tags: Option<Value>,
    id: Uuid,
    arn: String,
    domain: String,
    owner: Option<String>,
    sharing: String,
    app_type: Option<String>,
    remote_access: bool,
    status: Option<String>,
    storage_gib: Option<i32>,
    listed_app_type: Option<String>,
    listed_app_status: Option<String>,
    listed_app_created_at: Option<OffsetDateTime>,
    listed_app_instance_type: Option<String>,
    listed_app_image: Option<String>,
    listed_app_image_version: Option<String>,
}

impl RunRow {
    fn run(self) -> Option<OpenRun> {
        let space = SpaceRow {
            id: self.id,
            arn: self.arn,
            domain: self.domain,
            owner: self.owner,
            sharing: self.sharing,
            app_type: self.app_type,
            remote_access: self.remote_access,
            status: self.status,
            storage_gib: self.storage_gib,
            listed_app_type: self.listed_app_type,
            listed_app_status: self.listed_app_status,
            listed_app_created_at: self.listed_app_created_at,
            listed_app_instance_type: self.listed_app_instance_type,
            listed_app_image: self.listed_app_image,
            listed_app_image_version: self.listed_app_image_version,
        };
        Some(OpenRun {
            run: self.run.into(),
            app_created_at: self.app_created_at,
            space: space.space()?,
            began_at: self.began_at,
            last_seen_up_at: self.last_seen_up_at,
            instance_type: self.instance_type.and_then(|text| text.parse().ok()),
            storage_gib: self.run_storage_gib.and_then(|gib| u32::try_from(gib).ok()),
            tags: self.tags.as_ref().map(tags_of),
        })
    }
}

/// The app whose run goes on: it is up, or on its way up or down.
fn living(space: &Space) -> Option<&App> {
    space.app.as_ref().filter(|app| !matches!(app.status, AppStatus::Deleted | AppStatus::Failed))
}

/// The spaces whose run goes on, and the creation times of its apps.
fn alive(spaces: &[Space]) -> (Vec<Uuid>, Vec<OffsetDateTime>) {
    spaces.iter().filter_map(|space| Some((space.id.uuid(), living(space)?.created_at))).unzip()
}

/// Ends the open runs of a domain whose app is gone, or is another one.
pub(super) async fn end(
    on: &mut PgConnection,
    domain: &DomainAlias,
    spaces: &[Space],
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let (ids, created) = alive(spaces);
    sqlx::query!(
        "UPDATE runs r SET ended_at = $2
         FROM spaces s
         WHERE s.id = r.space_id AND s.domain = $1 AND r.ended_at IS NULL
           AND NOT EXISTS (SELECT FROM unnest($3::uuid[], $4::timestamptz[]) AS alive (space_id, created_at)
                           WHERE alive.space_id = r.space_id AND alive.created_at = r.app_created_at)",
        domain.as_str(),
        at,
        &ids,
        &created,
    )
    .execute(on)
    .await?;
    Ok(())
}

/// Begins the runs of apps that are in service, and goes on with one that a listing had wrongly shown as gone.
pub(super) async fn begin(
    on: &mut PgConnection,
    spaces: &[Space],
    at: OffsetDateTime,
) -> Result<(), StoreError> {
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
    let storage: Vec<Option<i32>> = up.iter().map(|(space, _)| gib(space.storage_gib)).collect();
    let images: Vec<Option<String>> = up.iter().map(|(_, app)| image(app)).collect();
    let versions: Vec<Option<String>> = up.iter().map(|(_, app)| image_version(app)).collect();
    sqlx::query!(
        "INSERT INTO runs AS r (id, space_id, app_type, app_created_at, instance_type, began_at, storage_gib, image,
                                image_version, last_seen_up_at)
         SELECT DISTINCT ON (space_id) id, space_id, app_type, app_created_at, instance_type, $1, storage_gib,
                image, image_version, $1
         FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[], $7::integer[], $8::text[],
                     $9::text[])
              AS up (id, space_id, app_type, app_created_at, instance_type, storage_gib, image, image_version)
         ON CONFLICT (space_id, app_created_at) DO UPDATE
         SET ended_at = NULL, instance_type = coalesce(excluded.instance_type, r.instance_type),
             storage_gib = coalesce(excluded.storage_gib, r.storage_gib),
             image = coalesce(excluded.image, r.image),
             image_version = coalesce(excluded.image_version, r.image_version)
         WHERE r.ended_at < $1 OR r.instance_type IS NULL AND excluded.instance_type IS NOT NULL
            OR r.image IS NULL AND excluded.image IS NOT NULL
            OR r.ended_at IS NULL AND r.storage_gib <> excluded.storage_gib
            OR r.storage_gib IS NULL AND excluded.storage_gib IS NOT NULL",
        at,
        &ids,
        &space_ids,
        &app_types,
        &created,
        &instances as &[Option<String>],
        &storage as &[Option<i32>],
        &images as &[Option<String>],
        &versions as &[Option<String>],
    )
    .execute(on)
    .await?;
    Ok(())
}

/// Notes for the open runs that a listing showed them up.
pub(super) async fn see(
    on: &mut PgConnection,
    spaces: &[Space],
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    let (ids, created) = alive(spaces);
    sqlx::query!(
        "UPDATE runs r SET last_seen_up_at = $1
         FROM (SELECT DISTINCT * FROM unnest($2::uuid[], $3::timestamptz[])) AS alive (space_id, created_at)
         WHERE r.space_id = alive.space_id AND r.app_created_at = alive.created_at AND r.ended_at IS NULL
           AND (r.last_seen_up_at IS NULL OR r.last_seen_up_at < $1)",
        at,
        &ids,
        &created,
    )
    .execute(on)
    .await?;
    Ok(())
}

/// Goes on with the stretch of time in which the domain is watched, or begins one.
pub(super) async fn extend_watch(
    on: &mut PgConnection,
    domain: &DomainAlias,
    at: OffsetDateTime,
    gap: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "WITH extended AS (
             UPDATE watches SET ended_at = greatest(ended_at, $2)
             WHERE domain = $1 AND began_at = (SELECT max(began_at) FROM watches WHERE domain = $1)
               AND ended_at + make_interval(secs => $3) >= $2
             RETURNING domain
         )
         INSERT INTO watches (domain, began_at, ended_at)
         SELECT $1, $2, $2 WHERE NOT EXISTS (SELECT FROM extended)",
        domain.as_str(),
        at,
        gap.as_secs_f64(),
    )
    .execute(on)
    .await?;
    Ok(())
}
