//! Percent-encoding, as signatures and forms need it.

/// Encodes all but the unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Decodes a part of a form or query, where `+` is a space. What is no valid escape stays as it is.
pub(crate) fn decode_form(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| hex_pair(bytes.get(at + 1..at + 3)?)).flatten();
        out.push(match (byte, escaped) {
            (_, Some(value)) => value,
            (b'+', _) => b' ',
            (other, _) => other,
        });
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let text =
        std::str::from_utf8(pair).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}

/// The decoded pairs of a form or query, in their order.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_form(name), decode_form(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let text = "a b+c/d=é~%";
        assert_eq!(encode(text), "a%20b%2Bc%2Fd%3D%C3%A9~%25");
        assert_eq!(decode_form(&encode(text)), text);
    }

    #[test]
    fn broken_escapes_stay() {
        assert_eq!(decode_form("100%"), "100%");
        assert_eq!(decode_form("%zz+1"), "%zz 1");
    }

    #[test]
    fn pairs_keep_their_order_and_empty_values() {
        let expected = vec![("b".to_owned(), "1=2".to_owned()), ("a".to_owned(), String::new())];
        assert_eq!(pairs("b=1=2&&a"), expected);
    }
}
