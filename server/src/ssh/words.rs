//! The words of a command, parted as a shell does.

/// Parts a line into words at blanks. Quotes keep blanks together and a backslash takes what follows as it is; nothing
/// else means anything. Where a quote stays open, as in `bo's laptop`, quotes are letters like others.
pub(super) fn words(line: &str) -> Vec<String> {
    quoted(line).unwrap_or_else(|| line.split_whitespace().map(str::to_owned).collect())
}

fn quoted(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_a_shells() {
        for (line, expected) in [
            ("", &[][..]),
            ("  status  demo ", &["status", "demo"]),
            ("hold demo 3h \"evaluation runs\"", &["hold", "demo", "3h", "evaluation runs"]),
            ("hold demo 3h 'it is $HOME \"x\" \\'", &["hold", "demo", "3h", "it is $HOME \"x\" \\"]),
            ("a\\ b \"c\\\"d\" \"e\\f\" ''", &["a b", "c\"d", "e\\f", ""]),
            ("say\"ing \"this", &["saying this"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn a_quote_that_stays_open_is_a_letter() {
        assert_eq!(words("keys remove bo's laptop"), ["keys", "remove", "bo's", "laptop"]);
        assert_eq!(words("a \"b"), ["a", "\"b"]);
        assert_eq!(words("a\\"), ["a\\"]);
    }

    #[test]
    fn nothing_is_expanded_or_run() {
        assert_eq!(words("status $(reboot) `x` a;b"), ["status", "$(reboot)", "`x`", "a;b"]);
    }
}
