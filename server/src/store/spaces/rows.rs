//! Spaces as the newest listings showed them, read back.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::sharing_word;
use crate::domain::ids::DomainAlias;
use crate::domain::space::{App, AppImage, AppStatus, Sharing, Space, SpaceStatus};
use crate::store::{Store, StoreError};

/// The newest listing of a domain, which some replica wrote.
#[derive(Debug, Clone)]
pub struct StoredListing {
    /// Its spaces.
    pub spaces: Vec<Space>,
    /// When it was written, on Postgres's clock: what tells one listing from the next.
    pub written_at: OffsetDateTime,
    /// How long ago that was, on the same clock.
    pub age: Duration,
}

impl Store {
    /// The spaces that the newest listings showed, of every domain that was ever listed.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn known_spaces(&self) -> Result<Vec<Space>, StoreError> {
        self.spaces_in(None).await
    }

    /// The newest listing of a domain; nothing if there is none, or if it is the one that was seen before.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn listing(
        &self,
        domain: &DomainAlias,
        seen: Option<OffsetDateTime>,
    ) -> Result<Option<StoredListing>, StoreError> {
        // The spaces are read after it: they may be of a newer listing still, which is then read again.
        let newest = sqlx::query!(
            r#"SELECT written_at AS "written_at!",
                      extract(epoch FROM clock_timestamp() - written_at)::double precision AS "age_s!"
               FROM domains WHERE alias = $1 AND written_at IS NOT NULL AND written_at IS DISTINCT FROM $2"#,
            domain.as_str(),
            seen,
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(newest) = newest else { return Ok(None) };
        let spaces = self.spaces_in(Some(domain)).await?;
        let age = Duration::try_from_secs_f64(newest.age_s).unwrap_or_default();
        Ok(Some(StoredListing { spaces, written_at: newest.written_at, age }))
    }

    async fn spaces_in(&self, domain: Option<&DomainAlias>) -> Result<Vec<Space>, StoreError> {
        let rows = sqlx::query_as!(
            SpaceRow,
            "SELECT id, arn, domain, owner, sharing, app_type, remote_access, status, storage_gib, listed_app_type,
                    listed_app_status, listed_app_created_at, listed_app_instance_type, listed_app_image,
                    listed_app_image_version
             FROM spaces WHERE deleted_at IS NULL AND ($1::text IS NULL OR domain = $1) ORDER BY domain, name",
            domain.map(DomainAlias::as_str),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().filter_map(SpaceRow::space).collect())
    }
}

/// A row of `spaces`.
pub(super) struct SpaceRow {
    pub(super) id: Uuid,
    pub(super) arn: String,
    pub(super) domain: String,
    pub(super) owner: Option<String>,
    pub(super) sharing: String,
    pub(super) app_type: Option<String>,
    pub(super) remote_access: bool,
    pub(super) status: Option<String>,
    pub(super) storage_gib: Option<i32>,
    pub(super) listed_app_type: Option<String>,
    pub(super) listed_app_status: Option<String>,
    pub(super) listed_app_created_at: Option<OffsetDateTime>,
    pub(super) listed_app_instance_type: Option<String>,
    pub(super) listed_app_image: Option<String>,
    pub(super) listed_app_image_version: Option<String>,
}

impl SpaceRow {
    /// The space; nothing if a name in it is none, which no listing writes.
    pub(super) fn space(self) -> Option<Space> {
        let app = self.app();
        Some(Space {
            id: self.id.into(),
            arn: self.arn.parse().ok()?,
            domain: self.domain.parse().ok()?,
            owner: self.owner.and_then(|owner| owner.parse().ok()),
            sharing: if self.sharing == sharing_word(Sharing::Shared) {
                Sharing::Shared
            } else {
                Sharing::Private
            },
            app_type: self.app_type.and_then(|app_type| app_type.parse().ok()),
            remote_access: self.remote_access,
            // A replica of an earlier release does not write it.
            status: self.status.map_or(Some(SpaceStatus::InService), |word| SpaceStatus::of_word(&word))?,
            app,
            storage_gib: self.storage_gib.and_then(|gib| u32::try_from(gib).ok()),
        })
    }

    fn app(&self) -> Option<App> {
        let version = self.listed_app_image_version.clone();
        Some(App {
            app_type: self.listed_app_type.as_deref()?.parse().ok()?,
            status: AppStatus::of_word(self.listed_app_status.as_deref()?)?,
            created_at: self.listed_app_created_at?,
            instance_type: self.listed_app_instance_type.as_deref().and_then(|text| text.parse().ok()),
            image: self.listed_app_image.clone().map(|arn| AppImage { arn, version }),
        })
    }
}
