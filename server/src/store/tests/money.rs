//! Spells, prices and costs: what the store reads adds up to what SQL alone makes of the tables.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use time::macros::date;
use time::{Date, Duration as Span};

use super::*;
use crate::domain::budget::{BudgetOf, Warning};
use crate::domain::cost::{Cost, CostTerms, SpellKind};
use crate::domain::ids::{Region, RunId};
use crate::domain::money::Money;
use crate::domain::price::{ListedPrice, Price, PriceList, Terms, Usage, VOLUME};
use crate::store::cost::Whose;
use crate::store::people;

/// Where the world's spaces are.
const REGION: &str = "eu-central-1";

impl World {
    /// A run of the world's space; `from` and `to` are seconds after noon.
    async fn run(&self, from: i64, to: Option<i64>) -> RunId {
        let id = RunId::generate();
        sqlx::query(
            "INSERT INTO runs (id, space_id, app_type, app_created_at, instance_type, began_at, ended_at)
             VALUES ($1, $2, 'JupyterLab', $3, 'ml.g5.xlarge', $3, $4)",
        )
        .bind(id.uuid())
        .bind(self.space.uuid())
        .bind(at(from))
        .bind(to.map(at))
        .execute(self.pool())
        .await
        .unwrap();
        id
    }

    /// Spells of a run, in seconds after noon.
    async fn spells(&self, run: RunId) -> Vec<(i64, i64, String)> {
        let rows: Vec<(OffsetDateTime, OffsetDateTime, String)> =
            sqlx::query_as("SELECT began_at, ended_at, kind FROM spells WHERE run_id = $1 ORDER BY began_at")
                .bind(run.uuid())
                .fetch_all(self.pool())
                .await
                .unwrap();
        let seconds = |at: OffsetDateTime| (at - NOON).whole_seconds();
        rows.into_iter().map(|(from, to, kind)| (seconds(from), seconds(to), kind)).collect()
    }

    async fn judged(&self, run: RunId, known: i64, until: i64, kind: SpellKind) {
        self.store().judged(run, at(known), at(until), kind).await.unwrap();
    }

    async fn price(&self, usage: Usage, item: &str, from: OffsetDateTime, nano_usd: Option<i64>) {
        let price = Price {
            region: REGION.parse().unwrap(),
            usage,
            item: item.to_owned(),
            nano_usd,
            source: "test".to_owned(),
            as_of: date!(2026 - 05 - 01),
            valid_from: from,
        };
        sqlx::query(
            "INSERT INTO prices (region, usage, item, valid_from, nano_usd, source, as_of)
             VALUES ($1, $2, $3, $4, $5, 'test', '2026-05-01')",
        )
        .bind(price.region.as_str())
        .bind(price.usage.as_str())
        .bind(&price.item)
        .bind(price.valid_from)
        .bind(price.nano_usd)
        .execute(self.pool())
        .await
        .unwrap();
    }
}

fn spell(from: i64, to: i64, kind: &str) -> (i64, i64, String) {
    (from, to, kind.to_owned())
}

#[tokio::test]
async fn verdicts_become_spells_that_grow_and_never_overlap() {
    let world = World::new().await;
    let run = world.run(0, None).await;
    world.judged(run, 0, 60, SpellKind::Active).await;
    world.judged(run, 0, 120, SpellKind::Active).await;
    assert_eq!(world.spells(run).await, [spell(0, 120, "active")], "one spell grows");
    world.judged(run, 120, 180, SpellKind::Idle).await;
    world.judged(run, 120, 180, SpellKind::Active).await;
    world.judged(run, 0, 30, SpellKind::Active).await;
    assert_eq!(world.spells(run).await, [spell(0, 120, "active"), spell(120, 180, "idle")]);
    // Nobody looked from 180 to 300.
    world.judged(run, 300, 360, SpellKind::Idle).await;
    world.judged(run, 900, 420, SpellKind::Idle).await;
    let expected = [
        spell(0, 120, "active"),
        spell(120, 180, "idle"),
        spell(180, 300, "unknown"),
        spell(300, 360, "idle"),
        spell(360, 420, "unknown"),
    ];
    assert_eq!(world.spells(run).await, expected);
    let end = sqlx::query("UPDATE runs SET ended_at = $1").bind(at(450));
    end.execute(world.pool()).await.unwrap();
    world.judged(run, 420, 600, SpellKind::Unknown).await;
    assert_eq!(world.spells(run).await.last(), Some(&spell(360, 450, "unknown")), "not beyond its end");
    world.store().judged(RunId::generate(), at(0), at(1), SpellKind::Idle).await.unwrap();
}

