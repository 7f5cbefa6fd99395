//! Addresses of e-mail.

use std::fmt;
use std::str::FromStr;

/// The longest address that mail servers must take (RFC 5321 4.5.3.1.3: 256 with its brackets).
const LONGEST_ADDRESS: usize = 254;

/// Where mail goes: `LOCAL@DOMAIN` in ASCII, as the Dot-string and Domain of RFC 5321 4.1.2, nothing quoted.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EmailAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        let local_ok = |local: &str| {
            local.len() <= 64 && local.split('.').all(|part| !part.is_empty() && part.chars().all(atom))
        };
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        match text.split_once('@') {
            Some((local, domain))
                if text.len() <= LONGEST_ADDRESS && local_ok(local) && domain.split('.').all(label_ok) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err("it is not an e-mail address such as ops@example.com"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_plain_ones() {
        for good in ["a@x.org", "anna.berg+ml@mail.example.com", "o'neil@localhost"] {
            assert!(good.parse::<EmailAddress>().is_ok(), "{good}");
        }
        let long = format!("{}@x.org", "a".repeat(65));
        for bad in [
            "",
            "a",
            "@x.org",
            "a@",
            "a@b@c",
            "a b@x.org",
            "a@x.org\r\nRCPT TO:<e@y.org>",
            "<a@x.org>",
            ".a@x.org",
            "a..b@x.org",
            "a@-x.org",
            "a@x..org",
            "\"a\"@x.org",
            "ä@x.org",
            "a@[127.0.0.1]",
            &long,
        ] {
            assert!(bad.parse::<EmailAddress>().is_err(), "{bad}");
        }
    }
}
