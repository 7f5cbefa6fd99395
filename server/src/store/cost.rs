//! What spaces cost: the one set of queries behind the command line, pages and budgets. They read what happened;
//! `domain::cost` counts.

use std::collections::HashMap;

use serde_json::json;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::people::{Change, audit};
use super::{Store, StoreError};
use crate::domain::budget::{Budget, BudgetOf, Warning};
use crate::domain::cost::{
    Cost, CostTerms, Facts, Payers, Row, RunFacts, SpaceFacts, Spell, SpellKind, StopFacts, rows,
};
use crate::domain::ids::{DomainAlias, RunId, SpaceId, UserProfileName};
use crate::domain::space::SpaceArn;

/// Whose costs are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    Everybody,
    /// Those of these spaces.
    Spaces(Vec<SpaceId>),
    /// A domain's.
    Domain(DomainAlias),
    /// Those of spaces that these profiles own.
    Profiles(Vec<(DomainAlias, UserProfileName)>),
}

impl Whose {
    /// Whose costs a budget limits.
    #[must_use]
    pub fn of_budget(budget: &BudgetOf, payers: &Payers) -> Self {
        match budget {
            BudgetOf::Domain(alias) => Self::Domain(alias.clone()),
            BudgetOf::User(name) => Self::Profiles(payers.profiles(|payer| payer.name == *name).collect()),
            BudgetOf::Group(group) => {
                Self::Profiles(payers.profiles(|payer| payer.groups.contains(group)).collect())
            }
        }
    }
}

/// Costs of some days.
#[derive(Debug, Clone)]
pub struct Costs {
    /// The spaces that the rows are about.
    pub spaces: Vec<SpaceFacts>,
    /// What each run, and the storage of each space, cost on each day.
    pub rows: Vec<Row>,
}