#[tokio::test]
async fn finer_times_than_postgres_keeps_are_no_spells_of_no_length() {
    let world = World::new().await;
    let run = world.run(0, None).await;
    let almost = at(0) + Span::nanoseconds(900);
    world.store().judged(run, at(0), almost, SpellKind::Active).await.unwrap();
    assert_eq!(world.spells(run).await, []);
}

/// A thousand runs of some spaces in the spring of 2026, with spells that leave gaps.
async fn many_runs(world: &World, random: &mut StdRng) {
    let begin = datetime!(2026-02-20 0:00 UTC);
    let listed = (0..8).map(|n| listed(&format!("space-{n}"))).collect();
    let spaces = world.store().sync_spaces(&"main".parse().unwrap(), listed, begin).await.unwrap();
    let resize =
        sqlx::query("UPDATE spaces SET storage_gib = CASE WHEN name = 'space-3' THEN NULL ELSE 37 END");
    resize.execute(world.pool()).await.unwrap();
    for n in 0..1_000 {
        let from = begin + Span::microseconds(random.random_range(0..80 * 86_400_000_000_i64));
        let to = from + Span::microseconds(random.random_range(1..30 * 3_600_000_000_i64));
        let to = (n % 50 != 0).then_some(to);
        let kind = ["ml.g5.xlarge", "ml.m5.large", "ml.odd.xlarge"][random.random_range(0..3)];
        let app = ["JupyterLab", "CodeEditor"][random.random_range(0..2)];
        let run = RunId::generate();
        sqlx::query(
            "INSERT INTO runs (id, space_id, app_type, app_created_at, instance_type, began_at, ended_at)
             VALUES ($1, $2, $3, $4, $5, $4, $6)",
        )
        .bind(run.uuid())
        .bind(spaces[random.random_range(0..spaces.len())].id.uuid())
        .bind(app)
        .bind(from)
        .bind(kind)
        .bind(to)
        .execute(world.pool())
        .await
        .unwrap();
        let mut upto = from;
        for _ in 0..random.random_range(0..6) {
            let known = upto + Span::microseconds(random.random_range(0..3_600_000_000_i64));
            upto = known + Span::microseconds(random.random_range(1..8 * 3_600_000_000_i64));
            let kind = [SpellKind::Active, SpellKind::Idle, SpellKind::Unknown][random.random_range(0..3)];
            world.store().judged(run, known, upto, kind).await.unwrap();
        }
    }
}

