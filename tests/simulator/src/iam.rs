//! IAM as far as Studio needs it: policies, conditions, and the decision over them.
//! Roles and their sessions are in `roles`; who asks and about what is the caller's business.

mod condition;
mod policy;
mod wildcard;

use std::collections::BTreeMap;

pub(crate) use policy::{Effect, Policy, PolicyError, PolicyKind};

/// The keys that conditions and policy variables see. Names are case-insensitive.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    /// Sets a key that has one value.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_lowercase(), vec![value.into()]);
    }

    /// Sets a key that has any number of values.
    pub(crate) fn set_all(&mut self, key: &str, values: Vec<String>) {
        self.0.insert(key.to_lowercase(), values);
    }

    /// Sets `prefix/KEY` for every tag.
    pub(crate) fn set_tags<'a>(
        &mut self,
        prefix: &str,
        tags: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) {
        for (key, value) in tags {
            self.set(&format!("{prefix}/{key}"), value);
        }
    }

    fn values(&self, key: &str) -> Option<&[String]> {
        self.0.get(&key.to_lowercase()).map(Vec::as_slice)
    }

    /// Replaces `${key}` in a policy's text; `None` when a key has no single value.
    fn fill(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, tail) = after.split_once('}')?;
            out.push_str(before);
            match name {
                // The ways to write these characters themselves; the escape keeps them from matching as wildcards.
                "*" | "?" | "$" => out.push_str(&wildcard::literal(name)),
                _ => match self.values(name)? {
                    [value] => out.push_str(&wildcard::literal(value)),
                    _ => return None,
                },
            }
            rest = tail;
        }
        out.push_str(rest);
        Some(out)
    }
}

/// What is asked of a policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// `sagemaker:StartSession`.
    pub(crate) action: &'a str,
    /// ARN of the resource.
    pub(crate) resource: &'a str,
    /// The condition keys.
    pub(crate) context: &'a Context,
}

/// Which kind of policy decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decider {
    Identity,
    Session,
}

/// What the policies say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Allow,
    ExplicitDeny(Decider),
    ImplicitDeny(Decider),
}

impl Decision {
    /// The end of AWS's sentence about a denial.
    pub(crate) fn reason(self, action: &str) -> String {
        let name = |decider| match decider {
            Decider::Identity => ("identity-based", "an identity-based"),
            Decider::Session => ("session", "a session"),
        };
        match self {
            Self::Allow => String::new(),
            Self::ExplicitDeny(decider) => format!("with an explicit deny in {} policy", name(decider).1),
            Self::ImplicitDeny(decider) => {
                format!("because no {} policy allows the {action} action", name(decider).0)
            }
        }
    }
}

/// Decides by the role's policies and, if the session has one, its own policy. A deny anywhere wins; both must allow.
pub(crate) fn decide<'a>(
    identity: impl Iterator<Item = &'a Policy>,
    session: Option<&Policy>,
    question: &Question<'_>,
) -> Decision {
    let effects: Vec<Option<Effect>> = identity.map(|policy| policy.effect(question)).collect();
    let session_effect = session.map(|policy| policy.effect(question));
    if effects.contains(&Some(Effect::Deny)) {
        return Decision::ExplicitDeny(Decider::Identity);
    }
    if session_effect == Some(Some(Effect::Deny)) {
        return Decision::ExplicitDeny(Decider::Session);
    }
    if !effects.contains(&Some(Effect::Allow)) {
        return Decision::ImplicitDeny(Decider::Identity);
    }
    match session_effect {
        None | Some(Some(Effect::Allow)) => Decision::Allow,
        Some(_) => Decision::ImplicitDeny(Decider::Session),
    }
}

#[cfg(test)]
mod tests;
