//! Approvals: a browser confirms whose key it is that an SSH client shows. Their ids, their codes, and how they end.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::ids::MalformedName;

/// How long a person has to approve.
pub const LIFE: Duration = Duration::from_secs(5 * 60);
/// How long the client has to sign once it is approved, however late that was.
pub const TO_SIGN: Duration = Duration::from_secs(60);
/// Wrong codes that make an approval void.
pub const WRONG_CODES: u32 = 5;

/// Thirty-two letters and digits of which none looks like another (Crockford's): no I, L, O and U.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters of an id: so many that a colleague cannot find other people's by trying.
const ID: usize = 6;
/// Letters of a code.
const CODE: usize = 8;

/// What an approval is called in the address of its page. It is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ApprovalId(String);

impl ApprovalId {
    /// From random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; ID]) -> Self {
        Self(letters(&bytes))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ApprovalId {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        let read = read(text, ID).map(Self);
        read.ok_or_else(|| MalformedName::new("approval", text, "six letters and digits"))
    }
}

/// What a person reads off the terminal and types into the page. A secret: it is shown in one place only.
#[derive(Clone, PartialEq, Eq)]
pub struct ApprovalCode(String);

impl ApprovalCode {
    /// From random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; CODE]) -> Self {
        Self(letters(&bytes))
    }

    /// As it is typed: in any case, with or without the hyphen, and with letters that only look right. Nothing if it
    /// can be no code.
    #[must_use]
    pub fn typed(text: &str) -> Option<Self> {
        read(text, CODE).map(Self)
    }

    /// The eight letters.
    #[must_use]
    pub fn letters(&self) -> &str {
        &self.0
    }

    /// As terminals show it: `QMXP-4RTD`.
    #[must_use]
    pub fn shown(&self) -> String {
        let (first, second) = self.0.split_at_checked(CODE / 2).unwrap_or((&self.0, ""));
        format!("{first}-{second}")
    }
}

impl fmt::Debug for ApprovalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApprovalCode")
    }
}

/// Where an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalState {
    /// Nobody has answered.
    Pending,
    /// Approved; the client is to sign.
    Approved,
    /// Denied.
    Denied,
    /// Too many wrong codes.
    Void,
    /// Nobody answered in time.
    Expired,
    /// The client went away before it was let in.
    Left,
    /// The client was let in.
    Used,
}

impl ApprovalState {
    const ALL: [Self; 7] =
        [Self::Pending, Self::Approved, Self::Denied, Self::Void, Self::Expired, Self::Left, Self::Used];

    /// The word that its row keeps.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Void => "void",
            Self::Expired => "expired",
            Self::Left => "left",
            Self::Used => "used",
        }
    }

    /// From its word; one that this release does not know is over for it.
    #[must_use]
    pub fn from_code(code: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.code() == code).unwrap_or(Self::Void)
    }
}

/// Whether somebody may approve from another address than the SSH client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// With a tick that says that they know why.
    Confirm,
    /// Never.
    Refuse,
}

fn letters(bytes: &[u8]) -> String {
    bytes
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(byte % 32)))
        .map(|byte| char::from(*byte))
        .collect()
}

fn read(text: &str, length: usize) -> Option<String> {
    let mut read = String::with_capacity(length);
    for c in text.chars().filter(|c| !matches!(c, '-' | ' ' | '\t')) {
        let c = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        };
        if read.len() == length || !LETTERS.iter().any(|letter| char::from(*letter) == c) {
            return None;
        }
        read.push(c);
    }
    (read.len() == length).then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_however_they_are_typed() {
        let code = ApprovalCode::from_random([0, 1, 31, 32, 255, 10, 20, 7]);
        assert_eq!(code.shown(), "01Z0-ZAM7");
        for typed in ["01Z0-ZAM7", "01z0zam7", " O1ZO zam7", "0LZ0-ZAM7", "0iz0-zam7"] {
            assert_eq!(ApprovalCode::typed(typed), Some(code.clone()), "{typed}");
        }
        for typed in ["", "01Z0-ZAM", "01Z0-ZAM77", "01Z0-ZAMU", "01Z0_ZAM7", "01Z0-ZAM\u{666}"] {
            assert_eq!(ApprovalCode::typed(typed), None, "{typed}");
        }
        assert!(!format!("{code:?}").contains("ZAM7"));
    }

    #[test]
    fn an_id_is_written_in_one_way() {
        let id: ApprovalId = "h7rd2m".parse().unwrap();
        assert_eq!(id.as_str(), "H7RD2M");
        assert!("H7RD".parse::<ApprovalId>().is_err() && "../../".parse::<ApprovalId>().is_err());
    }

    #[test]
    fn every_state_is_read_as_it_was_written() {
        for state in ApprovalState::ALL {
            assert_eq!(ApprovalState::from_code(state.code()), state);
        }
        assert_eq!(ApprovalState::from_code("of a newer release"), ApprovalState::Void);
    }
}
