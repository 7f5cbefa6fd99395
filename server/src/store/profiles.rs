//! For which users of IAM Identity Center SageMaker made the user profiles that own spaces.

use std::collections::HashMap;

use serde_json::json;
use time::OffsetDateTime;

use super::people::{Change, audit, finish};
use super::text::plain;
use super::{Store, StoreError};
use crate::domain::ids::{DomainAlias, UserProfileName};
use crate::domain::ownership::SsoUsers;

impl Store {
    /// Owners of a domain's spaces whose user profiles were not read since, so many at most.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn due_profiles(
        &self,
        domain: &DomainAlias,
        read_before: OffsetDateTime,
        most: u16,
    ) -> Result<Vec<UserProfileName>, StoreError> {
        let names = sqlx::query_scalar!(
            r#"SELECT DISTINCT owner AS "owner!" FROM spaces s
               WHERE domain = $1 AND owner IS NOT NULL AND deleted_at IS NULL
                 AND NOT EXISTS (SELECT FROM user_profiles p
                                 WHERE p.domain = s.domain AND p.name = s.owner AND p.read_at >= $2)
               ORDER BY 1 LIMIT $3"#,
            domain.as_str(),
            read_before,
            i64::from(most),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Keeps for whom a profile was made, as read now. A change is an audit row, and every replica takes it in.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn write_profile(
        &self,
        domain: &DomainAlias,
        name: &UserProfileName,
        sso_user: Option<&str>,
        change: &Change,
    ) -> Result<(), StoreError> {
        let sso_user = sso_user.map(plain);
        let mut tx = self.pool.begin().await?;
        let before = sqlx::query_scalar!(
            "SELECT sso_user FROM user_profiles WHERE domain = $1 AND name = $2 FOR UPDATE",
            domain.as_str(),
            name.as_str(),
        )
        .fetch_optional(&mut *tx)
        .await?
        .flatten();
        sqlx::query!(
            "INSERT INTO user_profiles (domain, name, sso_user, read_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (domain, name) DO UPDATE SET sso_user = excluded.sso_user, read_at = excluded.read_at",
            domain.as_str(),
            name.as_str(),
            sso_user.as_deref(),
            change.at,
        )
        .execute(&mut *tx)
        .await?;
        if before.as_deref() == sso_user.as_deref() {
            return Ok(tx.commit().await?);
        }
        let detail = json!({
            "domain": domain.as_str(), "profile": name.as_str(), "sso_user": sso_user, "before": before,
        });
        audit(&mut tx, change, "profile.read", None, detail).await?;
        finish(tx).await
    }

    /// Every profile that was made for a user of IAM Identity Center, by domain.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn sso_users(&self) -> Result<HashMap<DomainAlias, SsoUsers>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT domain, name, sso_user AS "sso_user!" FROM user_profiles WHERE sso_user IS NOT NULL"#
        )
        .fetch_all(&self.pool)
        .await?;
        let mut users = HashMap::<DomainAlias, SsoUsers>::new();
        for row in rows {
            let (Ok(domain), Ok(name)) = (row.domain.parse(), row.name.parse()) else { continue };
            users.entry(domain).or_default().insert(name, row.sso_user);
        }
        Ok(users)
    }
}