/// What SQL alone makes of the tables: dollars by day of Berlin and by kind, from the times of runs, and of storage.
const BY_SQL: &str = "
    WITH days AS (
        SELECT d::date AS day, d::timestamp AT TIME ZONE 'Europe/Berlin' AS a,
               (d + interval '1 day')::timestamp AT TIME ZONE 'Europe/Berlin' AS z
        FROM generate_series('2026-02-15'::timestamp, '2026-05-20', '1 day') AS d),
    rates AS (
        SELECT usage, item, nano_usd, valid_from AS a,
               coalesce(lead(valid_from) OVER (PARTITION BY usage, item ORDER BY valid_from), 'infinity') AS z
        FROM prices),
    parts AS (
        SELECT r.id, r.app_type, r.instance_type, s.kind,
               s.began_at AS a, least(r.ended_at, s.ended_at, $1) AS z
        FROM runs r JOIN spells s ON s.run_id = r.id
      UNION ALL
        SELECT r.id, r.app_type, r.instance_type, 'unknown', lower(gap), upper(gap)
        FROM runs r, unnest(tstzmultirange(tstzrange(r.began_at, least(r.ended_at, $1)))
                            - coalesce((SELECT range_agg(tstzrange(began_at, ended_at))
                                        FROM spells WHERE run_id = r.id), '{}')) AS gap
        WHERE r.began_at < $1),
    compute AS (
        SELECT d.day, p.kind,
               sum(extract(epoch FROM least(p.z, d.z, t.z) - greatest(p.a, d.a, t.a)) * t.nano_usd)
                   / 3600 / 1000000000 AS usd
        FROM parts p
             JOIN days d ON p.a < d.z AND p.z > d.a
             JOIN rates t ON t.usage = p.app_type AND t.item = p.instance_type AND t.nano_usd IS NOT NULL
                         AND t.a < least(p.z, d.z) AND t.z > greatest(p.a, d.a)
        WHERE p.a < p.z
        GROUP BY 1, 2),
    months AS (
        SELECT m::timestamp AT TIME ZONE 'UTC' AS a, (m + interval '1 month')::timestamp AT TIME ZONE 'UTC' AS z
        FROM generate_series('2026-01-01'::timestamp, '2026-06-01', '1 month') AS m),
    storage AS (
        SELECT d.day, 'storage' AS kind,
               sum(extract(epoch FROM least(s.deleted_at, d.z, t.z, m.z, $1)
                                      - greatest(s.first_seen_at, d.a, t.a, m.a))
                   * s.storage_gib * t.nano_usd / extract(epoch FROM m.z - m.a)) / 1000000000 AS usd
        FROM spaces s
             JOIN days d ON s.first_seen_at < d.z
             JOIN months m ON m.a < d.z AND m.z > d.a
             JOIN rates t ON t.usage = 'Storage' AND t.nano_usd IS NOT NULL
        WHERE least(s.deleted_at, d.z, t.z, m.z, $1) > greatest(s.first_seen_at, d.a, t.a, m.a)
        GROUP BY 1, 2)
    SELECT day, kind, round(usd, 9)::text FROM compute
    UNION ALL SELECT day, kind, round(usd, 9)::text FROM storage
    ORDER BY 1, 2";

#[tokio::test]
async fn a_thousand_runs_cost_what_sql_alone_says() {
    let world = World::new().await;
    let mut random = StdRng::seed_from_u64(42);
    many_runs(&world, &mut random).await;
    for (usage, item) in [
        (Usage::JupyterLab, "ml.g5.xlarge"),
        (Usage::CodeEditor, "ml.g5.xlarge"),
        (Usage::JupyterLab, "ml.m5.large"),
        (Usage::CodeEditor, "ml.m5.large"),
        (Usage::Storage, VOLUME),
    ] {
        for change in 0..5 {
            let from = datetime!(2026-02-25 7:00 UTC) + Span::hours(change * random.random_range(200..400));
            let nano_usd = (change != 2).then(|| random.random_range(1..70_000_000_000));
            world.price(usage, item, from, nano_usd).await;
        }
    }
    let now = datetime!(2026-05-13 3:00 UTC);
    let by_sql: Vec<(Date, String, Option<String>)> =
        sqlx::query_as(BY_SQL).bind(now).fetch_all(world.pool()).await.unwrap();
    let by_sql: Vec<(Date, String, String)> = by_sql
        .into_iter()
        .filter_map(|(day, kind, usd)| Some((day, kind, usd?)))
        .filter(|(.., usd)| usd.parse::<f64>().unwrap() != 0.0)
        .collect();
    assert!(by_sql.len() > 200, "{}", by_sql.len());

    let terms = CostTerms { zone: "Europe/Berlin".parse().unwrap(), ..CostTerms::default() };
    let range = (date!(2026 - 02 - 15), date!(2026 - 05 - 20));
    let costs = world.store().costs(&terms, &Whose::Everybody, range, now).await.unwrap();
    let mut by_day = std::collections::BTreeMap::<(Date, &str), Money>::new();
    for row in &costs.rows {
        let spent = &row.cost.spent;
        for (kind, amount) in [
            ("active", spent.active),
            ("idle", spent.idle),
            ("unknown", spent.unknown),
            ("storage", row.cost.storage),
        ] {
            *by_day.entry((row.date, kind)).or_default() += amount;
        }
    }
    let ours: Vec<(Date, String, String)> = by_day
        .into_iter()
        .map(|((day, kind), amount)| (day, kind.to_owned(), amount.decimal(9)))
        .filter(|(.., usd)| usd.parse::<f64>().unwrap() != 0.0)
        .collect();
    let mut by_sql = by_sql;
    by_sql.sort();
    assert_eq!(ours, by_sql);
    assert!(costs.rows.iter().any(|row| row.cost.unpriced_us.total() > 0));
}

