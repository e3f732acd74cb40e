//! The oldest decisions of all servers, page by page.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{EventReader, Query};
use crate::proto::DecisionRecord;
use crate::sealed::SealedError;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The place of a decision in a list: its time, in microseconds since 1970, and its id.
pub type Place = (i64, String);

/// Which of the decisions that a query wants are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Oldest {
    /// Only those behind this place, the last of the page before.
    pub after: Option<Place>,
    /// The most of them.
    pub most: usize,
}

impl EventReader {
    /// The oldest decisions that a query wants but for its limit, in their order, as `keep` keeps them. `goes_on` is
    /// asked at each; once it says no, what was found until then is returned.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn oldest<T>(
        &self,
        query: &Query,
        Oldest { after, most }: &Oldest,
        goes_on: &dyn Fn() -> bool,
        keep: &mut dyn FnMut(DecisionRecord) -> T,
    ) -> Result<Vec<(Place, T)>, SealedError> {
        let mut query = Query { limit: None, ..query.clone() };
        if let Some((time, _)) = after {
            query.from = query.from.max(Some(*time));
        }
        // Servers come one after another within a day, so that the oldest are known when all of the day were seen.
        let (mut found, mut scanned) = (BTreeMap::<(Place, u64), T>::new(), 0);
        self.scan(&query, &mut |record| {
            scanned += 1;
            let place = (record.decided_at, record.decision_id.clone());
            if after.as_ref().is_some_and(|after| place <= *after) {
                return ControlFlow::Continue(());
            }
            let last = found.last_key_value().filter(|_| found.len() >= *most).map(|((last, _), _)| last);
            if last.is_some_and(|last| day(last.0) < day(place.0)) || *most == 0 || !goes_on() {
                return ControlFlow::Break(());
            }
            if last.is_none_or(|last| place < *last) {
                // One that is there twice is listed twice.
                found.insert((place, scanned), keep(record));
                if found.len() > *most {
                    found.pop_last();
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(found.into_iter().map(|((place, _), kept)| (place, kept)).collect())
    }
}

fn day(micros: i64) -> i64 {
    micros.div_euclid(MICROS_PER_DAY)
}
