//! Evidence: what one look at a space showed.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// What shows that a person or a job is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// The app came into service: somebody wanted it.
    Started,
    /// A person typed in a terminal that the gateway carries.
    Keys,
    /// A person opened a shell or an SFTP channel.
    Opened,
    /// More bytes went towards the space than an editor's heartbeat has.
    Sent,
    /// More bytes came from the space than an editor's heartbeat has.
    Received,
    /// A terminal that the gateway carries showed something.
    Screen,
    /// A kernel was busy.
    KernelBusy,
    /// A kernel said or did something.
    Kernel,
    /// A terminal of JupyterLab said something.
    JupyterTerminal,
    /// Any terminal inside was written to.
    Pty,
    /// Processes used the CPU.
    Cpu,
    /// The GPU worked.
    Gpu,
}

impl Sign {
    /// Whether it can only come from outside the space. Everything else may be made up by whoever is inside.
    #[must_use]
    pub const fn from_outside(self) -> bool {
        matches!(self, Self::Started | Self::Keys | Self::Opened | Self::Sent)
    }

    /// The word that rows and JSON have.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Keys => "keys",
            Self::Opened => "opened",
            Self::Sent => "sent",
            Self::Received => "received",
            Self::Screen => "screen",
            Self::KernelBusy => "kernel_busy",
            Self::Kernel => "kernel",
            Self::JupyterTerminal => "jupyter_terminal",
            Self::Pty => "pty",
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }
}

/// In a few words, as they stand behind a time: `14:09 last key in any terminal`.
impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "the app came into service",
            Self::Keys => "last key in any terminal",
            Self::Opened => "last shell or sftp opened",
            Self::Sent => "last traffic to the space above a heartbeat",
            Self::Received => "last traffic from the space above a heartbeat",
            Self::Screen => "last output in a terminal",
            Self::KernelBusy => "a kernel was busy",
            Self::Kernel => "last word of a kernel",
            Self::JupyterTerminal => "last word of a terminal in JupyterLab",
            Self::Pty => "last output in a terminal inside",
            Self::Cpu => "processes used the CPU",
            Self::Gpu => "the GPU worked",
        })
    }
}

/// The newest time of one sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What.
    pub sign: Sign,
    /// When.
    pub at: OffsetDateTime,
    /// Who, where the gateway knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What the gateway itself has seen pass by, on all replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// The newest of each sign.
    pub signs: Vec<Seen>,
    /// Why this may not be everything: a replica with sessions in the space has fallen silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsure: Option<String>,
}

/// What was found inside the space. Numbers and names of programs, made by whoever is inside.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inside {
    /// Kernels that are open, and how many of them are busy; nothing where there is no Jupyter server.
    #[serde(default)]
    pub kernels: Option<(u32, u32)>,
    /// The newest of each sign that has a time of its own.
    #[serde(default)]
    pub signs: Vec<Seen>,
    /// What the CPU counters said.
    #[serde(default)]
    pub cpu: Option<CpuUse>,
    /// CPU use since the look before, in percent of one core; worked out when the look is added to the others.
    #[serde(default)]
    pub cpu_percent: Option<f64>,
    /// The busiest GPU, in percent.
    #[serde(default)]
    pub gpu_percent: Option<f64>,
    /// The programs that have used most CPU.
    #[serde(default)]
    pub programs: Vec<String>,
}

/// Which counters those are. Two of different sources have nothing to do with each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuSource {
    /// The space's control group, version 2.
    #[default]
    Cgroup2,
    /// The space's control group, version 1.
    Cgroup1,
    /// The sum over its processes, with what identifies those that have used most: when one of them ends, its part of
    /// the sum may be gone.
    Processes(u32),
}

/// What the CPU counters of a space said. Two of one source make a rate, whichever replica looked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CpuUse {
    /// Which counters.
    #[serde(default)]
    pub source: CpuSource,
    /// CPU time that has been used since the app began, in seconds of one core.
    pub used_s: f64,
    /// How long the machine was up, on its monotonic clock.
    pub up_s: f64,
}

/// Why nobody could look inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoLook {
    /// In a few words, as they stand behind "unknown:".
    pub why: String,
    /// Whether looking is not set up for the domain: then a policy may do without.
    pub not_set_up: bool,
}

/// A person's "do not stop until then".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Until when.
    pub until: OffsetDateTime,
    /// Who.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
}

/// One look at a space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// When.
    pub at: OffsetDateTime,
    /// Whether the clock has run evenly since the look before. After a jump, times before it say nothing.
    pub steady: bool,
    /// What the gateway saw.
    pub outside: Outside,
    /// What was found inside.
    pub inside: Result<Inside, NoLook>,
    /// The hold that runs longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}
