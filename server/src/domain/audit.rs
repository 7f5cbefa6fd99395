//! Audit events: what was decided or done, by whom, to what, and why.

use serde_json::{Value, json};

use super::access::{Action, Because};
use super::budget::OverBudget;
use super::ending::EndReason;
use super::ids::{ConnectionId, SessionId, SpaceId, UserId, UserName};

/// One row of the audit log. The store adds its id, its time and the replica.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    /// Who did it, where a user is known.
    pub actor: Option<UserId>,
    /// How the actor was called: a user's name, a key's fingerprint, an address.
    pub actor_name: String,
    /// The space it was about.
    pub space: Option<SpaceId>,
    /// The session it belongs to.
    pub session: Option<SessionId>,
    /// What ties rows of one connection together.
    pub connection: Option<ConnectionId>,
    /// The kind, dotted: `session.opened`, `access.denied`.
    pub kind: &'static str,
    /// Whether it was allowed; nothing for plain facts.
    pub allowed: Option<bool>,
    /// Details that the kind calls for.
    pub detail: Value,
}

impl AuditEvent {
    /// Users and access policy were read again, which an operator asked for with SIGHUP; how many of each there are.
    #[must_use]
    pub fn reloaded(detail: Value) -> Self {
        Self {
            actor: None,
            actor_name: "SIGHUP".to_owned(),
            space: None,
            session: None,
            connection: None,
            kind: "config.reloaded",
            allowed: None,
            detail,
        }
    }

    /// The answer of the access policy to one question.
    #[must_use]
    pub fn decided(
        user: (UserId, &UserName),
        space: SpaceId,
        action: Action,
        allowed: bool,
        because: &Because,
    ) -> Self {
        Self {
            actor: Some(user.0),
            actor_name: user.1.to_string(),
            space: Some(space),
            session: None,
            connection: None,
            kind: if allowed { "access.allowed" } else { "access.denied" },
            allowed: Some(allowed),
            detail: json!({ "action": action.to_string(), "because": because.to_string() }),
        }
    }

    /// A start that a spent budget refused.
    #[must_use]
    pub fn over_budget(user: (UserId, &UserName), space: SpaceId, over: &OverBudget) -> Self {
        Self {
            actor: Some(user.0),
            actor_name: user.1.to_string(),
            space: Some(space),
            session: None,
            connection: None,
            kind: "budget.refused",
            allowed: Some(false),
            detail: json!({
                "action": Action::Start.to_string(), "budget": over.of.to_string(),
                "spent_usd": over.spent.decimal(2), "at_least": over.at_least,
                "limit_usd": over.limit.decimal(2), "renews_on": over.renews_on.to_string(),
            }),
        }
    }

    /// A refusal that is not the access policy's: an unknown key, an unknown space, an answer of AWS.
    #[must_use]
    pub fn refused(
        actor: Option<(UserId, &UserName)>,
        called: &str,
        kind: &'static str,
        detail: Value,
    ) -> Self {
        Self {
            actor: actor.map(|(id, _)| id),
            actor_name: actor.map_or_else(|| called.to_owned(), |(_, name)| name.to_string()),
            space: None,
            session: None,
            connection: None,
            kind,
            allowed: Some(false),
            detail,
        }
    }

    /// The end of a session.
    #[must_use]
    pub fn ended(user: (UserId, &UserName), space: SpaceId, session: SessionId, reason: &EndReason) -> Self {
        Self {
            actor: Some(user.0),
            actor_name: user.1.to_string(),
            space: Some(space),
            session: Some(session),
            connection: None,
            kind: "session.ended",
            allowed: None,
            detail: json!({ "code": reason.code(), "reason": reason.to_string() }),
        }
    }

    /// What an admin wrote to a session's terminals, and how many have shown it.
    #[must_use]
    pub fn messaged(by: &str, session: SessionId, text: &str, shown: (u32, u32)) -> Self {
        let (terminals, waiting) = shown;
        let detail = match waiting {
            0 => json!({ "text": text, "terminals": terminals }),
            _ => json!({ "text": text, "terminals": terminals, "waiting": waiting }),
        };
        Self {
            actor: None,
            actor_name: by.to_owned(),
            space: None,
            session: Some(session),
            connection: None,
            kind: "session.messaged",
            allowed: Some(true),
            detail,
        }
    }

    /// The same event, tied to a session and a connection.
    #[must_use]
    pub fn within(mut self, session: Option<SessionId>, connection: Option<ConnectionId>) -> Self {
        self.session = session.or(self.session);
        self.connection = connection.or(self.connection);
        self
    }
}
