//! `studio-simulator`: a Studio account on loopback, until it is told to end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use studio_simulator::space::GoSpaces;
use studio_simulator::stream::Options;
use studio_simulator::{Config, Delays, Fixture, Simulator, Studio};

/// A SageMaker Studio account on loopback, strict and by the wire.
#[derive(Debug, Parser)]
#[command(name = "studio-simulator", version)]
struct Arguments {
    /// Port of the AWS APIs and streams; 0 takes a free one.
    #[arg(long, env = "SIMULATOR_AWS_PORT", default_value_t = 0)]
    aws_port: u16,
    /// Port of the control API; 0 takes a free one.
    #[arg(long, env = "SIMULATOR_CONTROL_PORT", default_value_t = 0)]
    control_port: u16,
    /// Bearer token of the control API; made up and printed if absent.
    #[arg(long, env = "SIMULATOR_CONTROL_TOKEN", hide_env_values = true)]
    control_token: Option<String>,
    /// How many times faster than AWS delays pass.
    #[arg(long, env = "SIMULATOR_SCALE", default_value_t = 20.0)]
    scale: f64,
    /// Seconds, before scaling, that a started app takes to register for sessions.
    #[arg(long, env = "SIMULATOR_REGISTRATION_LAG", default_value_t = 20)]
    registration_lag: u64,
    /// Start with people but without spaces.
    #[arg(long, env = "SIMULATOR_BARE", conflicts_with = "state")]
    bare: bool,
    /// Start with the domains, people and spaces that this JSON file lists.
    #[arg(long, env = "SIMULATOR_STATE", value_name = "FILE")]
    state: Option<PathBuf>,
    /// Folder below which the homes of spaces go, and the SSH server of spaces is built.
    #[arg(long, env = "SIMULATOR_FOLDER", default_value = "studio")]
    folder: PathBuf,
    /// Let agents send as fast as they can, in messages of at most so many bytes, instead of as AWS does.
    #[arg(long, env = "SIMULATOR_UNPACED", value_name = "BYTES")]
    unpaced: Option<usize>,
}

impl Arguments {
    fn config(self) -> anyhow::Result<Config> {
        let registration_lag = std::time::Duration::from_secs(self.registration_lag);
        let fixtures = match &self.state {
            Some(file) => read_state(file)?,
            None if self.bare => vec![Fixture::bare()],
            None => vec![Fixture::default()],
        };
        Ok(Config {
            aws_port: self.aws_port,
            control_port: self.control_port,
            scale: self.scale,
            delays: Delays { registration_lag, ..Delays::default() },
            control_token: self.control_token,
            fixtures,
        })
    }
}

fn read_state(file: &Path) -> anyhow::Result<Vec<Fixture>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} lists no domains", file.display()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // The ready line alone goes to stdout, so that scripts can read it.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let options = arguments.unpaced.map_or_else(Options::default, Options::unpaced);
    let (cache, homes) = (arguments.folder.join("build"), arguments.folder.join("homes"));
    let spaces = GoSpaces::new(&cache, &homes).await.context("the SSH server of spaces")?;
    let studio = Studio::start(arguments.config()?, options, Arc::new(spaces)).await?;
    println!("{}", ready_line(&studio.simulator));
    ended().await?;
    studio.shutdown().await;
    Ok(())
}

/// Where everything is, as one line of JSON.
fn ready_line(simulator: &Simulator) -> serde_json::Value {
    let credentials = simulator.credentials();
    json!({
        "ready": true,
        "aws_endpoint": simulator.aws_endpoint(),
        "control_endpoint": simulator.control_endpoint(),
        "control_token": simulator.control_token(),
        "access_key_id": credentials.access_key_id,
        "secret_access_key": credentials.secret_access_key,
        "account": studio_simulator::fixture::ACCOUNT,
        "region": studio_simulator::fixture::REGION,
        "domain": simulator.default_domain(),
        "isolated": simulator.require_isolation().is_ok(),
    })
}

async fn ended() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("ctrl-c")?,
    }
    Ok(())
}
