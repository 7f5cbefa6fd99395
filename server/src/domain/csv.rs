//! Texts as fields of comma-separated values.

/// A text as RFC 4180 wants it; a spreadsheet must not take it for a formula.
#[must_use]
pub fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_field_stays_one_and_is_no_formula() {
        assert_eq!(quoted("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
        for text in ["=1+1", "+1", "-1", "@sum", "\t=1"] {
            assert_eq!(quoted(text), format!("'{text}"));
        }
        assert_eq!(quoted("\r=1"), "\"'\r=1\"");
        assert_eq!(quoted("plain"), "plain");
    }
}
