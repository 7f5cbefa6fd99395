//! What tests make a space show of its inside, and what they read there: JupyterLab's API, the GPUs, /tmp.

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::simulator::Simulator;

/// What runs in a space's JupyterLab, and how its API fails. The default is a server that nobody has opened.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jupyter {
    /// Kernels, each with a notebook of its own.
    pub kernels: Vec<Kernel>,
    /// Terminals of the browser.
    pub terminals: Vec<Terminal>,
    /// How every request fails.
    pub fault: Option<JupyterFault>,
}

/// A kernel. What it says moves its last activity; that it computes does not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Its id: one that was there before is the same kernel.
    pub id: String,
    /// Name of its kind.
    #[serde(default = "python")]
    pub name: String,
    /// Path of its notebook.
    #[serde(default = "notebook")]
    pub notebook: String,
    /// What it is at.
    #[serde(default)]
    pub state: KernelState,
    /// Tabs of browsers that are open on it.
    #[serde(default)]
    pub connections: u32,
    /// Whether it says something all the time, so that its last activity is always now.
    #[serde(default)]
    pub talking: bool,
    /// For how long it has said nothing. If absent, a kernel that is new or in another state than before has said so
    /// just now, and any other has said nothing since.
    #[serde(default)]
    pub quiet_s: Option<f64>,
}

fn python() -> String {
    "python3".to_owned()
}
fn notebook() -> String {
    "Untitled.ipynb".to_owned()
}

impl Kernel {
    /// A kernel without a tab, that has just come to this state and says nothing.
    #[must_use]
    pub fn new(id: &str, state: KernelState) -> Self {
        Self {
            id: id.to_owned(),
            name: python(),
            notebook: notebook(),
            state,
            connections: 0,
            talking: false,
            quiet_s: None,
        }
    }

    /// With so many tabs open on it.
    #[must_use]
    pub fn with_tabs(self, connections: u32) -> Self {
        Self { connections, ..self }
    }

    /// That says something all the time.
    #[must_use]
    pub fn talking(self) -> Self {
        Self { talking: true, ..self }
    }

    /// That has said nothing for so long.
    #[must_use]
    pub fn quiet_for(self, seconds: f64) -> Self {
        Self { quiet_s: Some(seconds), ..self }
    }
}

/// What a kernel is at, as Jupyter Server calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelState {
    /// It waits.
    #[default]
    Idle,
    /// It runs a cell.
    Busy,
    /// It comes up, or hangs in coming up.
    Starting,
}

/// A terminal of the browser.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terminal {
    /// Its name: one that was there before is the same terminal.
    pub name: String,
    /// Whether something is typed or printed all the time.
    #[serde(default)]
    pub talking: bool,
    /// For how long nothing was typed or printed. If absent, a new terminal was used just now, and any other has not
    /// been since.
    #[serde(default)]
    pub quiet_s: Option<f64>,
}

impl Terminal {
    /// A terminal that was used just now, and is not any more.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), talking: false, quiet_s: None }
    }

    /// In which something is printed all the time.
    #[must_use]
    pub fn talking(self) -> Self {
        Self { talking: true, ..self }
    }

    /// In which nothing has happened for so long.
    #[must_use]
    pub fn quiet_for(self, seconds: f64) -> Self {
        Self { quiet_s: Some(seconds), ..self }
    }
}

/// How JupyterLab's API fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JupyterFault {
    /// It answers with a page that is no JSON.
    Nonsense,
    /// It takes a request and never answers.
    Hangs,
    /// Nobody listens on its port.
    Closed,
}

/// What nvidia-smi finds. The default is GPUs that do nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gpus {
    /// Load of each in percent; those that are left out do nothing.
    pub load: Vec<u32>,
    /// How it fails.
    pub fault: Option<GpuFault>,
}

impl Gpus {
    /// GPUs at work.
    #[must_use]
    pub fn at(load: &[u32]) -> Self {
        Self { load: load.to_vec(), fault: None }
    }

    /// GPUs that cannot be asked.
    #[must_use]
    pub fn failing(fault: GpuFault) -> Self {
        Self { load: Vec::new(), fault: Some(fault) }
    }
}

/// How nvidia-smi fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpuFault {
    /// It does not reach the driver, and ends with 9.
    Fails,
    /// It never ends.
    Hangs,
    /// It knows no number: `[N/A]`.
    NotAvailable,
}

/// Something for a running space to show from now on.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Script {
    /// What runs in its JupyterLab.
    Jupyter(Jupyter),
    /// What its GPUs do.
    Gpus(Gpus),
}

impl Simulator {
    /// Makes JupyterLab of a running space show this from now on, until the app ends.
    pub async fn set_jupyter(&self, space_arn: &str, jupyter: Jupyter) -> anyhow::Result<()> {
        self.cloud.spaces.script(space_arn, Script::Jupyter(jupyter)).await
    }

    /// Makes nvidia-smi in a running space find this from now on, until the app ends.
    pub async fn set_gpus(&self, space_arn: &str, gpus: Gpus) -> anyhow::Result<()> {
        self.cloud.spaces.script(space_arn, Script::Gpus(gpus)).await
    }

    /// What a file in a space's own /tmp holds; `None` if there is none of this name.
    pub fn read_tmp(&self, space_arn: &str, name: &str) -> anyhow::Result<Option<String>> {
        self.require_isolation()?;
        let tmp = self.cloud.spaces.tmp(space_arn).context("the space has no /tmp of its own")?;
        match std::fs::read_to_string(tmp.join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).with_context(|| format!("{name} in the space's /tmp")),
        }
    }

    /// Fails where spaces see the processes, terminals and /tmp of the whole machine instead of their own.
    pub fn require_isolation(&self) -> anyhow::Result<()> {
        match self.cloud.spaces.why_shared() {
            None => Ok(()),
            Some(why) => bail!("spaces are not isolated from this machine ({why}); run as root"),
        }
    }
}
