//! `spaceport cost`: what spaces cost, for operators, with the server's configuration.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use time::Date;

use super::operator::{Desk, now};
use crate::config::ConfigSource;
pub use crate::domain::cost::By;
use crate::domain::cost::{Cost, Line, Payers, SAVED_RULE, csv, grouped};
use crate::domain::day::{first_of_month, written_day};
use crate::domain::money::Money;
use crate::domain::plain;
use crate::domain::user::Users;
use crate::store::cost::Whose;

/// How costs are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// One JSON object.
    Json,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The first day; that of the month if nothing is said.
    pub from: Option<Date>,
    /// The last day; today if nothing is said.
    pub to: Option<Date>,
    /// What lines stand for.
    pub by: By,
    /// How they are printed.
    pub form: Form,
}

/// A day as the command line takes it.
///
/// # Errors
/// When it is none.
pub fn day(text: &str) -> Result<Date, String> {
    written_day(text).ok_or_else(|| "write a day such as 2026-11-26".to_owned())
}

/// Prints costs.
///
/// # Errors
/// When Postgres is away or the configuration is at fault.
pub async fn print(source: ConfigSource, asked: Asked) -> Result<()> {
    let desk = Desk::open(&source).await?;
    let (now, terms) = (now(), &desk.config.cost.terms);
    let to = asked.to.unwrap_or_else(|| terms.zone.date(now));
    let from = asked.from.unwrap_or_else(|| first_of_month(to));
    ensure!(from <= to, "--from {from} is after --to {to}");
    let people: Users = desk
        .directory
        .entries()
        .iter()
        .map(|entry| (entry.user.id, std::sync::Arc::clone(&entry.user)))
        .collect();
    let costs = desk.store.costs(terms, &Whose::Everybody, (from, to), now).await?;
    let (lines, total) = grouped(&costs.rows, &costs.spaces, &Payers::of(&people), asked.by);
    let title = format!("{from} to {to}, days of {}", terms.zone);
    print!(
        "{}",
        match asked.form {
            Form::Table => plain::lines(&table(&title, asked.by, &lines, &total)).into_owned(),
            Form::Csv => csv::file(asked.by, &lines, &total),
            Form::Json => {
                let lines: Vec<Value> =
                    lines.iter().map(|line| object(asked.by, &line.label, &line.cost)).collect();
                let total = object(asked.by, "total", &total);
                let (from, to) = (from.to_string(), to.to_string());
                let zone = terms.zone.to_string();
                let object = json!({
                    "from": from, "to": to, "time_zone": zone, "lines": lines, "total": total,
                    "saved_rule": SAVED_RULE,
                });
                format!("{}\n", plain::json(&object.to_string()))
            }
        }
    );
    Ok(())
}

/// Lines and their total as a table, amounts in dollars.
fn table(title: &str, by: By, lines: &[Line], total: &Cost) -> String {
    let labels = lines.iter().map(|line| line.label.chars().count());
    let width = labels.max().unwrap_or_default().max("TOTAL".len());
    let head = by.as_str().to_ascii_uppercase();
    let mut out = format!("{title}, USD\n");
    let columns = ["HOURS", "ACTIVE", "IDLE", "UNKNOWN", "STORAGE", "TOTAL"];
    out += &row(width, &head, &columns.map(str::to_owned), "", "SAVED");
    for Line { label, cost } in lines {
        out += &row(width, label, &amounts(cost), mark(cost), &saved(cost));
    }
    out += &row(width, "total", &amounts(total), mark(total), &saved(total));
    if total.at_least() {
        out += &format!(
            "+ at least: {} h of runs and {} days of storage have no known price\n",
            hours(total.unpriced_us.total()),
            total.storage_unpriced_us / 86_400_000_000,
        );
    }
    out += &format!("saved: {SAVED_RULE}\n");
    if total.saved_unpriced > 0 {
        out += &format!("stops without a known price, which are not in it: {}\n", total.saved_unpriced);
    }
    if by == By::Team {
        out += "Somebody in several teams counts in each: lines may add up to more than the total.\n";
    }
    out
}

