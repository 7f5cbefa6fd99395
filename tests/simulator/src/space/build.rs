//! Builds the space program with the Go compiler, once for each version of its source.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use tokio::process::Command;

/// Where Debian's Go packages live.
const PACKAGED: &str = "/usr/share/gocode";

/// The source, held in our own binary so that it can be built wherever that runs.
const SOURCE: &[(&str, &str)] = &[
    ("go.mod", include_str!("../../space/go.mod")),
    ("main.go", include_str!("../../space/main.go")),
    ("conn.go", include_str!("../../space/conn.go")),
    ("session.go", include_str!("../../space/session.go")),
    ("agent.go", include_str!("../../space/agent.go")),
    ("children.go", include_str!("../../space/children.go")),
    ("isolation.go", include_str!("../../space/isolation.go")),
    ("gpu.go", include_str!("../../space/gpu.go")),
    ("jupyter.go", include_str!("../../space/jupyter.go")),
];

/// The built program inside `cache`. Builds that race each make their own and the last rename wins; all are the same.
pub(super) async fn program(cache: &Path) -> anyhow::Result<PathBuf> {
    let program = cache.join(format!("space-{}", source_hash()));
    if tokio::fs::try_exists(&program).await.unwrap_or(false) {
        return Ok(program);
    }
    tokio::fs::create_dir_all(cache).await.with_context(|| format!("cache {}", cache.display()))?;
    let work = tempfile::Builder::new().prefix("space-build").tempdir_in(std::path::absolute(cache)?)?;
    for (name, text) in SOURCE {
        tokio::fs::write(work.path().join(name), text).await?;
    }
    let built = work.path().join("space");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&built).arg(".").current_dir(work.path()).stdin(Stdio::null());
    // From Debian's packages without a network, where they are installed; elsewhere by go.mod.
    if Path::new(PACKAGED).join("src/golang.org/x/crypto/ssh").exists() {
        go.env("GO111MODULE", "off").env("GOPATH", PACKAGED).env("GOFLAGS", "");
    }
    let output = go.output().await.context("the Go compiler (Debian: golang-go) is needed for the spaces")?;
    ensure!(
        output.status.success(),
        "building the space program: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    tokio::fs::rename(&built, &program).await?;
    Ok(program)
}

fn source_hash() -> String {
    let mut all = Vec::new();
    for (name, text) in SOURCE {
        all.extend_from_slice(name.as_bytes());
        all.push(0);
        all.extend_from_slice(text.as_bytes());
        all.push(0);
    }
    digest(&SHA256, &all).as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