#[tokio::test]
async fn a_month_is_counted_for_a_space_a_profile_and_a_domain() {
    let world = World::new().await;
    let run = world.run(0, None).await;
    world.judged(run, 0, 3_600, SpellKind::Idle).await;
    world.price(Usage::JupyterLab, "ml.g5.xlarge", NOON - Span::days(40), Some(1_000_000_000)).await;
    let cost = async |whose: Whose, terms: &CostTerms| {
        let cost = world.store().month_cost(terms, &whose, at(7_200)).await.unwrap();
        (cost.total().to_string(), cost.spent.idle.to_string())
    };
    let counted = ("$2.00".to_owned(), "$1.00".to_owned());
    let nothing = ("$0.00".to_owned(), "$0.00".to_owned());
    let plain = CostTerms::default();
    let main: crate::domain::ids::DomainAlias = "main".parse().unwrap();
    let owner = |name: &str| Whose::Profiles(vec![(main.clone(), name.parse().unwrap())]);
    assert_eq!(cost(Whose::Spaces(vec![world.space]), &plain).await, counted);
    assert_eq!(cost(Whose::Domain(main.clone()), &plain).await, counted);
    assert_eq!(cost(Whose::Domain("lab".parse().unwrap()), &plain).await, nothing);
    assert_eq!(cost(owner("nobody"), &plain).await, nothing);
    assert_eq!(cost(Whose::Profiles(Vec::new()), &plain).await, nothing);
    let listed = world.store().known_spaces().await.unwrap().remove(0).owner.unwrap();
    assert_eq!(cost(owner(listed.as_str()), &plain).await, counted);
    let half = Terms { discount_ppm: 500_000, ..Terms::default() };
    let half = CostTerms { domains: [(main.clone(), half)].into(), ..plain };
    assert_eq!(cost(Whose::Everybody, &half).await, ("$1.00".to_owned(), "$0.50".to_owned()));
}

