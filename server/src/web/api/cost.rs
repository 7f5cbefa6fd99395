//! What spaces cost in a month, by the functions of page and command line.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::{Kind, Problem};
use super::read::Query;
use super::told::Json;
use crate::domain::cost::{By, Month, csv as lines};
use crate::domain::plain;
use crate::web::pages::cost::{Counted, count};
use crate::web::rows::CostRow;
use crate::web::site::Site;

/// Decimals of a dollar.
const DECIMALS: u32 = 9;

/// How lines are gathered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Gathered {
    /// A line for each day.
    Day,
    /// For each user.
    #[default]
    User,
    /// For each space.
    Space,
    /// For each team.
    Team,
}

/// Which month, and how it is told.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Wanted {
    /// The month; the one that runs, if nothing is said.
    #[param(pattern = "^2[0-9]{3}-(0[1-9]|1[0-2])$", example = "2026-11")]
    month: Option<String>,
    /// What each line is for.
    #[param(inline)]
    by: Gathered,
}

/// What a month cost.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MonthOfCost {
    /// The month.
    #[schema(example = "2026-11")]
    month: String,
    /// What each line is for: `day`, `user`, `space` or `team`.
    by: String,
    /// The time zone that days and months are those of.
    time_zone: String,
    /// The lines.
    lines: Vec<CostRow>,
    /// All of them together.
    total: CostRow,
    /// Budgets, as far as they are spent.
    budgets: Vec<BudgetState>,
}

/// A budget.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BudgetState {
    /// Whose it is.
    of: String,
    /// What is spent of it, in US dollars.
    spent_usd: String,
    /// Whether something has no known price, so that more is spent.
    at_least: bool,
    /// How much it is, in US dollars.
    limit_usd: String,
    /// Whether starts are refused once it is spent.
    refuses_starts: bool,
}

impl Wanted {
    async fn counted(&self, site: &Site) -> Result<Counted, Problem> {
        let month = self.month.as_deref().map(str::parse::<Month>).transpose();
        let month = month.map_err(|_| Problem::new(Kind::Malformed, "month is a month such as 2026-11."))?;
        let by = match self.by {
            Gathered::Day => By::Day,
            Gathered::User => By::User,
            Gathered::Space => By::Space,
            Gathered::Team => By::Team,
        };
        Ok(count(site, month, by).await?)
    }
}

/// What a month cost.
#[utoipa::path(
    get, path = "/cost", operation_id = "getCost", tag = "Cost", params(Wanted),
    responses((status = 200, body = MonthOfCost)), security(("token" = ["cost:read"]))
)]
pub(super) async fn show(
    State(site): State<Arc<Site>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<MonthOfCost>, Problem> {
    let counted = wanted.counted(&site).await?;
    let costs = &site.ledger.costs;
    let budgets = costs.budgets.iter().map(|budget| {
        let spent = budget.spent(&counted.rows, &counted.spaces, &counted.payers);
        BudgetState {
            of: budget.of.to_string(),
            spent_usd: spent.total().decimal(DECIMALS),
            at_least: spent.at_least(),
            limit_usd: budget.limit().decimal(DECIMALS),
            refuses_starts: budget.refuse_start,
        }
    });
    Ok(Json(MonthOfCost {
        month: counted.month.to_string(),
        by: counted.by.to_string(),
        time_zone: costs.terms.zone.to_string(),
        lines: counted.lines.iter().map(|line| CostRow::of(&line.label, &line.cost)).collect(),
        total: CostRow::of("total", &counted.total),
        budgets: budgets.collect(),
    }))
}

/// The lines as comma-separated values (RFC 4180), as `spaceport cost --csv` has them.
#[utoipa::path(
    get, path = "/cost.csv", operation_id = "exportCostCsv", tag = "Cost", params(Wanted),
    responses((status = 200, body = String, content_type = "text/csv")), security(("token" = ["cost:read"]))
)]
pub(super) async fn csv(
    State(site): State<Arc<Site>>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let counted = wanted.counted(&site).await?;
    let text = lines::file(counted.by, &counted.lines, &counted.total);
    Ok(sent(&counted, ("csv", "text/csv; charset=utf-8"), text))
}

/// The lines as a JSON object a line, without the total.
#[utoipa::path(
    get, path = "/cost.jsonl", operation_id = "exportCost", tag = "Cost", params(Wanted),
    responses((status = 200, body = String, content_type = "application/jsonl")),
    security(("token" = ["cost:read"]))
)]
pub(super) async fn jsonl(
    State(site): State<Arc<Site>>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let counted = wanted.counted(&site).await?;
    let mut text = String::new();
    for line in &counted.lines {
        let row = serde_json::to_string(&CostRow::of(&line.label, &line.cost));
        let _ = writeln!(text, "{}", plain::json(&row.map_err(|_| Problem::broken())?));
    }
    Ok(sent(&counted, ("jsonl", "application/jsonl; charset=utf-8"), text))
}

fn sent(counted: &Counted, (end, kind): (&str, &str), text: String) -> Response {
    let name = format!("attachment; filename=\"spaceport-cost-{}-by-{}.{end}\"", counted.month, counted.by);
    ([(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, name)], text).into_response()
}
