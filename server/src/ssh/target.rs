//! Which space a name means, and whether a `direct-tcpip` channel is a jump or a forward.
//!
//! Any login name may jump. A host that carries the configured suffix is always a jump; any other is a jump only if
//! the login name is none of the person's spaces, and a forward inside that space otherwise. Every port is taken for
//! a jump: the stream leads to the SSH server of the space whatever port the client names.

use crate::domain::ids::MalformedName;
use crate::domain::names::{Target, Unresolved, resolve};
use crate::domain::space::Space;

/// The longest login or host name that is looked at: a DNS name's limit, and an ARN of a space fits.
const LONGEST: usize = 253;

/// Where a `direct-tcpip` channel goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// To a space, end to end.
    Jump(Target),
    /// To a host and port inside the space of the login name.
    Forward,
}

/// What a host says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host<'a> {
    /// It carries the suffix: a jump to this name.
    Marked(&'a str),
    /// It does not.
    Plain(&'a str),
}

impl<'a> Host<'a> {
    /// Looks for the suffix, without regard to case, since ssh lower-cases host names.
    pub(super) fn read(host: &'a str, suffix: Option<&str>) -> Self {
        let host = host.strip_suffix('.').unwrap_or(host);
        let marked = suffix.filter(|s| !s.is_empty()).and_then(|suffix| {
            let at = host.len().checked_sub(suffix.len())?;
            let (name, tail) = host.split_at_checked(at)?;
            let name = name.strip_suffix('.')?;
            (tail.eq_ignore_ascii_case(suffix) && !name.is_empty()).then_some(name)
        });
        marked.map_or(Self::Plain(host), Self::Marked)
    }

    /// Where it leads, given whether the login name is one of the person's spaces.
    pub(super) fn route(self, login_is_a_space: bool) -> Result<Route, MalformedName> {
        match self {
            Self::Plain(_) if login_is_a_space => Ok(Route::Forward),
            Self::Marked(name) | Self::Plain(name) => read(name).map(Route::Jump),
        }
    }
}

/// What a name means among the spaces of a person, as far as the catalogue knows by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// The gateway's own commands.
    CommandLine,
    /// One of the spaces, or several.
    Space,
    /// None of them.
    Nothing,
}

/// Looks a name up without asking anybody.
pub(super) fn named(name: &str, spaces: &[Space]) -> Named {
    match read(name) {
        Ok(Target::CommandLine) => Named::CommandLine,
        Ok(target) => match resolve(&target, spaces) {
            Ok(_) | Err(Unresolved::Ambiguous { .. }) => Named::Space,
            Err(Unresolved::Unknown { .. }) => Named::Nothing,
        },
        Err(_) => Named::Nothing,
    }
}

/// Reads a login name or the name of a jump.
pub(super) fn read(name: &str) -> Result<Target, MalformedName> {
    if name.len() > LONGEST {
        let rule = "SPACE or SPACE.DOMAIN, at most 253 characters";
        return Err(MalformedName::new("name", name, rule));
    }
    name.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: &str, login_is_a_space: bool) -> Route {
        Host::read(host, Some("spaces")).route(login_is_a_space).unwrap()
    }
    fn jump(name: &str) -> Route {
        Route::Jump(name.parse().unwrap())
    }

    #[test]
    fn a_marked_host_is_always_a_jump() {
        for login_is_a_space in [true, false] {
            assert_eq!(route("fraud-gnn.spaces", login_is_a_space), jump("fraud-gnn"));
            assert_eq!(route("fraud-gnn.ml.spaces", login_is_a_space), jump("fraud-gnn.ml"));
            assert_eq!(route("fraud-gnn.SPACES.", login_is_a_space), jump("fraud-gnn"));
        }
    }

    #[test]
    fn a_plain_host_is_a_forward_inside_the_space_of_the_login_name() {
        assert_eq!(route("localhost", true), Route::Forward);
        assert_eq!(route("fraud-gnn", true), Route::Forward);
        assert_eq!(route("10.0.0.7", true), Route::Forward);
        assert_eq!(route("spaces", true), Route::Forward);
        assert_eq!(route(".spaces", true), Route::Forward);
        assert_eq!(route("whitespaces", true), Route::Forward);
    }

    #[test]
    fn a_plain_host_is_a_jump_when_the_login_name_is_no_space() {
        assert_eq!(route("fraud-gnn", false), jump("fraud-gnn"));
        assert_eq!(route("fraud-gnn.ml", false), jump("fraud-gnn.ml"));
    }

    #[test]
    fn without_a_configured_suffix_nothing_is_marked() {
        assert_eq!(Host::read("fraud-gnn.spaces", None).route(true), Ok(Route::Forward));
        assert_eq!(Host::read("fraud-gnn.spaces", Some("")).route(true), Ok(Route::Forward));
    }

    #[test]
    fn what_cannot_be_a_space_is_refused_and_never_dialled() {
        assert!(Host::read("10.0.0.7", Some("spaces")).route(false).is_err());
        assert!(Host::read("::1", Some("spaces")).route(false).is_err());
        assert!(Host::read("", Some("spaces")).route(false).is_err());
        assert!(read(&"a".repeat(254)).is_err());
    }
}
