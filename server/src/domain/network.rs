//! Networks: an address with the number of bits that count, as `10.0.0.0/8`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::ids::MalformedName;

/// A range of IPv4 or IPv6 addresses. An address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address lies within. An IPv4 address that is written as IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                kept_v4(network, self.prefix) == kept_v4(address, self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                kept_v6(network, self.prefix) == kept_v6(address, self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The place that an address counts for: an IPv4 address, or an IPv6 /64, which one subscriber holds as a rule.
#[must_use]
pub fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

fn kept_v4(address: Ipv4Addr, prefix: u8) -> u32 {
    let dropped = 32 - u32::from(prefix);
    u32::from(address).checked_shr(dropped).unwrap_or_default()
}

fn kept_v6(address: Ipv6Addr, prefix: u8) -> u128 {
    let dropped = 128 - u32::from(prefix);
    u128::from(address).checked_shr(dropped).unwrap_or_default()
}

impl FromStr for Network {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        let malformed =
            || MalformedName::new("network", text, "an address, a slash and the number of bits that count");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().map_err(|_| malformed())?
            }
            Some(_) => return Err(malformed()),
        };
        if prefix > longest { Err(malformed()) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn bits_beyond_the_prefix_do_not_count() {
        assert!(within("10.1.2.3/8", "10.200.0.1"));
        assert!(!within("10.0.0.0/8", "11.0.0.1"));
        assert!(within("192.0.2.128/25", "192.0.2.129"));
        assert!(!within("192.0.2.128/25", "192.0.2.127"));
        assert!(within("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!within("2001:db8::/33", "2001:db8:8000::1"));
    }

    #[test]
    fn the_shortest_and_the_longest_prefix_hold_all_and_one() {
        assert!(within("0.0.0.0/0", "203.0.113.9"));
        assert!(within("::/0", "2001:db8::1"));
        assert!(within("192.0.2.1", "192.0.2.1") && !within("192.0.2.1", "192.0.2.2"));
        assert!(within("2001:db8::1", "2001:db8::1") && !within("2001:db8::1/128", "2001:db8::2"));
    }

    #[test]
    fn families_do_not_mix_but_a_mapped_address_is_ipv4() {
        assert!(!within("0.0.0.0/0", "2001:db8::1"));
        assert!(!within("::/0", "192.0.2.1"));
        assert!(within("192.0.2.0/24", "::ffff:192.0.2.7"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/+8", "*", "10.0.0.0/8/8"]
        {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
    }
}
