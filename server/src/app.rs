//! The composition root: configuration to parts, parts to listeners and jobs; readiness, drain, stop.

pub mod audit;
pub mod certificates;
pub mod cost;
pub mod explain;
pub mod grants;
mod idle;
mod money;
pub mod notify;
mod operator;
mod pages;
pub mod sessions;
mod signals;
pub mod simulate;
pub mod users;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use self::signals::{Request, Signals};
use crate::aws::{Aws, own_credentials};
use crate::config::{Config, ConfigSource, LogFormat};
use crate::domain::access::AccessPolicy;
use crate::domain::audit::AuditEvent;
use crate::domain::ids::ReplicaId;
use crate::domain::ports::{Clock, SpaceControl, UserCredentials};
use crate::gateway::flow::{FlowLimits, ProcessBudget};
use crate::gateway::link::{LinkOptions, Spool, SpoolLimits};
use crate::gateway::{Gateway, Limits, Parts, SystemClock};
use crate::identity::{self, Identity};
use crate::jobs::lease::LeaseJob;
use crate::jobs::profiles::ProfileJob;
use crate::jobs::seal::SealJob;
use crate::jobs::tags::TagJob;
use crate::notify::{Notifier, Pace};
use crate::ssh::{Address, Ssh};
use crate::store::Store;
use crate::store::embedded::{EmbeddedOptions, EmbeddedPostgres};
use crate::store::record::{DEFAULT_SPOOL_BYTES, Recorder};
use crate::store::secrets::SealingKey;
use crate::telemetry::{Metrics, logs};
use crate::web::{Ledger, Ops, serve as serve_ops};

/// How long what is left may take to end after the drain.
const STOPPING: Duration = Duration::from_secs(10);

/// The name under which the host key is kept in the database, the same for every replica.
const HOST_KEY: &str = "ssh_host_ed25519_key";

/// Runs the gateway until a signal ends it.
///
/// # Errors
/// When a part cannot be started.
pub async fn serve(source: ConfigSource, config: Config) -> Result<()> {
    let format = match config.log.format {
        LogFormat::Text => logs::Format::Text,
        LogFormat::Json => logs::Format::Json,
    };
    logs::init(format, &config.log.level)?;
    let metrics = Metrics::install()?;
    // One provider for every TLS connection of the process; a second call is harmless.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Signals are taken from here on, so that one that comes during the start is not lost.
    let mut signals = Signals::new()?;
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("the data directory {} cannot be made", config.data_dir.display()))?;
    let (url, cluster) = database(&config).await?;
    let running = start(&config, &url, metrics).await?;
    let web_address = running.web_address.map(|address| address.to_string());
    info!(ssh.address = %running.ssh_address, ops.address = %running.ops_address, web.address = web_address, replica.id = %running.replica, "ready");
    while let Request::Reload = signals.next().await {
        running.reload(&source).await;
    }
    tokio::select! {
        () = running.drain(config.drain.deadline) => {}
        () = signals.second_drain() => warn!("a second signal: ending at once"),
    }
    running.stop().await;
    if let Some(cluster) = cluster {
        cluster.stop().await;
    }
    Ok(())
}

/// The configured database, or a private cluster beside the data.
async fn database(config: &Config) -> Result<(SecretString, Option<EmbeddedPostgres>)> {
    if let Some(url) = &config.database.url {
        return Ok((url.clone(), None));
    }
    let options = EmbeddedOptions {
        binaries: config.database.postgres_bin.clone(),
        ..EmbeddedOptions::new(&config.data_dir)
    };
    let cluster = EmbeddedPostgres::start(&options).await?;
    Ok((cluster.url().clone(), Some(cluster)))
}

/// A gateway that takes connections.
struct Running {
    replica: ReplicaId,
    ssh_address: SocketAddr,
    ops_address: SocketAddr,
    web_address: Option<SocketAddr>,
    gateway: Gateway,
    identity: Identity,
    store: Store,
    policy: watch::Sender<Arc<AccessPolicy>>,
    notifier: Notifier,
    tracker: TaskTracker,
    /// No new connections.
    draining: CancellationToken,
    /// Every connection and job ends.
    stopping: CancellationToken,
    /// The lease is given up and the audit log sealed: after the last row.
    leased: CancellationToken,
    leasing: TaskTracker,
}

