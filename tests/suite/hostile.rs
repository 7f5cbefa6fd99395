//! Hostile text in every field that a person, AWS or an SSH client controls: on pages nothing runs and the layout holds;
//! terminals, logs and files for spreadsheets get nothing that they would obey.

mod ear;
mod pages;
mod stage;
mod terminals;

use anyhow::{Result, ensure};

/// One kind of trouble each. What runs in a browser sets a mark; `MARK` reads it.
const HOSTILE: [&str; 18] = [
    "<script>globalThis.hostile=1</script>",
    "\"><img src=x onerror=\"globalThis.hostile=2\">",
    "'-alert(1)-'",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "javascript:globalThis.hostile=5",
    "</title></textarea></style><svg onload=globalThis.hostile=6>",
    "=HYPERLINK(\"http://evil.example\",\"x\")",
    "a;=1+1;\t@SUM(1)",
    "\u{1b}[2J\u{1b}[31mred\u{1b}]0;title\u{7}",
    "\u{1b}]8;;http://evil.example\u{1b}\\link\u{1b}]8;;\u{1b}\\",
    "\u{1b}]52;c;ZXZpbA==\u{7}\u{1b}P+q\u{1b}\\",
    "\u{9b}2J\u{9d}52;c;ZXZpbA==\u{9c}\u{7f}\u{8}",
    "one\r\ntwo\rthree",
    "nul\0byte",
    "\u{202e}desrever\u{2066}isolated\u{200f}",
    "zero\u{200b}width\u{feff}\u{2060}joined\u{2028}parted",
    "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW",
    "👩\u{200d}💻🏴\u{200d}☠\u{fe0f}Z\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{310}\u{311}\u{312}",
];
/// The mark, in a page.
const MARK: &str = "globalThis.hostile ?? null";

/// The texts that fit into so many characters together, from one of them on.
fn together(first: usize, longest: usize) -> String {
    let mut out = String::new();
    for text in HOSTILE.iter().cycle().skip(first).take(HOSTILE.len()) {
        if out.chars().count() + text.chars().count() < longest {
            out += text;
            out.push(' ');
        }
    }
    out
}

/// What a terminal obeys or a reader is fooled by: controls other than those of plain lines, and what turns text around.
fn obeyed(c: char) -> bool {
    let plain = matches!(c, '\n' | '\r' | '\t');
    (c.is_control() && !plain)
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Fails where bytes are no text, or have something that a terminal obeys.
fn is_plain(what: &str, bytes: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(bytes);
    ensure!(text.is_ok(), "{what} is no text: {:?}", String::from_utf8_lossy(bytes));
    let obeyed: Vec<char> = text.unwrap_or_default().chars().filter(|c| obeyed(*c)).collect();
    ensure!(obeyed.is_empty(), "{what} has {obeyed:?}: {text:?}");
    Ok(())
}

#[test]
fn the_tests_own_measure_finds_what_is_meant() {
    for text in &HOSTILE[8..12] {
        assert!(is_plain("it", text.as_bytes()).is_err(), "{text:?}");
    }
    assert!(is_plain("it", b"\x9b2J").is_err() && is_plain("it", HOSTILE[14].as_bytes()).is_err());
    assert!(is_plain("it", "a\tb\r\nZo\u{eb} \u{fffd}".as_bytes()).is_ok());
}
