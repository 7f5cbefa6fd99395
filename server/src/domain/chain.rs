//! The chain of seals over the audit log: what of a row is sealed, and how a chain's end is written.
//!
//! Version 1 of a row's bytes: the byte 1, then each column in the order of [`RowImage`]'s fields. A column without
//! a value is the byte 0. One with a value is the byte 1, the number of its bytes as 8 bytes, most significant
//! first, and its bytes. So no two rows have the same bytes, and a later version, which begins with another byte,
//! has none of these.
//!
//! What is *not* here: keys and MACs (`store::chain`).

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The version of [`RowImage::bytes`] that new seals use.
pub const ROW_VERSION: u8 = 1;

/// A row of the audit log as it is sealed: every column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowImage<'a> {
    /// `id`, 16 bytes.
    pub id: Uuid,
    /// `at` as Postgres sends it: microseconds since 2000-01-01 UTC, 8 bytes, most significant first.
    pub at: &'a [u8],
    /// `replica_id`, 16 bytes.
    pub replica: Uuid,
    /// `actor_id`, 16 bytes.
    pub actor: Option<Uuid>,
    /// `actor_name`, UTF-8.
    pub actor_name: &'a str,
    /// `space_id`, 16 bytes.
    pub space: Option<Uuid>,
    /// `session_id`, 16 bytes.
    pub session: Option<Uuid>,
    /// `connection_id`, 16 bytes.
    pub connection: Option<Uuid>,
    /// `kind`, UTF-8.
    pub kind: &'a str,
    /// `allowed`: the byte 0 or 1.
    pub allowed: Option<bool>,
    /// `detail` as Postgres writes a `jsonb`, UTF-8. That form is canonical: keys are in one order and each is there
    /// once, white space is fixed, and numbers keep all their digits, which a parser's floating point would not.
    pub detail: &'a str,
}

impl RowImage<'_> {
    /// The row's bytes, in version [`ROW_VERSION`].
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let allowed = self.allowed.map(|allowed| [u8::from(allowed)]);
        let columns: [Option<&[u8]>; 11] = [
            Some(self.id.as_bytes()),
            Some(self.at),
            Some(self.replica.as_bytes()),
            self.actor.as_ref().map(|id| id.as_bytes().as_slice()),
            Some(self.actor_name.as_bytes()),
            self.space.as_ref().map(|id| id.as_bytes().as_slice()),
            self.session.as_ref().map(|id| id.as_bytes().as_slice()),
            self.connection.as_ref().map(|id| id.as_bytes().as_slice()),
            Some(self.kind.as_bytes()),
            allowed.as_ref().map(<[u8; 1]>::as_slice),
            Some(self.detail.as_bytes()),
        ];
        let mut bytes = vec![ROW_VERSION];
        for column in columns {
            match column {
                None => bytes.push(0),
                Some(value) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
                    bytes.extend_from_slice(value);
                }
            }
        }
        bytes
    }
}

/// What a seal says of its row and of everything before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 32]);

impl Mac {
    /// What stands before the first seal.
    pub const START: Self = Self([0; 32]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A chain's end: the last seal's number and MAC. Written `NUMBER:MAC`, in logs and on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last seal's number; 0 for a chain without seals.
    pub seq: i64,
    /// Its MAC.
    pub mac: Mac,
}

impl Head {
    /// The end of a chain without seals.
    pub const START: Self = Self { seq: 0, mac: Mac::START };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.mac)
    }
}

/// What is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write it as the log has it in audit.head: a number, a colon and 64 hexadecimal digits")]
pub struct MalformedHead;

impl FromStr for Head {
    type Err = MalformedHead;

    fn from_str(text: &str) -> Result<Self, MalformedHead> {
        let (seq, digits) = text.trim().split_once(':').ok_or(MalformedHead)?;
        let seq = seq.parse().ok().filter(|seq| *seq >= 0).ok_or(MalformedHead)?;
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(MalformedHead);
        }
        let mut mac = [0; 32];
        for (at, byte) in mac.iter_mut().enumerate() {
            let pair = digits.get(2 * at..2 * at + 2).ok_or(MalformedHead)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| MalformedHead)?;
        }
        Ok(Self { seq, mac: Mac(mac) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> RowImage<'static> {
        RowImage {
            id: Uuid::from_bytes([0x11; 16]),
            at: &[0, 2, 0xf4, 1, 2, 3, 4, 5],
            replica: Uuid::from_bytes([0x22; 16]),
            actor: None,
            actor_name: "ann\u{e9}",
            space: Some(Uuid::from_bytes([0x33; 16])),
            session: None,
            connection: None,
            kind: "access.denied",
            allowed: Some(false),
            detail: r#"{"n": 1.50}"#,
        }
    }

    #[test]
    fn a_rows_bytes_never_change() {
        let hex: String = row().bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = [
            "01",
            "010000000000000010",
            "11111111111111111111111111111111",
            "010000000000000008",
            "0002f40102030405",
            "010000000000000010",
            "22222222222222222222222222222222",
            "00",
            "010000000000000005",
            "616e6ec3a9",
            "010000000000000010",
            "33333333333333333333333333333333",
            "00",
            "00",
            "01000000000000000d",
            "6163636573732e64656e696564",
            "010000000000000001",
            "00",
            "01000000000000000b",
            "7b226e223a20312e35307d",
        ];
        assert_eq!(hex, expected.concat());
    }

    #[test]
    fn every_column_is_in_the_bytes() {
        let (row, other) = (row(), Uuid::from_bytes([0x44; 16]));
        let changed = [
            RowImage { id: other, ..row },
            RowImage { at: &[0, 2, 0xf4, 1, 2, 3, 4, 6], ..row },
            RowImage { replica: other, ..row },
            RowImage { actor: Some(other), ..row },
            RowImage { actor_name: "ann", ..row },
            RowImage { space: None, ..row },
            // The same value in another column.
            RowImage { space: None, session: row.space, ..row },
            RowImage { space: None, connection: row.space, ..row },
            RowImage { session: Some(other), ..row },
            RowImage { connection: Some(other), ..row },
            RowImage { kind: "access.allowed", ..row },
            // Bytes that move from one text to the next.
            RowImage { actor_name: "ann", kind: "\u{e9}access.denied", ..row },
            RowImage { allowed: None, ..row },
            RowImage { allowed: Some(true), ..row },
            RowImage { detail: r#"{"n": 1.5}"#, ..row },
        ];
        let mut all: Vec<Vec<u8>> = changed.iter().map(RowImage::bytes).collect();
        all.push(row.bytes());
        all.sort();
        all.dedup();
        assert_eq!(all.len(), changed.len() + 1);
    }

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let head = Head { seq: 42, mac: Mac([0xa7; 32]) };
        assert_eq!(head.to_string(), format!("42:{}", "a7".repeat(32)));
        assert_eq!(head.to_string().parse(), Ok(head));
        let digits = "a7".repeat(32);
        let bad = ["", "42", "42:", ":", &digits, &format!("-1:{digits}"), &format!("42:{digits}0")];
        for text in bad {
            assert_eq!(text.parse::<Head>(), Err(MalformedHead), "{text}");
        }
        assert_eq!(format!("42:{}\u{e9}", "a7".repeat(31)).parse::<Head>(), Err(MalformedHead));
    }
}
