//! Rows, gathered by day, person, space or team.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;

use super::{Cost, Row, SpaceFacts};
use crate::domain::ids::{DomainAlias, GroupName, SpaceId, UserId, UserName, UserProfileName};
use crate::domain::user::{Profile, Users};

/// What lines stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Days.
    Day,
    /// The owners of spaces.
    User,
    /// Spaces.
    Space,
    /// The groups of owners; somebody in several counts in each.
    Team,
}

impl By {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::User => "user",
            Self::Space => "space",
            Self::Team => "team",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// There is no such way to gather costs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write day, user, space or team")]
pub struct NoSuchBy;

impl FromStr for By {
    type Err = NoSuchBy;

    fn from_str(text: &str) -> Result<Self, NoSuchBy> {
        [Self::Day, Self::User, Self::Space, Self::Team]
            .into_iter()
            .find(|by| by.as_str() == text)
            .ok_or(NoSuchBy)
    }
}

/// Who pays for a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    /// Their row.
    pub id: UserId,
    /// What they are called.
    pub name: UserName,
    /// Their groups.
    pub groups: BTreeSet<GroupName>,
}

/// Who pays for which profile's spaces.
#[derive(Debug, Clone, Default)]
pub struct Payers(HashMap<(DomainAlias, UserProfileName), Payer>);

impl Payers {
    /// The people to whom profiles belong.
    #[must_use]
    pub fn of(users: &Users) -> Self {
        let mut payers = HashMap::new();
        for user in users.values() {
            let payer = Payer { id: user.id, name: user.name.clone(), groups: user.groups.clone() };
            for Profile { domain, name } in &user.profiles {
                payers.insert((domain.clone(), name.clone()), payer.clone());
            }
        }
        Self(payers)
    }

    /// Who pays for the spaces of a profile, where that is known.
    #[must_use]
    pub fn payer(&self, domain: &DomainAlias, owner: Option<&UserProfileName>) -> Option<&Payer> {
        self.0.get(&(domain.clone(), owner?.clone()))
    }

    /// The profiles whose payers are like that.
    pub fn profiles(
        &self,
        is_meant: impl Fn(&Payer) -> bool,
    ) -> impl Iterator<Item = (DomainAlias, UserProfileName)> {
        let meant = self.0.iter().filter(move |(_, payer)| is_meant(payer));
        meant.map(|(profile, _)| profile.clone()).collect::<Vec<_>>().into_iter()
    }
}

/// Costs of one day, person, space or team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which.
    pub label: String,
    /// What it cost.
    pub cost: Cost,
}

/// Rows as lines, and all of them together. Days come in their order, others by what they cost, the most first. Spaces
/// that cost nothing in that time are left out.
#[must_use]
pub fn grouped(rows: &[Row], spaces: &[SpaceFacts], payers: &Payers, by: By) -> (Vec<Line>, Cost) {
    let spaces: HashMap<SpaceId, &SpaceFacts> = spaces.iter().map(|space| (space.id, space)).collect();
    let mut lines = BTreeMap::<String, Cost>::new();
    for row in rows {
        let Some(space) = spaces.get(&row.space) else { continue };
        for label in labels(row, space, payers, by) {
            *lines.entry(label).or_default() += row.cost;
        }
    }
    let mut lines: Vec<Line> = lines.into_iter().map(|(label, cost)| Line { label, cost }).collect();
    if by != By::Day {
        lines.sort_by_key(|line| std::cmp::Reverse(line.cost.total()));
    }
    (lines, rows.iter().map(|row| row.cost).sum())
}

fn labels(row: &Row, space: &SpaceFacts, payers: &Payers, by: By) -> Vec<String> {
    let payer = payers.payer(&space.domain, space.owner.as_ref());
    match by {
        By::Day => vec![row.date.to_string()],
        By::Space => vec![format!("{}.{}", space.name, space.domain)],
        By::User => vec![match (payer, &space.owner) {
            (Some(payer), _) => payer.name.to_string(),
            (None, Some(owner)) => format!("profile {}/{owner}", space.domain),
            (None, None) => "(nobody)".to_owned(),
        }],
        By::Team => match payer {
            Some(payer) if !payer.groups.is_empty() => payer.groups.iter().map(ToString::to_string).collect(),
            _ => vec!["(no team)".to_owned()],
        },
    }
}
