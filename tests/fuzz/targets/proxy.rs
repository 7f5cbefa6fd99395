//! Any bytes as a PROXY header: parsing never fails badly, and names no impossible client.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../server/src/ssh/proxy/header.rs"]
mod header;

fuzz_target!(|data: &[u8]| {
    let Some((fixed, rest)) = data.split_first_chunk::<{ header::FIXED }>() else { return };
    let Ok(length) = header::length(fixed) else { return };
    let Some(rest) = rest.get(..length) else { return };
    if let Ok(header::Header::From(client)) = header::parse(fixed, rest) {
        assert!(client.port() != 0 && !client.ip().is_unspecified());
    }
});
