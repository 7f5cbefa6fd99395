//! Runs as they are while they last.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::ids::{InstanceType, RunId};
use super::space::Space;

/// The AWS tags of a space.
pub type Tags = BTreeMap<String, String>;

/// A run that no listing has shown gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// Its row.
    pub run: RunId,
    /// The creation time of its app: what tells one run from the next.
    pub app_created_at: OffsetDateTime,
    /// Its space, as the newest listing showed it.
    pub space: Space,
    /// The listing that first showed it in service.
    pub began_at: OffsetDateTime,
    /// The newest listing that showed it up.
    pub last_seen_up_at: OffsetDateTime,
    /// What it runs on, where a listing said.
    pub instance_type: Option<InstanceType>,
    /// The size of its space's volume, where a listing said.
    pub storage_gib: Option<u32>,
    /// The tags of its space; nothing where they were never read, which is not the same as having none.
    pub tags: Option<Tags>,
}
