//! One batch of changes as one line: its length, a checksum, and JSON.

use std::fmt::Write as _;

use aws_lc_rs::digest;

use crate::domain::record::Change;

/// Bytes of the SHA-256 that a line keeps: enough against torn and rotten disks, which do not aim.
const CHECKSUM_BYTES: usize = 8;

/// Why a line is no batch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadLine {
    /// It does not begin with a length and a checksum, or they do not fit.
    #[error("the line is damaged")]
    Damaged,
    /// It is whole, and this release does not understand it.
    #[error("the line is whole but not understood")]
    Foreign(#[source] serde_json::Error),
}

/// The line of a batch, with its end.
pub(crate) fn encode(changes: &[Change]) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_vec(changes)?;
    let mut line = format!("{} {} ", json.len(), checksum(&json)).into_bytes();
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

/// The batch of a line, which may have its end or not.
pub(crate) fn decode(line: &[u8]) -> Result<Vec<Change>, BadLine> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (Some(length), Some(sum), Some(json)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(BadLine::Damaged);
    };
    if length != json.len().to_string().as_bytes() || sum != checksum(json).as_bytes() {
        return Err(BadLine::Damaged);
    }
    serde_json::from_slice(json).map_err(BadLine::Foreign)
}

fn checksum(json: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, json);
    digest.as_ref().iter().take(CHECKSUM_BYTES).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn batch(reason: String) -> Vec<Change> {
        let at = time::macros::datetime!(2026-05-01 12:00:00.123456 UTC);
        vec![
            Change::LinkClosed { link: Uuid::nil(), at, reason },
            Change::SessionBytes { session: Uuid::nil(), bytes_in: u64::MAX, bytes_out: 0 },
        ]
    }

    proptest! {
        #[test]
        fn a_batch_comes_back_and_is_one_line(reason in any::<String>()) {
            let changes = batch(reason);
            let line = encode(&changes).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            prop_assert_eq!(decode(&line).map_err(|e| TestCaseError::fail(e.to_string()))?, changes);
        }

        #[test]
        fn a_changed_byte_is_noticed(at in 0usize..200, flip in 1u8..) {
            let mut line = encode(&batch("the client left".to_owned())).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let at = at % (line.len() - 1);
            if let Some(byte) = line.get_mut(at) {
                *byte ^= flip;
            }
            prop_assert!(decode(&line).is_err());
        }

        #[test]
        fn noise_is_no_batch(noise in any::<Vec<u8>>()) {
            prop_assert!(decode(&noise).is_err());
        }
    }
}
