//! Any bytes as a message: parsing never fails badly, and what is parsed survives another round.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ssm_datachannel::frame::{MessageType, encode, parse};

fuzz_target!(|data: &[u8]| {
    let Ok(frame) = parse(Bytes::copy_from_slice(data)) else { return };
    assert!(frame.payload.len() <= data.len());
    // Other types lose their name, and control messages may have no date.
    if frame.message_type != MessageType::Other && frame.created_ms != 0 {
        assert_eq!(parse(encode(&frame)).as_ref(), Ok(&frame));
    }
});
