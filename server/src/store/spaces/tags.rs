//! The AWS tags of spaces, where somebody asks for them.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::rows::SpaceRow;
use crate::domain::ids::{DomainAlias, SpaceId};
use crate::domain::run::Tags;
use crate::domain::space::Space;
use crate::store::text::plain_json;
use crate::store::{Store, StoreError};

impl Store {
    /// Spaces of a domain whose tags were not read since, so many at most: those that are up first, then the longest
    /// unread.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn due_tags(
        &self,
        domain: &DomainAlias,
        read_before: OffsetDateTime,
        most: u16,
    ) -> Result<Vec<Space>, StoreError> {
        let rows = sqlx::query_as!(
            SpaceRow,
            "SELECT id, arn, domain, owner, sharing, app_type, remote_access, status, storage_gib, listed_app_type,
                    listed_app_status, listed_app_created_at, listed_app_instance_type, listed_app_image,
                    listed_app_image_version
             FROM spaces
             WHERE domain = $1 AND deleted_at IS NULL AND (tags_read_at IS NULL OR tags_read_at < $2)
             ORDER BY listed_app_status IS DISTINCT FROM 'InService', tags_read_at NULLS FIRST, id LIMIT $3",
            domain.as_str(),
            read_before,
            i64::from(most),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().filter_map(SpaceRow::space).collect())
    }

    /// Keeps the tags of a space, as read now; `None` only notes the try, and what was read before stays.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn write_tags(
        &self,
        space: SpaceId,
        tags: Option<&Tags>,
        at: OffsetDateTime,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE spaces SET tags = coalesce($2, tags), tags_read_at = $3 WHERE id = $1",
            space.uuid(),
            tags.map(|tags| plain_json(&json!(tags))),
            at,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The tags of a space as last read; nothing if they never were.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn space_tags(&self, space: SpaceId) -> Result<Option<Tags>, StoreError> {
        let tags = sqlx::query_scalar!("SELECT tags FROM spaces WHERE id = $1", space.uuid())
            .fetch_optional(&self.pool)
            .await?;
        Ok(tags.flatten().as_ref().map(tags_of))
    }
}

/// Tags as they were written.
pub(super) fn tags_of(value: &Value) -> Tags {
    let texts = value.as_object().into_iter().flatten();
    texts.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
