//! `spaceport simulate-policy`: what a policy would have stopped, by the looks that are kept or a file of them.

mod file;
mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use time::OffsetDateTime;

use self::file::{Line, Lines, Written};
use self::report::Report;
use super::operator::{Desk, now, say_json};
use crate::config::{ConfigError, ConfigSource};
use crate::domain::cost::CostTerms;
use crate::domain::grant::Term;
use crate::domain::idle::{Evidence, Policies};
use crate::domain::ids::{DomainAlias, GroupName, RunId, SpaceName};
use crate::domain::plain;
use crate::domain::price::{PriceTable, Rates, Usage};
use crate::domain::run::{OpenRun, Tags};
use crate::domain::user::{Users, owners};
use crate::store::Store;

/// How far back looks are taken if nothing is said.
const SINCE: Duration = Duration::from_secs(30 * 86_400);
/// The longest that may be asked for.
const LONGEST: Duration = Duration::from_secs(3_660 * 86_400);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The file of the policies; those of the configuration if nothing is said.
    pub policies: Option<PathBuf>,
    /// How far back.
    pub since: Option<Term>,
    /// Of this domain only.
    pub domain: Option<DomainAlias>,
    /// Of spaces of this name only.
    pub space: Option<SpaceName>,
    /// The file of looks; the database if nothing is said.
    pub from_file: Option<PathBuf>,
    /// The file that looks are written to, instead of a simulation.
    pub export: Option<PathBuf>,
    /// One JSON object.
    pub json: bool,
}

/// A run that was looked at.
#[derive(Debug, Clone, PartialEq)]
struct PastRun {
    id: RunId,
    space: SpaceName,
    domain: DomainAlias,
    owner: Option<String>,
    /// The groups of its owner.
    groups: BTreeSet<GroupName>,
    tags: Tags,
    began_at: OffsetDateTime,
    ended_at: Option<OffsetDateTime>,
    /// Between two looks.
    look_every: Duration,
    rates: Rates,
}

/// What takes runs and their looks.
trait Sink {
    /// A run begins.
    fn run(&mut self, run: PastRun) -> Result<()>;
    /// The next look at it.
    fn look(&mut self, look: Evidence) -> Result<()>;
}

/// Simulates, or writes looks to a file.
///
/// # Errors
/// When Postgres is away, the configuration or a file is at fault.
pub async fn run(source: Result<ConfigSource, ConfigError>, asked: Asked) -> Result<()> {
    let now = now();
    let back = asked.since.map(|since| since.within(LONGEST)).transpose()?;
    if let Some(path) = &asked.from_file {
        let mut report = Report::new(policies(source, asked.policies.as_deref(), None)?);
        let since = back.map_or(OffsetDateTime::UNIX_EPOCH, |back| now - back);
        replay_file(path, since, &asked, &mut report)?;
        return print(report, asked.json);
    }
    let source = source?;
    let past = Past::open(&source, now - back.unwrap_or(SINCE)).await?;
    if let Some(path) = &asked.export {
        let mut written = Written::create(path)?;
        past.hand_to(&asked, &mut written).await?;
        println!("{}", written.finish()?);
        return Ok(());
    }
    let mut report = Report::new(policies(Ok(source), asked.policies.as_deref(), Some(&past.desk))?);
    past.hand_to(&asked, &mut report).await?;
    print(report, asked.json)
}

fn print(report: Report, json: bool) -> Result<()> {
    let finished = report.finish();
    match json {
        true => say_json(&finished.json()),
        false => print!("{}", plain::lines(&finished.text())),
    }
    Ok(())
}

/// The policies to try: those of a file, or the configured ones.
fn policies(
    source: Result<ConfigSource, ConfigError>,
    file: Option<&Path>,
    desk: Option<&Desk>,
) -> Result<Policies> {
    let domains = desk.map(|desk| desk.config.domains.as_slice());
    match (file, desk) {
        (Some(path), _) => Ok(crate::config::policies_of(path, domains)?),
        (None, Some(desk)) => Ok(desk.config.idle.policies.clone()),
        (None, None) => {
            let config = source.and_then(|source| source.load());
            Ok(config
                .context("name the policies with --policies, or the server's configuration")?
                .idle
                .policies)
        }
    }
}

impl Asked {
    fn wants(&self, run: &PastRun) -> bool {
        self.domain.as_ref().is_none_or(|domain| *domain == run.domain)
            && self.space.as_ref().is_none_or(|space| *space == run.space)
    }
}

/// Hands the looks of a file on.
fn replay_file(path: &Path, since: OffsetDateTime, asked: &Asked, sink: &mut impl Sink) -> Result<()> {
    let mut lines = Lines::open(path)?;
    let mut wanted = None;
    while let Some(line) = lines.next()? {
        match line {
            Line::Run(run) => {
                wanted = Some(asked.wants(&run));
                if wanted == Some(true) {
                    sink.run(*run)?;
                }
            }
            Line::Look(look) => {
                ensure!(wanted.is_some(), "{}: there is a look before the first run", lines.place());
                if wanted == Some(true) && look.at >= since {
                    sink.look(*look)?;
                }
            }
        }
    }
    Ok(())
}

/// What the database knows.
struct Past {
    desk: Desk,
    since: OffsetDateTime,
    users: Users,
    prices: PriceTable,
}

impl Past {
    async fn open(source: &ConfigSource, since: OffsetDateTime) -> Result<Self> {
        let desk = Desk::open(source).await?;
        let users =
            desk.directory.entries().iter().map(|entry| (entry.user.id, Arc::clone(&entry.user))).collect();
        let prices = desk.store.prices().await?;
        Ok(Self { desk, since, users, prices })
    }

    /// Hands every wanted run on with its looks, a page of them at a time.
    async fn hand_to(&self, asked: &Asked, sink: &mut impl Sink) -> Result<()> {
        let store: &Store = &self.desk.store;
        let space = asked.space.as_ref().map(SpaceName::as_str);
        for (id, ended_at) in store.looked_at(self.since, asked.domain.as_ref(), space).await? {
            let Some(run) = store.run(id).await? else { continue };
            sink.run(self.past_run(&run, ended_at))?;
            let mut looks = store.looks(id, self.since);
            while let Some(page) = looks.next().await? {
                page.into_iter().try_for_each(|look| sink.look(look))?;
            }
        }
        Ok(())
    }

    fn past_run(&self, run: &OpenRun, ended_at: Option<OffsetDateTime>) -> PastRun {
        let space = &run.space;
        PastRun {
            id: run.run,
            space: space.name().clone(),
            domain: space.domain.clone(),
            owner: space.owner.as_ref().map(ToString::to_string),
            groups: owners(&self.users, space).flat_map(|owner| owner.groups.clone()).collect(),
            tags: run.tags.clone().unwrap_or_default(),
            began_at: run.began_at,
            ended_at,
            look_every: self.desk.config.idle.look_every,
            rates: self.rates(run, &self.desk.config.cost.terms),
        }
    }

    fn rates(&self, run: &OpenRun, terms: &CostTerms) -> Rates {
        let app_type = run.space.app.as_ref().map(|app| app.app_type).or(run.space.app_type);
        let (Some(app_type), Some(on)) = (app_type, &run.instance_type) else { return Rates::default() };
        let terms = terms.domains.get(&run.space.domain).cloned().unwrap_or_default();
        self.prices.rates(&run.space.arn.region, Usage::from(app_type), on.as_str(), &terms)
    }
}
