//! Who a client is: its key or its certificate, once it has signed with it. An unknown key may be approved meanwhile.

mod approval;

use std::net::IpAddr;
use std::sync::Arc;

use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use russh::server::{Auth, Handle};
use russh::{MethodKind, MethodSet};
use tracing::info;

use super::client::{Client, Credential, Proven};
use super::connection::{Attempts, UNKNOWN_KEY, lock};
use super::messages::{self, Message};
use super::socket::Greeting;
use super::{Shared, algorithms};
use crate::domain::access::{Because, stands};
use crate::domain::ids::ConnectionId;
use crate::domain::user::User;
use crate::gateway::Connection;
use crate::identity::certificates::Permits;

use self::approval::Stage;

pub(super) use self::approval::LONGEST as LONGEST_APPROVAL;

/// The longest version line that is kept of a client.
const VERSION_LEN: usize = 128;
/// Why a key was refused, as audit rows have it.
const SUSPENDED: &str = "suspended";
const LAPSED: &str = "login lapsed";

/// Who signed, and with what.
struct Proof {
    user: Arc<User>,
    credential: Credential,
    permits: Permits,
    fingerprint: String,
    login: String,
}

/// A connection that is proving who it is.
pub(super) struct Login {
    shared: Arc<Shared>,
    id: ConnectionId,
    address: IpAddr,
    attempts: Arc<Attempts>,
    greeting: Arc<Greeting>,
    /// Whether a refusal was held back already.
    waited: bool,
    /// The first unknown key that has signed: what a person may approve.
    signed: Option<PublicKey>,
    stage: Stage,
    proven: Option<Proof>,
}

impl Login {
    pub(super) const fn new(
        shared: Arc<Shared>,
        id: ConnectionId,
        address: IpAddr,
        attempts: Arc<Attempts>,
        greeting: Arc<Greeting>,
    ) -> Self {
        Self {
            shared,
            id,
            address,
            attempts,
            greeting,
            waited: false,
            signed: None,
            stage: Stage::Fresh,
            proven: None,
        }
    }

    /// The connection.
    pub(super) const fn id(&self) -> ConnectionId {
        self.id
    }

    /// The answer, held back if it is the connection's first refusal and too many logins from there, or as this name,
    /// have failed of late. What proves itself never waits.
    pub(super) async fn paced(&mut self, login: &str, answer: Auth) -> Auth {
        if answer == Auth::Accept || self.waited {
            return answer;
        }
        self.waited = true;
        let shared = &self.shared;
        let wait = lock(&shared.backoff).wait(self.address, &messages::clean(login), shared.clock.elapsed());
        shared.clock.sleep(wait).await;
        answer
    }

    /// A key that is offered: whether signing with it is worth the trouble. russh does not say whether a certificate
    /// came with it, so where certificates are taken, any key may be a certified one.
    pub(super) fn offered(&self, login: &str, key: &PublicKey, algorithm: &Algorithm) -> Auth {
        match self.user(key, algorithm) {
            Ok(_) => Auth::Accept,
            Err(UNKNOWN_KEY) if self.shared.certificates.are_taken() || self.could_be_approved(key) => {
                // Noted now: a client may leave it at asking.
                self.attempts.note(login, fingerprint(key), UNKNOWN_KEY);
                Auth::Accept
            }
            Err(why) => self.refuse(login, key, why),
        }
    }

    /// A key that has signed.
    pub(super) fn signed(&mut self, login: &str, key: &PublicKey, algorithm: &Algorithm) -> Auth {
        match self.user(key, algorithm) {
            Ok(user) => {
                self.proven = Some(Proof {
                    user,
                    credential: Credential::Key(key.clone()),
                    permits: Permits::ALL,
                    fingerprint: fingerprint(key),
                    login: login.to_owned(),
                });
                Auth::Accept
            }
            Err(why) => {
                if why == UNKNOWN_KEY && self.could_be_approved(key) {
                    self.signed = Some(key.clone());
                }
                self.refuse(login, key, why)
            }
        }
    }

