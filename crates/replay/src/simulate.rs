//! What another release would show to all customers of the store.
//!
//! Both releases decide for every customer at every placement, by the functions that serve. Start reading at
//! [`simulate`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use chrono::{DateTime, Utc};
use decision::{Customer, RankRequest};
use document::suggestion;
use feature::store::RowIndex;
use release::Snapshot;
use work::Worker;

use super::comparison::{Comparison, Customers, Excluded, Named, Options, Subject, shown};
use super::effect::{Side, Tally};
use super::parallel;
use super::whatif::{Placed, worker};
use decision::{DecidedTogether, decide_together};

/// Customers that a thread takes at once. Enough to amortise a model's fixed cost.
const CHUNK: usize = 256;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// The release to compare with, and the customers as it reads them.
    pub before: Named,
    /// The other release, and the same customers as it reads them.
    pub after: Named,
    /// The placements; empty: all that either release has.
    pub placements: Vec<String>,
    /// The moment of all decisions.
    pub now: DateTime<Utc>,
    /// How to compute.
    pub options: Options,
}

/// Why nothing was simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// Neither release has the placement.
    #[error("neither release has a placement `{name}`{hint}")]
    UnknownPlacement {
        /// The placement.
        name: String,
        /// A suggestion, or nothing.
        hint: String,
    },
    /// No thread can be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// Decides for all customers of `after` with both releases. `progress` gets the number of customers so far, now and
/// then. The result does not depend on threads.
///
/// # Errors
/// A placement that neither release has.
pub fn simulate(
    simulation: &Simulation,
    progress: impl FnMut(u64) + Send,
) -> Result<Comparison, SimulationError> {
    let placements = Placements::of(simulation)?;
    let rows = in_order(&simulation.after.snapshot);
    let threads = parallel::thread_count(simulation.options.threads);
    let (next, progress) = (AtomicUsize::new(0), Mutex::new((0, progress)));
    let run = |thread: usize| {
        let mut state = State::new(simulation, &placements.both, worker(thread, simulation.options.sessions));
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(chunk) =
                rows.get(start..(start + CHUNK).min(rows.len())).filter(|chunk| !chunk.is_empty())
            else {
                return state;
            };
            state.add(simulation, chunk);
            let (done, progress) = &mut *progress.lock().unwrap_or_else(PoisonError::into_inner);
            *done += chunk.len() as u64;
            progress(*done);
        }
    };
    let parts = thread::scope(|scope| parallel::start(scope, threads, &run).map(parallel::joined))?;
    let parts = parts.into_iter().reduce(|mut all, part| {
        all.merge(part);
        all
    });
    let all = parts.unwrap_or_else(|| State::new(simulation, &placements.both, Worker::only()));
    Ok(all.finish(simulation, placements, rows.len() as u64))
}

/// The customers in the order of their ids.
fn in_order(snapshot: &Snapshot) -> Vec<RowIndex> {
    let customers = &snapshot.customers;
    let mut rows: Vec<RowIndex> = customers.rows().collect();
    if !rows.is_sorted_by_key(|row| customers.id(*row)) {
        rows.sort_by_key(|row| customers.id(*row));
    }
    rows
}

/// The placements of a simulation, in the order of their ids.
struct Placements {
    /// Those that both releases have.
    both: Vec<String>,
    gone: Vec<String>,
    new: Vec<String>,
}

impl Placements {
    fn of(simulation: &Simulation) -> Result<Self, SimulationError> {
        let ids = |named: &Named| -> BTreeSet<String> {
            let placements = &named.snapshot.release.catalog().policy.placements;
            placements.iter().map(|placement| placement.id.clone()).collect()
        };
        let (before, after) = (ids(&simulation.before), ids(&simulation.after));
        let all: BTreeSet<String> = before.union(&after).cloned().collect();
        let wanted: BTreeSet<String> = match simulation.placements.as_slice() {
            [] => all.clone(),
            some => some.iter().cloned().collect(),
        };
        if let Some(name) = wanted.iter().find(|name| !all.contains(*name)) {
            let hint = suggestion(name, all.iter().map(String::as_str));
            return Err(SimulationError::UnknownPlacement { name: name.clone(), hint });
        }
        let (mut both, mut gone, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for id in wanted {
            match (before.contains(&id), after.contains(&id)) {
                (true, true) => both.push(id),
                (true, false) => gone.push(id),
                (false, _) => new.push(id),
            }
        }
        Ok(Self { both, gone, new })
    }
}

/// What one thread knows.
struct State {
    tally: Tally,
    before: Placed,
    after: Placed,
    /// Each placement with its position in the tally.
    placements: Vec<(String, u32)>,
    worker: Worker,
    excluded: Excluded,
    first_changes: u64,
    slate_changes: u64,
    sides: (Side, Side),
}

impl State {
    fn new(simulation: &Simulation, placements: &[String], worker: Worker) -> Self {
        let mut tally = Tally::default();
        Self {
            before: Placed::new(&simulation.before.snapshot, 0, &mut tally),
            after: Placed::new(&simulation.after.snapshot, 1, &mut tally),
            placements: placements.iter().map(|id| (id.clone(), tally.placement(id))).collect(),
            tally,
            worker,
            excluded: Excluded::default(),
            first_changes: 0,
            slate_changes: 0,
            sides: (Side::default(), Side::default()),
        }
    }

