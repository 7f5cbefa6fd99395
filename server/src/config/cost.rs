//! What spaces cost: days, contracts, budgets.

use std::collections::HashSet;
use std::str::FromStr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Value;

use super::domains::Domain;
use super::fault::Faults;
use super::reader::Section;
use crate::domain::budget::{Budget, BudgetOf};
use crate::domain::cost::CostTerms;
use crate::domain::day::{Zone, written_day};
use crate::domain::ids::{DomainAlias, InstanceType};
use crate::domain::money::nano_usd;
use crate::domain::price::{OwnPrice, Terms};

/// What an amount is written as.
const AMOUNT: &str = "write dollars, such as 0.23, above 0";

/// `[cost]`.
#[derive(Debug, Clone, Default)]
pub struct Costs {
    /// How costs are counted.
    pub terms: CostTerms,
    /// What may be spent in a month.
    pub budgets: Vec<Budget>,
    /// Whether AWS's price list is read.
    pub refresh_prices: bool,
}

impl Costs {
    pub(super) fn read(mut section: Section<'_>, domains: &[Domain], faults: &Faults) -> Self {
        let instead = "write a name of IANA's list, such as \"Europe/Berlin\"";
        let zone = section.parsed("time_zone", instead).unwrap_or(Zone::UTC);
        let refresh_prices = section.flag("refresh_prices", true);
        let mut seen = HashSet::new();
        let mut budgets = Vec::new();
        for budget in section.sections("budgets") {
            let place = budget.place("usd_per_month");
            let Some(budget) = read_budget(budget, domains) else { continue };
            if !seen.insert(budget.of.to_string()) {
                let instead = "keep one for each user, group and domain";
                faults.add(&place, None, format!("{} has a budget before", budget.of), instead);
            }
            budgets.push(budget);
        }
        section.finish();
        let terms = domains.iter().map(|domain| (domain.alias.clone(), domain.cost.clone())).collect();
        Self { terms: CostTerms { zone, domains: terms }, budgets, refresh_prices }
    }
}

fn read_budget(mut section: Section<'_>, domains: &[Domain]) -> Option<Budget> {
    let user = section.parsed("user", "write the name of a user").map(BudgetOf::User);
    let group =
        section.parsed("group", "write PROVIDER/GROUP, such as \"okta/research\"").map(BudgetOf::Group);
    let alias: Option<DomainAlias> = section.parsed("domain", "write the alias of one of [[domains]]");
    let known = |alias: &DomainAlias| domains.iter().any(|domain| domain.alias == *alias);
    if let Some(alias) = alias.as_ref().filter(|alias| !known(alias)) {
        let instead = "write the alias of one of [[domains]]";
        section.fault("domain", Some(alias.as_str()), "there is no such domain", instead);
    }
    let of: Vec<BudgetOf> = [user, group, alias.map(BudgetOf::Domain)].into_iter().flatten().collect();
    let nano_usd = amount(&mut section, "usd_per_month");
    let warn_percent = percents(&mut section, "warn_percent");
    let refuse_start = section.flag("refuse_start", false);
    let place_ok = of.len() == 1;
    if !place_ok {
        let instead = "write one of user, group and domain";
        section.fault("user", None, "whose budget it is must be said once", instead);
    }
    section.finish();
    let of = of.into_iter().next().filter(|_| place_ok)?;
    Some(Budget { of, nano_usd: nano_usd?, warn_percent, refuse_start })
}

/// Reads `[domains.cost]`.
pub(super) fn read_terms(mut section: Section<'_>) -> Terms {
    let discount_ppm = percent(&mut section, "discount_percent");
    let storage_nano_usd = optional_amount(&mut section, "storage_usd_per_gb_month");
    let prices = section.sections("prices").into_iter().filter_map(read_price).collect();
    section.finish();
    Terms { discount_ppm, prices, storage_nano_usd }
}

fn read_price(mut section: Section<'_>) -> Option<OwnPrice> {
    let instance_type: Option<InstanceType> =
        section.required("instance_type", "write a type such as \"ml.g5.xlarge\"");
    let nano_usd = amount(&mut section, "usd_per_hour");
    let from = section.parsed::<From>("from", "write a day such as 2026-11-01, or a time");
    section.finish();
    Some(OwnPrice {
        instance_type: instance_type?.to_string(),
        nano_usd: nano_usd?,
        from: from.map(|from| from.0),
    })
}

/// From when on something counts: a day of UTC, or a time.
struct From(OffsetDateTime);

impl FromStr for From {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(day) = written_day(text) {
            return Ok(Self(day.midnight().assume_utc()));
        }
        OffsetDateTime::parse(text, &Rfc3339)
            .map(Self)
            .map_err(|_| "it is neither a day nor a time with an offset")
    }
}

/// A number as it was written: TOML's own type would round it.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => nano_usd(text),
        Value::Integer(number) => nano_usd(&number.to_string()),
        // The shortest text that means the same number: what was written, below sixteen digits.
        Value::Float(number) => nano_usd(&number.to_string()),
        _ => None,
    }
}

/// Nano-dollars above 0 that must be there.
fn amount(section: &mut Section<'_>, key: &'static str) -> Option<i64> {
    if !section.has(key) {
        section.fault(key, None, "it is missing", AMOUNT);
    }
    optional_amount(section, key)
}