fn row(width: usize, label: &str, columns: &[String; 6], mark: &str, saved: &str) -> String {
    let mut row = format!("{label:<width$}");
    for column in columns {
        row += &format!("  {column:>9}");
    }
    format!("{row}{mark:<1} {saved:>9}\n")
}

/// What stops saved, as far as their prices are known.
fn saved(cost: &Cost) -> String {
    match (cost.saved_unpriced, cost.saved) {
        (0, saved) => saved.decimal(2),
        (_, Money::ZERO) => "unknown".to_owned(),
        (_, saved) => format!("{}+", saved.decimal(2)),
    }
}

fn mark(cost: &Cost) -> &'static str {
    if cost.at_least() { "+" } else { "" }
}

fn amounts(cost: &Cost) -> [String; 6] {
    let part = |known: Money, unpriced_us: i64| {
        if unpriced_us > 0 && known == Money::ZERO { "unknown".to_owned() } else { known.decimal(2) }
    };
    let (spent, unpriced) = (&cost.spent, &cost.unpriced_us);
    let all = unpriced.total() + cost.storage_unpriced_us;
    [
        hours(cost.time_us.total()),
        part(spent.active, unpriced.active),
        part(spent.idle, unpriced.idle),
        part(spent.unknown, unpriced.unknown),
        part(cost.storage, cost.storage_unpriced_us),
        part(cost.total(), all),
    ]
}

/// Hours with one decimal, rounded half up.
fn hours(time_us: i64) -> String {
    let tenths = (time_us + 180_000_000) / 360_000_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn object(by: By, label: &str, cost: &Cost) -> Value {
    let key = if label == "total" { "label" } else { by.as_str() };
    let mut object = serde_json::Map::from_iter([(key.to_owned(), json!(label))]);
    object.extend(csv::fields(cost).into_iter().map(|(name, value)| (name.to_owned(), json!(value))));
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cost::Split;
    use crate::domain::money::HOUR_US;

    fn cost(hours: i64, nano_usd: i64, unpriced_hours: i64) -> Cost {
        Cost {
            time_us: Split { active: (hours + unpriced_hours) * HOUR_US, ..Split::default() },
            spent: Split { active: Money::for_time(hours * HOUR_US, nano_usd), ..Split::default() },
            unpriced_us: Split { active: unpriced_hours * HOUR_US, ..Split::default() },
            ..Cost::default()
        }
    }

    #[test]
    fn table_says_what_is_unknown_and_never_0() {
        let saved = Money::for_time(2 * HOUR_US, 1_410_000_000);
        let demo = Cost { saved, ..cost(10, 1_410_000_000, 0) };
        let odd = Cost { saved_unpriced: 1, ..cost(0, 0, 3) };
        let lines = [
            Line { label: "demo.main".to_owned(), cost: demo },
            Line { label: "odd.main".to_owned(), cost: odd },
        ];
        let total = lines.iter().map(|line| line.cost).sum();
        let text = table("2026-11-01 to 2026-11-02, days of UTC", By::Space, &lines, &total);
        assert_eq!(
            text,
            "2026-11-01 to 2026-11-02, days of UTC, USD\n\
             SPACE          HOURS     ACTIVE       IDLE    UNKNOWN    STORAGE      TOTAL      SAVED\n\
             demo.main       10.0      14.10       0.00       0.00       0.00      14.10       2.82\n\
             odd.main         3.0    unknown       0.00       0.00       0.00    unknown+   unknown\n\
             total           13.0      14.10       0.00       0.00       0.00      14.10+     2.82+\n\
             + at least: 3.0 h of runs and 0 days of storage have no known price\n\
             saved: estimate: price x time from the stop to the space's next start, at most 12 h a stop\n\
             stops without a known price, which are not in it: 1\n"
        );
    }
}
