//! What the pages on cost, the audit log, policies and health are made from, beside the store.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Costs, IdleSettings};
use crate::domain::ids::{DomainAlias, ProviderAlias, ReplicaId};
use crate::store::record::Recorder;

/// Parts of the server that pages for auditors and admins look at.
pub struct Ledger {
    /// How costs are counted, and budgets.
    pub costs: Arc<Costs>,
    /// When spaces count as idle.
    pub idle: IdleSettings,
    /// The configured domains.
    pub domains: Vec<DomainAlias>,
    /// Who people sign in with: the names of providers, each with its alias.
    pub providers: Vec<(String, ProviderAlias)>,
    /// How often each domain is listed.
    pub listed_every: Duration,
    /// This process.
    pub replica: ReplicaId,
    /// Whether Postgres answers it.
    pub recorder: Recorder,
}