async fn start(config: &Config, url: &SecretString, metrics: Metrics) -> Result<Running> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let (tracker, draining, stopping) =
        (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let replica = ReplicaId::generate();
    let store = Store::open(url).await.context("the database")?;
    let sealing = SealingKey::new(config.secrets.key()?.expose())?;
    let host_key = sealed_key(&store, &sealing, HOST_KEY).await.context("the SSH host key")?;
    let chain_key = store.chain_key(&sealing).await.context("the key of the audit log's chain")?;
    let spool = config.data_dir.join("spool");
    let recorder = Recorder::open(store.clone(), &spool, DEFAULT_SPOOL_BYTES, Arc::clone(&clock))
        .context("the spool")?;
    let replaying = recorder.clone().replay(stopping.clone());
    tracker.spawn(replaying);
    let mut lease =
        LeaseJob::new(store.clone(), Arc::clone(&clock), replica, &host_name(), config.database.lease_s);
    lease.register().await.context("the replica's lease")?;
    let leased = CancellationToken::new();
    let leasing = TaskTracker::new();
    leasing.spawn(lease.run(leased.clone()));
    leasing.spawn(SealJob::new(store.clone(), Arc::clone(&clock), chain_key).run(leased.clone()));
    leasing.close();

    let authorities = certificates::authorities(&store, &sealing, config).await?;
    let identity_parts = identity::Parts {
        store: store.clone(),
        sealing,
        clock: Arc::clone(&clock),
        replica,
        web: config.web.as_ref(),
        providers: &config.providers,
        approval: &config.ssh.approval,
        domains: &config.domains,
        tasks: tracker.clone(),
    };
    let identity = Identity::start(identity_parts, &config.people).await?;
    let (followed, end) = (identity.clone(), stopping.clone());
    tracker.spawn(async move { followed.run(end).await });
    let (policy, policy_seen) = watch::channel(Arc::new(config.people.access.clone()));
    let credentials =
        own_credentials(&config.domains).await.context("the SDK has no source of AWS credentials")?;
    let roles: Arc<dyn UserCredentials> = Arc::new(identity.clone());
    let aws = Aws::new(&config.domains, &credentials, &roles, Arc::clone(&clock), tracker.clone())?;
    let control: Arc<dyn SpaceControl> = Arc::new(aws.clone());
    let owners =
        ProfileJob::of(&config.domains, store.clone(), Arc::clone(&control), Arc::clone(&clock), replica);
    if let Some(job) = owners {
        tracker.spawn(job.run(stopping.clone()));
    }
    let tags = TagJob::of(&config.domains, store.clone(), Arc::clone(&control), Arc::clone(&clock), replica);
    if let Some(job) = tags {
        tracker.spawn(job.run(stopping.clone()));
    }
    let notifier = Notifier::new(&config.notify, Arc::clone(&clock), Pace::default())?;
    let costs = Arc::new(config.cost.clone());
    let money =
        money::Parts { config, costs: &costs, store: &store, replica, clock: &clock, notifier: &notifier };
    money.start(identity.everybody(), &aws, (&tracker, &stopping)).await?;
    let gateway = Gateway::new(Parts {
        replica,
        clock: Arc::clone(&clock),
        control: Arc::clone(&control),
        dial: Arc::new(aws),
        store: store.clone(),
        recorder: recorder.clone(),
        policy: policy_seen,
        costs: Arc::clone(&costs),
        users: identity.everybody(),
        limits: gateway_limits(config),
        tracker: tracker.clone(),
        stop: stopping.clone(),
    });
    let beside = gateway.clone();
    tracker.spawn(async move { beside.run().await });
    let ssh_listener = bind("ssh.listen", config.ssh.listen).await?;
    let ops_listener = bind("ops.listen", config.ops.listen).await?;
    let (ssh_address, ops_address) = (ssh_listener.local_addr()?, ops_listener.local_addr()?);
    let address = Address {
        host: config.ssh.public_host.clone(),
        // With port 0 in the file, the port that people are told is the one that was got.
        port: config.ssh.public_port.unwrap_or(ssh_address.port()),
        pages: config.web.as_ref().map(|web| web.public_url.to_string()),
    };
    let parts = idle::Parts {
        config,
        replica,
        store: &store,
        control,
        eyes: Arc::new(gateway.clone()),
        clock: &clock,
        identity: &identity,
        notifier: &notifier,
        ssh: address.clone(),
    };
    gateway.set_idle(parts.start((&tracker, &stopping)));
    let (ssh_name, pages_key) = (address.clone(), host_key.public_key().clone());
    let ssh = Ssh::new(crate::ssh::Parts {
        gateway: gateway.clone(),
        identity: identity.clone(),
        certificates: authorities.clone(),
        clock: Arc::clone(&clock),
        settings: config.ssh.clone(),
        address,
        flow: flow_limits(config),
        budget: ProcessBudget::new(config.flow.process_cap_bytes),
        host_keys: vec![host_key],
    });
    let (drain, end, shared_port) = (draining.clone(), stopping.clone(), ssh.shared_port());
    tracker.spawn(async move { ssh.serve(ssh_listener, drain, end).await });
    tracker.spawn(metrics.clone().run_upkeep(stopping.clone()));
    let ops = Ops { gateway: gateway.clone(), recorder: recorder.clone(), metrics };
    let end = stopping.clone();
    tracker.spawn(async move {
        if let Err(error) = serve_ops(ops_listener, ops, end).await {
            error!(%error, "the operators' listener failed");
        }
    });
    let pages = pages::Parts {
        config,
        identity: &identity,
        certificates: authorities,
        store: &store,
        gateway: &gateway,
        clock,
        address: ssh_name,
        host_key: pages_key,
        shared_port,
        ledger: Ledger {
            costs,
            idle: config.idle.clone(),
            domains: config.domains.iter().map(|domain| domain.alias.clone()).collect(),
            listed_every: config.watch.every,
            providers: config.providers.iter().map(|one| (one.name.clone(), one.alias.clone())).collect(),
            replica,
            recorder,
        },
    };
    let web_address = pages.start((&tracker, &stopping)).await?;
    gateway.catalogue_tried().await;
    Ok(Running {
        replica,
        ssh_address,
        ops_address,
        web_address,
        gateway,
        identity,
        store,
        policy,
        notifier,
        tracker,
        draining,
        stopping,
        leased,
        leasing,
    })
}

