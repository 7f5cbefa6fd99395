//! Rows add up: to the exact integral, in any time zone, over months, changes of the clocks and changes of prices.

use proptest::prelude::*;
use time::macros::datetime;
use time::{Duration, UtcOffset};

use super::*;
use crate::domain::price::{OwnPrice, Price};

/// Microseconds in a day of 24 hours.
const DAY_US: i64 = 86_400_000_000;
/// All that happens in the tests happens within so many days of it.
const BEGIN: OffsetDateTime = datetime!(2026-02-10 0:00 UTC);
const DAYS: i64 = 120;
/// Changes of the clocks in March (Berlin, Santiago) and April (Lord Howe, Santiago), or none.
const ZONES: [&str; 5] =
    ["UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu"];

fn at(us: i64) -> OffsetDateTime {
    BEGIN + Duration::microseconds(us)
}

fn region() -> Region {
    "us-east-1".parse().unwrap()
}

fn price(usage: Usage, item: &str, from_us: i64, nano_usd: Option<i64>) -> Price {
    Price {
        region: region(),
        usage,
        item: item.to_owned(),
        nano_usd,
        source: String::new(),
        as_of: BEGIN.date(),
        valid_from: at(from_us),
    }
}

fn space(first_seen_us: i64, deleted_us: Option<i64>, storage_gib: Option<u32>) -> SpaceFacts {
    SpaceFacts {
        id: SpaceId::generate(),
        domain: "main".parse().unwrap(),
        region: region(),
        name: "demo".to_owned(),
        owner: Some("anna".parse().unwrap()),
        first_seen_at: at(first_seen_us),
        deleted_at: deleted_us.map(at),
        storage_gib,
    }
}

/// A run with spells that leave gaps: each is the length of a gap before it, its own length, and its kind.
fn run(space: SpaceId, began_us: i64, ended_us: Option<i64>, spells: &[(i64, i64, u8)]) -> RunFacts {
    let mut from = began_us;
    let spells = spells
        .iter()
        .map(|(gap, length, kind)| {
            let began = from + gap;
            from = began + length;
            let kind = [SpellKind::Active, SpellKind::Idle, SpellKind::Unknown][usize::from(*kind)];
            Spell { began_at: at(began), ended_at: at(from), kind }
        })
        .collect();
    RunFacts {
        id: RunId::generate(),
        space,
        app_type: AppType::JupyterLab,
        instance_type: Some("ml.g5.xlarge".to_owned()),
        began_at: at(began_us),
        ended_at: ended_us.map(at),
        spells,
    }
}

fn all_days(zone: &Zone) -> Vec<Day> {
    let first = BEGIN.date() - Duration::days(40);
    zone.days(first, first + Duration::days(DAYS + 80))
}

fn counted(rows: &[Row]) -> Cost {
    rows.iter().map(|row| row.cost).sum()
}

/// The integral in another way: for each span of one price, its length by the price; then by the kind. The prices are
/// spans of time, `None` where unknown. In nano-dollars by microseconds an hour.
fn integral(prices: &[(i64, i64, Option<i64>)], (from, until): (i64, i64)) -> i128 {
    let overlap = |a: i64, b: i64| (b.min(until) - a.max(from)).max(0);
    prices.iter().map(|(a, b, nano)| i128::from(overlap(*a, *b)) * i128::from(nano.unwrap_or_default())).sum()
}

fn spells() -> impl Strategy<Value = Vec<(i64, i64, u8)>> {
    proptest::collection::vec((prop_oneof![Just(0), 0..DAY_US], 1..2 * DAY_US, 0..3_u8), 0..12)
}

