//! Prices, and when each region's list is read.

use time::OffsetDateTime;

use super::text::plain;
use super::{Store, StoreError};
use crate::domain::ids::Region;
use crate::domain::price::{ListedPrice, Price, PriceList, PriceTable, Usage, takes_effect};

/// The source of prices that AWS's list showed.
const LIST: &str = "AWS Price List API";
/// How long a replica that reads a list may take before another one does.
const READING: time::Duration = time::Duration::hours(1);

impl Store {
    /// Every price that is known.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn prices(&self) -> Result<PriceTable, StoreError> {
        let rows = sqlx::query!(
            "SELECT region, usage, item, valid_from, nano_usd, source, as_of FROM prices ORDER BY valid_from"
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(PriceTable::new(rows.into_iter().filter_map(|row| {
            Some(Price {
                region: row.region.parse().ok()?,
                usage: Usage::from_word(&row.usage)?,
                item: row.item,
                nano_usd: row.nano_usd,
                source: row.source,
                as_of: row.as_of,
                valid_from: row.valid_from,
            })
        })))
    }

    /// Writes prices for what has none yet.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn seed_prices(&self, prices: &[Price]) -> Result<(), StoreError> {
        let text = |of: fn(&Price) -> String| prices.iter().map(of).collect::<Vec<String>>();
        let nano_usd: Vec<Option<i64>> = prices.iter().map(|price| price.nano_usd).collect();
        let as_of: Vec<time::Date> = prices.iter().map(|price| price.as_of).collect();
        let valid_from: Vec<OffsetDateTime> = prices.iter().map(|price| price.valid_from).collect();
        sqlx::query!(
            "INSERT INTO prices (region, usage, item, source, nano_usd, as_of, valid_from)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::date[],
                                  $7::timestamptz[])
                           AS new (region, usage, item, source, nano_usd, as_of, valid_from)
             WHERE NOT EXISTS (SELECT FROM prices p
                               WHERE (p.region, p.usage, p.item) = (new.region, new.usage, new.item))
             ON CONFLICT DO NOTHING",
            &text(|price| price.region.to_string()),
            &text(|price| price.usage.to_string()),
            &text(|price| price.item.clone()),
            &text(|price| price.source.clone()),
            &nano_usd as &[Option<i64>],
            &as_of,
            &valid_from,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Takes in what AWS's list of a region shows now: a price that changed is a new row, one that did not is confirmed,
    /// and one that is no longer listed stays. Answers how many changed.
    ///
    /// # Errors
    /// When it could not be written; then nothing was.
    pub async fn take_prices(
        &self,
        region: &Region,
        list: &PriceList,
        now: OffsetDateTime,
    ) -> Result<usize, StoreError> {
        let mut tx = self.pool.begin().await?;
        let mut changed = 0;
        for listed in &list.prices {
            let newest = sqlx::query!(
                "SELECT nano_usd, valid_from FROM prices WHERE region = $1 AND usage = $2 AND item = $3
                 ORDER BY valid_from DESC LIMIT 1 FOR UPDATE",
                region.as_str(),
                listed.usage.as_str(),
                listed.item,
            )
            .fetch_optional(&mut *tx)
            .await?;
            let newest = newest.map(|row| (row.nano_usd, row.valid_from));
            let effect = takes_effect(newest, listed, now);
            changed += usize::from(effect.is_some());
            let since = newest.map_or(OffsetDateTime::UNIX_EPOCH, |(_, since)| since);
            write(&mut tx, region, listed, effect.unwrap_or(since), now).await?;
        }
        sqlx::query!(
            "UPDATE price_readings SET due_at = $2, read_at = $3, prices = $4, malformed = $5, problem = NULL
             WHERE region = $1",
            region.as_str(),
            now + time::Duration::days(1),
            now,
            i32::try_from(list.prices.len()).unwrap_or(i32::MAX),
            i32::try_from(list.malformed).unwrap_or(i32::MAX),
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Whether a region's list is due; then it is this caller's to read, and nobody else's for an hour.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn claim_price_reading(
        &self,
        region: &Region,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let claimed = sqlx::query_scalar!(
            "INSERT INTO price_readings AS r (region, due_at) VALUES ($1, $3)
             ON CONFLICT (region) DO UPDATE SET due_at = excluded.due_at WHERE r.due_at <= $2
             RETURNING region",
            region.as_str(),
            now,
            now + READING,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(claimed.is_some())
    }

    /// Keeps why a region's list could not be read. It is read again within the hour.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn price_reading_failed(&self, region: &Region, problem: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE price_readings SET problem = $2 WHERE region = $1",
            region.as_str(),
            &*plain(problem),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

async fn write(
    on: &mut sqlx::PgConnection,
    region: &Region,
    listed: &ListedPrice,
    valid_from: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO prices (region, usage, item, valid_from, nano_usd, source, as_of)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (region, usage, item, valid_from) DO UPDATE
         SET nano_usd = excluded.nano_usd, source = excluded.source, as_of = excluded.as_of",
        region.as_str(),
        listed.usage.as_str(),
        listed.item,
        valid_from,
        listed.nano_usd,
        LIST,
        now.to_offset(time::UtcOffset::UTC).date(),
    )
    .execute(on)
    .await?;
    Ok(())
}
