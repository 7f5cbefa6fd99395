//! Budgets of a month: who is over, who is told, and who may not start a space any more.

use std::collections::HashSet;
use std::fmt;

use time::Date;

use super::cost::{Cost, Payer, Payers, Row, SpaceFacts, shown};
use super::ids::{DomainAlias, GroupName, SpaceId, UserName};
use super::money::Money;

/// Whose money a budget limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetOf {
    /// Everybody of that name, by the spaces that they own.
    User(UserName),
    /// A group, by the spaces that its members own.
    Group(GroupName),
    /// A domain, by all its spaces.
    Domain(DomainAlias),
}

impl BudgetOf {
    /// Whether a space counts, by its domain and by who pays for it.
    #[must_use]
    pub fn covers(&self, domain: &DomainAlias, payer: Option<&Payer>) -> bool {
        match self {
            Self::User(name) => payer.is_some_and(|payer| payer.name == *name),
            Self::Group(group) => payer.is_some_and(|payer| payer.groups.contains(group)),
            Self::Domain(alias) => alias == domain,
        }
    }
}

/// `user anna`, `group okta/ml`, `domain research`.
impl fmt::Display for BudgetOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user {name}"),
            Self::Group(group) => write!(f, "group {group}"),
            Self::Domain(alias) => write!(f, "domain {alias}"),
        }
    }
}

/// What may be spent in a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// By whom.
    pub of: BudgetOf,
    /// How much.
    pub nano_usd: i64,
    /// At how many percent of it somebody is told.
    pub warn_percent: Vec<u32>,
    /// Whether nothing is started any more once it is spent.
    pub refuse_start: bool,
}

impl Budget {
    /// How much may be spent.
    #[must_use]
    pub const fn limit(&self) -> Money {
        Money::from_nano_usd(self.nano_usd)
    }

    /// What these rows spend of it.
    #[must_use]
    pub fn spent(&self, rows: &[Row], spaces: &[SpaceFacts], payers: &Payers) -> Cost {
        let covered: HashSet<SpaceId> = spaces
            .iter()
            .filter(|space| self.of.covers(&space.domain, payers.payer(&space.domain, space.owner.as_ref())))
            .map(|space| space.id)
            .collect();
        rows.iter().filter(|row| covered.contains(&row.space)).map(|row| row.cost).sum()
    }

    /// The levels that are reached, in percent, the lowest first.
    #[must_use]
    pub fn reached(&self, spent: &Cost) -> Vec<u32> {
        let percent = spent.total().percent_of(self.limit()).unwrap_or_default();
        let mut levels: Vec<u32> =
            self.warn_percent.iter().copied().filter(|level| i128::from(*level) <= percent).collect();
        levels.sort_unstable();
        levels.dedup();
        levels
    }

    /// Whether a start is refused, after this was spent since the month began.
    ///
    /// # Errors
    /// When it is, with what to tell.
    pub fn may_start(&self, spent: &Cost, renews_on: Date) -> Result<(), OverBudget> {
        if !self.refuse_start || spent.total() < self.limit() {
            return Ok(());
        }
        Err(OverBudget {
            of: self.of.clone(),
            spent: spent.total(),
            at_least: spent.at_least(),
            limit: self.limit(),
            renews_on,
        })
    }
}

/// A budget that is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverBudget {
    /// Whose.
    pub of: BudgetOf,
    /// What was spent since the month began.
    pub spent: Money,
    /// Whether there is more, at unknown prices.
    pub at_least: bool,
    /// What may be spent.
    pub limit: Money,
    /// The first day of the next month.
    pub renews_on: Date,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, limit, renews_on, .. } = self;
        write!(
            f,
            "{} of {limit} a month are spent by {of}; it renews on {renews_on}",
            shown(self.spent, self.at_least)
        )
    }
}

/// A level of a budget that was reached, to be told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Whose budget.
    pub of: BudgetOf,
    /// The first day of its month.
    pub month: Date,
    /// The level, in percent.
    pub percent: u32,
    /// What is spent.
    pub spent: Money,
    /// Whether there is more, at unknown prices.
    pub at_least: bool,
    /// What may be spent.
    pub limit: Money,
}

impl Warning {
    /// What is spent, in words.
    #[must_use]
    pub fn spent_so_far(&self) -> String {
        shown(self.spent, self.at_least)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, percent, limit, .. } = self;
        write!(f, "{of} has spent {} of {limit} this month, over {percent} %", self.spent_so_far())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::super::cost::Split;
    use super::*;

    fn budget(refuse_start: bool) -> Budget {
        Budget {
            of: BudgetOf::User("anna".parse().unwrap()),
            nano_usd: 100_000_000_000,
            warn_percent: vec![100, 80],
            refuse_start,
        }
    }

    fn spent(dollars: i64, unpriced_us: i64) -> Cost {
        Cost {
            spent: Split { active: Money::from_nano_usd(dollars * 1_000_000_000), ..Split::default() },
            unpriced_us: Split { idle: unpriced_us, ..Split::default() },
            ..Cost::default()
        }
    }

    #[test]
    fn levels_are_reached_in_their_order() {
        for (dollars, levels) in [(0, vec![]), (79, vec![]), (80, vec![80]), (100, vec![80, 100])] {
            assert_eq!(budget(false).reached(&spent(dollars, 0)), levels, "{dollars}");
        }
    }

    #[test]
    fn only_a_budget_that_refuses_and_is_spent_refuses() {
        let renews = date!(2026 - 12 - 01);
        let start = |refuse, dollars| budget(refuse).may_start(&spent(dollars, 5), renews);
        assert_eq!(start(false, 500), Ok(()));
        assert_eq!(start(true, 99), Ok(()));
        let over = start(true, 100).unwrap_err();
        assert_eq!(
            over.to_string(),
            "at least $100.00 of $100.00 a month are spent by user anna; it renews on 2026-12-01"
        );
    }
}
