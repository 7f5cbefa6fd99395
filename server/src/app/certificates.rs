//! `spaceport certificate`: the gateway's own authority, for operators. It needs the database and the secrets key.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use russh::keys::PublicKey;

use super::{sealed_key, sessions};
use crate::config::{Config, ConfigSource};
use crate::domain::access::stands;
use crate::domain::audit::AuditEvent;
use crate::domain::ids::{AuditId, ReplicaId, UserName};
use crate::domain::ports::Clock;
use crate::gateway::SystemClock;
use crate::identity::certificates::{Certificates, Claim, facts};
use crate::identity::{self, Identity};
use crate::store::Store;
use crate::store::audit::audit_change;
use crate::store::secrets::SealingKey;

/// The name under which the authority's key is kept in the database, the same for every replica.
const USER_CA: &str = "ssh-user-ca";

/// The authorities that the configuration names, with the gateway's own, whose key is made on first use.
pub(super) async fn authorities(
    store: &Store,
    sealing: &SealingKey,
    config: &Config,
) -> Result<Certificates> {
    let settings = config.ssh.certificates.clone();
    let own = if settings.own_ca {
        Some(sealed_key(store, sealing, USER_CA).await.context("the key of the user authority")?)
    } else {
        None
    };
    Ok(Certificates::new(own, settings))
}

async fn opened(source: &ConfigSource) -> Result<(Config, Store, SealingKey, Certificates)> {
    let config = source.load()?;
    let store = sessions::store(Ok(source.clone()))?;
    let sealing = SealingKey::new(config.secrets.key()?.expose())?;
    let authorities = authorities(&store, &sealing, &config).await?;
    Ok((config, store, sealing, authorities))
}

/// Certifies a person's key and prints the certificate.
///
/// # Errors
/// When there is no such person, or their key is none that is taken.
pub async fn issue(source: ConfigSource, user: &str, key: &Path) -> Result<()> {
    let Ok(name) = user.parse::<UserName>() else { bail!("--user {user:?} is no name of a person") };
    let text = std::fs::read_to_string(key).with_context(|| format!("{} cannot be read", key.display()))?;
    let key = PublicKey::from_openssh(text.trim())
        .with_context(|| format!("{} is no OpenSSH public key", key.display()))?;
    let (config, store, sealing, authorities) = opened(&source).await?;
    let clock = Arc::new(SystemClock::start());
    let now = clock.now();
    let parts = identity::Parts {
        store: store.clone(),
        sealing,
        clock,
        replica: ReplicaId::generate(),
        web: None,
        providers: &[],
        approval: &config.ssh.approval,
        domains: &config.domains,
    };
    let identity = Identity::start(parts, &config.people).await?;
    let Some(user) = identity.claimed(&Claim::Name(name)) else { bail!("nobody is called {user:?}") };
    if let Err(because) = stands(&user, now) {
        bail!("{} may not connect: {because}", user.name);
    }
    let certificate = authorities.issue(&key, (user.id, &user.name), now)?;
    let event = AuditEvent {
        actor: Some(user.id),
        actor_name: user.name.to_string(),
        space: None,
        session: None,
        connection: None,
        kind: "certificate.issued",
        allowed: Some(true),
        detail: facts(&certificate, None),
    };
    // The row comes first: a certificate that is not in the record is not handed out.
    store.write_audit(&audit_change(AuditId::generate(), now, ReplicaId::generate(), event)).await?;
    println!("{}", certificate.to_openssh()?);
    Ok(())
}

/// Prints the authority's public key.
///
/// # Errors
/// When the configuration switches it off.
pub async fn authority(source: ConfigSource) -> Result<()> {
    let (_, _, _, authorities) = opened(&source).await?;
    let Some(key) = authorities.own_key() else { bail!("ssh.certificates.own_ca is off") };
    println!("{}", key.to_openssh()?);
    Ok(())
}
