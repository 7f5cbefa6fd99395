//! Lines of costs for machines: comma-separated values, and the names and values behind them.

use super::{By, Cost, Line};
use crate::domain::csv::quoted;

/// Decimals of dollars: so many rows add up to the cent.
const DECIMALS: u32 = 9;

/// Lines and their total as a file (RFC 4180).
#[must_use]
pub fn file(by: By, lines: &[Line], total: &Cost) -> String {
    let names: Vec<&str> = fields(total).iter().map(|(name, _)| *name).collect();
    let mut out = format!("{by},{}\r\n", names.join(","));
    let totals = Line { label: "total".to_owned(), cost: *total };
    for line in lines.iter().chain([&totals]) {
        let values: Vec<String> = fields(&line.cost).into_iter().map(|(_, value)| value).collect();
        out += &format!("{},{}\r\n", quoted(&line.label), values.join(","));
    }
    out
}

/// Amounts and times of a line, each with its name. Amounts leave out what has no known price, of which the times are
/// told.
#[must_use]
pub fn fields(cost: &Cost) -> [(&'static str, String); 12] {
    let (time, spent) = (&cost.time_us, &cost.spent);
    [
        ("active_s", seconds(time.active)),
        ("idle_s", seconds(time.idle)),
        ("unknown_s", seconds(time.unknown)),
        ("active_usd", spent.active.decimal(DECIMALS)),
        ("idle_usd", spent.idle.decimal(DECIMALS)),
        ("unknown_usd", spent.unknown.decimal(DECIMALS)),
        ("storage_usd", cost.storage.decimal(DECIMALS)),
        ("total_usd", cost.total().decimal(DECIMALS)),
        ("unpriced_s", seconds(cost.unpriced_us.total())),
        ("storage_unpriced_s", seconds(cost.storage_unpriced_us)),
        ("saved_estimate_usd", cost.saved.decimal(DECIMALS)),
        ("saved_unpriced_stops", cost.saved_unpriced.to_string()),
    ]
}

/// Seconds, exactly.
fn seconds(time_us: i64) -> String {
    format!("{}.{:06}", time_us / 1_000_000, time_us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cost::Split;
    use crate::domain::money::{HOUR_US, Money};

    #[test]
    fn values_add_up_for_machines() {
        let cost = Cost {
            time_us: Split { active: HOUR_US, ..Split::default() },
            spent: Split { active: Money::for_time(HOUR_US, 333_333_333), ..Split::default() },
            ..Cost::default()
        };
        let line = Line { label: "a,\"b\"".to_owned(), cost };
        let text = file(By::Team, std::slice::from_ref(&line), &line.cost);
        let mut rows = text.split("\r\n");
        assert_eq!(
            rows.next(),
            Some(
                "team,active_s,idle_s,unknown_s,active_usd,idle_usd,unknown_usd,storage_usd,total_usd,\
                 unpriced_s,storage_unpriced_s,saved_estimate_usd,saved_unpriced_stops"
            )
        );
        let values = "3600.000000,0.000000,0.000000,0.333333333,0.000000000,0.000000000,0.000000000,\
                      0.333333333,0.000000,0.000000,0.000000000,0";
        assert_eq!(rows.next(), Some(format!("\"a,\"\"b\"\"\",{values}").as_str()));
        assert_eq!(rows.next(), Some(format!("total,{values}").as_str()));
    }
}