impl Running {
    /// Reads users and policy again. What is at fault changes nothing.
    async fn reload(&self, source: &ConfigSource) {
        let taken = async {
            let people = source.people()?;
            self.identity.reload(&people).await?;
            let detail = json!({
                "users": people.users.len(), "grants": people.access.grants.len(),
                "denials": people.access.denials.len(), "members": people.access.members.len(),
            });
            self.policy.send_replace(Arc::new(people.access));
            self.gateway.audit(AuditEvent::reloaded(detail)).await;
            anyhow::Ok(people.users.len())
        };
        match taken.await {
            Ok(users) => info!(users, "users and access policy read again"),
            Err(error) => error!(error = format!("{error:#}"), "users and access policy stay as they were"),
        }
    }

    /// No new connections; everybody is told, and ended at the deadline.
    async fn drain(&self, deadline: Duration) {
        self.draining.cancel();
        let noted = async {
            if let Err(error) = self.store.note_draining(self.replica).await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the list of replicas does not say that this one drains"
                );
            }
        };
        tokio::join!(noted, self.gateway.drain(deadline));
    }

    /// Ends everything.
    async fn stop(self) {
        self.stopping.cancel();
        self.tracker.close();
        if tokio::time::timeout(STOPPING, self.tracker.wait()).await.is_err() {
            warn!(tasks = self.tracker.len(), "tasks did not end in time");
        }
        self.notifier.stop().await;
        self.leased.cancel();
        self.leasing.wait().await;
        self.store.close().await;
        info!("stopped");
    }
}

/// What this machine is called, for the list of replicas.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// An Ed25519 key that all replicas share, made by the first and kept sealed in the database.
async fn sealed_key(store: &Store, sealing: &SealingKey, name: &str) -> Result<PrivateKey> {
    let make = || {
        let pair = Ed25519Keypair::from_seed(&rand::random());
        let key = PrivateKey::new(KeypairData::Ed25519(pair), "spaceport");
        // Nothing of an unencrypted Ed25519 key can fail to be written; an empty secret would fail to be read below.
        key.and_then(|key| key.to_openssh(LineEnding::LF))
            .map(|text| text.as_bytes().to_vec())
            .unwrap_or_default()
    };
    let sealed = store.sealed(name, make, sealing).await?;
    Ok(PrivateKey::from_openssh(sealed.expose_secret())?)
}

async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{setting}: cannot listen on {address}"))
}

fn gateway_limits(config: &Config) -> Limits {
    Limits {
        linger: config.links.linger,
        start_timeout: config.start.app_timeout,
        register_timeout: config.start.register_timeout,
        change_timeout: config.start.change_timeout,
        poll_every: config.start.poll,
        catalogue_every: config.watch.every,
        doubtful: config.links.doubtful,
        longest_hold: config.idle.longest_hold,
        heartbeat_window: config.idle.window,
        link: LinkOptions { spool: Spool::new(spool_limits(config)), ..LinkOptions::default() },
    }
}

fn spool_limits(config: &Config) -> SpoolLimits {
    SpoolLimits {
        directory: config.data_dir.clone(),
        memory: config.flow.output_memory_bytes,
        channel: config.flow.output_disk_bytes,
        process: config.flow.process_disk_bytes,
    }
}

fn flow_limits(config: &Config) -> FlowLimits {
    FlowLimits {
        window: config.flow.window_bytes,
        hoard_above: config.flow.stalled_above_bytes,
        hoard_below: config.flow.stalled_below_bytes,
        channel_bytes: config.flow.channel_cap_bytes,
        connection_bytes: config.flow.connection_cap_bytes,
        write_timeout: config.flow.write_timeout,
    }
}
