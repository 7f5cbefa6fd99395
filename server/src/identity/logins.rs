//! The web logins of a person, as they see and end them.

use tracing::info;

use super::{Identity, Visitor};
use crate::domain::ids::LoginId;
use crate::domain::user::User;
use crate::store::StoreError;
pub use crate::store::logins::LiveLogin as MyLogin;

impl Identity {
    /// The live logins of a person, the newest first.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn logins_of(&self, who: &User) -> Result<Vec<MyLogin>, StoreError> {
        let now = self.inner.clock.now();
        self.inner.store.live_logins(who.id, now, now - self.inner.idle).await
    }

    /// Ends one login of a person. Answers whether there was one.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn end_login(&self, who: &User, login: LoginId, visitor: &Visitor) -> Result<bool, StoreError> {
        let ended = self.inner.store.end_login(who.id, login, &self.change_by(who, visitor)).await?;
        if ended {
            info!(user.name = %who.name, login.id = %login, "login ended from another browser");
        }
        Ok(ended)
    }
}
