//! The boundary between the account (this side) and the stream side: message gateway, agents and the spaces' SSH servers.
//! Neither side knows anything else of the other.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::bail;
use async_trait::async_trait;

use crate::inside::Script;

/// What the stream side asks of the account.
pub trait Sessions: Send + Sync + 'static {
    /// Decides an upgrade request: `authorization`-signed, presigned or unsigned per the account's switch.
    /// `Err` is the HTTP status to answer.
    fn authorize_open(
        &self,
        session_id: &str,
        method: &str,
        path_and_query: &str,
        headers: &[(String, String)],
    ) -> Result<(), u16>;

    /// Checks the token of the first frame (single use unless switched off) and says which space it reaches.
    fn claim(&self, session_id: &str, token: &str) -> Result<Claimed, String>;

    /// The stream is over (closed or idle): its place among the ten is free.
    fn released(&self, session_id: &str);
}

/// The space that a session reaches.
pub struct Claimed {
    /// ARN of the space.
    pub space_arn: String,
    /// Where the SSH server of the space's present app listens.
    pub ssh: SocketAddr,
}

/// What a space's app is and runs on.
#[derive(Debug, Clone)]
pub struct Machine {
    /// `JupyterLab` or `CodeEditor`.
    pub app_type: String,
    /// How many GPUs the instance has.
    pub gpus: u32,
}

impl Default for Machine {
    fn default() -> Self {
        Self { app_type: "JupyterLab".to_owned(), gpus: 0 }
    }
}

/// What the account asks of whoever runs the spaces' SSH servers; `run` is unique per app life.
#[async_trait]
pub trait Spaces: Send + Sync + 'static {
    /// Starts the SSH server of a space for one app life and says where it listens.
    async fn start(&self, space_arn: &str, run: &str, machine: &Machine) -> anyhow::Result<SocketAddr>;

    /// Ends the SSH server of a space; ending what is not there is fine.
    async fn stop(&self, space_arn: &str);

    /// Makes a running space show something else of its inside, until its app ends.
    async fn script(&self, space_arn: &str, _script: Script) -> anyhow::Result<()> {
        bail!("{space_arn} has no inside")
    }

    /// Where this machine sees a space's /tmp.
    fn tmp(&self, _space_arn: &str) -> Option<PathBuf> {
        None
    }

    /// Why spaces see the processes, terminals and /tmp of the whole machine; `None` if each sees its own alone.
    fn why_shared(&self) -> Option<String> {
        None
    }
}

/// What the control API asks of the stream side: faults of streams, in that side's own words.
pub trait StreamFaults: Send + Sync + 'static {
    /// Applies one fault; `Err` says what was not understood.
    fn apply(&self, fault: serde_json::Value) -> Result<(), String>;
}
