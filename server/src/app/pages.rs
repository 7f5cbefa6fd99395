//! The pages, put together and served.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use russh::keys::{HashAlg, PublicKey};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bind;
use crate::config::Config;
use crate::domain::ports::Clock;
use crate::gateway::Gateway;
use crate::identity::Identity;
use crate::identity::certificates::Certificates;
use crate::ssh::{Address, SharedPort};
use crate::store::Store;
use crate::web::{self, HostKey, Ledger, Site};

/// What pages are made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) identity: &'a Identity,
    pub(super) certificates: Certificates,
    pub(super) store: &'a Store,
    pub(super) gateway: &'a Gateway,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) address: Address,
    pub(super) host_key: PublicKey,
    pub(super) shared_port: SharedPort,
    pub(super) ledger: Ledger,
}

impl Parts<'_> {
    /// Serves the pages, if there are to be any, and answers where.
    pub(super) async fn start(
        self,
        (tracker, stopping): (&TaskTracker, &CancellationToken),
    ) -> Result<Option<SocketAddr>> {
        let Some(web) = &self.config.web else { return Ok(None) };
        let listener = bind("web.listen", web.listen).await?;
        let listens = listener.local_addr()?;
        let site = Site::new(web::Parts {
            web,
            providers: &self.config.providers,
            identity: self.identity.clone(),
            certificates: self.certificates,
            store: self.store.clone(),
            gateway: self.gateway.clone(),
            clock: self.clock,
            host_key: known_host(self.host_key, &self.address).context("the SSH host key")?,
            address: self.address,
            shared_port: web.also_ssh.then_some(self.shared_port),
            ledger: self.ledger,
        });
        let (site, end) = (site.context("web")?, stopping.clone());
        tracker.spawn(site.serve(listener, end));
        Ok(Some(listens))
    }
}

/// The host key as people compare it.
fn known_host(mut public: PublicKey, address: &Address) -> Result<HostKey> {
    let host = match address.port {
        22 => address.host.clone(),
        port => format!("[{}]:{port}", address.host),
    };
    public.set_comment("");
    Ok(HostKey {
        fingerprint: public.fingerprint(HashAlg::Sha256).to_string(),
        known_host: format!("{host} {}", public.to_openssh()?),
    })
}
