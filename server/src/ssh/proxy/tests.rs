use std::net::SocketAddr;

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::header::{FIXED, Header, Malformed, length, parse};
use super::*;
use crate::gateway::SystemClock;

const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0xd4, 0x31, 0, 22];

/// A header: version and command, family, what follows.
fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, rest].concat()
}

fn read(bytes: &[u8]) -> Result<Header, Malformed> {
    let (fixed, rest) = bytes.split_first_chunk::<FIXED>().unwrap();
    parse(fixed, rest)
}

fn from(address: &str) -> Result<Header, Malformed> {
    Ok(Header::From(address.parse().unwrap()))
}

#[test]
fn clients_of_either_family_are_named() {
    assert_eq!(read(&header(0x21, 0x11, V4)), from("192.0.2.7:54321"));
    let mut v6 = vec![0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 9;
    v6[32..34].copy_from_slice(&54_321u16.to_be_bytes());
    assert_eq!(read(&header(0x21, 0x21, &v6)), from("[2001:db8::9]:54321"));
    // An IPv4 client that a balancer writes as IPv6.
    v6[..16].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7]);
    assert_eq!(read(&header(0x21, 0x21, &v6)), from("192.0.2.7:54321"));
}

#[test]
fn fields_behind_the_addresses_are_skipped_if_they_are_whole() {
    let with = |fields: &[u8]| read(&header(0x21, 0x11, &[V4, fields].concat()));
    assert_eq!(with(&[0xea, 0, 3, 1, 2, 3, 0x04, 0, 0]), from("192.0.2.7:54321"));
    assert_eq!(with(&[0xea, 0, 4, 1, 2, 3]), Err(Malformed::Fields));
    assert_eq!(with(&[0xea, 0]), Err(Malformed::Fields));
}

#[test]
fn a_load_balancer_may_speak_for_itself_with_anything_behind_it() {
    assert_eq!(read(&header(0x20, 0x00, &[])), Ok(Header::Local));
    assert_eq!(read(&header(0x20, 0x11, V4)), Ok(Header::Local));
    assert_eq!(read(&header(0x20, 0xff, &[1, 2, 3])), Ok(Header::Local));
}

#[test]
fn what_is_not_understood_is_no_header() {
    assert_eq!(read(b"SSH-2.0-OpenSSH_9.2p1\r\n"), Err(Malformed::Missing));
    assert_eq!(read(b"PROXY TCP4 192.0.2.7 198.51.100.1 54321 22\r\n"), Err(Malformed::Missing));
    assert_eq!(read(&header(0x11, 0x11, V4)), Err(Malformed::Version));
    assert_eq!(read(&header(0x22, 0x11, V4)), Err(Malformed::Command));
    for family in [0x00, 0x10, 0x12, 0x20, 0x22, 0x31, 0x41] {
        assert_eq!(read(&header(0x21, family, V4)), Err(Malformed::Family), "{family:#x}");
    }
    assert_eq!(read(&header(0x21, 0x11, &V4[..11])), Err(Malformed::Length));
    assert_eq!(read(&header(0x21, 0x21, V4)), Err(Malformed::Length));
    assert_eq!(read(&header(0x20, 0, &[0; 2_049])), Err(Malformed::Length));
    let longer = [header(0x21, 0x11, V4), vec![0]].concat();
    assert_eq!(read(&longer), Err(Malformed::Length));
    let nobody = [&[0, 0, 0, 0], &V4[4..]].concat();
    assert_eq!(read(&header(0x21, 0x11, &nobody)), Err(Malformed::Address));
    let no_port = [&V4[..8], &[0, 0, 0, 22]].concat();
    assert_eq!(read(&header(0x21, 0x11, &no_port)), Err(Malformed::Address));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(fixed in any::<[u8; FIXED]>(), rest in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = (length(&fixed), parse(&fixed, &rest));
    }

    #[test]
    fn no_bytes_behind_a_good_beginning_make_it_panic(
        command in 0x20u8..0x23,
        family in any::<u8>(),
        rest in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let whole = header(command, family, &rest);
        if let Ok(Header::From(client)) = read(&whole) {
            prop_assert!(client.port() != 0 && !client.ip().is_unspecified());
        }
    }
}

#[tokio::test]
async fn not_a_byte_beyond_the_header_is_read() {
    let clock = SystemClock::start();
    let (mut near, mut far) = tokio::io::duplex(256);
    far.write_all(&[header(0x21, 0x11, V4), b"SSH-2.0-x".to_vec()].concat()).await.unwrap();
    drop(far);
    let peer: SocketAddr = "10.0.0.1:1".parse().unwrap();
    assert_eq!(client(&mut near, peer, &clock).await.unwrap().to_string(), "192.0.2.7:54321");
    let mut left = String::new();
    near.read_to_string(&mut left).await.unwrap();
    assert_eq!(left, "SSH-2.0-x");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_says_nothing_is_not_waited_for() {
    let clock = SystemClock::start();
    let (mut near, _far) = tokio::io::duplex(256);
    let silent = client(&mut near, "10.0.0.1:1".parse().unwrap(), &clock).await;
    assert!(matches!(silent, Err(ProxyError::Late)));
}