impl Store {
    /// What was spent on these days, the last one included, each of the time zone of `terms`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn costs(
        &self,
        terms: &CostTerms,
        whose: &Whose,
        (from, to): (Date, Date),
        now: OffsetDateTime,
    ) -> Result<Costs, StoreError> {
        let days = terms.zone.days(from, to);
        let (Some(first), Some(last)) = (days.first(), days.last()) else {
            return Ok(Costs { spaces: Vec::new(), rows: Vec::new() });
        };
        let facts = self.cost_facts(whose, first.begins_at, last.ends_at.min(now)).await?;
        let rows = rows(&facts, terms, &days, now);
        Ok(Costs { spaces: facts.spaces, rows })
    }

    /// What was spent since the month began.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn month_cost(
        &self,
        terms: &CostTerms,
        whose: &Whose,
        now: OffsetDateTime,
    ) -> Result<Cost, StoreError> {
        let (first, _) = terms.zone.month(now);
        let costs = self.costs(terms, whose, (first, terms.zone.date(now)), now).await?;
        Ok(costs.rows.iter().map(|row| row.cost).sum())
    }

    /// What was spent of a budget since the month began.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn spent(
        &self,
        terms: &CostTerms,
        budget: &Budget,
        payers: &Payers,
        now: OffsetDateTime,
    ) -> Result<Cost, StoreError> {
        self.month_cost(terms, &Whose::of_budget(&budget.of, payers), now).await
    }

    /// Runs, spells, stops, spaces and prices of a time.
    async fn cost_facts(
        &self,
        whose: &Whose,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Facts, StoreError> {
        let spaces = self.spaces_between(whose, from, until).await?;
        let ids: Vec<Uuid> = spaces.iter().map(|space| space.id.uuid()).collect();
        let runs = self.runs_between(&ids, from, until).await?;
        let stops = self.stops_between(&ids, from, until).await?;
        Ok(Facts { spaces, runs, stops, prices: self.prices().await? })
    }

    async fn spaces_between(
        &self,
        whose: &Whose,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<SpaceFacts>, StoreError> {
        let (mut ids, mut domain, mut domains, mut owners) = (None, None, None, None);
        match whose {
            Whose::Everybody => {}
            Whose::Spaces(spaces) => {
                ids = Some(spaces.iter().map(|space| space.uuid()).collect::<Vec<_>>());
            }
            Whose::Domain(alias) => domain = Some(alias.as_str()),
            Whose::Profiles(profiles) => {
                domains = Some(profiles.iter().map(|(domain, _)| domain.to_string()).collect::<Vec<_>>());
                owners = Some(profiles.iter().map(|(_, owner)| owner.to_string()).collect::<Vec<_>>());
            }
        }
        let rows = sqlx::query!(
            "SELECT id, arn, domain, name, owner, first_seen_at, deleted_at, storage_gib FROM spaces s
             WHERE first_seen_at < $2 AND (deleted_at IS NULL OR deleted_at > $1)
               AND ($3::uuid[] IS NULL OR id = ANY ($3)) AND ($4::text IS NULL OR domain = $4)
               AND ($5::text[] IS NULL OR EXISTS (
                        SELECT FROM unnest($5::text[], $6::text[]) AS theirs (domain, owner)
                        WHERE theirs.domain = s.domain AND theirs.owner = s.owner))
             ORDER BY domain, name, first_seen_at",
            from,
            until,
            ids.as_deref() as Option<&[Uuid]>,
            domain,
            domains.as_deref() as Option<&[String]>,
            owners.as_deref() as Option<&[String]>,
        )
        .fetch_all(&self.pool)
        .await?;
        let spaces = rows.into_iter().filter_map(|row| {
            Some(SpaceFacts {
                id: row.id.into(),
                domain: row.domain.parse().ok()?,
                region: row.arn.parse::<SpaceArn>().ok()?.region,
                name: row.name,
                owner: row.owner.and_then(|owner| owner.parse().ok()),
                first_seen_at: row.first_seen_at,
                deleted_at: row.deleted_at,
                storage_gib: row.storage_gib.and_then(|gib| u32::try_from(gib).ok()),
            })
        });
        Ok(spaces.collect())
    }

    pub(super) async fn runs_between(
        &self,
        spaces: &[Uuid],
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<RunFacts>, StoreError> {
        let rows = sqlx::query!(
            "SELECT id, space_id, app_type, instance_type, began_at, ended_at FROM runs
             WHERE space_id = ANY ($1) AND began_at < $3 AND (ended_at IS NULL OR ended_at > $2)
             ORDER BY began_at, id",
            spaces,
            from,
            until,
        )
        .fetch_all(&self.pool)
        .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let mut spells = self.spells_between(&ids, from, until).await?;
        let runs = rows.into_iter().filter_map(|row| {
            let id: RunId = row.id.into();
            Some(RunFacts {
                id,
                space: row.space_id.into(),
                app_type: row.app_type.parse().ok()?,
                instance_type: row.instance_type,
                began_at: row.began_at,
                ended_at: row.ended_at,
                spells: spells.remove(&id).unwrap_or_default(),
            })
        });
        Ok(runs.collect())
    }

    /// Stops for idleness of that time, each with what came next. A run that was stopped twice, as when a first stop
    /// was given up, counts once.
    async fn stops_between(
        &self,
        spaces: &[Uuid],
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<StopFacts>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT DISTINCT ON (r.id) r.id, r.space_id, r.app_type, r.instance_type, s.ended_at AS "stopped_at!",
                      least(p.deleted_at, (SELECT min(n.began_at) FROM runs n
                                           WHERE n.space_id = r.space_id AND n.app_created_at > r.app_created_at))
                          AS next_start
               FROM stops s JOIN runs r ON r.id = s.run_id JOIN spaces p ON p.id = r.space_id
               WHERE r.space_id = ANY ($1) AND s.ended_at >= $2 AND s.ended_at < $3
                 AND s.outcome = 'stopped' AND NOT s.dry_run AND s.trigger ? 'idle'
               ORDER BY r.id, s.ended_at"#,
            spaces,
            from,
            until,
        )
        .fetch_all(&self.pool)
        .await?;
        let stops = rows.into_iter().filter_map(|row| {
            Some(StopFacts {
                run: row.id.into(),
                space: row.space_id.into(),
                app_type: row.app_type.parse().ok()?,
                instance_type: row.instance_type,
                stopped_at: row.stopped_at,
                next_start: row.next_start,
            })
        });
        Ok(stops.collect())
    }

    async fn spells_between(
        &self,
        runs: &[Uuid],
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<HashMap<RunId, Vec<Spell>>, StoreError> {
        let rows = sqlx::query!(
            "SELECT run_id, began_at, ended_at, kind FROM spells
             WHERE run_id = ANY ($1) AND began_at < $3 AND ended_at > $2 ORDER BY run_id, began_at",
            runs,
            from,
            until,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut spells = HashMap::<RunId, Vec<Spell>>::new();
        for row in rows {
            let spell = Spell {
                began_at: row.began_at,
                ended_at: row.ended_at,
                kind: SpellKind::from_word(&row.kind),
            };
            spells.entry(row.run_id.into()).or_default().push(spell);
        }
        Ok(spells)
    }

    /// Writes down that a level of a budget was reached. Answers whether nobody had yet: then whoever should know is to
    /// be told.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn note_warning(&self, warning: &Warning, change: &Change) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let percent = i32::try_from(warning.percent).unwrap_or(i32::MAX);
        let written = sqlx::query!(
            "INSERT INTO budget_warnings (budget, month, percent, warned_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
            warning.of.to_string(),
            warning.month,
            percent,
            change.at,
        )
        .execute(&mut *tx)
        .await?;
        if written.rows_affected() == 0 {
            return Ok(false);
        }
        let detail = json!({
            "budget": warning.of.to_string(), "month": warning.month.to_string(), "percent": warning.percent,
            "spent_usd": warning.spent.decimal(2), "at_least": warning.at_least,
            "limit_usd": warning.limit.decimal(2),
        });
        audit(&mut tx, change, "budget.warned", None, detail).await?;
        tx.commit().await?;
        Ok(true)
    }
}
