//! Texts as comma-separated values (RFC 4180).

use super::plain::lines;

/// One record, with the end of its line.
#[must_use]
pub fn record<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields.into_iter().map(quoted).collect();
    format!("{}\r\n", fields.join(","))
}

/// What a spreadsheet takes for the beginning of a formula.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
/// Where another cell begins in the eyes of a spreadsheet that parts lines at something else than commas, as in half of
/// Europe, or does not heed quotes.
const PARTING: [char; 4] = [';', '\t', '\r', '\n'];

/// A field. Text that a spreadsheet would take for a formula begins with an apostrophe, so that it is none: clients and
/// people choose what is in it (OWASP, CSV Injection). A number stays one. What steers terminals is replaced.
#[must_use]
pub fn quoted(text: &str) -> String {
    let number = text.strip_prefix('-').is_some_and(|rest| rest.parse::<u64>().is_ok());
    let text = if number { text.to_owned() } else { without_formulas(&lines(text)) };
    if text.contains([',', ';', '"', '\t', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

fn without_formulas(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    if text.starts_with(['\t', '\r', '\n']) {
        out.push('\'');
    }
    let mut begins = true;
    for c in text.chars() {
        if begins && FORMULA.contains(&c) {
            out.push('\'');
        }
        out.push(c);
        // Spreadsheets may drop blanks and quotes before what is in a cell.
        begins = PARTING.contains(&c) || begins && matches!(c, ' ' | '"');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{quoted, record};

    #[test]
    fn a_field_stays_one_and_is_no_formula() {
        assert_eq!(quoted("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
        for text in ["=1+1", "+1", "-1+1", "@sum", "\u{ff1d}1"] {
            assert_eq!(quoted(text), format!("'{text}"));
        }
        assert_eq!(quoted("\r=1"), "\"'\r'=1\"");
        assert_eq!((quoted("plain"), quoted("-5")), ("plain".to_owned(), "-5".to_owned()));
        assert_eq!(quoted("a\u{1b}[31m\u{202e}\u{9b}\0"), "a\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn no_formula_begins_where_another_spreadsheet_parts_the_line() {
        assert_eq!(quoted("a;=1"), "\"a;'=1\"");
        assert_eq!(quoted("a; \"=1\""), "\"a; \"\"'=1\"\"\"");
        assert_eq!(quoted("a\t@b\n+c"), "\"a\t'@b\n'+c\"");
        assert_eq!(quoted("a-b=c"), "a-b=c");
    }

    #[test]
    fn a_record_is_a_line() {
        assert_eq!(record(["a", "1", "b c", "x,y", ""]), "a,1,b c,\"x,y\",\r\n");
    }
}
