//! The key that encrypts secrets at rest: given, read from a file, or made once beside the data.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use rand::TryRngCore;
use secrecy::{ExposeSecret, SecretBox};
use tempfile::NamedTempFile;

use super::reader::Section;

/// The file of a key that the gateway made itself, in the data directory.
const KEY_FILE: &str = "secret.key";

/// 32 bytes that encrypt secrets at rest.
pub struct SecretKey(SecretBox<[u8; 32]>);

impl SecretKey {
    fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    /// 64 hexadecimal digits, or 32 bytes as base64 in either alphabet.
    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let mut bytes = [0; 32];
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
            }
            return Some(Self::new(bytes));
        }
        let text = text.trim_end_matches('=');
        let bytes = STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()?;
        bytes.try_into().ok().map(Self::new)
    }
}

impl Clone for SecretKey {
    fn clone(&self) -> Self {
        Self::new(*self.expose())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

/// Where the key comes from.
#[derive(Debug, Clone)]
pub enum Secrets {
    /// It was given.
    Given(SecretKey),
    /// It is in this file, which is made if it is missing.
    Own(PathBuf),
}

/// Why the gateway's own key file gives no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read or made.
    #[error("the key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("the key file {0} does not hold 32 bytes as base64 or hexadecimal digits")]
    Malformed(PathBuf),
}

impl Secrets {
    pub(super) fn read(mut section: Section<'_>, data_dir: &Path) -> Self {
        let instead = "write 32 random bytes: openssl rand -base64 32";
        let given = section.text("key", instead);
        let file = section.text("key_file", "write the path of a file that holds the key");
        if given.is_some() && file.is_some() {
            section.fault("key_file", file.as_deref(), "secrets.key is there too", "keep one of them");
        }
        let key = match (given, file) {
            (Some(text), _) => {
                let key = SecretKey::from_text(&text);
                if key.is_none() {
                    section.fault("key", None, "it is not 32 bytes as base64 or hexadecimal digits", instead);
                }
                key
            }
            (None, Some(path)) => read_given_file(&section, &path),
            (None, None) => None,
        };
        section.finish();
        key.map_or_else(|| Self::Own(data_dir.join(KEY_FILE)), Self::Given)
    }

    /// The key; the gateway's own is made on first use.
    ///
    /// # Errors
    /// When the gateway's own key file cannot be read or made.
    pub fn key(&self) -> Result<SecretKey, KeyFileError> {
        let path = match self {
            Self::Given(key) => return Ok(key.clone()),
            Self::Own(path) => path,
        };
        let io_error = |source| KeyFileError::Io { path: path.clone(), source };
        match std::fs::read_to_string(path) {
            Ok(text) => SecretKey::from_text(&text).ok_or_else(|| KeyFileError::Malformed(path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_key_file(path).map_err(io_error)?;
                // Read back, since another process may have been first.
                let text = std::fs::read_to_string(path).map_err(io_error)?;
                SecretKey::from_text(&text).ok_or_else(|| KeyFileError::Malformed(path.clone()))
            }
            Err(error) => Err(io_error(error)),
        }
    }
}

fn read_given_file(section: &Section<'_>, path: &str) -> Option<SecretKey> {
    let instead = "write the path of a file with 32 random bytes: openssl rand -base64 32";
    let key = match std::fs::read_to_string(path) {
        Ok(text) => SecretKey::from_text(&text),
        Err(error) => {
            section.fault("key_file", Some(path), error.to_string(), instead);
            return None;
        }
    };
    if key.is_none() {
        let reason = "the file does not hold 32 bytes as base64 or hexadecimal digits";
        section.fault("key_file", Some(path), reason, instead);
    }
    key
}

/// Writes a new key, readable by its owner only. A file that is there by then wins.
fn make_key_file(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut bytes = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    // Temporary files are made with mode 0600. Linking one into place shows nobody half a key.
    let mut file = NamedTempFile::new_in(directory)?;
    writeln!(file, "{}", STANDARD_NO_PAD.encode(bytes))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => std::fs::File::open(directory)?.sync_all(),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::SecretKey;

    #[test]
    fn what_is_not_32_bytes_is_no_key() {
        let short = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw==";
        for bad in ["", "0f", &"0g".repeat(32), short, &"\u{e9}".repeat(32)] {
            assert!(SecretKey::from_text(bad).is_none(), "{bad}");
        }
        assert!(SecretKey::from_text(&format!("{}\n", "0f".repeat(32))).is_some());
    }
}
