//! Roles and those who act in them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::iam::{Context, Policy, PolicyError, PolicyKind};

/// Tags of a resource or a session.
pub(crate) type Tags = BTreeMap<String, String>;

/// An IAM role.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) account: String,
    pub(crate) name: String,
    /// `AROA…`.
    pub(crate) id: String,
    pub(crate) trust: Policy,
    /// Policies by name.
    pub(crate) policies: BTreeMap<String, Policy>,
    pub(crate) tags: Tags,
}

impl Role {
    pub(crate) fn new(account: &str, name: &str, trust: &Value, policy: &Value) -> Result<Self, PolicyError> {
        let id: String = crate::sigv4::sha256_hex(format!("{account}/{name}").as_bytes()).to_uppercase();
        Ok(Self {
            account: account.to_owned(),
            name: name.to_owned(),
            id: format!("AROA{}", id.get(..17).unwrap_or_default()),
            trust: Policy::parse(trust, PolicyKind::Trust)?,
            policies: BTreeMap::from([("main".to_owned(), Policy::parse(policy, PolicyKind::Identity)?)]),
            tags: Tags::new(),
        })
    }

    pub(crate) fn arn(&self) -> String {
        role_arn(&self.account, &self.name)
    }
}

/// The ARN of a role.
pub(crate) fn role_arn(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:role/{name}")
}

/// Someone acting in a role: who holds a key.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    pub(crate) account: String,
    pub(crate) role: String,
    pub(crate) role_id: String,
    pub(crate) session: String,
    /// Tags of the session, over those of the role.
    pub(crate) tags: Tags,
    /// Keys of the tags that go on to roles assumed from here, in lower case.
    pub(crate) transitive: BTreeSet<String>,
    pub(crate) source_identity: Option<String>,
    pub(crate) session_policy: Option<Policy>,
}

impl Principal {
    /// The holder of a role's own static key, as a machine with that role.
    pub(crate) fn of_role(role: &Role, session: &str) -> Self {
        Self {
            account: role.account.clone(),
            role: role.name.clone(),
            role_id: role.id.clone(),
            session: session.to_owned(),
            tags: role.tags.clone(),
            transitive: BTreeSet::new(),
            source_identity: None,
            session_policy: None,
        }
    }

    /// ARN of the session, which CloudTrail shows.
    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:sts::{}:assumed-role/{}/{}", self.account, self.role, self.session)
    }

    /// ARN of the role behind the session.
    pub(crate) fn role_arn(&self) -> String {
        role_arn(&self.account, &self.role)
    }

    /// `AROA…:session`.
    pub(crate) fn user_id(&self) -> String {
        format!("{}:{}", self.role_id, self.session)
    }

    /// The condition keys that say who asks.
    pub(crate) fn context(&self, region: &str) -> Context {
        let mut context = Context::default();
        context.set("aws:PrincipalArn", self.role_arn());
        context.set("aws:PrincipalAccount", &self.account);
        context.set("aws:PrincipalType", "AssumedRole");
        context.set("aws:PrincipalIsAWSService", "false");
        context.set("aws:userid", self.user_id());
        context.set("aws:RequestedRegion", region);
        context.set_tags("aws:PrincipalTag", &self.tags);
        if let Some(identity) = &self.source_identity {
            context.set("aws:SourceIdentity", identity);
        }
        context
    }
}
