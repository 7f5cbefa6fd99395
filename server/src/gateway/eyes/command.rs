//! A script of ours, run by the shell of a space.

use bytes::Bytes;

use super::Blind;
use crate::domain::probe::ProbeFailure;
use crate::gateway::link::{Link, Output};

/// The shell that every image has. The script comes on its standard input, so that no list of processes shows it.
const SHELL: &[u8] = b"/bin/sh -s";

/// What a script prints, unless it is more than this many bytes. What it says on standard error is not ours to keep.
pub(super) async fn output_of(link: &Link, script: &'static [u8], most: usize) -> Result<Vec<u8>, Blind> {
    let channel = link.open_session().await?;
    channel.exec(SHELL).await?;
    let (input, mut output) = channel.split();
    input.data(Bytes::from_static(script)).await?;
    input.eof().await?;
    let (mut said, mut ended) = (Vec::new(), None);
    while let Some(next) = output.next().await {
        match next {
            Output::Data(bytes) if said.len() + bytes.len() > most => {
                return Err(ProbeFailure::TooLong.into());
            }
            Output::Data(bytes) => said.extend_from_slice(&bytes),
            Output::ExitStatus(status) => ended = Some(status),
            Output::ExitSignal { name, .. } => return Err(Blind::Ended(format!("signal {}", plain(&name)))),
            Output::Extended(..) | Output::Eof => {}
        }
    }
    match ended {
        Some(0) => Ok(said),
        Some(status) => Err(Blind::Ended(format!("status {status}"))),
        None => Err(Blind::Ended("no status".to_owned())),
    }
}

/// A signal's name, as the space's server gives it.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
}
