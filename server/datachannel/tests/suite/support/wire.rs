//! Messages, a second time and independently.

use sha2::{Digest, Sha256};

pub(crate) const OUTPUT: u32 = 1;
pub(crate) const HANDSHAKE_REQUEST: u32 = 5;
pub(crate) const HANDSHAKE_RESPONSE: u32 = 6;
pub(crate) const HANDSHAKE_COMPLETE: u32 = 7;
pub(crate) const FLAG: u32 = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Msg {
    pub(crate) kind: String,
    pub(crate) seq: i64,
    pub(crate) flags: u64,
    pub(crate) created: u64,
    /// In logical order.
    pub(crate) id: [u8; 16],
    pub(crate) ptype: u32,
    pub(crate) payload: Vec<u8>,
}

impl Msg {
    pub(crate) fn output(seq: i64, ptype: u32, payload: impl Into<Vec<u8>>) -> Self {
        let mut id = [0xa5; 16];
        id[..8].copy_from_slice(&seq.to_be_bytes());
        let flags = u64::from(seq == 0);
        Self { kind: "output_stream_data".into(), seq, flags, created: 1, id, ptype, payload: payload.into() }
    }

    pub(crate) fn control(kind: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind: kind.into(),
            seq: 0,
            flags: 3,
            created: 1,
            id: [7; 16],
            ptype: 0,
            payload: payload.into(),
        }
    }

    pub(crate) fn ack(of: &str, id: &[u8; 16], seq: i64) -> Self {
        let payload = format!(
            r#"{{"AcknowledgedMessageType":"{of}","AcknowledgedMessageId":"{}","AcknowledgedMessageSequenceNumber":{seq},"IsSequentialMessage":true}}"#,
            uuid::Uuid::from_bytes(*id)
        );
        Self::control("acknowledge", payload)
    }

    pub(crate) fn closed(words: &str) -> Self {
        let mut msg = Self::control("channel_closed", format!(r#"{{"SessionId":"s","Output":"{words}"}}"#));
        msg.ptype = 261;
        msg
    }

    pub(crate) fn handshake_request(seq: i64, actions: &str) -> Self {
        let payload = format!(r#"{{"AgentVersion":"3.3.1.0","RequestedClientActions":[{actions}]}}"#);
        Self::output(seq, HANDSHAKE_REQUEST, payload)
    }

    pub(crate) fn handshake_complete(seq: i64) -> Self {
        let payload = r#"{"HandshakeTimeToComplete":1000000,"CustomerMessage":"be nice"}"#;
        Self::output(seq, HANDSHAKE_COMPLETE, payload)
    }

    /// The acknowledged sequence number, if this is an acknowledgement.
    pub(crate) fn acks(&self) -> Option<i64> {
        if self.kind != "acknowledge" {
            return None;
        }
        let text = std::str::from_utf8(&self.payload).unwrap();
        let (_, number) = text.split_once("\"AcknowledgedMessageSequenceNumber\":").unwrap();
        Some(number.split([',', '}']).next().unwrap().parse().unwrap())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 116];
        out.extend(format!("{:<32}", self.kind).bytes());
        out.extend([0, 0, 0, 1]);
        out.extend(self.created.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.flags.to_be_bytes());
        out.extend(&self.id[8..]);
        out.extend(&self.id[..8]);
        out.extend(Sha256::digest(&self.payload));
        out.extend(self.ptype.to_be_bytes());
        out.extend((self.payload.len() as u32).to_be_bytes());
        out.extend(&self.payload);
        out
    }

    /// Strict: what we send has to be right in every field.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        assert_eq!(bytes[..4], [0, 0, 0, 116], "header length");
        let name = &bytes[4..36];
        let kind = String::from_utf8(name.to_vec()).unwrap().trim_end_matches(' ').to_owned();
        assert_eq!(bytes[36..40], [0, 0, 0, 1], "schema version");
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        let short = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut id = [0; 16];
        id[8..].copy_from_slice(&bytes[64..72]);
        id[..8].copy_from_slice(&bytes[72..80]);
        let payload = bytes[120..].to_vec();
        assert_eq!(&bytes[80..112], &Sha256::digest(&payload)[..], "digest");
        assert_eq!(short(116) as usize, payload.len(), "payload length");
        assert_ne!(number(40), 0, "created date");
        let seq = number(48) as i64;
        Self { kind, seq, flags: number(56), created: number(40), id, ptype: short(112), payload }
    }
}

pub(crate) const PORT: &str = r#"{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port","Properties":{"portNumber":"22"}}}"#;
