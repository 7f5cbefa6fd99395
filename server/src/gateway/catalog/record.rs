//! What a catalogue does in Postgres: listings written and read, and whose turn it is to ask AWS.

use std::time::Duration;

use futures_util::future::BoxFuture;
use time::OffsetDateTime;

use crate::domain::ids::{DomainAlias, ReplicaId};
use crate::domain::space::Space;
use crate::store::spaces::StoredListing;
use crate::store::{Store, StoreError};

/// Polling intervals without a listing after which a domain counts as not watched.
const GAP_INTERVALS: u32 = 3;
/// Polling intervals that a replica's turn lasts without a renewal. With the others looking twice in an interval, a
/// replica that dies leaves no gap.
const TURN_INTERVALS: u32 = 2;

type Ask<Question, Answer> =
    Box<dyn Fn(Question) -> BoxFuture<'static, Result<Answer, StoreError>> + Send + Sync>;

/// The four things, as functions, so that tests have them fail on order.
pub(super) struct Record {
    /// Writes a complete listing that began then, and answers it with the ids of its rows.
    pub(super) write: Ask<(DomainAlias, Vec<Space>, OffsetDateTime), Vec<Space>>,
    /// The newest listing of any replica, unless it is the one that was written then.
    pub(super) read: Ask<(DomainAlias, Option<OffsetDateTime>), Option<StoredListing>>,
    /// Whether it is this replica that asks AWS; taken or renewed with the question.
    pub(super) lead: Ask<DomainAlias, bool>,
    /// Leaves the asking to others.
    pub(super) resign: Ask<DomainAlias, ()>,
}

impl Record {
    pub(super) fn of(store: &Store, replica: ReplicaId, every: Duration) -> Self {
        let gap = every * GAP_INTERVALS;
        let turn_s = u32::try_from((every * TURN_INTERVALS).as_secs()).unwrap_or(u32::MAX);
        let (writer, reader, leader, leaver) = (store.clone(), store.clone(), store.clone(), store.clone());
        Self {
            write: Box::new(move |(domain, listed, at)| {
                let store = writer.clone();
                Box::pin(async move { store.write_listing(&domain, listed, at, gap).await })
            }),
            read: Box::new(move |(domain, seen)| {
                let store = reader.clone();
                Box::pin(async move { store.listing(&domain, seen).await })
            }),
            lead: Box::new(move |domain| {
                let store = leader.clone();
                Box::pin(async move { store.hold_job(&job(&domain), replica, turn_s).await })
            }),
            resign: Box::new(move |domain| {
                let store = leaver.clone();
                Box::pin(async move { store.release_job(&job(&domain), replica).await })
            }),
        }
    }
}

fn job(domain: &DomainAlias) -> String {
    format!("watch {domain}")
}
