//! When spaces count as idle and what happens then, for auditors and admins: to read, since policies are configuration.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{Bar, Problem, page_of};
use crate::domain::idle::{InsideRule, Mode, Policies, Policy, Rule, Scope, Subject};
use crate::domain::ids::GroupName;
use crate::domain::run::OpenRun;
use crate::domain::span::rough;
use crate::domain::user::{Users, owners};
use crate::store::state::RunningHold;
use crate::web::amounts::dollars;
use crate::web::show::When;
use crate::web::site::Site;
use crate::web::visit::Onlooker;

#[derive(Template)]
#[template(path = "policies.html")]
struct PoliciesPage {
    bar: Option<Bar>,
    summary: String,
    rules: Vec<RuleRow>,
    holds: Vec<HoldRow>,
    longest_hold: String,
    budgets: Vec<BudgetRow>,
    looks: String,
}

struct RuleRow {
    scope: String,
    then: &'static str,
    /// Whether it does what policies are for.
    usual: bool,
    words: Vec<String>,
    running: usize,
}

struct HoldRow {
    space: String,
    by: String,
    until: When,
    since: When,
    reason: String,
}

struct BudgetRow {
    of: String,
    limit: String,
    words: String,
}

/// Every policy, the nearest first, with how many spaces it covers now.
pub(in crate::web) async fn show(
    State(site): State<Arc<Site>>,
    Onlooker(person): Onlooker,
) -> Result<Response, Problem> {
    let (idle, now) = (&site.ledger.idle, site.clock.now());
    let runs = site.store.open_runs().await?;
    let users = Arc::clone(&site.identity.everybody().borrow());
    let covered = covered(&idle.policies, &runs, &users);
    let rules: Vec<RuleRow> = idle.policies.all().map(|rule| rule_row(rule, &covered)).collect();
    let holds = site.store.running_holds(now).await?;
    let wall = person.wall(now);
    let hold = |hold: RunningHold| HoldRow {
        until: When::at(hold.until, &wall),
        since: When::at(hold.made_at, &wall),
        space: hold.space,
        by: hold.by,
        reason: hold.reason,
    };
    let budgets = site.ledger.costs.budgets.iter().map(|budget| BudgetRow {
        of: budget.of.to_string(),
        limit: dollars(budget.limit()),
        words: budget_words(&budget.warn_percent, budget.refuse_start),
    });
    Ok(page_of(&PoliciesPage {
        bar: Some(Bar::of(&person, "/policies")),
        summary: summary(&idle.policies, &covered, holds.len()),
        rules,
        holds: holds.into_iter().map(hold).collect(),
        longest_hold: length(idle.longest_hold),
        budgets: budgets.collect(),
        looks: format!(
            "Spaces are looked at every {}; looks are kept for {}.",
            length(idle.look_every),
            length(idle.looks_kept)
        ),
    }))
}

/// How many running spaces each policy is for, by what it is for.
pub(in crate::web) fn covered(policies: &Policies, runs: &[OpenRun], users: &Users) -> HashMap<Scope, usize> {
    let mut covered = HashMap::new();
    for run in runs {
        let groups: BTreeSet<GroupName> =
            owners(users, &run.space).flat_map(|owner| owner.groups.clone()).collect();
        let tags = run.tags.clone().unwrap_or_default();
        let (domain, space) = (&run.space.domain, run.space.name());
        let rule = policies.of(&Subject { domain, space, groups: &groups, tags: &tags });
        *covered.entry(rule.scope.clone()).or_default() += 1;
    }
    covered
}

fn summary(policies: &Policies, covered: &HashMap<Scope, usize>, holds: usize) -> String {
    let of = |mode: Mode| -> usize {
        let rules = policies.all().filter(|rule| rule.policy.mode == mode);
        rules.filter_map(|rule| covered.get(&rule.scope)).sum()
    };
    let (stop, dry, never) = (of(Mode::Stop), of(Mode::DryRun), of(Mode::Never));
    let running = stop + dry + never;
    if running == 0 {
        return "No space runs, so no policy has anything to do.".to_owned();
    }
    let spaces = if running == 1 { "1 space runs".to_owned() } else { format!("{running} spaces run") };
    let holds = match holds {
        0 => String::new(),
        1 => " 1 hold keeps a space up.".to_owned(),
        holds => format!(" {holds} holds keep spaces up."),
    };
    let parts =
        [(stop, "would be stopped when idle"), (dry, "would be on paper only"), (never, "never would")];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, words)| format!("{count} {words}")).collect();
    format!("{spaces}: {}.{holds}", parts.join(", "))
}

