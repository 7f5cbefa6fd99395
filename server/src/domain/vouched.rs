//! What an identity provider says about a person who signs in.

use std::collections::BTreeSet;

use super::ids::{ProviderAlias, UserName};

/// A person, in the words of a provider that was just asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// Which provider.
    pub provider: ProviderAlias,
    /// Its stable identifier of the person: `sub`.
    pub subject: String,
    /// How the person is called.
    pub name: UserName,
    /// Their address, if the provider has verified it.
    pub email: Option<String>,
    /// Their groups, as the provider names them.
    pub groups: BTreeSet<String>,
}
