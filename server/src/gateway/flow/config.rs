//! The part of russh's server configuration that flow control depends on.

use std::borrow::Cow;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::server::Config;
use russh::{Limits, Preferred, cipher, compression, kex, mac};

/// The window that a channel starts with; the first grant widens it. 64 channels that stall at once then cost
/// 64 × 0.75 MiB, not 64 × 2.5. (russh ends a connection that receives twice this much while a rekey *of ours*
/// waits for its answer, which is one reason why we start none.)
const FIRST_WINDOW: u32 = 256 * 1024;
/// What OpenSSH sends. A quarter of it costs 40 % of the throughput.
const PACKET: u32 = 32 * 1024;
/// Messages per channel inside russh. Nothing is ever in there, because the read halves are dropped.
const CHANNEL_BUFFER: usize = 4;
/// Messages from all write halves of a connection to russh's loop: what a client that reads nothing costs beside its
/// windows.
const EVENT_BUFFER: usize = 10;

// No SHA-1, no encrypt-and-MAC, no small or negotiated groups, no compression.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::DH_G18_SHA512,
    kex::DH_G16_SHA512,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// The client's order decides, and OpenSSH's has everything else before AES-GCM: only what is offered alone is used.
const CIPHERS: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::AES_128_GCM];
const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

/// Completes a server's configuration: windows, buffers, limits, algorithms. The socket's `nodelay` must
/// be set by whoever accepts it, since `run_stream` ignores it here.
#[must_use]
pub fn server_config(base: Config) -> Config {
    Config {
        window_size: FIRST_WINDOW,
        maximum_packet_size: PACKET,
        channel_buffer_size: CHANNEL_BUFFER,
        event_buffer_size: EVENT_BUFFER,
        limits: rekeys_left_to_the_peer(),
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Borrowed(KEYS),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        // A quiet terminal is no reason to hang up; how dead clients are noticed is up to the base.
        inactivity_timeout: None,
        nodelay: true,
        ..base
    }
}

/// russh ends a connection on which more than two windows arrive between its own request for new keys and the peer's
/// answer, so it must never be the one that asks. OpenSSH asks after 64 GiB; twice that is still far from what
/// AES-GCM bears (RFC 8446 puts it near 2^38 bytes for TLS's much smaller records). `Limits::new` would refuse it.
pub(in crate::gateway) const fn rekeys_left_to_the_peer() -> Limits {
    Limits {
        rekey_write_limit: 128 << 30,
        rekey_read_limit: 128 << 30,
        rekey_time_limit: Duration::from_secs(365 * 24 * 3600),
    }
}