    /// A certificate whose key has signed. [`Self::offered`] has seen the algorithm.
    pub(super) fn certified(&mut self, login: &str, certificate: &Certificate) -> Auth {
        let shared = &self.shared;
        let key = PublicKey::new(certificate.public_key().clone(), "");
        let find = |claim: &_| shared.identity.claimed(claim);
        let checked = shared.certificates.check(certificate, shared.clock.now(), self.address, find);
        let accepted = checked.map_err(|reason| reason.words());
        let accepted = accepted.and_then(|accepted| {
            self.standing(&accepted.user)?;
            Ok(accepted)
        });
        let why = match accepted {
            Err(why) => why,
            Ok(accepted) => {
                info!(
                    connection.id = %self.id,
                    user.name = %accepted.user.name,
                    certificate.authority = accepted.authority,
                    certificate.serial = certificate.serial(),
                    certificate.id = messages::clean(certificate.key_id()),
                    "certificate taken"
                );
                self.proven = Some(Proof {
                    user: accepted.user,
                    credential: Credential::Certificate,
                    permits: accepted.permits,
                    fingerprint: fingerprint(&key),
                    login: login.to_owned(),
                });
                return Auth::Accept;
            }
        };
        self.refuse(login, &key, why)
    }

    /// What a client is told that has no key of ours and that nobody is to approve.
    fn words(&self) -> Message {
        match self.attempts.last() {
            (_, SUSPENDED) => messages::suspended(),
            (_, LAPSED) => messages::lapsed(&self.shared.address),
            (key, UNKNOWN_KEY | "") => messages::unknown_key(key.as_deref(), &self.shared.address),
            (key, why) => messages::not_taken(why, key.as_deref()),
        }
    }

    /// The client that has proved who it is; nothing if russh lets somebody in whom we did not.
    pub(super) fn client(&mut self, version: &[u8], handle: Handle) -> Option<Arc<Client>> {
        let Proof { user, credential, permits, fingerprint, login } = self.proven.take()?;
        let version: String = String::from_utf8_lossy(version).chars().take(VERSION_LEN).collect();
        let connection = Connection {
            id: self.id,
            address: self.address,
            client_version: messages::clean(&version),
            key_fingerprint: fingerprint,
            authenticated_at: self.shared.clock.now(),
        };
        Some(Client::new(
            self.shared.clone(),
            Proven { user, credential, permits, login, connection },
            handle,
        ))
    }

    /// The user whose key this is, if it may be used like this, and otherwise why not.
    fn user(&self, key: &PublicKey, algorithm: &Algorithm) -> Result<Arc<User>, &'static str> {
        match self.shared.identity.user_for_key(key) {
            _ if !algorithms::is_taken(algorithm) => Err("algorithm not taken"),
            None => Err(UNKNOWN_KEY),
            Some(user) => self.standing(&user).map(|()| user),
        }
    }

    /// Whether somebody still vouches for a person.
    fn standing(&self, user: &User) -> Result<(), &'static str> {
        match stands(user, self.shared.clock.now()) {
            Ok(()) => Ok(()),
            Err(Because::Suspended) => Err(SUSPENDED),
            Err(_) => Err(LAPSED),
        }
    }

    fn refuse(&self, login: &str, key: &PublicKey, why: &'static str) -> Auth {
        self.attempts.note(login, fingerprint(key), why);
        refused()
    }
}

/// A refusal that also offers the dialogue: SSH has no other place for words between a refused key and the moment
/// the client gives up.
fn refused() -> Auth {
    let methods = MethodSet::from(&[MethodKind::PublicKey, MethodKind::KeyboardInteractive][..]);
    Auth::Reject { proceed_with_methods: Some(methods), partial_success: false }
}

/// `SHA256:…`, as `ssh-keygen -l` prints it.
fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}
