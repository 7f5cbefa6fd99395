//! Every way in which a look inside fails.

use crate::domain::idle::NoLook;

/// Why a look inside says nothing. In a few words, as they stand behind "unknown:".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFailure {
    /// Nothing came at all.
    #[error("the look inside brought nothing")]
    Silent,
    /// More came than the script ever prints.
    #[error("the look inside brought too much")]
    TooLong,
    /// The last line is missing.
    #[error("the look inside was cut off")]
    CutOff,
    /// A start-up file of the space's shell prints something, which also breaks scp.
    #[error("something in the space prints before the look inside does")]
    Preceded,
    /// It is not what the script prints.
    #[error("the look inside brought nonsense")]
    Nonsense,
    /// `date` is missing or failed.
    #[error("the clock of the space cannot be read")]
    Clock,
    /// `/proc/uptime` is missing or strange.
    #[error("the time that the space has been up cannot be read")]
    Uptime,
    /// There is neither a control group nor a list of processes.
    #[error("the CPU time that the space has used cannot be read")]
    Cpu,
    /// There is a terminal, and it is not known when it was written to.
    #[error("a terminal inside cannot be dated")]
    Pty,
    /// There is a GPU and nothing to ask.
    #[error("there is a GPU and no nvidia-smi")]
    NvidiaMissing,
    /// nvidia-smi had to be killed.
    #[error("nvidia-smi did not answer")]
    NvidiaLate,
    /// nvidia-smi ended with an error.
    #[error("nvidia-smi failed")]
    NvidiaFailed,
    /// nvidia-smi answered something else than a percentage for each GPU, as it does for parts of one (MIG).
    #[error("nvidia-smi does not say how busy a GPU is")]
    NvidiaNonsense,
    /// There is an accelerator that is not NVIDIA's.
    #[error("there is an accelerator that cannot be read")]
    OtherAccelerator,
    /// The answer to `GET /api/kernels` is not Jupyter's.
    #[error("the list of kernels makes no sense")]
    Kernels,
    /// The answer to `GET /api/terminals` is not Jupyter's.
    #[error("the list of JupyterLab's terminals makes no sense")]
    Terminals,
}

impl From<ProbeFailure> for NoLook {
    fn from(failure: ProbeFailure) -> Self {
        Self { why: failure.to_string(), not_set_up: false }
    }
}
