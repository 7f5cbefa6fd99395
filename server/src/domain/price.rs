//! Prices: of which region, for what, from when on; AWS's list, and what a contract makes of it.
//!
//! An unknown price stays unknown: nothing here turns it into 0.

use std::collections::HashMap;
use std::fmt;

use time::{Date, OffsetDateTime};

use super::ids::Region;
use super::money::nano_usd;
use super::space::AppType;

/// What the price of storage stands under: the volumes of Studio spaces are gp3.
pub const VOLUME: &str = "gp3";
/// The region of the prices that come with the server.
pub const SEED_REGION: &str = "us-east-1";

/// What a price is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Usage {
    /// An hour of a JupyterLab app.
    JupyterLab,
    /// An hour of a Code Editor app.
    CodeEditor,
    /// A GB of a space's volume for a month.
    Storage,
}

impl Usage {
    /// The word that rows keep.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JupyterLab => "JupyterLab",
            Self::CodeEditor => "CodeEditor",
            Self::Storage => "Storage",
        }
    }

    /// The usage that such a word stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::JupyterLab, Self::CodeEditor, Self::Storage].into_iter().find(|usage| usage.as_str() == word)
    }
}

impl From<AppType> for Usage {
    fn from(app_type: AppType) -> Self {
        match app_type {
            AppType::JupyterLab => Self::JupyterLab,
            AppType::CodeEditor => Self::CodeEditor,
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One price, from one time on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Where.
    pub region: Region,
    /// For what.
    pub usage: Usage,
    /// The instance type, or [`VOLUME`].
    pub item: String,
    /// Nano-dollars for an hour, or for a GB and a month; nothing where it is unknown.
    pub nano_usd: Option<i64>,
    /// Where it is from.
    pub source: String,
    /// The day for which the source says it.
    pub as_of: Date,
    /// From when on it counts here.
    pub valid_from: OffsetDateTime,
}

/// A price that AWS's list shows now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPrice {
    /// For what.
    pub usage: Usage,
    /// The instance type, or [`VOLUME`].
    pub item: String,
    /// Nano-dollars for an hour, or for a GB and a month.
    pub nano_usd: i64,
    /// From when on AWS says that it counts.
    pub effective_at: Option<OffsetDateTime>,
}

/// What AWS's list brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceList {
    /// The prices that could be read.
    pub prices: Vec<ListedPrice>,
    /// Rows that could not be read.
    pub malformed: usize,
}

/// From when on a price that AWS lists counts, beside the newest one that is known; nothing if it is the same.
///
/// The first price that is learnt counts from the beginning, since it is a better guess than none. A change counts from
/// when AWS says, but never from before the price that it replaces, and never from later than now.
#[must_use]
pub fn takes_effect(
    newest: Option<(Option<i64>, OffsetDateTime)>,
    listed: &ListedPrice,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let Some((known, since)) = newest else { return Some(OffsetDateTime::UNIX_EPOCH) };
    match known {
        Some(known) if known == listed.nano_usd => None,
        // In the place of an unknown one.
        None => Some(since),
        Some(_) => Some(listed.effective_at.filter(|at| since < *at && *at <= now).unwrap_or(now)),
    }
}

/// What a domain's account pays otherwise than AWS's list says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Off the list's prices for apps, in millionths.
    pub discount_ppm: u32,
    /// Prices of one's own.
    pub prices: Vec<OwnPrice>,
    /// Nano-dollars for a GB and a month.
    pub storage_nano_usd: Option<i64>,
}

/// A price by contract; a discount is not taken off it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPrice {
    /// The instance type, for either kind of app.
    pub instance_type: String,
    /// Nano-dollars for an hour.
    pub nano_usd: i64,
    /// From when on; before that, the list counts.
    pub from: Option<OffsetDateTime>,
}

