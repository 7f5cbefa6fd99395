//! People and spaces for tests of the rules.

use time::macros::datetime;
use uuid::Uuid;

use super::ids::{SpaceId, UserId};
use super::space::{App, AppStatus, AppType, Sharing, Space, SpaceStatus};
use super::user::{Role, Standing, User};

/// A user with this name, one profile of the same name in domain `main`, and these groups; a name that is none for a
/// profile has none.
pub(crate) fn user(name: &str, groups: &[&str]) -> User {
    User {
        id: UserId::from(Uuid::new_v4()),
        name: name.parse().unwrap(),
        subject: name.to_owned(),
        groups: groups.iter().map(|g| g.parse().unwrap()).collect(),
        profiles: format!("main/{name}").parse().into_iter().collect(),
        grants: Vec::new(),
        role: Role::User,
        suspended: false,
        standing: Standing::Configured,
    }
}

/// A running space of domain `main`.
pub(crate) fn space(name: &str, owner: &str, sharing: Sharing) -> Space {
    space_in("main", name, owner, sharing)
}

/// A running space of this domain.
pub(crate) fn space_in(domain: &str, name: &str, owner: &str, sharing: Sharing) -> Space {
    Space {
        id: SpaceId::from(Uuid::new_v4()),
        arn: format!("arn:aws:sagemaker:us-east-1:123456789012:space/d-{domain}/{name}").parse().unwrap(),
        domain: domain.parse().unwrap(),
        owner: Some(owner.parse().unwrap()),
        sharing,
        app_type: Some(AppType::JupyterLab),
        remote_access: true,
        status: SpaceStatus::InService,
        app: Some(App {
            app_type: AppType::JupyterLab,
            status: AppStatus::InService,
            created_at: datetime!(2026-11-25 09:00 UTC),
            instance_type: Some("ml.m5.xlarge".parse().unwrap()),
            image: None,
        }),
        storage_gib: Some(20),
    }
}
