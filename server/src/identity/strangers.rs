//! What browsers send that belongs to nobody: ways back from no sign-in, cookies of no login, other sites' posts. Anybody
//! can send such, and as often as they like, so they are counted by address and minute. Whoever came from a provider is
//! not among them and gets an audit row of their own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::json;
use tracing::warn;

use super::{Identity, SignInError, Visitor};
use crate::domain::refusals::{Refusal, Report};
use crate::store::StoreError;
use crate::store::people::Change;

/// How often what was gathered is looked through.
const REPORTS: Duration = Duration::from_secs(5);
/// The longest part that is kept of what a stranger tried.
const TRIED: usize = 80;

impl Identity {
    /// Notes somebody who was not signed in.
    pub(super) async fn refused(
        &self,
        alias: &str,
        error: &SignInError,
        visitor: &Visitor,
    ) -> Result<(), StoreError> {
        match error {
            SignInError::NoProvider(_) => self.stranger(alias, "there is no such provider", visitor).await,
            SignInError::NotBegun => {
                self.stranger(alias, "no sign-in of this browser is under way", visitor).await
            }
            _ => {
                warn!(%error, provider = alias, client.address = %visitor.address, "not signed in");
                let because = error.to_string();
                let detail = json!({ "provider": alias, "because": because, "address": visitor.address });
                self.inner.store.note(&self.change(visitor), "login.refused", Some(false), detail).await
            }
        }
    }

    /// Notes a request that was refused and says nothing of who sent it.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn stranger(
        &self,
        tried: &str,
        why: &'static str,
        visitor: &Visitor,
    ) -> Result<(), StoreError> {
        let tried: String = tried.chars().filter(|c| !c.is_control()).take(TRIED).collect();
        warn!(tried, why, client.address = %visitor.address, "a request was refused");
        let refusal = Refusal { tried, keys: Vec::new(), why };
        let report = {
            let mut strangers = self.inner.strangers.lock().unwrap_or_else(PoisonError::into_inner);
            strangers.note(visitor.address, refusal, self.inner.clock.elapsed())
        };
        match report {
            Some(report) => self.report(report).await,
            None => Ok(()),
        }
    }

    /// Writes down now and then what was gathered.
    pub(super) async fn keep_reporting(&self) {
        loop {
            self.inner.clock.sleep(REPORTS).await;
            self.report_strangers(false).await;
        }
    }

    /// Writes down what was gathered in minutes that are over, or all of it.
    pub(super) async fn report_strangers(&self, all: bool) {
        let due = {
            let mut strangers = self.inner.strangers.lock().unwrap_or_else(PoisonError::into_inner);
            strangers.due(self.inner.clock.elapsed(), all)
        };
        for report in due {
            if let Err(error) = self.report(report).await {
                warn!(error = error.detail(), "refused requests were not written down");
            }
        }
    }

    async fn report(&self, report: Report) -> Result<(), StoreError> {
        let called = report.address.map_or_else(|| "many addresses".to_owned(), |at| at.to_string());
        let address = report.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let at = self.inner.clock.now();
        let change = Change { replica: self.inner.replica, actor: None, called, address, at };
        let detail = json!({
            "address": report.address, "count": report.count, "tried": report.tried, "because": report.why,
        });
        self.inner.store.note(&change, "web.refused", Some(false), detail).await
    }
}
