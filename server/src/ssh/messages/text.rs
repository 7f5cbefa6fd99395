//! The form of a message: a headline, and lines under it that start with a word.

/// The widest line of a message.
const WIDTH: usize = 80;
/// Where text under a word such as `Why:` stands.
const INDENT: usize = 8;
/// Where text beside a step stands.
const STEP: usize = 13;
/// The longest foreign text that is shown.
const FOREIGN: usize = 400;

/// A message to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ssh) struct Message {
    headline: String,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// A line of its own, two spaces in.
    Detail(String),
    /// A word, and text beside it.
    Field(&'static str, String),
    /// More text under the last word.
    More(String),
    /// A numbered step, and what it is about.
    Step(&'static str, String),
    /// An empty line.
    Blank,
}

impl Message {
    /// What happened.
    pub(in crate::ssh) fn new(headline: impl AsRef<str>) -> Self {
        Self { headline: clean(headline.as_ref()), lines: Vec::new() }
    }

    /// What happened, without the rest.
    pub(in crate::ssh) fn headline(&self) -> &str {
        &self.headline
    }

    /// Why.
    pub(in crate::ssh) fn why(self, text: impl AsRef<str>) -> Self {
        self.field("Why:", text)
    }

    /// What to do.
    pub(in crate::ssh) fn next(self, text: impl AsRef<str>) -> Self {
        self.field("Next:", text)
    }

    /// A word and text beside it.
    pub(in crate::ssh) fn field(mut self, word: &'static str, text: impl AsRef<str>) -> Self {
        self.lines.push(Line::Field(word, clean(text.as_ref())));
        self
    }

    /// A line on its own under the last word.
    pub(in crate::ssh) fn more(mut self, text: impl AsRef<str>) -> Self {
        self.lines.push(Line::More(clean(text.as_ref())));
        self
    }

    /// A line of its own.
    pub(in crate::ssh) fn detail(mut self, text: impl AsRef<str>) -> Self {
        self.lines.push(Line::Detail(clean(text.as_ref())));
        self
    }

    /// A line of its own with all that somebody wrote, in quotes.
    pub(in crate::ssh) fn quote(mut self, text: &str, longest: usize) -> Self {
        self.lines.push(Line::Detail(format!("\"{}\"", clean_to(text, longest))));
        self
    }

    /// Something to do, numbered.
    pub(in crate::ssh) fn step(mut self, word: &'static str, text: impl AsRef<str>) -> Self {
        self.lines.push(Line::Step(word, clean(text.as_ref())));
        self
    }

    /// An empty line.
    pub(in crate::ssh) fn blank(mut self) -> Self {
        self.lines.push(Line::Blank);
        self
    }

    /// The message as lines that end in `newline`: `\r\n` on a pty, `\n` elsewhere.
    pub(in crate::ssh) fn render(&self, newline: &str) -> String {
        let mut out = String::new();
        wrap(&mut out, "spaceport: ", 2, &self.headline, newline);
        for line in &self.lines {
            match line {
                Line::Detail(text) => wrap(&mut out, "  ", 2, text, newline),
                Line::Field(word, text) => wrap(&mut out, &format!("  {word:<6}"), INDENT, text, newline),
                Line::More(text) => wrap(&mut out, &" ".repeat(INDENT), INDENT, text, newline),
                Line::Step(word, text) => wrap(&mut out, &format!("  {word:<11}"), STEP, text, newline),
                Line::Blank => out.push_str(newline),
            }
        }
        out
    }

    /// The message as sentences of a page: what happened and why. What to type next is for terminals.
    pub(in crate::ssh) fn sentences(&self) -> String {
        let why = self.lines.iter().find_map(|line| match line {
            Line::Field("Why:", text) => Some(text.as_str()),
            _ => None,
        });
        [Some(self.headline.as_str()), why].into_iter().flatten().map(capital).collect::<Vec<_>>().join(" ")
    }

    /// The message where only one line is shown: in refusals of channels and in disconnects.
    pub(in crate::ssh) fn one_line(&self) -> String {
        let mut out = format!("spaceport: {}", self.headline);
        for line in &self.lines {
            match line {
                Line::Detail(text) | Line::More(text) => out.push_str(&format!(" {text}")),
                Line::Field(word, text) | Line::Step(word, text) => {
                    out.push_str(&format!(" {word} {text}"));
                }
                Line::Blank => {}
            }
        }
        out
    }
}

/// A sentence with a capital. What begins with a name, which may have letters other than those of a word, keeps it.
fn capital(sentence: &str) -> String {
    let first = sentence.split(' ').next().unwrap_or_default();
    if !["you", "that", "this", "the", "its", "it", "something", "none", "everybody", "a", "an"]
        .contains(&first)
    {
        return sentence.to_owned();
    }
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |letter| format!("{}{}", letter.to_uppercase(), letters.as_str()))
}

/// Breaks text between words. A word that is wider than the line, such as an address, stays whole.
pub(super) fn wrap(out: &mut String, lead: &str, indent: usize, text: &str, newline: &str) {
    let mut line = lead.to_owned();
    let mut empty = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !empty && line.len() + 1 + word.len() > WIDTH {
            out.push_str(line.trim_end());
            out.push_str(newline);
            line = " ".repeat(indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(line.trim_end());
    out.push_str(newline);
}

/// Text from elsewhere as printable ASCII: a blank for each run of blanks and controls, `?` for what is foreign.
pub(in crate::ssh) fn clean(text: &str) -> String {
    clean_to(text, FOREIGN)
}

fn clean_to(text: &str, longest: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let c = match c {
            c if c.is_control() || c.is_whitespace() => ' ',
            c if c.is_ascii() => c,
            _ => '?',
        };
        if c == ' ' && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        if out.len() >= longest {
            out.push_str("...");
            return out;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_form_of_every_message() {
        let message = Message::new("graph-big did not start.")
            .why("AWS has no ml.g5.12xlarge free in us-east-1b right now.")
            .next("try again later, or take another type:")
            .more("ssh spaceport@gateway.example.com start graph-big ml.g5.8xlarge");
        assert_eq!(
            message.render("\n"),
            "spaceport: graph-big did not start.\n\
             \x20 Why:  AWS has no ml.g5.12xlarge free in us-east-1b right now.\n\
             \x20 Next: try again later, or take another type:\n\
             \x20       ssh spaceport@gateway.example.com start graph-big ml.g5.8xlarge\n"
        );
    }

    #[test]
    fn long_text_is_broken_between_words() {
        let text = Message::new("x").why("word ".repeat(40)).render("\r\n");
        assert!(text.split("\r\n").all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.contains("\r\n        word"), "{text}");
    }

    #[test]
    fn foreign_text_cannot_paint() {
        assert_eq!(clean("a\u{1b}[2J\r\nb\u{7}"), "a [2J b");
        assert_eq!(clean("  caf\u{e9}\u{202e} "), "caf??");
        assert!(clean(&"x".repeat(10_000)).len() <= FOREIGN + 3);
    }

    #[test]
    fn one_line_says_the_same() {
        let message = Message::new("there is no space frud-gnn.").field("Near:", "fraud-gnn");
        assert_eq!(message.one_line(), "spaceport: there is no space frud-gnn. Near: fraud-gnn");
    }
}
