//! What somebody is given to set up ssh with: it works as it is, in Debian's ssh.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::process::Command;

use super::acts::{scene, space};
use super::program;

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_ssh_work_in_both_modes_and_after_a_space_has_started_anew() -> Result<()> {
    let scene = scene().await?;
    let (laptop, _) = scene.laptop("anna").await?;
    let (anna, _) = program(&scene, "anna").await?;
    space(&anna, "/spaces/main/team", |space| space["state"] == "running").await?;
    let setup = anna.get("/connect").await?.is(200)?.json()?;
    let given = |name: &str| setup[name].as_str().map(str::to_owned).context(name.to_owned());
    let own = laptop.ssh(["spaceport", "config"]).await?.well()?.text();
    assert_eq!(own, given("config")?);
    let jump = laptop.ssh(["spaceport", "config", "--jump"]).await?.well()?.text();
    ensure!(jump.starts_with("Host *.spaces\n"), "{jump}");
    // A laptop that has nothing else: the lines, the gateway's key, and a key of Anna's.
    let folder = scene.world.folder().join("plain");
    fs::create_dir(&folder)?;
    let (config, known) = (folder.join("config"), folder.join("known_hosts"));
    let key = laptop.config().with_file_name("id_ed25519");
    fs::write(&known, given("known_hosts")? + "\n")?;
    let every = format!(
        "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  BatchMode yes\n  StrictHostKeyChecking yes\n",
        key.display()
    );
    let keys = format!("  GlobalKnownHostsFile {}\n  UserKnownHostsFile /dev/null\n", known.display());
    fs::write(&config, format!("{own}{jump}{every}{keys}"))?;
    let works = async |name: &str| -> Result<()> {
        let mut ssh = Command::new("ssh");
        let done = ssh.arg("-F").arg(&config).args([name, "echo works"]).output().await?;
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        ensure!(done.status.success() && out == "works\n" && err.is_empty(), "{name}: {out} {err}");
        Ok(())
    };
    for name in ["team", "team.spaces"] {
        works(name).await?;
    }
    anna.post("/spaces/main/team/stop", &json!({ "force": true })).await?.is(202)?;
    space(&anna, "/spaces/main/team", |space| space["stopped"]["person"].is_string()).await?;
    anna.post("/spaces/main/team/start", &json!({})).await?.is(202)?;
    space(&anna, "/spaces/main/team", |space| space["state"] == "running").await?;
    for name in ["team", "team.spaces"] {
        works(name).await?;
    }
    Ok(())
}
