//! Who a client is: its key, once it has signed with it. Nothing else is taken.

use std::net::IpAddr;
use std::sync::Arc;

use russh::keys::{Algorithm, HashAlg, PublicKey};
use russh::server::{Auth, Handle};
use russh::{MethodKind, MethodSet};

use super::client::{Client, Proven};
use super::connection::Attempts;
use super::{Shared, algorithms, messages};
use crate::domain::access::stands;
use crate::domain::ids::ConnectionId;
use crate::domain::user::User;
use crate::gateway::Connection;

/// The longest version line that is kept of a client.
const VERSION_LEN: usize = 128;
/// Why a key was refused, as audit rows have it.
const SUSPENDED: &str = "suspended";
const LAPSED: &str = "login lapsed";

/// A connection that is proving who it is.
pub(super) struct Login {
    shared: Arc<Shared>,
    id: ConnectionId,
    address: IpAddr,
    attempts: Arc<Attempts>,
    proven: Option<(Arc<User>, PublicKey, String)>,
}

impl Login {
    pub(super) const fn new(
        shared: Arc<Shared>,
        id: ConnectionId,
        address: IpAddr,
        attempts: Arc<Attempts>,
    ) -> Self {
        Self { shared, id, address, attempts, proven: None }
    }

    /// The connection.
    pub(super) const fn id(&self) -> ConnectionId {
        self.id
    }

    /// A key that is offered: whether signing with it is worth the trouble.
    pub(super) fn offered(&self, login: &str, key: &PublicKey, algorithm: &Algorithm) -> Auth {
        if self.user(login, key, algorithm).is_some() { Auth::Accept } else { refused() }
    }

    /// A key that has signed.
    pub(super) fn signed(&mut self, login: &str, key: &PublicKey, algorithm: &Algorithm) -> Auth {
        let Some(user) = self.user(login, key, algorithm) else { return refused() };
        self.proven = Some((user, key.clone(), login.to_owned()));
        Auth::Accept
    }

    /// The dialogue in which a client that has no key of ours is told what to do. It asks nothing and admits nobody.
    pub(super) fn dialogue(&self, answered: bool) -> Auth {
        if answered {
            // Without the dialogue among the methods, clients do not come back to it.
            let methods = MethodSet::from(&[MethodKind::PublicKey][..]);
            return Auth::Reject { proceed_with_methods: Some(methods), partial_success: false };
        }
        let words = match self.attempts.last() {
            (_, SUSPENDED) => messages::suspended(),
            (_, LAPSED) => messages::lapsed(&self.shared.address),
            (key, _) => messages::unknown_key(key.as_deref(), &self.shared.address),
        };
        Auth::Partial { name: "".into(), instructions: words.render("\n").into(), prompts: Vec::new().into() }
    }

    /// The client that has proved who it is; nothing if russh lets somebody in whom we did not.
    pub(super) fn client(&mut self, version: &[u8], handle: Handle) -> Option<Arc<Client>> {
        let (user, key, login) = self.proven.take()?;
        let version: String = String::from_utf8_lossy(version).chars().take(VERSION_LEN).collect();
        let connection = Connection {
            id: self.id,
            address: self.address,
            client_version: messages::clean(&version),
            key_fingerprint: fingerprint(&key),
            authenticated_at: self.shared.clock.now(),
        };
        Some(Client::new(self.shared.clone(), Proven { user, key, login, connection }, handle))
    }

    /// The user whose key this is, if it may be used like this.
    fn user(&self, login: &str, key: &PublicKey, algorithm: &Algorithm) -> Option<Arc<User>> {
        let user = self.shared.identity.user_for_key(key);
        let why = match &user {
            _ if !algorithms::is_taken(algorithm) => "algorithm not taken",
            None => "unknown key",
            Some(user) if user.suspended => SUSPENDED,
            Some(user) if stands(user, self.shared.clock.now()).is_err() => LAPSED,
            Some(_) => return user,
        };
        self.attempts.note(login, fingerprint(key), why);
        None
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
