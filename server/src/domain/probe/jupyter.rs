//! What the space's Jupyter server lists: its kernels and its terminals.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::failure::ProbeFailure;

/// The longest list that is read, in bytes: more than a thousand kernels.
pub const LONGEST_LIST: usize = 256 * 1024;

/// The kernels that are open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kernels {
    /// How many there are.
    pub open: u32,
    /// How many of them are at work, or in a state that is not known to be at rest.
    pub busy: u32,
    /// When one of them said or did something last, by the space's clock.
    pub newest: Option<OffsetDateTime>,
}

/// The terminals that are open in JupyterLab.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terminals {
    /// When one of them showed something last, by the space's clock.
    pub newest: Option<OffsetDateTime>,
}

/// What a Jupyter server says of its space. One that serves no terminals has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Jupyter {
    /// Kernels.
    pub kernels: Kernels,
    /// Terminals.
    pub terminals: Terminals,
}

/// What is read of a kernel. Servers may say more, and those that pass kernels on may say less.
#[derive(Deserialize)]
struct Kernel {
    #[serde(rename = "id")]
    _id: String,
    last_activity: Option<String>,
    execution_state: Option<String>,
}

impl Kernel {
    /// At rest are only those that wait for a person, those that have died, and those that start: they may hang in that
    /// for weeks, and when they were asked to is their last activity. Everything else counts as busy, words that are
    /// unheard of too: what is not known is never idle.
    fn is_busy(&self) -> bool {
        !matches!(self.execution_state.as_deref(), Some("idle" | "dead" | "starting"))
    }
}

#[derive(Deserialize)]
struct Terminal {
    #[serde(rename = "name")]
    _name: String,
    last_activity: Option<String>,
}

/// Reads the answer to `GET /api/kernels`.
///
/// # Errors
/// It is too long or not a list of kernels.
pub fn kernels(json: &[u8]) -> Result<Kernels, ProbeFailure> {
    let list: Vec<Kernel> = parse(json).ok_or(ProbeFailure::Kernels)?;
    let count = |number: usize| u32::try_from(number).map_err(|_| ProbeFailure::Kernels);
    Ok(Kernels {
        open: count(list.len())?,
        busy: count(list.iter().filter(|kernel| kernel.is_busy()).count())?,
        newest: newest(list.iter().map(|kernel| kernel.last_activity.as_deref()))
            .ok_or(ProbeFailure::Kernels)?,
    })
}

/// Reads the answer to `GET /api/terminals`.
///
/// # Errors
/// It is too long or not a list of terminals.
pub fn terminals(json: &[u8]) -> Result<Terminals, ProbeFailure> {
    let list: Vec<Terminal> = parse(json).ok_or(ProbeFailure::Terminals)?;
    let newest = newest(list.iter().map(|terminal| terminal.last_activity.as_deref()));
    Ok(Terminals { newest: newest.ok_or(ProbeFailure::Terminals)? })
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    (json.len() <= LONGEST_LIST).then(|| serde_json::from_slice(json).ok()).flatten()
}

/// The newest of these times; the outer nothing means that one of them is none. Without a time, as what was never used
/// may be, there is no sign.
fn newest<'a>(times: impl Iterator<Item = Option<&'a str>>) -> Option<Option<OffsetDateTime>> {
    times.flatten().filter(|text| !text.is_empty()).try_fold(None, |newest: Option<OffsetDateTime>, text| {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(newest.max(Some(at)))
    })
}
