//! When spaces count as idle and what happens then.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use super::domains::Domain;
use super::fault::Faults;
use super::reader::Section;
use crate::domain::idle::{Hours, InsideRule, Mode, Policies, Policy, Rule, Scope};
use crate::domain::ids::{DomainAlias, GroupName, SpaceName};

/// A year: nothing of an idle policy is longer.
const YEAR_S: u64 = 366 * 86_400;

/// `[idle]`.
#[derive(Debug, Clone, PartialEq)]
pub struct IdleSettings {
    /// The policies of all spaces.
    pub policies: Policies,
    /// Between two looks.
    pub look_every: Duration,
    /// Over how long a time bytes are added up to tell an editor's heartbeat from work.
    pub window: Duration,
    /// How long looks are kept, for explanations and for trying policies on the past.
    pub looks_kept: Duration,
    /// The longest that a person may hold a space.
    pub longest_hold: Duration,
}

impl Default for IdleSettings {
    fn default() -> Self {
        Self {
            policies: Policies::default(),
            look_every: Duration::from_secs(60),
            window: Duration::from_secs(10),
            looks_kept: Duration::from_secs(30 * 86_400),
            longest_hold: Duration::from_secs(24 * 3_600),
        }
    }
}

impl IdleSettings {
    /// From a section. Without domains, policies may be for any.
    pub(super) fn read(mut section: Section<'_>, domains: Option<&[Domain]>, faults: &Faults) -> Self {
        let look_every = section.seconds("look_every_s", 1..=600, 60);
        let window = section.seconds("window_s", 1..=60, 10);
        let looks_kept = Duration::from_secs(section.number("looks_kept_days", 1..=366, 30) * 86_400);
        let longest_hold = section.seconds("longest_hold_s", 60..=YEAR_S, 24 * 3_600);
        let default = read_policy(&mut section, Policy { look_every, ..Policy::default() });
        let mut rules: Vec<Rule> = Vec::new();
        for mut one in section.sections("policies") {
            let place = one.place("domain");
            let scope = read_scope(&mut one, domains);
            let policy = read_policy(&mut one, default.clone());
            one.finish();
            let Some(scope) = scope else { continue };
            if rules.iter().any(|rule| rule.scope == scope) {
                faults.add(&place, None, format!("{scope} has a policy before"), "keep one for each");
            }
            rules.push(Rule { scope, policy });
        }
        section.finish();
        Self { policies: Policies::new(default, rules), look_every, window, looks_kept, longest_hold }
    }
}

/// What stands in a section, over what holds without it.
fn read_policy(section: &mut Section<'_>, base: Policy) -> Policy {
    let modes = [Mode::Never, Mode::DryRun, Mode::Stop].map(|mode| (mode.as_str(), mode));
    let insides = [("required", InsideRule::Required), ("where-set-up", InsideRule::WhereSetUp)];
    let seconds = |value: Duration| value.as_secs();
    let longest = match section.optional_number("longest_run_s", 0..=YEAR_S) {
        None => base.longest_run,
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds)),
    };
    let percent = |section: &mut Section<'_>, key, base: f64, most| {
        let given = section.optional_number(key, 1..=most).and_then(|percent| u32::try_from(percent).ok());
        given.map_or(base, f64::from)
    };
    Policy {
        mode: section.word("mode", &modes, base.mode),
        idle: section.seconds("idle_s", 1..=YEAR_S, seconds(base.idle)),
        grace: section.seconds("grace_s", 0..=86_400, seconds(base.grace)),
        cpu_percent: percent(section, "cpu_percent", base.cpu_percent, 10_000),
        gpu_percent: percent(section, "gpu_percent", base.gpu_percent, 100),
        inside: section.word("inside", &insides, base.inside),
        hours: if section.has("hours") { read_hours(section.section("hours")) } else { base.hours },
        longest_run: longest,
        look_every: base.look_every,
    }
}

fn read_scope(section: &mut Section<'_>, domains: Option<&[Domain]>) -> Option<Scope> {
    let alias = "write the alias of one of [[domains]]";
    let domain: Option<DomainAlias> = section.parsed("domain", alias);
    let space: Option<SpaceName> = section.parsed("space", "write the name of a space of `domain`");
    let group: Option<GroupName> = section.parsed("group", "write PROVIDER/GROUP, such as \"okta/research\"");
    let tag = section.text("tag", "write KEY=VALUE");
    let known = |alias: &DomainAlias| domains.is_none_or(|all| all.iter().any(|one| one.alias == *alias));
    if let Some(domain) = domain.as_ref().filter(|alias| !known(alias)) {
        section.fault("domain", Some(domain.as_str()), "there is no such domain", alias);
    }
    let tag = tag.and_then(|tag| {
        let read = tag.split_once('=').filter(|(key, _)| !key.is_empty());
        if read.is_none() {
            section.fault("tag", Some(&tag), "it has no = behind a key", "write KEY=VALUE");
        }
        read.map(|(key, value)| Scope::Tag { key: key.to_owned(), value: value.to_owned() })
    });
    match (domain, space, group, tag) {
        (Some(domain), None, None, None) => Some(Scope::Domain(domain)),
        (Some(domain), Some(space), None, None) => Some(Scope::Space(domain, space)),
        (None, None, Some(group), None) => Some(Scope::Group(group)),
        (None, None, None, Some(tag)) => Some(tag),
        _ => {
            let instead = "write domain, or domain and space, or group, or tag";
            section.fault("domain", None, "what the policy is for must be said once", instead);
            None
        }
    }
}

fn read_hours(mut section: Section<'_>) -> Option<Hours> {
    let zone = section.required::<ZoneName>("zone", "write a name of IANA's list, such as \"Europe/Berlin\"");
    let days: Vec<Day> = section.list("days", "is one of mon, tue, wed, thu, fri, sat, sun");
    let clock = "write a time of day such as \"08:00\"";
    let (from, to) = (section.required::<Clock>("from", clock), section.required::<Clock>("to", clock));
    let idle = section.optional_number("idle_s", 1..=YEAR_S).map(Duration::from_secs);
    if days.is_empty() {
        section.fault("days", None, "there are none", "write a list such as [\"mon\", \"tue\"]");
    }
    section.finish();
    let days = days.into_iter().map(|day| day.0).collect();
    Some(Hours::new(zone?.0, days, (from?.0, to?.0), idle))
}

struct ZoneName(TimeZone);
impl FromStr for ZoneName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        TimeZone::get(text).map(Self).map_err(|_| "there is no such time zone")
    }
}

struct Day(Weekday);
impl FromStr for Day {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let days = Weekday::Monday.cycle_forward();
        let found = names.iter().zip(days).find(|(name, _)| **name == text);
        found.map(|(_, day)| Self(day)).ok_or("there is no such day")
    }
}

struct Clock(Time);
impl FromStr for Clock {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = text.split_once(':').and_then(|(hour, minute)| {
            let two = |text: &str| (text.len() == 2).then(|| text.parse::<i8>().ok()).flatten();
            Time::new(two(hour)?, two(minute)?, 0, 0).ok()
        });
        read.map(Self).ok_or("it is no time of day")
    }
}
