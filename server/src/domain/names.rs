//! What a login name or a jump host means: `SPACE`, `SPACE.DOMAIN`, a space ARN, or the command line.

use std::str::FromStr;

use super::ids::{DomainAlias, MalformedName, SpaceName};
use super::space::{Space, SpaceArn};

/// The login name that reaches the gateway's own command line.
pub const COMMAND_LINE: &str = "spaceport";

/// A place a person asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The gateway's own commands.
    CommandLine,
    /// A space by name, and perhaps by domain.
    Named {
        /// The space; compared without regard to case.
        space: SpaceName,
        /// The domain, where it was written.
        domain: Option<DomainAlias>,
    },
    /// A space by its ARN.
    Arn(SpaceArn),
}

impl FromStr for Target {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        if text == COMMAND_LINE {
            return Ok(Self::CommandLine);
        }
        if text.starts_with("arn:") {
            return text.parse().map(Self::Arn);
        }
        match text.split_once('.') {
            None => Ok(Self::Named { space: text.parse()?, domain: None }),
            Some((space, domain)) => {
                Ok(Self::Named { space: space.parse()?, domain: Some(domain.to_ascii_lowercase().parse()?) })
            }
        }
    }
}

/// Why a target names no single space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// Nothing of that name among the candidates; names that are near, best first, at most three.
    Unknown {
        /// Near names.
        near: Vec<String>,
    },
    /// Several spaces have it; each as it must be written.
    Ambiguous {
        /// Every way to write one of them.
        choices: Vec<String>,
    },
}

/// Finds the one space that a target names among candidates, which are the spaces the person may open.
///
/// # Errors
/// When none or several match.
pub fn resolve<'a>(target: &Target, candidates: &'a [Space]) -> Result<&'a Space, Unresolved> {
    let matches: Vec<&Space> = candidates.iter().filter(|space| is_named(space, target)).collect();
    match matches.as_slice() {
        [space] => Ok(space),
        [] => Err(Unresolved::Unknown { near: near(target, candidates) }),
        several => {
            // Two names that differ only by case may still be told apart by the person who writes it exactly.
            if let Target::Named { space: wanted, .. } = target {
                let mut exact = several.iter().filter(|space| space.name() == wanted);
                if let (Some(space), None) = (exact.next(), exact.next()) {
                    return Ok(space);
                }
            }
            Err(Unresolved::Ambiguous {
                choices: several.iter().map(|space| written(space, several)).collect(),
            })
        }
    }
}

fn is_named(space: &Space, target: &Target) -> bool {
    match target {
        Target::CommandLine => false,
        Target::Arn(arn) => space.arn == *arn,
        Target::Named { space: name, domain } => {
            space.name().as_str().eq_ignore_ascii_case(name.as_str())
                && domain.as_ref().is_none_or(|domain| *domain == space.domain)
        }
    }
}

/// The shortest text that names this space and none of the others.
fn written(space: &Space, others: &[&Space]) -> String {
    let same_domain = others.iter().filter(|other| other.domain == space.domain).count();
    if same_domain > 1 { space.arn.to_string() } else { format!("{}.{}", space.name(), space.domain) }
}

fn near(target: &Target, candidates: &[Space]) -> Vec<String> {
    let wanted = match target {
        Target::CommandLine => return Vec::new(),
        Target::Arn(arn) => arn.name.as_str().to_ascii_lowercase(),
        Target::Named { space, .. } => space.as_str().to_ascii_lowercase(),
    };
    let mut scored: Vec<(usize, String)> = candidates
        .iter()
        .map(|space| {
            (distance(&wanted, &space.name().as_str().to_ascii_lowercase()), space.name().to_string())
        })
        .filter(|(distance, name)| *distance <= name.len().max(wanted.len()) / 3)
        .collect();
    scored.sort();
    scored.dedup();
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein's distance, with a swap of neighbours as one step.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let cell = |line: &[usize], at: usize| line.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut best =
                (cell(&above, j) + usize::from(x != y)).min(cell(&above, j + 1) + 1).min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(cell(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = above;
        above = row;
    }
    above.last().copied().unwrap_or_default()
}

/// The shortest name that reaches a space: its domain is written where another domain has one of that name.
#[must_use]
pub fn shortest(space: &Space, spaces: &[Space]) -> String {
    let name = space.name().as_str();
    let namesakes = spaces.iter().filter(|other| other.name().as_str().eq_ignore_ascii_case(name)).count();
    if namesakes > 1 { format!("{name}.{}", space.domain) } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::space::Sharing;
    use super::super::testing::{space, space_in};
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn name_is_found_whatever_the_case_because_ssh_lowers_it() {
        let spaces =
            [space("Fraud-GNN", "alice", Sharing::Private), space("demo", "alice", Sharing::Private)];
        assert_eq!(resolve(&target("fraud-gnn"), &spaces).unwrap().name().as_str(), "Fraud-GNN");
        assert_eq!(resolve(&target("DEMO.MAIN"), &spaces).unwrap().name().as_str(), "demo");
    }

    #[test]
    fn name_in_two_domains_is_refused_with_both_ways_to_write_it() {
        let spaces = [space("demo", "a", Sharing::Private), space_in("west", "demo", "a", Sharing::Private)];
        let refused = resolve(&target("demo"), &spaces).unwrap_err();
        assert_eq!(refused, Unresolved::Ambiguous { choices: vec!["demo.main".into(), "demo.west".into()] });
        assert_eq!(resolve(&target("demo.west"), &spaces).unwrap().domain.as_str(), "west");
    }

    #[test]
    fn names_that_differ_by_case_are_told_apart_by_the_exact_one_or_the_arn() {
        let spaces = [space("Demo", "a", Sharing::Private), space("demo", "a", Sharing::Private)];
        assert_eq!(resolve(&target("demo"), &spaces).unwrap().name().as_str(), "demo");
        let Unresolved::Ambiguous { choices } = resolve(&target("DEMO"), &spaces).unwrap_err() else {
            panic!("two spaces match")
        };
        assert_eq!(resolve(&target(&choices[0]), &spaces).unwrap().name().as_str(), "Demo");
    }

    #[test]
    fn misspelt_name_is_answered_with_near_ones() {
        let spaces = [space("fraud-gnn", "a", Sharing::Private), space("churn-eda", "a", Sharing::Private)];
        let refused = resolve(&target("frud-gnn"), &spaces).unwrap_err();
        assert_eq!(refused, Unresolved::Unknown { near: vec!["fraud-gnn".into()] });
    }

    #[test]
    fn malformed_names_are_refused_with_the_rule() {
        for text in [
            "",
            "-demo",
            "demo-",
            "de mo",
            "demo.",
            "demo.UP_PER",
            "arn:aws:s3:::bucket",
            "a/b",
            &"x".repeat(64),
        ] {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
        assert_eq!(target("spaceport"), Target::CommandLine);
        let error = "de\u{1b}[31mmo".parse::<Target>().unwrap_err().to_string();
        assert!(!error.contains('\u{1b}') && error.contains("inner hyphens"), "{error}");
    }

    #[test]
    fn distance_counts_a_swap_of_neighbours_once() {
        for (a, b, steps) in
            [("", "", 0), ("demo", "demo", 0), ("dmeo", "demo", 1), ("frud", "fraud", 1), ("abc", "", 3)]
        {
            assert_eq!(distance(a, b), steps, "{a} {b}");
        }
    }
}