fn optional_amount(section: &mut Section<'_>, key: &'static str) -> Option<i64> {
    let value = section.value(key)?;
    let amount = number(&value).filter(|nano_usd| *nano_usd > 0);
    if amount.is_none() {
        section.fault_value(key, &value, "it is no amount", AMOUNT);
    }
    amount
}

/// Millionths of a percentage of 0 to 100.
fn percent(section: &mut Section<'_>, key: &'static str) -> u32 {
    let Some(value) = section.value(key) else { return 0 };
    // A percentage in billionths, as if it were dollars; one of them is a hundredth.
    let ppm = number(&value).map(|nano| nano / 100_000).and_then(|ppm| u32::try_from(ppm).ok());
    let ppm = ppm.filter(|ppm| *ppm <= 1_000_000);
    if ppm.is_none() {
        section.fault_value(key, &value, "it is no percentage", "write a number from 0 to 100");
    }
    ppm.unwrap_or_default()
}

fn percents(section: &mut Section<'_>, key: &'static str) -> Vec<u32> {
    let Some(value) = section.value(key) else { return vec![80, 100] };
    let level = |level: &Value| {
        let level = level.as_integer().and_then(|level| u32::try_from(level).ok());
        level.filter(|level| (1..=1_000).contains(level))
    };
    let levels = value.as_array().and_then(|levels| levels.iter().map(level).collect::<Option<Vec<u32>>>());
    if levels.is_none() {
        section.fault_value(key, &value, "these are no percentages", "write a list such as [80, 100]");
    }
    levels.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::fault::{ConfigError, FaultList};
    use super::*;

    fn places(faults: Faults) -> Vec<String> {
        match faults.finish(()) {
            Err(ConfigError::Faults(FaultList(faults))) => {
                faults.into_iter().map(|fault| fault.place).collect()
            }
            _ => Vec::new(),
        }
    }

    fn costs(text: &str) -> (Costs, Vec<String>) {
        let faults = Faults::default();
        let costs = Costs::read(Section::root(text.parse().unwrap(), &faults), &[], &faults);
        (costs, places(faults))
    }

    fn terms(text: &str) -> (Terms, Vec<String>) {
        let faults = Faults::default();
        let terms = read_terms(Section::root(text.parse().unwrap(), &faults));
        (terms, places(faults))
    }

    #[test]
    fn amounts_are_taken_as_they_are_written() {
        let (read, faults) = terms(
            "discount_percent = 12.5\nstorage_usd_per_gb_month = \"0.1\"\n\
             [[prices]]\ninstance_type = \"ml.g5.xlarge\"\nusd_per_hour = 0.1\nfrom = 2026-11-01\n\
             [[prices]]\ninstance_type = \"ml.m5.large\"\nusd_per_hour = 7\nfrom = 2026-11-01T06:00:00+02:00\n",
        );
        assert_eq!(faults, [""; 0]);
        assert_eq!((read.discount_ppm, read.storage_nano_usd), (125_000, Some(100_000_000)));
        assert_eq!(read.prices[0].nano_usd, 100_000_000);
        assert_eq!(read.prices[0].from, Some(datetime!(2026-11-01 0:00 UTC)));
        assert_eq!(read.prices[1].nano_usd, 7_000_000_000);
        assert_eq!(read.prices[1].from, Some(datetime!(2026-11-01 4:00 UTC)));
    }

    #[test]
    fn amounts_that_cannot_be_are_faults() {
        let (_, faults) = terms(
            "discount_percent = 101\nstorage_usd_per_gb_month = 0\n\
             [[prices]]\ninstance_type = \"g5\"\nusd_per_hour = -1.5\nfrom = \"tomorrow\"\n\
             [[prices]]\ninstance_type = \"ml.m5.large\"\n",
        );
        assert_eq!(
            faults,
            [
                "discount_percent",
                "storage_usd_per_gb_month",
                "prices[0].instance_type",
                "prices[0].usd_per_hour",
                "prices[0].from",
                "prices[1].usd_per_hour",
            ]
        );
    }

    #[test]
    fn a_budget_is_of_one_and_told_once() {
        let (read, faults) = costs(
            "time_zone = \"Mars/Olympus\"\n\
             [[budgets]]\nuser = \"anna\"\ngroup = \"okta/ml\"\nusd_per_month = 5\n\
             [[budgets]]\nusd_per_month = 5\n\
             [[budgets]]\ndomain = \"nowhere\"\nusd_per_month = 5\n\
             [[budgets]]\nuser = \"anna\"\nusd_per_month = 5\nwarn_percent = [50, 0]\n\
             [[budgets]]\nuser = \"anna\"\nusd_per_month = 6\nwarn_percent = []\n\
             [[budgets]]\nuser = \"bo\"\n",
        );
        assert_eq!(
            faults,
            [
                "time_zone",
                "budgets[0].user",
                "budgets[1].user",
                "budgets[2].domain",
                "budgets[3].warn_percent",
                "budgets[4].usd_per_month",
                "budgets[5].usd_per_month",
            ]
        );
        assert_eq!(read.terms.zone, Zone::UTC);
    }
}
