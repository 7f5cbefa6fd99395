//! Rows as programs read them, in files and through the API. Their names stay.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::cost::Cost;
use crate::domain::written::At;
use crate::store::sessions::history::EndedSession;

/// Decimals of dollars: so many rows add up to the cent.
const DECIMALS: u32 = 9;

/// A session that ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PastSession {
    /// Its id.
    pub(super) id: String,
    /// Whose it was.
    user: String,
    /// The space.
    space: String,
    /// The space's domain, as the gateway calls it.
    domain: String,
    /// `session`, or `jump` if ssh was encrypted up to the space.
    mode: String,
    /// Where the client connected from.
    client_address: String,
    /// The client's version line.
    client_version: String,
    /// When it began.
    started_at: At,
    /// When it ended.
    ended_at: At,
    /// Why it ended, in one word.
    end_code: String,
    /// Why it ended.
    end_reason: String,
    /// Bytes from the client to the space.
    bytes_in: u64,
    /// Bytes from the space to the client.
    bytes_out: u64,
}

/// What something cost. Amounts are US dollars with nine decimals and leave out what has no known price, of which the
/// times are told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CostRow {
    /// What it is the cost of: a day, a user, a space, a team.
    label: String,
    /// Seconds in which somebody worked.
    active_s: f64,
    /// Seconds in which nobody did.
    idle_s: f64,
    /// Seconds of which it is not known.
    unknown_s: f64,
    /// What the active time cost.
    active_usd: String,
    /// What the idle time cost.
    idle_usd: String,
    /// What the unknown time cost.
    unknown_usd: String,
    /// What volumes cost.
    storage_usd: String,
    /// All of these together.
    total_usd: String,
    /// Seconds on instance types without a known price.
    unpriced_s: f64,
    /// Seconds of volumes without a known price or size.
    storage_unpriced_s: f64,
    /// What stops for idleness saved, an estimate.
    saved_estimate_usd: String,
    /// Stops of which that is not known.
    saved_unpriced_stops: u32,
}

impl From<EndedSession> for PastSession {
    fn from(session: EndedSession) -> Self {
        Self {
            id: session.id.to_string(),
            user: session.user,
            space: session.space,
            domain: session.domain,
            mode: session.mode,
            client_address: session.client_address,
            client_version: session.client_version,
            started_at: session.started_at.into(),
            ended_at: session.ended_at.into(),
            end_code: session.end_code,
            end_reason: session.end_reason,
            bytes_in: session.bytes_in,
            bytes_out: session.bytes_out,
        }
    }
}

impl CostRow {
    pub(super) fn of(label: &str, cost: &Cost) -> Self {
        let (time, spent) = (&cost.time_us, &cost.spent);
        Self {
            label: label.to_owned(),
            active_s: seconds(time.active),
            idle_s: seconds(time.idle),
            unknown_s: seconds(time.unknown),
            active_usd: spent.active.decimal(DECIMALS),
            idle_usd: spent.idle.decimal(DECIMALS),
            unknown_usd: spent.unknown.decimal(DECIMALS),
            storage_usd: cost.storage.decimal(DECIMALS),
            total_usd: cost.total().decimal(DECIMALS),
            unpriced_s: seconds(cost.unpriced_us.total()),
            storage_unpriced_s: seconds(cost.storage_unpriced_us),
            saved_estimate_usd: cost.saved.decimal(DECIMALS),
            saved_unpriced_stops: cost.saved_unpriced,
        }
    }
}

/// Seconds, to the microsecond.
fn seconds(time_us: i64) -> f64 {
    std::time::Duration::from_micros(time_us.unsigned_abs()).as_secs_f64()
}
