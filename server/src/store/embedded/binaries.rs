//! Finding Postgres's binaries, of the version that a cluster wants.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::EmbeddedError;

/// Where Debian's packages put each major version.
const PACKAGES: &str = "/usr/lib/postgresql";

/// A directory with `initdb` and `postgres`.
#[derive(Debug)]
pub(super) struct Binaries {
    directory: PathBuf,
    /// The major version: `15`.
    pub(super) version: String,
}

impl Binaries {
    /// The binaries for a cluster, which may not exist yet: in the given directory, or else of the packages, newest
    /// first, or else in the search path.
    pub(super) async fn find(
        given: Option<&Path>,
        search: &[PathBuf],
        cluster: &Path,
    ) -> Result<Self, EmbeddedError> {
        let made_by = fs::read_to_string(cluster.join("PG_VERSION")).ok().map(|text| text.trim().to_owned());
        let candidates = given.map_or_else(|| usual(search), |directory| vec![directory.to_owned()]);
        let mut other = None;
        for directory in &candidates {
            let Some(version) = version(directory).await else { continue };
            let found = Self { directory: directory.clone(), version };
            match &made_by {
                Some(wanted) if *wanted != found.version => {
                    other.get_or_insert(found);
                }
                _ => return Ok(found),
            }
        }
        Err(match (made_by, other) {
            (Some(wanted), Some(other)) => {
                EmbeddedError::OtherVersion(cluster.to_owned(), wanted, other.directory, other.version)
            }
            _ => EmbeddedError::NoBinaries(candidates),
        })
    }

    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }
}

/// The packages' directories, newest first, then those of the search path.
fn usual(search: &[PathBuf]) -> Vec<PathBuf> {
    let mut packages: Vec<(u32, PathBuf)> = fs::read_dir(PACKAGES)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    packages.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    packages.into_iter().map(|(_, bin)| bin).chain(search.iter().cloned()).collect()
}

/// The major version of the binaries in a directory, if both are there and run.
async fn version(directory: &Path) -> Option<String> {
    if !directory.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(directory.join("postgres")).arg("--version").output().await.ok()?;
    major(&String::from_utf8_lossy(&output.stdout))
}

/// From `postgres (PostgreSQL) 15.18 (Debian …)`, `… 9.6.24` is of no interest, `… 18beta1` is 18.
fn major(text: &str) -> Option<String> {
    let number = text.strip_prefix("postgres (PostgreSQL) ")?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_the_first_number() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n").as_deref(), Some("15"));
        assert_eq!(major("postgres (PostgreSQL) 18beta1").as_deref(), Some("18"));
        assert_eq!(major("sh: not found"), None);
    }
}
