//! How programs read a time.

use serde::{Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use utoipa::ToSchema;

/// A time as RFC 3339 has it, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-27T14:32:00Z")]
pub struct At(OffsetDateTime);

impl At {
    /// To the second, for what people also read.
    #[must_use]
    pub fn second(at: OffsetDateTime) -> Self {
        Self(at.replace_nanosecond(0).unwrap_or(at))
    }
}

impl From<OffsetDateTime> for At {
    fn from(at: OffsetDateTime) -> Self {
        Self(at)
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.to_offset(UtcOffset::UTC).format(&Rfc3339).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::At;

    #[test]
    fn times_are_in_utc_and_as_exact_as_wanted() {
        let at = datetime!(2026-11-27 15:32:01.25 +1);
        assert_eq!(serde_json::to_string(&At::from(at)).unwrap(), "\"2026-11-27T14:32:01.25Z\"");
        assert_eq!(serde_json::to_string(&At::second(at)).unwrap(), "\"2026-11-27T14:32:01Z\"");
    }
}
