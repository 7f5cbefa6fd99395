//! Sessions to spaces: issued by `StartSession`, opened as streams, counted against the ten that a space may have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::account::{AppStatus, space_of_arn};
use crate::cloud::Cloud;
use crate::error::AuthError;
use crate::iam::Question;
use crate::keys::{Caller, random_base64, random_hex};
use crate::roles::{Principal, Tags};
use crate::sessions::{Claimed, Sessions};
use crate::sigv4::SignedRequest;
use crate::trail::{self, Event};

/// Live streams that a space may have.
pub(crate) const STREAMS_PER_SPACE: usize = 10;
/// Ended sessions are remembered this long, to answer about them; then they are unknown.
const REMEMBERED: time::Duration = time::Duration::hours(12);

/// One session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) space_arn: String,
    /// The life of the app that it reaches.
    pub(crate) run: String,
    token: String,
    token_used: bool,
    claimed: bool,
    ended: bool,
    issued: OffsetDateTime,
}

/// What a session's caller is told.
pub(crate) struct Issued {
    pub(crate) session_id: String,
    pub(crate) token: String,
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Live(BTreeMap<String, Session>);

impl Live {
    /// The sessions of a space that hold one of its places: opened ones, and fresh ones that may yet be.
    pub(crate) fn count(&self, space_arn: &str, now: OffsetDateTime, token_life: time::Duration) -> usize {
        let holds =
            |s: &&Session| s.space_arn == space_arn && !s.ended && (s.claimed || s.issued + token_life > now);
        self.0.values().filter(holds).count()
    }

    pub(crate) fn issue(
        &mut self,
        caller: &Caller,
        space_arn: &str,
        run: &str,
        now: OffsetDateTime,
    ) -> Issued {
        self.0.retain(|_, session| !session.ended || session.issued + REMEMBERED > now);
        let id = format!("{}-{}", caller.principal.session, random_hex(17));
        let session = Session {
            id: id.clone(),
            account: caller.principal.account.clone(),
            region: caller.region.clone(),
            space_arn: space_arn.to_owned(),
            run: run.to_owned(),
            token: new_token(),
            token_used: false,
            claimed: false,
            ended: false,
            issued: now,
        };
        let token = session.token.clone();
        self.0.insert(id.clone(), session);
        Issued { session_id: id, token }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Session> {
        self.0.get(id)
    }

    /// Replaces the token of a session that is not over.
    pub(crate) fn renew(&mut self, id: &str, now: OffsetDateTime) -> Option<Issued> {
        let session = self.0.get_mut(id).filter(|session| !session.ended)?;
        session.token = new_token();
        session.token_used = false;
        session.issued = now;
        Some(Issued { session_id: id.to_owned(), token: session.token.clone() })
    }

    /// The token of every session.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.0.values().map(|session| session.token.clone()).collect()
    }

    /// Ends a session.
    pub(crate) fn end(&mut self, id: &str) {
        if let Some(session) = self.0.get_mut(id) {
            session.ended = true;
        }
    }

    /// Ends every session to a life of an app.
    pub(crate) fn end_run(&mut self, run: &str) {
        self.0.values_mut().filter(|session| session.run == run).for_each(|session| session.ended = true);
    }

    /// Ids of the sessions to a space that are not over.
    pub(crate) fn of_space(&self, space_arn: &str) -> Vec<String> {
        self.0.values().filter(|s| s.space_arn == space_arn && !s.ended).map(|s| s.id.clone()).collect()
    }

    fn redeem(&mut self, id: &str, token: &str, single_use: bool, clock: Moment) -> Result<Session, String> {
        let session = self.0.get_mut(id).ok_or("no such session")?;
        if session.ended {
            return Err("the session is terminated".to_owned());
        }
        if session.token != token {
            return Err("the token is not this session's".to_owned());
        }
        if session.token_used && single_use {
            return Err("the token was used before".to_owned());
        }
        if !session.token_used && session.issued + clock.token_life <= clock.now {
            return Err("the token has expired".to_owned());
        }
        session.token_used = true;
        session.claimed = true;
        Ok(session.clone())
    }
}

/// The present, as far as tokens care.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: OffsetDateTime,
    token_life: time::Duration,
}

/// Opaque, with every character that careless handling of base64 breaks, and within SSM's 300 characters.
fn new_token() -> String {
    format!("AAEAA+/{}=", random_base64(180))
}

impl Cloud {
    /// How long an unopened token counts, as the wall clock measures.
    pub(crate) fn token_life(&self) -> time::Duration {
        let life = self.clock.scaled(self.delays().token_life);
        time::Duration::try_from(life).unwrap_or(time::Duration::MAX)
    }

