//! Names of signals (RFC 4254 section 6.10), for links and for `ssh`; russh keeps its own conversion to itself.

use russh::Sig;

/// The longest name of a signal that is passed on.
const LONGEST: usize = 32;

/// The name that stands on the wire; nothing for a made-up one that could not be a signal.
pub(crate) fn name(signal: &Sig) -> Option<&str> {
    Some(match signal {
        Sig::ABRT => "ABRT",
        Sig::ALRM => "ALRM",
        Sig::FPE => "FPE",
        Sig::HUP => "HUP",
        Sig::ILL => "ILL",
        Sig::INT => "INT",
        Sig::KILL => "KILL",
        Sig::PIPE => "PIPE",
        Sig::QUIT => "QUIT",
        Sig::SEGV => "SEGV",
        Sig::TERM => "TERM",
        Sig::USR1 => "USR1",
        Sig::Custom(name) => {
            let sound =
                !name.is_empty() && name.len() <= LONGEST && name.chars().all(|c| c.is_ascii_graphic());
            return sound.then_some(name.as_str());
        }
    })
}

/// The signal with this name.
pub(crate) fn named(name: &str) -> Sig {
    match name {
        "ABRT" => Sig::ABRT,
        "ALRM" => Sig::ALRM,
        "FPE" => Sig::FPE,
        "HUP" => Sig::HUP,
        "ILL" => Sig::ILL,
        "INT" => Sig::INT,
        "KILL" => Sig::KILL,
        "PIPE" => Sig::PIPE,
        "QUIT" => Sig::QUIT,
        "SEGV" => Sig::SEGV,
        "TERM" => Sig::TERM,
        "USR1" => Sig::USR1,
        other => Sig::Custom(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_way_there_and_back() {
        for text in [
            "ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1",
            "USR2",
        ] {
            assert_eq!(name(&named(text)), Some(text));
        }
        assert_eq!(name(&Sig::Custom("INT\n".to_owned())), None);
    }
}
