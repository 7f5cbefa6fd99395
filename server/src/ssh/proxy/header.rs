//! The header of the PROXY protocol, version 2. Pure and strict: what is not understood is no header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The part of a header whose length does not vary.
pub(super) const FIXED: usize = 16;
/// The most that may follow it: addresses and a load balancer's own notes take far less.
const LONGEST: usize = 2_048;
/// What every header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// The load balancer speaks for itself, as for its health checks.
    Local,
    /// It speaks for the client at this address.
    From(SocketAddr),
}

/// Why bytes are no header that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// They do not begin as a header does.
    #[error("there is no PROXY header")]
    Missing,
    /// It is of another version.
    #[error("the PROXY header is not of version 2")]
    Version,
    /// It is neither LOCAL nor PROXY.
    #[error("the PROXY header has an unknown command")]
    Command,
    /// It is about something else than TCP over IPv4 or IPv6.
    #[error("the PROXY header is not about TCP")]
    Family,
    /// It is longer than any that makes sense, or shorter than what it must carry.
    #[error("the PROXY header has a wrong length")]
    Length,
    /// The address of the client is none that a client can have.
    #[error("the PROXY header names no client")]
    Address,
    /// What follows the addresses is not a list of fields.
    #[error("the PROXY header has malformed fields")]
    Fields,
}

/// How many bytes follow the fixed part.
///
/// # Errors
/// When it is not the beginning of a header of version 2.
pub(super) fn length(fixed: &[u8; FIXED]) -> Result<usize, Malformed> {
    if !fixed.starts_with(&SIGNATURE) {
        return Err(Malformed::Missing);
    }
    let [.., version_and_command, _, high, low] = *fixed;
    match (version_and_command >> 4, version_and_command & 0x0f) {
        (2, 0 | 1) => {}
        (2, _) => return Err(Malformed::Command),
        _ => return Err(Malformed::Version),
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST { Err(Malformed::Length) } else { Ok(length) }
}

/// What a header says: its fixed part, and as much after it as [`length`] says.
///
/// # Errors
/// When it is no header that is taken.
pub(super) fn parse(fixed: &[u8; FIXED], rest: &[u8]) -> Result<Header, Malformed> {
    if length(fixed)? != rest.len() {
        return Err(Malformed::Length);
    }
    let [.., version_and_command, family, _, _] = *fixed;
    if version_and_command & 0x0f == 0 {
        // Whatever follows LOCAL is to be skipped.
        return Ok(Header::Local);
    }
    let (client, fields) = match family {
        0x11 => {
            let (addresses, fields) = rest.split_first_chunk::<12>().ok_or(Malformed::Length)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            (client(Ipv4Addr::new(a, b, c, d).into(), [high, low]), fields)
        }
        0x21 => {
            let (addresses, fields) = rest.split_first_chunk::<36>().ok_or(Malformed::Length)?;
            let (source, others) = addresses.split_first_chunk::<16>().ok_or(Malformed::Length)?;
            let ports = others.last_chunk::<4>().ok_or(Malformed::Length)?;
            let [high, low, _, _] = *ports;
            (client(Ipv6Addr::from(*source).into(), [high, low]), fields)
        }
        _ => return Err(Malformed::Family),
    };
    let client = client.ok_or(Malformed::Address)?;
    if are_fields(fields) { Ok(Header::From(client)) } else { Err(Malformed::Fields) }
}

fn client(address: IpAddr, port: [u8; 2]) -> Option<SocketAddr> {
    let address = address.to_canonical();
    let port = u16::from_be_bytes(port);
    let possible = port != 0 && !address.is_unspecified() && !address.is_multicast();
    possible.then_some(SocketAddr::new(address, port))
}

/// Whether these are whole fields, each a type, a length and as many bytes.
fn are_fields(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let Some(([_, high, low], rest)) = bytes.split_first_chunk::<3>() else { return false };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(rest) = rest.get(length..) else { return false };
        bytes = rest;
    }
    true
}