    fn allow_open(
        &self,
        session: &Session,
        request: &SignedRequest<'_>,
    ) -> Result<Option<Caller>, (Option<Caller>, String)> {
        let proof = self.keys().authenticate(request, "ssmmessages", self.clock.now());
        let caller = match proof {
            Ok(caller) => caller,
            Err(AuthError::Missing) if self.faults().switches.unsigned_open => return Ok(None),
            Err(error) => return Err((None, error.for_json().message)),
        };
        if caller.principal.role == URL_SIGNER {
            return Ok(Some(caller));
        }
        if caller.region != session.region {
            return Err((Some(caller), "the session is of another region".to_owned()));
        }
        let context = caller.principal.context(&caller.region);
        let arn = session_arn(session);
        let question = Question { action: "ssmmessages:OpenDataChannel", resource: &arn, context: &context };
        match self.authorize(&caller.principal, &question) {
            Ok(()) => Ok(Some(caller)),
            Err(error) => Err((Some(caller), error.message)),
        }
    }

    fn record_open(&self, session: &Session, caller: Option<&Caller>, error: Option<&str>) {
        self.trail().record(Event {
            event_time: trail::event_time(self.clock.now()),
            event_name: "OpenDataChannel".to_owned(),
            event_source: "ssmmessages.amazonaws.com".to_owned(),
            aws_region: session.region.clone(),
            user_identity: caller.map(|caller| trail::identity(&caller.principal, &caller.access_key)),
            resource: Some(session_arn(session)),
            error_code: error.map(|_| "AccessDeniedException".to_owned()),
            error_message: error.map(str::to_owned),
            request_parameters: json!({ "sessionId": session.id }),
            response_elements: Value::Null,
            request_id: uuid::Uuid::new_v4().to_string(),
        });
    }
}

/// The key with which the service presigns stream URLs.
pub(crate) const URL_KEY: &str = "AKIASTREAMURLSIGNER1";
/// Name of the role in whose name it does; nobody can assume it.
const URL_SIGNER: &str = "AWSServiceRoleForStreamUrls";

impl Principal {
    /// The service itself, as the signer of stream URLs.
    pub(crate) fn url_signer() -> Self {
        Self {
            account: "000000000000".to_owned(),
            role: URL_SIGNER.to_owned(),
            role_id: "AROASTREAMURLSIGNER1A".to_owned(),
            session: "sagemaker".to_owned(),
            tags: Tags::new(),
            transitive: BTreeSet::new(),
            source_identity: None,
            session_policy: None,
        }
    }
}

/// ARN of a session.
pub(crate) fn session_arn(session: &Session) -> String {
    format!("arn:aws:ssm:{}:{}:session/{}", session.region, session.account, session.id)
}

impl Sessions for Cloud {
    fn authorize_open(
        &self,
        session_id: &str,
        method: &str,
        path_and_query: &str,
        headers: &[(String, String)],
    ) -> Result<(), u16> {
        let session = self.live().get(session_id).cloned().ok_or(404_u16)?;
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone())).collect();
        let request = SignedRequest { method, path, query, headers: &headers, body: &[] };
        let injected = self.faults().failure_of("OpenDataChannel");
        let answer = match injected {
            Some(error) => Err((None, error.message, if error.status == 400 { 403 } else { error.status })),
            None => self.allow_open(&session, &request).map_err(|(caller, why)| (caller, why, 403)),
        };
        match answer {
            Ok(caller) => {
                self.record_open(&session, caller.as_ref(), None);
                Ok(())
            }
            Err((caller, why, status)) => {
                tracing::debug!(session.id = session_id, %why, "a stream was refused");
                self.record_open(&session, caller.as_ref(), Some(&why));
                Err(status)
            }
        }
    }

    fn claim(&self, session_id: &str, token: &str) -> Result<Claimed, String> {
        let single_use = self.faults().switches.single_use_tokens;
        let moment = Moment { now: self.clock.now(), token_life: self.token_life() };
        let session = self.live().redeem(session_id, token, single_use, moment)?;
        let world = self.world();
        let (domain, space) = space_of_arn(&session.space_arn).ok_or("no such space")?;
        let app = world.live_app(domain, space).map(|(_, app)| app);
        match app {
            Some(app) if app.run == session.run && app.status == AppStatus::InService => {
                let ssh = app.ssh.ok_or("the space has no SSH server")?;
                Ok(Claimed { space_arn: session.space_arn, ssh })
            }
            _ => Err("the app of the space is gone".to_owned()),
        }
    }

    fn released(&self, session_id: &str) {
        self.live().end(session_id);
    }
}

#[cfg(test)]
mod tests;