fn rule_row(rule: &Rule, covered: &HashMap<Scope, usize>) -> RuleRow {
    let then = match rule.policy.mode {
        Mode::Stop => "stops",
        Mode::DryRun => "dry run",
        Mode::Never => "never stops",
    };
    RuleRow {
        scope: rule.scope.to_string(),
        then,
        usual: rule.policy.mode == Mode::Stop,
        words: words(&rule.policy),
        running: covered.get(&rule.scope).copied().unwrap_or_default(),
    }
}

/// A policy in sentences.
fn words(policy: &Policy) -> Vec<String> {
    if policy.mode == Mode::Never {
        return vec!["Spaces are watched and never stopped for idleness.".to_owned()];
    }
    let (idle, grace) = (length(policy.idle), length(policy.grace));
    let mut words = vec![match policy.mode {
        Mode::Stop if policy.grace.is_zero() => format!("Stops after {idle} without a sign of work."),
        Mode::Stop => format!("Warns after {idle} without a sign of work, and stops {grace} later."),
        _ => format!("Writes down what would have been stopped after {idle} without a sign of work."),
    }];
    if let Some(hours) = &policy.hours {
        words.push(match hours.idle() {
            Some(idle) => format!("{hours}: after {} instead.", length(idle)),
            None => format!("{hours}: not stopped before they are over."),
        });
    }
    words.push(format!(
        "CPU from {} % of a core and GPU from {} % count as work.",
        policy.cpu_percent, policy.gpu_percent
    ));
    words.push(match policy.inside {
        InsideRule::Required => "Without a look inside nothing is known, and nothing is stopped.".to_owned(),
        InsideRule::WhereSetUp => {
            "Where no look inside is set up, what passes through the gateway suffices.".to_owned()
        }
    });
    words.push(match policy.longest_run {
        Some(longest) => {
            format!("After {} of a run, what is found inside no longer postpones a stop.", length(longest))
        }
        None => "What is found inside postpones a stop without an end.".to_owned(),
    });
    words
}

fn budget_words(levels: &[u32], refuses: bool) -> String {
    let mut levels = levels.to_vec();
    levels.sort_unstable();
    let told: Vec<String> = levels.iter().map(|level| format!("{level} %")).collect();
    let told = if told.is_empty() {
        "Nobody is told".to_owned()
    } else {
        format!("People are told at {}", told.join(", "))
    };
    format!(
        "{told}; {}.",
        if refuses { "once it is spent, starts are refused" } else { "nothing is refused" }
    )
}

/// A length of time, to the second where it is short.
fn length(time: Duration) -> String {
    if time < Duration::from_secs(3_600) {
        return crate::domain::span::shown(time.as_secs());
    }
    rough(time::Duration::try_from(time).unwrap_or(time::Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_told_in_plain_words() {
        let policy = Policy { mode: Mode::Stop, ..Policy::default() };
        assert_eq!(
            words(&policy),
            [
                "Warns after 1 h without a sign of work, and stops 5 min later.",
                "CPU from 20 % of a core and GPU from 5 % count as work.",
                "Without a look inside nothing is known, and nothing is stopped.",
                "After 7 d of a run, what is found inside no longer postpones a stop.",
            ]
        );
        let never = Policy { mode: Mode::Never, ..Policy::default() };
        assert_eq!(words(&never).len(), 1);
        let dry = words(&Policy { longest_run: None, ..Policy::default() });
        assert_eq!(dry[0], "Writes down what would have been stopped after 1 h without a sign of work.");
        assert_eq!(
            budget_words(&[100, 80], true),
            "People are told at 80 %, 100 %; once it is spent, starts are refused."
        );
        assert_eq!(budget_words(&[], false), "Nobody is told; nothing is refused.");
    }
}
