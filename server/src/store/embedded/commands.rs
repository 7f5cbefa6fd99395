//! Running Postgres's programs.

use std::fmt::Write as _;
use std::process::Stdio;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tracing::{info, warn};

use super::EmbeddedError;
use super::account::Account;
use super::binaries::Binaries;
use super::files::Files;

/// Runs a server and stops it when input ends; ends when the server does. SIGTERM to all processes at once is for
/// the gateway to answer: it still needs its database.
const MONITOR: &str = r#"
trap '' TERM
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
(read -r end <&3; kill -INT "$server") &
reader=$!
wait "$server"
status=$?
kill -KILL "$reader"
exit "$status"
"#;
/// Seconds that a server that was left behind may take to stop.
const LEFTOVER_TIMEOUT_S: &str = "60";

fn command(binaries: &Binaries, program: &str, files: &Files, account: &Account) -> Command {
    let mut command = Command::new(binaries.path(program));
    command.current_dir(files.cluster()).env_clear().env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    account.run(&mut command);
    command
}

/// Makes a new cluster with a new password.
pub(super) async fn init(binaries: &Binaries, files: &Files, account: &Account) -> Result<(), EmbeddedError> {
    info!(directory = %files.cluster().display(), version = binaries.version, "making a private Postgres cluster");
    let password = new_password();
    let password_file = files.password_file(&password, account)?;
    // Known before the cluster is: a start that is cut short leaves no cluster without a password.
    files.write_url(&password)?;
    let output = command(binaries, "initdb", files, account)
        .args(["--username=spaceport", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])
        .arg("--pwfile")
        .arg(password_file.path())
        .arg("-D")
        .arg(files.cluster())
        .output()
        .await
        .map_err(|error| EmbeddedError::Io(binaries.path("initdb"), error))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(EmbeddedError::Initdb(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// Stops the server that an earlier process left running, if there is one. Only one of ours can be: the lock is held.
pub(super) async fn stop_leftover(binaries: &Binaries, files: &Files, account: &Account) {
    if !files.cluster().join("postmaster.pid").exists() {
        return;
    }
    warn!("an earlier process left Postgres's pid file: stopping the server if it still runs");
    let stopped = command(binaries, "pg_ctl", files, account)
        .args(["stop", "--mode=fast", "--silent", "-t", LEFTOVER_TIMEOUT_S, "-D"])
        .arg(files.cluster())
        .output()
        .await;
    // If it does not run, pg_ctl says so; if it does and will not stop, our own start says so.
    match stopped {
        Ok(output) if output.status.success() => info!("the earlier Postgres has stopped"),
        Ok(output) => {
            info!(said = %String::from_utf8_lossy(&output.stderr).trim(), "no earlier Postgres stopped")
        }
        Err(error) => warn!(%error, "pg_ctl cannot be run"),
    }
}

/// Sets a new password on a cluster whose `postgres.url` was lost, without a server.
pub(super) async fn reset_password(
    binaries: &Binaries,
    files: &Files,
    account: &Account,
) -> Result<SecretString, EmbeddedError> {
    warn!("postgres.url is missing: setting a new password");
    let failed = |error| EmbeddedError::Io(binaries.path("postgres"), error);
    let password = new_password();
    let mut single = command(binaries, "postgres", files, account)
        .args(["--single", "-D"])
        .arg(files.cluster())
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(files.open_log()?)
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = single.stdin.take() {
        let statement = format!("ALTER ROLE spaceport PASSWORD '{}'\n", password.expose_secret());
        input.write_all(statement.as_bytes()).await.map_err(failed)?;
    }
    let status = single.wait().await.map_err(failed)?;
    if status.success() { Ok(password) } else { Err(EmbeddedError::Start(files.log(), files.log_tail())) }
}

/// Starts the server under its monitor. The pipe to the monitor's input keeps it alive.
pub(super) fn spawn(
    binaries: &Binaries,
    files: &Files,
    account: &Account,
    settings: &[(String, String)],
) -> Result<Child, EmbeddedError> {
    let mut monitor = Command::new("/bin/sh");
    account.run(&mut monitor);
    monitor.current_dir(files.cluster()).env_clear().env("PATH", "/usr/bin:/bin");
    monitor.args(["-c", MONITOR, "spaceport-postgres"]);
    monitor.arg(binaries.path("postgres")).arg("-D").arg(files.cluster()).arg("-k").arg(files.run());
    let own =
        [("listen_addresses", ""), ("unix_socket_permissions", "0700"), ("log_min_messages", "warning")];
    let given = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in own.into_iter().chain(given) {
        monitor.arg("-c").arg(format!("{name}={value}"));
    }
    // A group of its own: an interrupt at the terminal is for the gateway.
    monitor.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(files.open_log()?);
    monitor.spawn().map_err(|error| EmbeddedError::Io(binaries.path("postgres"), error))
}

/// A password that nobody has to type.
fn new_password() -> SecretString {
    let bytes: [u8; 24] = rand::random();
    bytes
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
            text
        })
        .into()
}
