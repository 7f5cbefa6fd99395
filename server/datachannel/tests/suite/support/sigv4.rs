//! Signature Version 4 as a service checks it, from AWS's description.

use sha2::{Digest, Sha256};
use tokio_tungstenite::tungstenite::http::HeaderMap;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

/// Whether the headers sign a GET without a body of this path and canonical query.
pub(crate) fn signature_is_right(headers: &HeaderMap, path: &str, query: &str, secret: &str) -> bool {
    let header = |name: &str| headers[name].to_str().unwrap();
    let authorization = header("authorization");
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(name).unwrap();
        rest.split(',').next().unwrap().trim()
    };
    let signed = part("SignedHeaders=");
    let canonical_headers: String =
        signed.split(';').map(|name| format!("{name}:{}\n", header(name).trim())).collect();
    let nothing = hex(&Sha256::digest(b""));
    let request = format!("GET\n{path}\n{query}\n{canonical_headers}\n{signed}\n{nothing}");
    let (_, scope) = part("Credential=").split_once('/').unwrap();
    let digest = hex(&Sha256::digest(request));
    let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{digest}", header("x-amz-date"));
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, step| hmac(&key, step));
    hex(&hmac(&key, &to_sign)) == part("Signature=")
}