fn changes() -> impl Strategy<Value = Vec<(i64, Option<i64>)>> {
    let nano_usd = proptest::option::weighted(0.8, 1..70_000_000_000_i64);
    proptest::collection::vec((-10 * DAY_US..DAYS * DAY_US, nano_usd), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn rows_add_up_to_the_exact_integral(
        began in 0..60 * DAY_US,
        length in proptest::option::of(0..40 * DAY_US),
        spells in spells(),
        mut changes in changes(),
        zone in 0..ZONES.len(),
        now in 0..DAYS * DAY_US,
    ) {
        changes.sort_by_key(|(from, _)| *from);
        changes.dedup_by_key(|(from, _)| *from);
        let zone: Zone = ZONES[zone].parse().unwrap();
        let space = space(0, None, None);
        let ended = length.map(|length| began + length);
        let run = run(space.id, began, ended, &spells);
        let prices =
            changes.iter().map(|(from, nano)| price(Usage::JupyterLab, "ml.g5.xlarge", *from, *nano));
        let facts = Facts {
            stops: Vec::new(),
            spaces: vec![space],
            runs: vec![run.clone()],
            prices: PriceTable::new(prices),
        };
        let terms = CostTerms { zone: zone.clone(), ..CostTerms::default() };
        let rows: Vec<Row> = rows(&facts, &terms, &all_days(&zone), at(now));
        let rows: Vec<Row> = rows.into_iter().filter(|row| row.run.is_some()).collect();
        let sum = counted(&rows);

        let until = ended.unwrap_or(now).min(now).max(began);
        let spans: Vec<(i64, i64, Option<i64>)> = changes
            .iter()
            .enumerate()
            .map(|(i, (from, nano))| (*from, changes.get(i + 1).map_or(i64::MAX, |next| next.0), *nano))
            .collect();
        // A nano-dollar an hour is the unit of `integral` times HOUR_US.
        let exact = Money::for_time(1, 1);
        let units = |money: Money, integral: i128| money == (0..1).map(|_| times(exact, integral)).sum();
        prop_assert!(units(sum.spent.total(), integral(&spans, (began, until))));
        prop_assert_eq!(sum.time_us.total(), until - began);
        let of = |kind: SpellKind| -> i128 {
            let spells = run.spells.iter().filter(|spell| spell.kind == kind);
            let us = |at: OffsetDateTime| (at - BEGIN).whole_microseconds() as i64;
            spells.map(|spell| integral(&spans, (us(spell.began_at), us(spell.ended_at).min(until)))).sum()
        };
        prop_assert!(units(sum.spent.active, of(SpellKind::Active)));
        prop_assert!(units(sum.spent.idle, of(SpellKind::Idle)));
        let priced = integral(
            &spans.iter().map(|(a, b, nano)| (*a, *b, nano.map(|_| 1))).collect::<Vec<_>>(),
            (began, until),
        );
        prop_assert_eq!(i128::from(sum.unpriced_us.total()), i128::from(until - began) - priced);
        // A row for each day that the run touches, and none twice.
        let mut dates: Vec<Date> = rows.iter().map(|row| row.date).collect();
        let count = dates.len();
        dates.dedup();
        prop_assert_eq!(dates.len(), count);
        for row in &rows {
            let (begins, ends) = (zone.start(row.date), zone.start(row.date.next_day().unwrap()));
            prop_assert!(i128::from(row.cost.time_us.total()) <= (ends - begins).whole_microseconds());
        }
    }

    #[test]
    fn storage_costs_the_same_whatever_days_it_is_cut_into(
        seen in 0..60 * DAY_US,
        length in 1..50 * DAY_US,
        gib in 1..16_384_u32,
        nano_usd in 1..1_000_000_000_i64,
        zone in 0..ZONES.len(),
    ) {
        let space = space(seen, Some(seen + length), Some(gib));
        let facts = Facts {
            stops: Vec::new(),
            spaces: vec![space],
            runs: Vec::new(),
            prices: PriceTable::new([price(Usage::Storage, VOLUME, -DAY_US, Some(nano_usd))]),
        };
        let zone: Zone = ZONES[zone].parse().unwrap();
        let terms = CostTerms { zone: zone.clone(), ..CostTerms::default() };
        let sum = counted(&rows(&facts, &terms, &all_days(&zone), at(DAYS * DAY_US)));
        // Month by month of UTC.
        let mut exact = Money::ZERO;
        let (mut from, until) = (at(seen), at(seen + length));
        while from < until {
            let date = from.to_offset(UtcOffset::UTC).date();
            let next = next_month(date).midnight().assume_utc().min(until);
            let time_us = (next - from).whole_microseconds() as i64;
            exact += Money::for_storage(time_us, gib, nano_usd, date.month().length(date.year()));
            from = next;
        }
        prop_assert_eq!(sum.storage, exact);
        prop_assert_eq!(sum.time_us.total(), 0);
    }
}

/// An amount so many times.
fn times(amount: Money, mut times: i128) -> Money {
    let (mut power, mut sum) = (amount, Money::ZERO);
    while times > 0 {
        if times & 1 == 1 {
            sum += power;
        }
        power += power;
        times >>= 1;
    }
    sum
}

#[test]
fn a_run_across_a_change_of_price_is_split_there() {
    let space = space(0, None, Some(100));
    let hour = DAY_US / 24;
    let own = OwnPrice {
        instance_type: "ml.g5.xlarge".to_owned(),
        nano_usd: 500_000_000,
        from: Some(at(10 * hour)),
    };
    let terms = Terms { discount_ppm: 500_000, prices: vec![own], storage_nano_usd: None };
    let terms = CostTerms { zone: Zone::UTC, domains: [("main".parse().unwrap(), terms)].into() };
    let run = run(space.id, 8 * hour, Some(12 * hour), &[(hour, 2 * hour, 0)]);
    let facts = Facts {
        stops: Vec::new(),
        spaces: vec![space],
        runs: vec![run],
        prices: PriceTable::new([price(Usage::JupyterLab, "ml.g5.xlarge", 0, Some(2_000_000_000))]),
    };
    let rows = rows(&facts, &terms, &all_days(&Zone::UTC), at(12 * hour));
    let cost = counted(&rows);
    assert_eq!(cost.spent.active, Money::from_nano_usd(1_500_000_000));
    assert_eq!(cost.spent.unknown, Money::from_nano_usd(1_500_000_000));
    assert_eq!((cost.spent.idle, cost.storage_unpriced_us), (Money::ZERO, 12 * hour));
    assert_eq!(cost.shown(), "at least $3.00");
    assert_eq!(shown(Money::ZERO, true), "unknown");
}

#[test]
fn lines_by_team_count_members_of_several_in_each() {
    use crate::domain::testing::user;
    use crate::domain::user::{Profile, User, Users};
    let mut anna: User = user("anna", &[]);
    anna.groups = ["okta/ml", "okta/vision"].map(|group| group.parse().unwrap()).into();
    anna.profiles = [Profile { domain: "main".parse().unwrap(), name: "anna".parse().unwrap() }].into();
    let users: Users = [(anna.id, std::sync::Arc::new(anna))].into();
    let hour = DAY_US / 24;
    let (hers, other) = (space(0, None, Some(1)), SpaceFacts { owner: None, ..space(0, None, Some(1)) });
    let runs = vec![run(hers.id, 0, Some(hour), &[]), run(other.id, 0, Some(hour), &[])];
    let facts = Facts {
        stops: Vec::new(),
        spaces: vec![hers, other],
        runs,
        prices: PriceTable::new([price(Usage::JupyterLab, "ml.g5.xlarge", 0, Some(1_000_000_000))]),
    };
    let rows = rows(&facts, &CostTerms::default(), &all_days(&Zone::UTC), at(hour));
    let lines = |by| {
        let (lines, total) = grouped(&rows, &facts.spaces, &Payers::of(&users), by);
        let lines = lines.into_iter().map(|line| (line.label, line.cost.total().to_string()));
        (lines.collect::<Vec<_>>(), total.total().to_string())
    };
    let line = |label: &str| (label.to_owned(), "$1.00".to_owned());
    let teams = vec![line("(no team)"), line("okta/ml"), line("okta/vision")];
    assert_eq!(lines(By::Team), (teams, "$2.00".to_owned()));
    assert_eq!(lines(By::User), (vec![line("(nobody)"), line("anna")], "$2.00".to_owned()));
    assert_eq!(lines(By::Day), (vec![("2026-02-10".to_owned(), "$2.00".to_owned())], "$2.00".to_owned()));
}

#[test]
fn what_a_stop_saved_is_estimated_modestly() {
    let hour = |hours| at(hours * DAY_US / 24);
    let saved = |nano, next, now| saved(nano, hour(1), next, hour(now)).map(|money| money.to_string());
    assert_eq!(saved(Some(1_000_000_000), None, 4).as_deref(), Some("$3.00"));
    assert_eq!(saved(Some(1_000_000_000), Some(hour(2)), 40).as_deref(), Some("$1.00"));
    assert_eq!(saved(Some(1_000_000_000), None, 40).as_deref(), Some("$12.00"));
    assert_eq!(saved(Some(1_000_000_000), Some(hour(0)), 40).as_deref(), Some("$0.00"));
    assert_eq!(saved(None, None, 4), None);
}

#[test]
fn what_stops_saved_is_told_on_their_day_and_is_no_cost() {
    let hour = |hours: i64| hours * DAY_US / 24;
    let one = space(0, None, None);
    let stop = |stopped_us, next_us: Option<i64>, instance_type: &str| StopFacts {
        run: RunId::generate(),
        space: one.id,
        app_type: AppType::JupyterLab,
        instance_type: Some(instance_type.to_owned()),
        stopped_at: at(stopped_us),
        next_start: next_us.map(at),
    };
    let facts = Facts {
        stops: vec![
            stop(hour(1), Some(hour(3)), "ml.a"),
            stop(hour(23), None, "ml.a"),
            stop(hour(24), None, "ml.odd"),
            stop(hour(400), None, "ml.a"),
        ],
        prices: PriceTable::new([price(Usage::JupyterLab, "ml.a", 0, Some(1_000_000_000))]),
        spaces: vec![one],
        ..Facts::default()
    };
    let days = Zone::UTC.days(BEGIN.date(), (BEGIN + Duration::days(1)).date());
    let told: Vec<(i64, String, u32)> = rows(&facts, &CostTerms::default(), &days, at(hour(200)))
        .into_iter()
        .filter(|row| row.run.is_some())
        .map(|row| {
            assert_eq!((row.cost.total(), row.cost.at_least()), (Money::ZERO, false));
            ((row.date - BEGIN.date()).whole_days(), row.cost.saved.to_string(), row.cost.saved_unpriced)
        })
        .collect();
    let expected = [(0, "$2.00", 0), (0, "$12.00", 0), (1, "$0.00", 1)];
    assert_eq!(told, expected.map(|(day, saved, unpriced)| (day, saved.to_owned(), unpriced)));
}

#[test]
fn a_time_is_priced_piece_by_piece_and_what_is_unknown_stays_apart() {
    let hour = |hours: i64| at(hours * DAY_US / 24);
    let rates =
        Rates::new(vec![(hour(1), Some(1_000_000_000)), (hour(2), Some(3_000_000_000)), (hour(4), None)]);
    let (amount, unpriced_us) = priced(&rates, hour(0), hour(5));
    assert_eq!((amount.to_string(), unpriced_us), ("$7.00".to_owned(), 2 * DAY_US / 24));
    assert_eq!(priced(&rates, hour(3), hour(2)), (Money::ZERO, 0));
}