impl Terms {
    /// A list's price after the discount, rounded half up to a nano-dollar.
    fn discounted(&self, nano_usd: i64) -> i64 {
        let left = i128::from(1_000_000_u32.saturating_sub(self.discount_ppm));
        let nano = (i128::from(nano_usd) * left + 500_000) / 1_000_000;
        i64::try_from(nano).unwrap_or(nano_usd)
    }
}

/// From when on a price counts, in nano-dollars; nothing where it is unknown.
type Change = (OffsetDateTime, Option<i64>);

/// A price by time: each entry counts up to the next. Before the first, the price is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates(Vec<Change>);

impl Rates {
    /// Rates that change at these times.
    #[must_use]
    pub fn new(mut changes: Vec<Change>) -> Self {
        changes.sort_by_key(|(at, _)| *at);
        changes.dedup_by(|later, earlier| later.1 == earlier.1);
        Self(changes)
    }

    /// The price at a time, in nano-dollars.
    #[must_use]
    pub fn at(&self, at: OffsetDateTime) -> Option<i64> {
        let next = self.0.partition_point(|(from, _)| *from <= at);
        self.0.get(next.checked_sub(1)?)?.1
    }

    /// The times at which it changes.
    pub fn changes(&self) -> impl Iterator<Item = OffsetDateTime> + '_ {
        self.0.iter().map(|(at, _)| *at)
    }
}

/// Every price that is known.
#[derive(Debug, Clone, Default)]
pub struct PriceTable {
    rows: HashMap<(Region, Usage, String), Vec<Change>>,
}

impl PriceTable {
    /// The table of these rows.
    #[must_use]
    pub fn new(prices: impl IntoIterator<Item = Price>) -> Self {
        let mut rows = HashMap::<_, Vec<_>>::new();
        for price in prices {
            let key = (price.region, price.usage, price.item);
            rows.entry(key).or_default().push((price.valid_from, price.nano_usd));
        }
        Self { rows }
    }

    /// What something costs in a domain of these terms.
    #[must_use]
    pub fn rates(&self, region: &Region, usage: Usage, item: &str, terms: &Terms) -> Rates {
        let listed = self.rows.get(&(region.clone(), usage, item.to_owned())).cloned().unwrap_or_default();
        if usage == Usage::Storage {
            return match terms.storage_nano_usd {
                Some(nano_usd) => Rates::new(vec![(OffsetDateTime::UNIX_EPOCH, Some(nano_usd))]),
                None => Rates::new(listed),
            };
        }
        let own = terms.prices.iter().filter(|own| own.instance_type == item);
        let own: Vec<Change> =
            own.map(|own| (own.from.unwrap_or(OffsetDateTime::UNIX_EPOCH), Some(own.nano_usd))).collect();
        let first_own = own.iter().map(|(from, _)| *from).min();
        let listed = listed
            .into_iter()
            .filter(|(from, _)| first_own.is_none_or(|first| *from < first))
            .map(|(from, nano_usd)| (from, nano_usd.map(|nano_usd| terms.discounted(nano_usd))));
        Rates::new(listed.chain(own).collect())
    }
}

