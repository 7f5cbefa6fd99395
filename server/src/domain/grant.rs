//! Grants: one space for one person, for a time and a reason.
//!
//! A grant of the configuration file names somebody of that file. A grant of the database is held by the person whose
//! row it names: it is part of the [`User`](super::user::User), so it cannot be taken for that of a namesake.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use time::OffsetDateTime;

use super::ids::{DomainAlias, GrantId, SpaceName, UserName};
use super::space::Space;

/// The longest reason, in characters.
const LONGEST_REASON: usize = 300;
/// What the units of a [`Term`] are in seconds.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// One space until a time, whomever it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The space's domain.
    pub domain: DomainAlias,
    /// The space.
    pub space: SpaceName,
    /// Until when.
    pub until: OffsetDateTime,
    /// Why, in the words of who approved it.
    pub reason: String,
}

impl Grant {
    /// Whether it is about this space.
    #[must_use]
    pub fn covers(&self, space: &Space) -> bool {
        self.domain == space.domain && self.space == *space.name()
    }
}

/// A grant of the configuration file: for the person whom the file calls so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGrant {
    /// Whom.
    pub user: UserName,
    /// What.
    pub grant: Grant,
}

/// A grant of the database, in the hands of its person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldGrant {
    /// The row.
    pub id: GrantId,
    /// What.
    pub grant: Grant,
}

/// How long a grant is to run: `90m`, `12h`, `3d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term(Duration);

/// A term that is longer than the configuration allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{asked} is too long: a grant runs for at most {longest}")]
pub struct TooLong {
    asked: Term,
    longest: Term,
}

impl Term {
    /// A term of this length.
    #[must_use]
    pub const fn of(length: Duration) -> Self {
        Self(length)
    }

    /// The length, if it is none that is too long.
    ///
    /// # Errors
    /// When it is.
    pub fn within(self, longest: Duration) -> Result<Duration, TooLong> {
        if self.0 <= longest { Ok(self.0) } else { Err(TooLong { asked: self, longest: Self(longest) }) }
    }
}

impl FromStr for Term {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "write how long it runs, such as 90m, 12h or 3d";
        let text = text.trim();
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(*unit)).ok_or(rule)?;
        let number = text.strip_suffix(unit.0).unwrap_or_default();
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(rule);
        }
        let seconds = number.parse::<u32>().ok().map(|number| u64::from(number) * unit.1);
        seconds.filter(|seconds| *seconds > 0).map(|s| Self(Duration::from_secs(s))).ok_or(rule)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let unit = UNITS.iter().find(|(_, length)| seconds >= *length && seconds.is_multiple_of(*length));
        let (unit, length) = unit.copied().unwrap_or(('s', 1));
        write!(f, "{}{unit}", seconds / length)
    }
}

/// Why something was done about a person, in the words of who did it: one line that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| !word.is_empty())
            .collect();
        let line = words.join(" ");
        match line.chars().count() {
            0 => Err("write a reason: others will read it"),
            n if n > LONGEST_REASON => Err("write a shorter reason, of at most 300 characters"),
            _ => Ok(Self(line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_and_written_in_their_largest_unit() {
        for (text, seconds, shown) in
            [("90m", 5_400, "90m"), ("24h", 86_400, "1d"), (" 3d ", 259_200, "3d"), ("20s", 20, "20s")]
        {
            let term: Term = text.parse().unwrap();
            assert_eq!((term.0.as_secs(), term.to_string().as_str()), (seconds, shown), "{text}");
        }
        for bad in ["", "3", "d", "0d", "-3d", "1.5h", "3 d", "3w", "99999999999d", "3dd", "+3d"] {
            assert!(bad.parse::<Term>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_term_is_within_its_bound_or_says_what_the_bound_is() {
        let week = Duration::from_secs(7 * 86_400);
        assert_eq!("7d".parse::<Term>().unwrap().within(week), Ok(week));
        let refused = "169h".parse::<Term>().unwrap().within(week).unwrap_err();
        assert_eq!(refused.to_string(), "169h is too long: a grant runs for at most 7d");
    }

    #[test]
    fn a_reason_is_one_line_that_says_something() {
        assert_eq!(" on\ncall\u{1b}[31m ".parse::<Reason>().unwrap().as_str(), "on call [31m");
        for bad in ["", " \n\t", &"x".repeat(301)] {
            assert!(bad.parse::<Reason>().is_err(), "{bad:?}");
        }
    }
}
