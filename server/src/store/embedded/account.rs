//! Who runs Postgres, which refuses root.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::EmbeddedError;

/// Users that are tried when none is named: the packages' own, then the one that every system has.
const USUAL: [&str; 2] = ["postgres", "nobody"];

/// The account that Postgres runs under.
#[derive(Debug, Clone)]
pub(super) enum Account {
    /// This process's own.
    Own,
    /// Another, since this process is root.
    Other { name: String, uid: u32, gid: u32 },
}

impl Account {
    /// The account to use: another one if this process is root.
    pub(super) fn of(wanted: Option<&str>) -> Result<Self, EmbeddedError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let wanted = wanted.map_or_else(|| USUAL.to_vec(), |name| vec![name]);
        let found = wanted.iter().find_map(|name| find(&users, name));
        found.ok_or_else(|| EmbeddedError::NoUser(wanted.join(" or ")))
    }

    /// Makes a command run under the account, without groups of ours.
    pub(super) fn run(&self, command: &mut Command) {
        if let Self::Other { uid, gid, .. } = self {
            // The standard library also drops the supplementary groups when root gives a user.
            command.gid(*gid).uid(*uid);
        }
    }

    /// Gives a file or directory to the account.
    pub(super) fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid, .. } => {
                chown(path, Some(*uid), Some(*gid)).map_err(|error| EmbeddedError::Io(path.to_owned(), error))
            }
        }
    }

    /// Checks that the account may enter a directory and all above it.
    pub(super) fn may_enter(&self, directory: &Path) -> Result<(), EmbeddedError> {
        let Self::Other { name, uid, gid } = self else { return Ok(()) };
        let above: Vec<&Path> = directory.ancestors().collect();
        for directory in above.into_iter().rev() {
            let of = fs::metadata(directory).map_err(|e| EmbeddedError::Io(directory.to_owned(), e))?;
            let needed = if of.uid() == *uid {
                0o100
            } else if of.gid() == *gid {
                0o010
            } else {
                0o001
            };
            if of.mode() & needed == 0 {
                return Err(EmbeddedError::Closed(PathBuf::from(directory), name.clone()));
            }
        }
        Ok(())
    }
}

/// A line of `passwd(5)`: name:password:uid:gid:…
fn find(users: &str, wanted: &str) -> Option<Account> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| *name == wanted)?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then(|| Account::Other { name: name.to_owned(), uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name_and_never_root() {
        let users =
            "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\nbroken";
        assert!(matches!(find(users, "postgres"), Some(Account::Other { uid: 101, gid: 104, .. })));
        for unknown in ["root", "post", "broken", ""] {
            assert!(find(users, unknown).is_none(), "{unknown}");
        }
    }
}
