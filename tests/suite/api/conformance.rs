//! Schemathesis asks the API everything that its document allows and does not allow, as each role.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use spaceport_tests::gateway::binary;
use tokio::process::Command;

use super::{document, make_token, offered};
use crate::scene::{Scene, Setting};

/// Requests for each operation in each of its phases, at most.
const EXAMPLES: &str = "12";

/// Where `tests/interop/install` puts the programs of PyPI.
fn schemathesis() -> Result<PathBuf> {
    let folder = binary("spaceport")?.parent().and_then(Path::parent).context("a folder")?.to_owned();
    let program = folder.join("interop-venv/bin/schemathesis");
    ensure!(program.is_file(), "schemathesis is not there: run tests/interop/install");
    Ok(program)
}

/// Ids of things that are there, and the variables of the configuration that have them.
async fn things(scene: &Scene) -> Result<Vec<(&'static str, String)>> {
    let mut things = Vec::new();
    for (name, query) in [
        ("SPACEPORT_SESSION", "SELECT id FROM sessions LIMIT 1"),
        ("SPACEPORT_KEY", "SELECT id FROM keys LIMIT 1"),
        ("SPACEPORT_USER", "SELECT id FROM users WHERE name = 'anna@example.com'"),
    ] {
        things.push((name, scene.world.value(query).await?.context(name)?));
    }
    Ok(things)
}

/// Runs it with a token; `real` has every path lead to something that is there. Gives what was asked and answered.
async fn run(scene: &Scene, token: &str, real: bool, name: &str) -> Result<Value> {
    let things = if real { things(scene).await? } else { Vec::new() };
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    let config = here.join(if real { "schemathesis-real.toml" } else { "schemathesis.toml" });
    let har = scene.world.folder().join(format!("{name}.har"));
    let mut command = Command::new(schemathesis()?);
    command
        .arg("--config-file")
        .arg(config)
        .args(["run", &scene.page("/api/v1/openapi.json"), "--no-color"])
        .args(["--max-examples", EXAMPLES, "--generation-deterministic"])
        .args(["--continue-on-failure", "--request-timeout", "20", "--report", "har", "--report-har-path"])
        .arg(&har)
        .args(["--output-sanitize", "false"])
        .current_dir(scene.world.folder())
        .env("SPACEPORT_TOKEN", token)
        .envs(things.iter().map(|(name, id)| (*name, id)))
        .stdin(Stdio::null());
    let done = command.output().await?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(done.status.success(), "{name}: {said}\n{}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&std::fs::read(har)?)?)
}

/// Operations that are for auditors or admins, by what their paths begin with: somebody below finds nothing there.
fn hidden(document: &Value, mine: &[String]) -> Vec<(String, String)> {
    let mut hidden = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let scope = operation["security"][0]["token"][0].as_str();
            if scope.is_some_and(|scope| !mine.iter().any(|own| own == scope)) {
                hidden.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    hidden
}

/// Whether an address is one of a path with parameters.
fn fits(path: &str, address: &str) -> bool {
    let (mut parts, mut found) = (path.split('/'), address.split('/'));
    loop {
        match (parts.next(), found.next()) {
            (None, None) => return true,
            (Some(part), Some(is)) if part.starts_with('{') || part == is => {}
            _ => return false,
        }
    }
}

/// Asks as somebody, and looks at what they were answered.
async fn as_somebody(scene: &Scene, login: &str) -> Result<()> {
    let (laptop, _) = scene.laptop("anna").await?;
    laptop.ssh(["team", "true"]).await?.well()?;
    let (visitor, _) = scene.sign_in(login).await?;
    let scopes = offered(scene, &visitor).await?;
    let words: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let token = make_token(scene, &visitor, &words).await?;
    let hidden = hidden(&document(scene).await?, &scopes);
    for real in [false, true] {
        let asked = run(scene, &token, real, &format!("{login}-{real}")).await?;
        let entries = asked["log"]["entries"].as_array().context("entries")?;
        ensure!(entries.len() > 300, "{login}: only {} requests", entries.len());
        let mut well = 0;
        for entry in entries {
            let (url, method) = (entry["request"]["url"].as_str(), entry["request"]["method"].as_str());
            let (url, method) = (url.context("an address")?, method.context("a method")?);
            let status = entry["response"]["status"].as_u64().context("a status")?;
            let url = reqwest::Url::parse(url)?;
            let address = url.path().strip_prefix("/api/v1").unwrap_or_default();
            if hidden.iter().any(|(hides, path)| hides == method && fits(path, address)) {
                ensure!(matches!(status, 401 | 404), "{login} got {status} for {method} {url}");
            }
            well += u64::from((200..300).contains(&status));
        }
        ensure!(well > 20, "{login}: only {well} requests of {} went well", entries.len());
    }
    Ok(())
}

fn patient() -> Setting {
    Setting { web: "api_requests_per_min = 1000000\n".to_owned(), ..Setting::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_to_the_code_finds_nothing_wrong_as_a_user() -> Result<()> {
    as_somebody(&Scene::with(patient()).await?, "anna").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_to_the_code_finds_nothing_wrong_as_an_auditor() -> Result<()> {
    let scene = Scene::with(patient()).await?;
    scene.provider.groups("sub-anna", &["ml", "auditors"]).await?;
    as_somebody(&scene, "anna").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_to_the_code_finds_nothing_wrong_as_an_admin() -> Result<()> {
    as_somebody(&Scene::with(patient()).await?, "ada").await
}
