//! `make demo`: a Studio account and an OpenID provider on loopback, a gateway with a private Postgres, and a laptop's
//! ssh configuration.
//!
//! Everything lives below `target/demo`. It prints what to type once `ssh` works, and Ctrl-C ends all it started.

#![allow(clippy::disallowed_methods, reason = "tests may spawn tasks and look at the clock")]

mod people;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spaceport_tests::account::user_policy;
use spaceport_tests::client::Client;
use spaceport_tests::gateway::{Gateway, binary};
use spaceport_tests::world::{SPACES, Settings};
use studio_simulator::fixture::{ACCOUNT, LOOK_ROLE, USER_ROLE};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::people::People;

/// How long a part may take to start on a busy machine.
const START: Duration = Duration::from_secs(120);
/// How long a part may take to end.
const STOP: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Taken first, so that a Ctrl-C during the start ends what was started, too.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let folder = std::env::current_dir()?.join("target/demo");
    std::fs::create_dir_all(&folder)?;
    let mut simulator = Simulator::start(&folder).await?;
    let started = tokio::select! {
        started = start(&folder, &simulator) => started,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    let (mut gateway, people) = match started {
        Ok(started) => started,
        Err(error) => {
            simulator.stop().await;
            return Err(error);
        }
    };
    print_block(&folder, &people);
    let outcome = tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        status = gateway.ended() => Err(anyhow::anyhow!("the gateway ended: {status:?}; see target/demo/gateway.log")),
        status = simulator.child.wait() => Err(anyhow::anyhow!("the simulator ended: {status:?}; see target/demo/simulator.log")),
    };
    eprintln!("\nEnding the gateway, Postgres and the simulator.");
    // Twice: the first asks sessions to leave, the second does not wait for them.
    gateway.signal("TERM").await.ok();
    gateway.signal("TERM").await.ok();
    let ended = gateway.wait(STOP).await;
    simulator.stop().await;
    ended?;
    outcome
}

/// The simulator's binary, and what it said when it was ready.
struct Simulator {
    child: Child,
    says: Value,
}

impl Simulator {
    async fn start(folder: &Path) -> Result<Self> {
        let log = std::fs::File::create(folder.join("simulator.log"))?;
        let mut command = Command::new(binary("studio-simulator")?);
        command.arg("--folder").arg(folder.join("studio")).args(["--registration-lag", "30"]);
        // Its own group: Ctrl-C reaches this program, which ends the parts in order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(START, lines.next_line()).await.context("the simulator is not ready")??;
        let line = line.context("the simulator ended at once; see target/demo/simulator.log")?;
        Ok(Self { child, says: serde_json::from_str(&line)? })
    }

    fn says(&self, field: &str) -> Result<&str> {
        self.says[field].as_str().with_context(|| format!("the simulator says {field}"))
    }

    /// Gives a role of the account another policy.
    async fn set_policy(&self, role: &str, policy: &Value) -> Result<()> {
        let url = format!("{}/roles/{ACCOUNT}/{role}/policy", self.says("control_endpoint")?);
        let put = reqwest::Client::new().put(url).bearer_auth(self.says("control_token")?);
        let put = put.header("content-type", "application/json").body(policy.to_string());
        put.send().await?.error_for_status().context("the simulator does not take a policy")?;
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(pid) = self.child.id() {
            let _ = Command::new("kill").arg(pid.to_string()).status().await;
        }
        let _ = timeout(STOP, self.child.wait()).await;
    }
}

async fn start(folder: &Path, simulator: &Simulator) -> Result<(Gateway, People)> {
    simulator.set_policy(USER_ROLE, &user_policy()?).await?;
    let people = People::start(folder).await?;
    let gateway = start_gateway(folder, simulator, &people).await?;
    Ok((gateway, people))
}

async fn start_gateway(folder: &Path, simulator: &Simulator, people: &People) -> Result<Gateway> {
    let client = Client::new(folder).await?;
    let settings = Settings {
        aws: simulator.says("aws_endpoint")?.to_owned(),
        access_key_id: simulator.says("access_key_id")?.to_owned(),
        secret_access_key: simulator.says("secret_access_key")?.to_owned(),
        data_dir: data_dir(folder)?,
    };
    let config = folder.join("spaceport.toml");
    let more = format!("[start]\npoll_s = 1\n\n{}", people.configuration());
    let domain = format!(
        "ownership = {{ provider = \"idp\", profile = \"{{email_local}}\" }}\n\
         probe_role = \"arn:aws:iam::{ACCOUNT}:role/{LOOK_ROLE}\"\n"
    );
    std::fs::write(&config, settings.configuration(&[], &domain, &more)?)?;
    let mut environment = settings.environment();
    environment.retain(|(name, _)| name != "SPACEPORT_SECRET_KEY");
    let log = folder.join("gateway.log");
    std::fs::remove_file(&log)
        .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    let gateway = Gateway::start(&config, &environment, &log).await?;
    // A host key of an earlier demo with another database would stand in the way.
    let _ = std::fs::remove_file(folder.join("known_hosts"));
    client.configure(gateway.ssh, SPACES)?;
    write_environment(folder, &settings, &gateway, simulator)?;
    people.add_key(&client).await.context("Alice cannot sign in")?;
    client.ssh(["demo", "true"]).await?.well().context("ssh does not work")?;
    Ok(gateway)
}

/// Postgres drops root and must reach its data: below a folder that only root may enter it cannot.
fn data_dir(folder: &Path) -> Result<PathBuf> {
    let reachable = |path: &Path| path.metadata().is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    if folder.ancestors().filter(|path| !path.as_os_str().is_empty()).all(reachable) {
        return Ok(folder.join("data"));
    }
    let elsewhere = std::env::temp_dir().join("spaceport-demo");
    if elsewhere.is_symlink() {
        bail!("{} is a link; remove it", elsewhere.display());
    }
    Ok(elsewhere)
}

/// `target/demo/env`: addresses and tokens for scripts.
fn write_environment(
    folder: &Path,
    settings: &Settings,
    gateway: &Gateway,
    simulator: &Simulator,
) -> Result<()> {
    let url = std::fs::read_to_string(settings.data_dir.join("postgres.url"))?;
    let (control, token) = (simulator.says("control_endpoint")?, simulator.says("control_token")?);
    let text = format!(
        "SPACEPORT_URL=http://{}\nSPACEPORT_SSH={}\nDATABASE_URL={}\nSIMULATOR_URL={control}\nSIMULATOR_TOKEN={token}\n",
        gateway.ops,
        gateway.ssh,
        url.trim()
    );
    let path = folder.join("env");
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}

fn print_block(folder: &Path, people: &People) {
    let here = std::env::current_dir().unwrap_or_default();
    let config = folder.strip_prefix(&here).unwrap_or(folder).join("ssh_config");
    let ssh = format!("ssh -F {}", config.display());
    println!(
        "\nSpaceport is up. From another terminal in this folder:\n\n  \
         {ssh} demo                 a shell in a running space\n  \
         {ssh} stopped              a stopped space starts\n  \
         {ssh} demo.jump            the same space through ssh -J\n  \
         {ssh} small                a refusal, in words\n  \
         {ssh} spaceport@gateway    the gateway's own commands\n\n\
         The pages, in a browser: {}\n\
         Sign in as alice, whose key that is, bo, audrey (an auditor) or ada (an admin). No password.\n\n\
         Addresses and tokens: target/demo/env. Logs: target/demo/*.log. Ctrl-C ends it all.\n",
        people.site()
    );
}
