//! Any bytes as the agent's handshake request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssm_datachannel::handshake::answer;

fuzz_target!(|data: &[u8]| {
    if let Ok(answer) = answer(data) {
        assert!(answer.response.len() < 16 * 1024, "a short question must not have a long answer");
        assert!(answer.response.starts_with(b"{\"ClientVersion\""));
        assert!(answer.refused.is_none_or(|what| what.len() < 1024));
    }
});
