//! The probe: a look inside a space. [`SCRIPT`] runs there, [`read()`] checks what it said, [`kernels()`] and
//! [`terminals()`] check what the space's Jupyter server said, and [`inside()`] makes evidence of both.
//!
//! Whoever is inside the space may have made up every byte. So nothing is believed that the script would not print,
//! names of programs are cut to plain characters, and no time is later than now: made-up evidence can only postpone a
//! stop. A look that fails in any way says why, and is no evidence at all. How it is run is not here.

mod failure;
mod jupyter;
mod report;
#[cfg(test)]
mod tests;

use time::{Duration, OffsetDateTime};

pub use failure::ProbeFailure;
pub use jupyter::{Jupyter, Kernels, LONGEST_LIST, Terminals, kernels, terminals};
pub use report::{LONGEST_OUTPUT, Report, read};

use super::idle::{Inside, Seen, Sign};

/// What runs in the space, on the standard input of `/bin/sh -s`.
pub const SCRIPT: &[u8] = include_bytes!("probe/probe.sh");

/// Makes evidence of a look. `now` is when its answers had arrived, by the clock that the space is judged by.
///
/// The space's clock may be wrong, so its times are taken as ages by that same clock. The moments that the look itself
/// took make a sign a little later than it was.
#[must_use]
pub fn inside(report: Report, jupyter: Option<Jupyter>, now: OffsetDateTime) -> Inside {
    let ago = |age: Duration| now.checked_sub(age.max(Duration::ZERO)).unwrap_or(now);
    let by_its_clock = |at: OffsetDateTime| ago(report.clock - at);
    let pty = report.pty_age.map(|age| (Sign::Pty, ago(age)));
    let kernel = jupyter.and_then(|found| found.kernels.newest).map(|at| (Sign::Kernel, by_its_clock(at)));
    let terminal =
        jupyter.and_then(|found| found.terminals.newest).map(|at| (Sign::JupyterTerminal, by_its_clock(at)));
    Inside {
        kernels: jupyter.map(|found| (found.kernels.open, found.kernels.busy)),
        signs: [pty, kernel, terminal]
            .into_iter()
            .flatten()
            .map(|(sign, at)| Seen { sign, at, by: None })
            .collect(),
        cpu: Some(report.cpu),
        cpu_percent: None,
        gpu_percent: report.gpus.iter().max().map(|busiest| f64::from(*busiest)),
        programs: distinct(report.programs),
    }
}

/// Each name once, in the order of its first.
fn distinct(names: Vec<String>) -> Vec<String> {
    names.into_iter().fold(Vec::new(), |mut kept, name| {
        if !kept.contains(&name) {
            kept.push(name);
        }
        kept
    })
}
