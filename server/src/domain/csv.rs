//! Texts as comma-separated values (RFC 4180).

/// One record, with the end of its line.
#[must_use]
pub fn record<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields.into_iter().map(quoted).collect();
    format!("{}\r\n", fields.join(","))
}

/// A field. Text that a spreadsheet would take for a formula begins with an apostrophe, so that it is none: clients and
/// people choose what is in it (OWASP, CSV Injection). A number stays one.
#[must_use]
pub fn quoted(text: &str) -> String {
    let number = text.strip_prefix('-').is_some_and(|rest| rest.parse::<u64>().is_ok());
    let formula = text
        .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    let text = if formula && !number { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::{quoted, record};

    #[test]
    fn a_field_stays_one_and_is_no_formula() {
        assert_eq!(quoted("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
        for text in ["=1+1", "+1", "-1+1", "@sum", "\t=1", "\u{ff1d}1"] {
            assert_eq!(quoted(text), format!("'{text}"));
        }
        assert_eq!(quoted("\r=1"), "\"'\r=1\"");
        assert_eq!((quoted("plain"), quoted("-5")), ("plain".to_owned(), "-5".to_owned()));
    }

    #[test]
    fn a_record_is_a_line() {
        assert_eq!(record(["a", "1", "b c", "x,y", ""]), "a,1,b c,\"x,y\",\r\n");
    }
}
