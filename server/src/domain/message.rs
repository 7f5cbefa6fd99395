//! Messages: what an admin writes to the terminals of a session, and what came of it.

use std::str::FromStr;

use super::plain::steers;
use super::record::Mode;

/// The longest message, in characters. Terminals show all of it.
pub const LONGEST: usize = 500;
/// Messages that a session gets in a minute, whoever writes them: a program must not flood a terminal.
pub const MOST_IN_A_MINUTE: u32 = 10;

/// What somebody writes: one paragraph that is not empty and holds nothing that a terminal would obey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageText(String);

impl MessageText {
    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MessageText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.contains(steers) {
            return Err(
                "take out control characters, and those that turn text around: terminals would obey them",
            );
        }
        match line.chars().count() {
            0 => Err("write a message"),
            n if n > LONGEST => Err("write a shorter message, of at most 500 characters"),
            _ => Ok(Self(line)),
        }
    }
}

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Terminals of the session have it.
    Shown {
        /// How many have shown it.
        terminals: u32,
        /// How many more took nothing while the others were counted, and show it once they do.
        waiting: u32,
    },
    /// The session has no terminal that could show it.
    NoTerminal(Mode),
    /// The replica that serves the session did not take it, and will not.
    NotTaken,
    /// That replica took it and has not said more.
    Unconfirmed,
}

impl Told {
    /// What a replica counted, for a session of this mode.
    #[must_use]
    pub const fn counted(terminals: u32, waiting: u32, mode: Mode) -> Self {
        match (terminals, waiting) {
            (0, 0) => Self::NoTerminal(mode),
            (terminals, waiting) => Self::Shown { terminals, waiting },
        }
    }

    /// Whether somebody could read it by now.
    #[must_use]
    pub const fn is_shown(self) -> bool {
        matches!(self, Self::Shown { terminals: 1.., .. })
    }

    /// What is said of it, behind the name of the session and a colon.
    #[must_use]
    pub fn words(self) -> String {
        let of = |n: u32| if n == 1 { "1 terminal".to_owned() } else { format!("{n} terminals") };
        match self {
            Self::Shown { terminals: 0, waiting } => format!(
                "nobody has read it yet. It waits in {}, where nothing can be shown at the moment.",
                of(waiting)
            ),
            Self::Shown { terminals, waiting: 0 } => format!("the message was shown in {}.", of(terminals)),
            Self::Shown { terminals, waiting } => format!(
                "the message was shown in {}. It waits in {} more, where nothing can be shown at the moment.",
                of(terminals),
                of(waiting)
            ),
            Self::NoTerminal(Mode::Session) => "nobody has read it: the session has no terminal open that could show \
                                                it. Editors, file transfers and commands without a terminal have none."
                .to_owned(),
            Self::NoTerminal(Mode::Jump) => "nobody has read it: in jump mode SSH is encrypted up to the space, and the \
                                             gateway sees no terminal."
                .to_owned(),
            Self::NotTaken => "nobody has read it, and nobody will: the gateway that serves the session did not answer. \
                               Try again in a minute."
                .to_owned(),
            Self::Unconfirmed => "who has read it is not known yet. The audit log will say in how many terminals it \
                                  was shown."
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, &'static str> {
        text.parse::<MessageText>().map(|text| text.0)
    }

    #[test]
    fn a_message_is_one_paragraph_of_at_most_500_characters() {
        assert_eq!(
            read("  please save,\r\n\tthe domain  is updated \n").unwrap(),
            "please save, the domain is updated"
        );
        assert_eq!(read(&"ü".repeat(500)).unwrap().chars().count(), 500);
        assert!(read(&"x".repeat(501)).unwrap_err().contains("at most 500"));
        for empty in ["", " \n\t\u{2028}\u{a0}"] {
            assert_eq!(read(empty), Err("write a message"));
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_refused() {
        for c in [
            '\0', '\u{7}', '\u{8}', '\u{1b}', '\u{7f}', '\u{90}', '\u{9b}', '\u{200f}', '\u{202e}',
            '\u{2066}',
        ] {
            assert!(read(&format!("a{c}b")).unwrap_err().contains("control characters"), "{c:?}");
        }
    }

    #[test]
    fn what_came_of_it_is_said_as_it_is() {
        let shown = |terminals, waiting| Told::counted(terminals, waiting, Mode::Session);
        assert_eq!(shown(1, 0).words(), "the message was shown in 1 terminal.");
        assert_eq!(shown(2, 0).words(), "the message was shown in 2 terminals.");
        assert!(
            shown(1, 2)
                .words()
                .ends_with("It waits in 2 terminals more, where nothing can be shown at the moment.")
        );
        assert!(shown(0, 1).words().starts_with("nobody has read it yet. It waits in 1 terminal,"));
        assert!(shown(0, 0).words().contains("no terminal open"));
        assert!(Told::counted(0, 0, Mode::Jump).words().contains("jump mode"));
        let seen =
            [shown(1, 1), shown(0, 1), shown(0, 0), Told::NotTaken, Told::Unconfirmed].map(Told::is_shown);
        assert_eq!(seen, [true, false, false, false, false]);
    }
}