#[tokio::test]
async fn what_stops_for_idleness_saved_is_what_a_hand_adds_up() {
    let world = World::new().await;
    // Up from 0 to 1 h, from 3 h to 4 h, and from 6 h to 7 h after noon.
    let runs = [world.run(0, Some(3_600)).await, world.run(10_800, Some(14_400)).await];
    let last = world.run(21_600, Some(25_200)).await;
    let stop = async |run: RunId, outcome: &str, dry_run: bool, trigger: &str, ended: i64| {
        let insert =
            "INSERT INTO stops (id, run_id, trigger, policy, dry_run, begun_at, stop_at, ended_at, outcome)
                      VALUES (gen_random_uuid(), $1, $2::text::jsonb, 'the default', $3, $4, $4, $4, $5)";
        let insert = sqlx::query(insert).bind(run.uuid()).bind(trigger).bind(dry_run).bind(at(ended));
        insert.bind(outcome).execute(world.pool()).await.unwrap();
    };
    let idle = r#"{"idle": {"since": "x", "over_longest_run": false}}"#;
    stop(runs[0], "stays", false, idle, 1_800).await;
    stop(runs[0], "stopped", false, idle, 3_600).await;
    stop(runs[1], "would_have", true, idle, 12_000).await;
    stop(runs[1], "stopped", false, r#"{"person": {"by": "bo"}}"#, 14_400).await;
    stop(last, "stopped", false, idle, 25_200).await;
    world.price(Usage::JupyterLab, "ml.g5.xlarge", NOON, Some(2_000_000_000)).await;
    let saved = async |now: i64| {
        let range = (date!(2026 - 04 - 30), date!(2026 - 05 - 03));
        let costs =
            world.store().costs(&CostTerms::default(), &Whose::Everybody, range, at(now)).await.unwrap();
        let total: Cost = costs.rows.iter().map(|row| row.cost).sum();
        (total.saved.to_string(), total.saved_unpriced)
    };
    // Two hours up to the second run; what bo stopped and what a dry run would have stopped is no saving.
    assert_eq!(saved(20_000).await, ("$4.00".to_owned(), 0));
    // And three hours since the last one.
    assert_eq!(saved(36_000).await, ("$10.00".to_owned(), 0));
    // Nobody knows whether a space that is gone would have run.
    let gone = sqlx::query("UPDATE spaces SET deleted_at = $1").bind(at(28_800));
    gone.execute(world.pool()).await.unwrap();
    assert_eq!(saved(36_000).await, ("$6.00".to_owned(), 0));
    sqlx::query("DELETE FROM prices").execute(world.pool()).await.unwrap();
    assert_eq!(saved(36_000).await, ("$0.00".to_owned(), 2));
}

fn listed_price(nano_usd: i64) -> PriceList {
    let item = "ml.m5.large".to_owned();
    let price = ListedPrice { usage: Usage::JupyterLab, item, nano_usd, effective_at: None };
    PriceList { prices: vec![price], malformed: 0 }
}

#[tokio::test]
async fn a_list_is_read_once_a_day_by_one_and_a_change_is_a_new_row() {
    let world = World::new().await;
    let (store, region): (_, Region) = (world.store(), REGION.parse().unwrap());
    let due = async |seconds| store.claim_price_reading(&region, at(seconds)).await.unwrap();
    assert!(due(0).await);
    assert!(!due(0).await, "another replica reads it");
    assert_eq!(store.take_prices(&region, &listed_price(5), at(1)).await.unwrap(), 1);
    assert!(!due(3_700).await);
    assert!(due(86_402).await);
    assert_eq!(store.take_prices(&region, &listed_price(5), at(86_402)).await.unwrap(), 0);
    assert_eq!(store.take_prices(&region, &listed_price(6), at(90_000)).await.unwrap(), 1);
    let table = store.prices().await.unwrap();
    let rates = table.rates(&region, Usage::JupyterLab, "ml.m5.large", &Terms::default());
    assert_eq!(
        (rates.at(at(-9_999)), rates.at(at(89_999)), rates.at(at(90_000))),
        (Some(5), Some(5), Some(6))
    );
    assert_eq!(world.count("SELECT count(*) FROM prices WHERE as_of = '2026-05-02'").await, 2);

    assert!(due(200_000).await);
    store.price_reading_failed(&region, "throttled\0").await.unwrap();
    assert!(due(203_600).await, "what failed is read again within the hour");
    assert_eq!(world.count("SELECT count(*) FROM prices").await, 2, "what was known stays");
}

#[tokio::test]
async fn the_seed_gives_way_to_what_is_known() {
    let world = World::new().await;
    world.price(Usage::JupyterLab, "ml.m5.large", NOON, Some(7)).await;
    let seed = "Studio\tml.m5.large\thour\t0.115\tx\nStudio\tml.g7.large\thour\t\tunknown\n";
    let seed = crate::domain::price::seed(seed, &REGION.parse().unwrap(), date!(2026 - 01 - 01));
    for _ in 0..2 {
        world.store().seed_prices(&seed).await.unwrap();
    }
    assert_eq!(world.count("SELECT count(*) FROM prices").await, 4);
    assert_eq!(world.count("SELECT count(*) FROM prices WHERE nano_usd IS NULL").await, 2);
    assert_eq!(world.count("SELECT count(*) FROM prices WHERE nano_usd = 7").await, 1);
}

#[tokio::test]
async fn a_level_is_told_once_a_month() {
    let world = World::new().await;
    let change = people::Change {
        replica: world.replica,
        actor: None,
        called: "spaceport".to_owned(),
        address: std::net::Ipv4Addr::UNSPECIFIED.into(),
        at: NOON,
    };
    let note = async |percent, month| {
        let warning = Warning {
            of: BudgetOf::Domain("main".parse().unwrap()),
            month,
            percent,
            spent: Money::from_nano_usd(81_000_000_000),
            at_least: true,
            limit: Money::from_nano_usd(100_000_000_000),
        };
        world.store().note_warning(&warning, &change).await.unwrap()
    };
    let may = date!(2026 - 05 - 01);
    assert!(note(80, may).await);
    assert!(!note(80, may).await);
    assert!(note(100, may).await && note(80, date!(2026 - 06 - 01)).await);
    assert_eq!(world.count("SELECT count(*) FROM audit WHERE kind = 'budget.warned'").await, 3);
}