/// Reads prices as they come with the server: lines of usage, item, unit, dollars and source, parted by tabs. Those of
/// Studio are taken for either kind of app. Lines that cannot be read are left out.
#[must_use]
pub fn seed(text: &str, region: &Region, as_of: Date) -> Vec<Price> {
    let mut prices = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [usage, item, _, usd, source] = cells.as_slice() else { continue };
        let usages: &[Usage] = match *usage {
            "Studio" => &[Usage::JupyterLab, Usage::CodeEditor],
            "Storage" => &[Usage::Storage],
            _ => continue,
        };
        prices.extend(usages.iter().map(|usage| Price {
            region: region.clone(),
            usage: *usage,
            item: (*item).to_owned(),
            nano_usd: nano_usd(usd),
            source: format!("seed, {source}"),
            as_of,
            valid_from: OffsetDateTime::UNIX_EPOCH,
        }));
    }
    prices
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    const SEED: &str = include_str!("../../data/prices-us-east-1.tsv");

    fn region(text: &str) -> Region {
        text.parse().unwrap()
    }

    fn seeded() -> PriceTable {
        PriceTable::new(seed(SEED, &region(SEED_REGION), date!(2026 - 08 - 24)))
    }

    fn rates(terms: &Terms, usage: Usage, item: &str) -> Rates {
        seeded().rates(&region(SEED_REGION), usage, item, terms)
    }

    #[test]
    fn seed_knows_prices_and_what_is_unknown_stays_so() {
        let prices = seed(SEED, &region(SEED_REGION), date!(2026 - 08 - 24));
        assert_eq!(prices.iter().filter(|p| p.usage == Usage::JupyterLab).count(), 175);
        let known = prices.iter().filter(|p| p.usage == Usage::CodeEditor && p.nano_usd.is_some()).count();
        assert_eq!(known, 158);
        assert!(prices.iter().all(|price| price.nano_usd != Some(0)));
        let now = datetime!(2026-11-26 12:00 UTC);
        let terms = Terms::default();
        assert_eq!(rates(&terms, Usage::JupyterLab, "ml.g5.xlarge").at(now), Some(1_410_000_000));
        assert_eq!(rates(&terms, Usage::JupyterLab, "ml.g7.2xlarge").at(now), None);
        assert_eq!(rates(&terms, Usage::JupyterLab, "ml.new.xlarge").at(now), None);
        assert_eq!(rates(&terms, Usage::Storage, VOLUME).at(now), Some(112_000_000));
        let elsewhere = seeded().rates(&region("eu-west-1"), Usage::JupyterLab, "ml.g5.xlarge", &terms);
        assert_eq!(elsewhere.at(now), None, "another region's price is none of this one's");
    }

    #[test]
    fn a_contract_takes_over_from_its_day_and_is_not_discounted() {
        let from = datetime!(2026-11-01 0:00 UTC);
        let own = |nano_usd, from| OwnPrice { instance_type: "ml.g5.xlarge".to_owned(), nano_usd, from };
        let terms = Terms {
            discount_ppm: 125_000,
            prices: vec![own(1_000_000_000, Some(from))],
            storage_nano_usd: Some(90_000_000),
        };
        let g5 = rates(&terms, Usage::CodeEditor, "ml.g5.xlarge");
        assert_eq!(g5.at(from - time::Duration::MICROSECOND), Some(1_233_750_000));
        assert_eq!(g5.at(from), Some(1_000_000_000));
        assert_eq!(rates(&terms, Usage::Storage, VOLUME).at(from), Some(90_000_000));
        let always = Terms { prices: vec![own(2, None)], ..Terms::default() };
        assert_eq!(rates(&always, Usage::JupyterLab, "ml.g5.xlarge").at(from), Some(2));
    }

    #[test]
    fn a_changed_price_counts_from_when_aws_says_within_reason() {
        let (since, now) = (datetime!(2026-08-01 0:00 UTC), datetime!(2026-11-26 0:00 UTC));
        let listed = |nano_usd, effective_at| ListedPrice {
            usage: Usage::JupyterLab,
            item: "ml.m5.xlarge".to_owned(),
            nano_usd,
            effective_at,
        };
        let at = |newest, effective_at| takes_effect(newest, &listed(5, effective_at), now);
        assert_eq!(at(None, Some(now)), Some(OffsetDateTime::UNIX_EPOCH));
        assert_eq!(at(Some((Some(5), since)), Some(now)), None);
        assert_eq!(at(Some((None, since)), Some(now)), Some(since));
        let autumn = datetime!(2026-10-01 0:00 UTC);
        assert_eq!(at(Some((Some(4), since)), Some(autumn)), Some(autumn));
        for odd in [None, Some(since), Some(now + time::Duration::days(1))] {
            assert_eq!(at(Some((Some(4), since)), odd), Some(now), "{odd:?}");
        }
    }
}
