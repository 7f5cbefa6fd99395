//! The files of a private cluster: `postgres/` is the cluster, `postgres.run/` its socket, `postgres.log` its log,
//! `postgres.url` how to connect, `postgres.lock` keeps others away.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::EmbeddedError;
use super::account::Account;

/// The longest directory that a socket's path fits under: such an address has 108 bytes on Linux (unix(7)), and
/// `/.s.PGSQL.5432` and the end take 15.
const SOCKET_DIRECTORY_BYTES: usize = 92;
/// A log that is larger at a start is begun anew.
const LOG_BYTES: u64 = 4 << 20;
/// How much of the log's end an error shows.
const TAIL_BYTES: u64 = 2000;

/// The files of one cluster, locked.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    /// Made for a data directory whose own path is too long for a socket.
    short: Option<tempfile::TempDir>,
    lock: File,
}

impl Files {
    /// Makes the directories, and checks that the account can reach them.
    pub(super) fn prepare(directory: &Path, account: &Account) -> Result<Self, EmbeddedError> {
        let failed = |error| EmbeddedError::Io(directory.to_owned(), error);
        if !directory.exists() {
            // Others may pass through, as Postgres's user must, but not look around.
            DirBuilder::new().recursive(true).mode(0o711).create(directory).map_err(failed)?;
        }
        let directory = directory.canonicalize().map_err(failed)?;
        account.may_enter(&directory)?;
        let lock = private().open(directory.join("postgres.lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => EmbeddedError::InUse(directory.clone()),
            TryLockError::Error(error) => failed(error),
        })?;
        let short = if directory.as_os_str().len() + "/postgres.run".len() > SOCKET_DIRECTORY_BYTES {
            Some(tempfile::Builder::new().prefix("spaceport-").tempdir().map_err(failed)?)
        } else {
            None
        };
        let files = Self { directory, short, lock };
        for owned in [files.cluster(), files.run()] {
            make_owned(&owned, account)?;
        }
        Ok(files)
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.directory.join("postgres")
    }

    /// The directory of the socket.
    pub(super) fn run(&self) -> PathBuf {
        self.short.as_ref().map_or_else(|| self.directory.join("postgres.run"), |dir| dir.path().to_owned())
    }

    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("postgres.log")
    }

    fn url_file(&self) -> PathBuf {
        self.directory.join("postgres.url")
    }

    /// Whether `initdb` has gone through: it writes this file early, and removes what it made when it fails.
    pub(super) fn has_cluster(&self) -> bool {
        self.cluster().join("PG_VERSION").exists()
    }

    /// How to connect to a database of the cluster.
    pub(super) fn url(&self, password: &SecretString, database: &str) -> SecretString {
        let host = percent_encoded(self.run().as_os_str().as_bytes());
        format!("postgres://spaceport:{}@{host}/{database}", password.expose_secret()).into()
    }

    /// Writes how to connect for the command line on this machine, and answers it.
    pub(super) fn write_url(&self, password: &SecretString) -> Result<SecretString, EmbeddedError> {
        let url = self.url(password, "spaceport");
        let new = self.directory.join("postgres.url.new");
        let write = || {
            let mut file = private().truncate(true).open(&new)?;
            writeln!(file, "{}", url.expose_secret())?;
            file.sync_all()?;
            fs::rename(&new, self.url_file())
        };
        write().map_err(|error| EmbeddedError::Io(self.url_file(), error))?;
        Ok(url)
    }

    /// The password of an earlier start.
    pub(super) fn password(&self) -> Option<SecretString> {
        let url = fs::read_to_string(self.url_file()).ok()?;
        let (password, _) = url.strip_prefix("postgres://spaceport:")?.split_once('@')?;
        Some(password.to_owned().into())
    }

    /// A file with a password that the account can read, for `initdb`.
    pub(super) fn password_file(
        &self,
        password: &SecretString,
        account: &Account,
    ) -> Result<tempfile::NamedTempFile, EmbeddedError> {
        let failed = |error| EmbeddedError::Io(self.run(), error);
        let mut file = tempfile::NamedTempFile::new_in(self.run()).map_err(failed)?;
        writeln!(file, "{}", password.expose_secret()).map_err(failed)?;
        account.own(file.path())?;
        Ok(file)
    }

    /// The log, to be written at its end.
    pub(super) fn open_log(&self) -> Result<File, EmbeddedError> {
        let open = || {
            let file = private().append(true).open(self.log())?;
            if file.metadata()?.len() > LOG_BYTES {
                file.set_len(0)?;
            }
            Ok(file)
        };
        open().map_err(|error| EmbeddedError::Io(self.log(), error))
    }

    /// The end of the log.
    pub(super) fn log_tail(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(self.log())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)?;
            Ok(String::from_utf8_lossy(&tail).trim().to_owned())
        };
        read().unwrap_or_else(|error| format!("(the log cannot be read: {error})"))
    }
}

impl Drop for Files {
    /// Closing would do, if no child process happened to be between its fork and its exec.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// A directory of the account's alone.
fn make_owned(directory: &Path, account: &Account) -> Result<(), EmbeddedError> {
    let failed = |error| EmbeddedError::Io(directory.to_owned(), error);
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    account.own(directory)
}

/// Options for a file of ours alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).write(true).mode(0o600);
    options
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(*byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
