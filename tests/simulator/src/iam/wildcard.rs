//! Matching with `*` and `?`. A backslash makes the next character literal, which is how filled-in values stay plain.

/// The text with its wildcards made literal.
pub(super) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

enum Token {
    Any,
    One,
    Exactly(char),
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Exactly(chars.next().unwrap_or('\\')),
            other => Token::Exactly(other),
        });
    }
    out
}

/// The text that a pattern without wildcards stands for.
pub(super) fn unescape(pattern: &str) -> String {
    tokens(pattern)
        .iter()
        .map(|token| match token {
            Token::Any => '*',
            Token::One => '?',
            Token::Exactly(c) => *c,
        })
        .collect()
}

/// Whether the whole text matches the pattern.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern = tokens(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on if the latest `*` has to swallow one character more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let here = match pattern.get(p) {
            Some(Token::Any) => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(Token::One) => true,
            Some(Token::Exactly(c)) => text.get(t) == Some(c),
            None => false,
        };
        if here {
            p += 1;
            t += 1;
        } else if let Some((after_star, swallowed)) = retry {
            p = after_star;
            t = swallowed + 1;
            retry = Some((after_star, t));
        } else {
            return false;
        }
    }
    pattern.iter().skip(p).all(|token| matches!(token, Token::Any))
}

/// Whether an ARN matches a pattern: part by part, so that no wildcard reaches over a colon of the first five.
pub(super) fn arn_matches(pattern: &str, arn: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let parts = |text: &str| text.splitn(6, ':').map(str::to_owned).collect::<Vec<_>>();
    let (pattern, arn) = (parts(pattern), parts(arn));
    pattern.len() == arn.len() && pattern.iter().zip(&arn).all(|(p, a)| matches(p, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("ml.m5.*", "ml.m5.xlarge", true),
            ("ml.m5.*", "ml.m5d.xlarge", false),
            ("*a*b", "xxaxxbxb", true),
            ("*a*b", "xxaxxbxc", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**", "", true),
            ("", "", true),
            ("a", "", false),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn literals_match_themselves_only() {
        assert!(matches(&literal(r"a*\?"), r"a*\?"));
        assert!(!matches(&literal("*"), "x"));
        assert_eq!(unescape(&literal(r"a*\?")), r"a*\?");
    }

    #[test]
    fn a_wildcard_stays_within_its_part_of_an_arn() {
        let arn = "arn:aws:sagemaker:eu-west-1:111122223333:space/d-1/demo";
        assert!(arn_matches("arn:aws:sagemaker:*:*:space/d-1/*", arn));
        assert!(arn_matches("*", arn));
        assert!(!arn_matches("arn:aws:sagemaker:*:space/d-1/*", arn));
        assert!(!arn_matches("arn:*", arn));
    }
}
