//! The count of streams per space: what all replicas have on record, and what this one is opening right now.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use super::lock::lock;
use crate::domain::ids::{SpaceId, StreamId};
use crate::domain::streams::{NoFreeStream, Seat, StreamUse};

/// This replica's streams, per space.
#[derive(Clone, Default)]
pub(super) struct Budget {
    own: Arc<Mutex<HashMap<SpaceId, HashMap<StreamId, Taken>>>>,
}

struct Taken {
    user: String,
    on_record: bool,
}

/// A stream's place in the budget. Dropping it gives the place back.
pub(super) struct Place {
    budget: Budget,
    space: SpaceId,
    stream: StreamId,
}

impl Budget {
    /// Takes a place for a new stream. `recorded` is what Postgres says; without it, only our own are known.
    ///
    /// Two replicas, or a stream that is recorded between the question and here, may together take one place too
    /// many: then AWS refuses, which is the count that counts.
    pub(super) fn take(
        &self,
        space: SpaceId,
        stream: StreamId,
        (user, seat): (&str, Seat),
        recorded: Option<StreamUse>,
    ) -> Result<(Place, StreamUse), NoFreeStream> {
        let mut own = lock(&self.own);
        let used = counted(own.get(&space), recorded);
        used.admit(seat)?;
        own.entry(space).or_default().insert(stream, Taken { user: user.to_owned(), on_record: false });
        drop(own);
        Ok((Place { budget: self.clone(), space, stream }, used))
    }
}

/// What is on record, with ours that are not yet on it.
fn counted(own: Option<&HashMap<StreamId, Taken>>, recorded: Option<StreamUse>) -> StreamUse {
    let without_record = recorded.is_none();
    let StreamUse { live, doubtful } = recorded.unwrap_or_default();
    let mut live: BTreeMap<String, usize> = live.into_iter().collect();
    for taken in own.into_iter().flat_map(HashMap::values) {
        if without_record || !taken.on_record {
            *live.entry(taken.user.clone()).or_default() += 1;
        }
    }
    StreamUse { live: live.into_iter().collect(), doubtful }
}

impl Place {
    /// The stream's row is written: from now on Postgres counts it.
    pub(super) fn on_record(&self) {
        let mut own = lock(&self.budget.own);
        if let Some(taken) = own.get_mut(&self.space).and_then(|streams| streams.get_mut(&self.stream)) {
            taken.on_record = true;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut own = lock(&self.budget.own);
        if let Some(streams) = own.get_mut(&self.space) {
            streams.remove(&self.stream);
            if streams.is_empty() {
                own.remove(&self.space);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(budget: &Budget, space: SpaceId, owner: bool, live: usize) -> Result<Place, NoFreeStream> {
        let recorded = StreamUse { live: vec![("bo".to_owned(), live)], doubtful: 0 };
        let who = ("alice", Seat::of(owner));
        budget.take(space, StreamId::generate(), who, Some(recorded)).map(|(place, _)| place)
    }

    #[test]
    fn streams_being_opened_count_beside_recorded_ones() {
        let (budget, space) = (Budget::default(), SpaceId::generate());
        let first = take(&budget, space, false, 7).unwrap();
        let second = take(&budget, space, false, 7).unwrap();
        let refused = take(&budget, space, false, 7).err().unwrap();
        assert_eq!(refused.used.live, [("alice".to_owned(), 2), ("bo".to_owned(), 7)]);
        let last = take(&budget, space, true, 7).unwrap();
        assert!(take(&budget, space, true, 7).is_err());
        drop((first, second, last));
        assert!(take(&budget, space, false, 8).is_ok());
    }

    #[test]
    fn a_recorded_stream_is_not_counted_twice() {
        let (budget, space) = (Budget::default(), SpaceId::generate());
        let place = take(&budget, space, false, 8).unwrap();
        place.on_record();
        assert!(take(&budget, space, false, 8).is_ok());
        assert!(take(&budget, space, false, 9).is_err());
    }

    #[test]
    fn without_postgres_our_own_streams_are_counted() {
        let (budget, space) = (Budget::default(), SpaceId::generate());
        let alice = ("alice", Seat::Person);
        let mut places = Vec::new();
        for _ in 0..9 {
            let (place, _) = budget.take(space, StreamId::generate(), alice, None).unwrap();
            place.on_record();
            places.push(place);
        }
        assert!(budget.take(space, StreamId::generate(), alice, None).is_err());
        assert!(budget.take(SpaceId::generate(), StreamId::generate(), alice, None).is_ok());
    }
}