    /// Decides for some customers at every placement.
    fn add(&mut self, simulation: &Simulation, chunk: &[RowIndex]) {
        let customers = &simulation.after.snapshot.customers;
        let ids: Vec<&str> = chunk.iter().map(|row| customers.id(*row).unwrap_or_default()).collect();
        let mut changed = vec![(false, false); ids.len()];
        for (placement, position) in std::mem::take(&mut self.placements) {
            let request = || RankRequest {
                placement: placement.clone(),
                customers: ids
                    .iter()
                    .map(|id| Customer { id: (*id).to_owned(), ..Customer::default() })
                    .collect(),
                dry_run: true,
                ..RankRequest::default()
            };
            let decide =
                |placed: &Placed| decide_together(&placed.snapshot, request(), simulation.now, &self.worker);
            match (decide(&self.before), decide(&self.after)) {
                (Ok(before), Ok(after)) => self.compare(position, &ids, (&before, &after), &mut changed),
                (Err(error), _) | (_, Err(error)) => {
                    for id in &ids {
                        self.excluded.fail(id, format!("{placement}: {error}"));
                    }
                }
            }
            self.placements.push((placement, position));
        }
        self.first_changes += changed.iter().filter(|(first, _)| *first).count() as u64;
        self.slate_changes += changed.iter().filter(|(_, slate)| *slate).count() as u64;
    }

    fn compare(
        &mut self,
        placement: u32,
        ids: &[&str],
        (before, after): (&DecidedTogether, &DecidedTogether),
        changed: &mut [(bool, bool)],
    ) {
        let Self { tally, excluded, sides: (side_before, side_after), .. } = self;
        let decisions = before.decisions.iter().zip(&after.decisions);
        for (((one, other), id), changed) in decisions.zip(ids).zip(changed) {
            if let Some(error) = one.error.as_ref().or(other.error.as_ref()) {
                excluded.fail(id, error.message().to_owned());
                continue;
            }
            self.before.side(one, &before.candidates, tally, side_before);
            self.after.side(other, &after.candidates, tally, side_after);
            let (first, slate) = tally.add(placement, side_before, side_after);
            *changed = (changed.0 || first, changed.1 || slate);
        }
    }

    fn merge(&mut self, other: Self) {
        self.tally.merge(other.tally);
        self.excluded.merge(other.excluded);
        self.first_changes += other.first_changes;
        self.slate_changes += other.slate_changes;
    }

    fn finish(self, simulation: &Simulation, placements: Placements, customers: u64) -> Comparison {
        let number = |named: &Named| named.snapshot.release.number();
        let counted = |ids: Vec<String>| -> BTreeMap<String, u64> {
            ids.into_iter().map(|id| (id, customers)).collect()
        };
        let mut excluded = self.excluded;
        excluded.gone_placements = counted(placements.gone);
        excluded.new_placements = counted(placements.new);
        let subject = Subject::Customers(Customers {
            before: simulation.before.name.clone(),
            base: number(&simulation.before),
            after: simulation.after.name.clone(),
            release: number(&simulation.after),
            as_of: shown(simulation.now),
            placements: placements.both,
            customers,
            first_changes: self.first_changes,
            slate_changes: self.slate_changes,
        });
        let assumptions = subject.assumptions();
        Comparison { subject, effect: self.tally.finish(), excluded, assumptions }
    }
}

#[cfg(test)]
mod tests;
