//! What the server offers: methods and times, and which signatures it takes. The other algorithms are in `gateway::flow`,
//! which depends on them.

use std::borrow::Cow;
use std::time::Duration;

use russh::keys::{Algorithm, HashAlg, PrivateKey};
use russh::{MethodKind, MethodSet, SshId, server};

use crate::gateway::flow;

/// A refused key costs the client this much time. Users are found by a hash of their key, so there is nothing to
/// learn from timing; this only slows guessing, and an agent with six keys must stay quick.
const REJECTION_TIME: Duration = Duration::from_millis(200);
/// Refused attempts on one connection: agents offer every key they have, and each may have a certificate beside it.
const ATTEMPTS: usize = 24;
/// How many keepalives may stay without an answer.
const KEEPALIVES_MISSED: usize = 1;

/// The configuration of every connection. `longest_login` is how long a login may take.
///
/// russh sends keepalives to clients that have not logged in as well, and OpenSSH takes one then for a breach of the
/// protocol: whoever needs longer to read, to approve a key or to type a passphrase would be thrown out. So the first
/// comes later than the end of any login. Clients that vanish are found by [`super::socket::watch`] long before.
pub(super) fn server_config(
    host_keys: Vec<PrivateKey>,
    longest_login: Duration,
    without_key: bool,
) -> server::Config {
    // The dialogue is named to clients that have tried a key; who has none must hear of it first.
    let methods: &[MethodKind] = if without_key {
        &[MethodKind::PublicKey, MethodKind::KeyboardInteractive]
    } else {
        &[MethodKind::PublicKey]
    };
    flow::server_config(server::Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Spaceport")),
        methods: MethodSet::from(methods),
        auth_rejection_time: REJECTION_TIME,
        // OpenSSH's first request only asks which methods there are.
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: ATTEMPTS,
        // A quiet terminal is no reason to end.
        inactivity_timeout: None,
        keepalive_interval: Some(longest_login),
        keepalive_max: KEEPALIVES_MISSED,
        keys: host_keys,
        ..server::Config::default()
    })
}

/// Whether a signature algorithm is taken from users: not SHA-1 (RFC 8332 replaces it), not DSA.
pub(super) const fn is_taken(algorithm: &Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::Ed25519
            | Algorithm::SkEd25519
            | Algorithm::SkEcdsaSha2NistP256
            | Algorithm::Ecdsa { .. }
            | Algorithm::Rsa { hash: Some(HashAlg::Sha256 | HashAlg::Sha512) }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha_1_signatures_are_not_taken() {
        assert!(!is_taken(&Algorithm::Rsa { hash: None }));
        assert!(!is_taken(&Algorithm::Dsa));
        assert!(is_taken(&Algorithm::Rsa { hash: Some(HashAlg::Sha512) }));
        assert!(is_taken(&Algorithm::SkEd25519));
    }

    #[test]
    fn only_public_keys_are_advertised() {
        let config = server_config(Vec::new(), Duration::from_secs(300), false);
        assert_eq!(&*config.methods, &[MethodKind::PublicKey]);
        assert_eq!(
            config.keepalive_interval,
            Some(Duration::from_secs(300)),
            "none before the end of a login"
        );
        let without = server_config(Vec::new(), Duration::from_secs(300), true);
        assert_eq!(&*without.methods, &[MethodKind::PublicKey, MethodKind::KeyboardInteractive]);
        assert!(!config.preferred.key.contains(&Algorithm::Rsa { hash: None }));
    }
}
