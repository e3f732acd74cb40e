//! The decisions that outcomes belong to: those in memory, and those that are read from the log and sealed files.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use event::proto::DecisionRecord;
use event::{EventReader, Query, SealedError};
use offer::Catalog;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::FeedbackError;
use crate::recent::{KnownDecision, RecentDecisions};
use crate::records::known_decision;

/// Calls that read files at once. Each keeps two threads busy.
const SCANS: usize = 2;

/// Decisions that are further apart are read apart, so that the days between are not looked at.
const DAYS_APART: u64 = 3;

const SECONDS_PER_DAY: u64 = 86_400;

/// Finds decisions.
pub(super) struct Decisions {
    recent: Arc<RecentDecisions>,
    reader: EventReader,
    scans: Arc<Semaphore>,
}

impl Decisions {
    pub(super) fn new(recent: Arc<RecentDecisions>, reader: EventReader) -> Self {
        Self { recent, reader, scans: Arc::new(Semaphore::new(SCANS)) }
    }

    /// Those of these decisions that are known. `catalog` knows the default channels of placements.
    pub(super) async fn find(
        &self,
        ids: impl Iterator<Item = Uuid>,
        catalog: &Catalog,
    ) -> Result<HashMap<Uuid, KnownDecision>, FeedbackError> {
        let (mut found, mut missing) = (HashMap::new(), BTreeSet::new());
        for id in ids {
            if found.contains_key(&id) || missing.contains(&id) {
                continue;
            }
            match self.recent.find(id) {
                Some(decision) => _ = found.insert(id, decision),
                None => _ = missing.insert(id),
            }
        }
        // A server gives no other ids, and other ids tell no day.
        missing.retain(|id| id.get_version_num() == 7);
        if missing.is_empty() {
            return Ok(found);
        }
        for (id, record) in self.read(missing).await? {
            let decision = known_decision(&record, catalog);
            // Its next outcomes find it at once.
            self.recent.remember_known(id, &decision);
            found.insert(id, decision);
        }
        Ok(found)
    }

    /// Reads decisions on a thread that may block. What has begun goes on without its caller.
    async fn read(&self, ids: BTreeSet<Uuid>) -> Result<Vec<(Uuid, Box<DecisionRecord>)>, FeedbackError> {
        let failed = |error: &dyn std::fmt::Display| FeedbackError::Internal(error.to_string());
        let permit = Arc::clone(&self.scans).acquire_owned().await.map_err(|error| failed(&error))?;
        let reader = self.reader.clone();
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read(&reader, &ids)
        });
        Ok(read.await.map_err(|error| failed(&error))??)
    }
}

fn read(reader: &EventReader, ids: &BTreeSet<Uuid>) -> Result<Vec<(Uuid, Box<DecisionRecord>)>, SealedError> {
    let mut found = Vec::with_capacity(ids.len());
    for near in groups(ids) {
        let mut left = near.len();
        let query =
            Query { decision_ids: near.iter().map(ToString::to_string).collect(), ..Query::default() };
        reader.scan(&query, &mut |record| {
            if let Ok(id) = Uuid::try_parse(&record.decision_id) {
                found.push((id, Box::new(record)));
                left = left.saturating_sub(1);
            }
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    Ok(found)
}

/// The ids in groups that are close in time.
fn groups(ids: &BTreeSet<Uuid>) -> Vec<Vec<Uuid>> {
    let day = |id: &Uuid| id.get_timestamp().map_or(0, |time| time.to_unix().0 / SECONDS_PER_DAY);
    let mut groups: Vec<Vec<Uuid>> = Vec::new();
    // The order of the ids is that of their times.
    for id in ids {
        match groups.last_mut() {
            Some(group) if group.last().is_some_and(|last| day(id) - day(last) <= DAYS_APART) => {
                group.push(*id);
            }
            _ => groups.push(vec![*id]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use uuid::{NoContext, Timestamp};

    use super::*;

    #[test]
    fn decisions_that_are_far_apart_are_read_apart() {
        let on = |day: u64| {
            Uuid::new_v7(Timestamp::from_unix(NoContext, 1_790_000_000 + day * SECONDS_PER_DAY, 0))
        };
        let days = [0, 1, 4, 9, 10, 300];
        let ids: BTreeSet<Uuid> = days.into_iter().map(on).collect();
        let sizes: Vec<usize> = groups(&ids).iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 2, 1]);
        assert_eq!(groups(&ids).concat(), ids.into_iter().collect::<Vec<_>>());
    }
}
