//! The simulator put together: state, listeners, and the handle by which tests and the binary drive it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use axum::Router;
use tokio::net::TcpListener;

use crate::account::World;
use crate::clock::Clock;
use crate::cloud::{Cloud, Delays};
use crate::control::{self, Control};
use crate::fixture::{Fixture, SERVICE_ROLE, SpaceSpec};
use crate::http;
use crate::keys::{Credentials, random_base64, random_hex};
use crate::roles::{Principal, role_arn};
use crate::sessions::{Machine, Sessions, Spaces, StreamFaults};

/// What a simulator starts with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port of the AWS APIs; 0 takes a free one.
    pub aws_port: u16,
    /// Port of the control API; 0 takes a free one.
    pub control_port: u16,
    /// How much faster than AWS delays pass.
    pub scale: f64,
    /// AWS's delays.
    pub delays: Delays,
    /// Bearer token of the control API; made up if absent.
    pub control_token: Option<String>,
    /// Domains, one at least.
    pub fixtures: Vec<Fixture>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            aws_port: 0,
            control_port: 0,
            scale: 200.0,
            delays: Delays::default(),
            control_token: None,
            fixtures: vec![Fixture::default()],
        }
    }
}

/// The stream side, made around the account's sessions.
pub struct StreamSide {
    /// The routes of the message gateway, served beside the AWS APIs.
    pub router: Router,
    /// Takes stream faults of the control API.
    pub faults: Arc<dyn StreamFaults>,
}

/// Spaces without SSH servers, for whoever needs the control plane alone: streams to them reach nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoServers;

#[async_trait]
impl Spaces for NoServers {
    async fn start(&self, _space_arn: &str, _run: &str, _machine: &Machine) -> anyhow::Result<SocketAddr> {
        // The discard port, where nobody listens.
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)))
    }

    async fn stop(&self, _space_arn: &str) {}
}

/// A running simulator. Dropping it leaves its tasks running; call `shutdown`.
pub struct Simulator {
    pub(crate) cloud: Arc<Cloud>,
    aws: SocketAddr,
    control: SocketAddr,
    control_token: String,
    credentials: Credentials,
    default_domain: String,
}

impl Simulator {
    /// Starts without a stream side: StartSession answers, but nobody serves its URLs.
    pub async fn start(config: Config, spaces: Arc<dyn Spaces>) -> anyhow::Result<Self> {
        Self::start_with(config, spaces, |_| None).await
    }

    /// Starts with the stream side that `attach` makes around the account's sessions.
    pub async fn start_with(
        config: Config,
        spaces: Arc<dyn Spaces>,
        attach: impl FnOnce(Arc<dyn Sessions>) -> Option<StreamSide>,
    ) -> anyhow::Result<Self> {
        let clock = Clock::new(config.scale);
        let mut world = World::default();
        for fixture in &config.fixtures {
            fixture.enter(&mut world, clock.now()).context("the fixture's policies")?;
        }
        let first = config.fixtures.first().context("a simulator needs a domain")?;
        let cloud = Arc::new(Cloud::new(clock, config.delays, world, spaces));
        for fixture in &config.fixtures {
            cloud.faults().capacity.extend(fixture.capacity.clone());
        }
        let credentials = service_key(&cloud, &first.account)?;
        let streams = attach(Arc::clone(&cloud) as Arc<dyn Sessions>);
        let aws = listen(config.aws_port).await?;
        let control_listener = listen(config.control_port).await?;
        let simulator = Self {
            aws: aws.local_addr()?,
            control: control_listener.local_addr()?,
            control_token: config.control_token.unwrap_or_else(|| random_hex(32)),
            credentials,
            default_domain: first.domain.clone(),
            cloud,
        };
        // Only one can set it, and only here.
        let _ = simulator.cloud.stream_host.set(simulator.aws.to_string());
        simulator.add_spaces(&config.fixtures).await?;
        simulator.serve(aws, control_listener, streams);
        Ok(simulator)
    }

    async fn add_spaces(&self, fixtures: &[Fixture]) -> anyhow::Result<()> {
        for fixture in fixtures {
            for space in &fixture.spaces {
                let domain = space.domain.clone().unwrap_or_else(|| fixture.domain.clone());
                self.create_space(SpaceSpec { domain: Some(domain), ..space.clone() }).await?;
            }
        }
        Ok(())
    }

    fn serve(&self, aws: TcpListener, control_listener: TcpListener, streams: Option<StreamSide>) {
        let (routes, faults) = match streams {
            Some(streams) => (streams.router, Some(streams.faults)),
            None => (Router::new(), None),
        };
        let control_state = Control { simulator: self.handle(), stream_faults: faults };
        let aws_router = http::router(Arc::clone(&self.cloud)).merge(routes);
        for (listener, router) in [(aws, aws_router), (control_listener, control::router(control_state))] {
            let stop = self.cloud.stop.clone();
            self.cloud.tasks.spawn(async move {
                let served =
                    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
                if let Err(error) = served {
                    tracing::error!(%error, "a listener ended");
                }
            });
        }
    }

    /// Another handle on the same simulator.
    fn handle(&self) -> Self {
        Self {
            cloud: Arc::clone(&self.cloud),
            aws: self.aws,
            control: self.control,
            control_token: self.control_token.clone(),
            credentials: self.credentials.clone(),
            default_domain: self.default_domain.clone(),
        }
    }

    /// The sessions, for a stream side that lives outside.
    pub fn sessions(&self) -> Arc<dyn Sessions> {
        Arc::clone(&self.cloud) as Arc<dyn Sessions>
    }

    /// Where every AWS API is served, as a URL.
    pub fn aws_endpoint(&self) -> String {
        format!("http://{}", self.aws)
    }

    /// Where the control API is served, as a URL.
    pub fn control_endpoint(&self) -> String {
        format!("http://{}", self.control)
    }

    /// The control API's bearer token.
    pub fn control_token(&self) -> &str {
        &self.control_token
    }

    /// The static key of the service role.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The first fixture's domain.
    pub fn default_domain(&self) -> &str {
        &self.default_domain
    }

    /// Stops listening, ends every task and every space's SSH server.
    pub async fn shutdown(self) {
        self.cloud.stop.cancel();
        self.cloud.tasks.close();
        self.cloud.tasks.wait().await;
        for arn in self.cloud.arns_with_server() {
            self.cloud.spaces.stop(&arn).await;
        }
    }
}

async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn service_key(cloud: &Cloud, account: &str) -> anyhow::Result<Credentials> {
    let credentials = Credentials {
        access_key_id: format!("AKIA{}", random_hex(16).to_uppercase()),
        secret_access_key: random_base64(30),
        session_token: None,
        expires: None,
    };
    let principal = {
        let world = cloud.world();
        let role = world.roles.get(&role_arn(account, SERVICE_ROLE)).context("the service role")?;
        Principal::of_role(role, "i-0spaceport0gateway")
    };
    cloud.keys().add_static(&credentials.access_key_id, &credentials.secret_access_key, principal);
    Ok(credentials)
}
