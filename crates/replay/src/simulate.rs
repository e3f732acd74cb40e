//! What another release would show to all customers of the store.
//!
//! Both releases decide for every customer at every placement, by the functions that serve. Each has a history of its
//! own, in which what it shows counts: that of a customer for their next placement, the totals of offers for the
//! customers behind them. Start reading at [`simulate`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use chrono::{DateTime, Utc};
use decision::{Customer, DecisionError, Held, Limiter, Naming, RankRequest, decide_together};
use document::suggestion;
use feature::store::RowIndex;
use history::History;
use offer::OfferIndex;
use release::Snapshot;
use work::Worker;

use super::comparison::{Comparison, Customers, Excluded, Named, Options, Subject, shown};
use super::effect::{Side, Tally};
use super::parallel::{self, ThreadError};
use super::privacy::CustomerNames;
use super::whatif::{Placed, worker};

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
    /// What limits look at.
    pub history: SimulatedHistory,
    /// How to compute.
    pub options: Options,
}

/// What limits look at in a simulation: a history for each release. They must not be shared.
#[derive(Debug, Clone)]
pub struct SimulatedHistory {
    before: Limiter,
    after: Limiter,
}

impl SimulatedHistory {
    /// That of the moment of the simulation, in which customers have the names that `names` gives them.
    #[must_use]
    pub fn new(history: History, names: CustomerNames) -> Self {
        let names: Arc<dyn Naming> = Arc::new(names);
        let copy = history.copied();
        let limiter = |history| Limiter::new(Arc::new(history), Arc::clone(&names));
        Self { before: limiter(history), after: limiter(copy) }
    }
}

impl Default for SimulatedHistory {
    /// One in which nothing has happened.
    fn default() -> Self {
        Self::new(History::default(), CustomerNames::default())
    }
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
    /// There were not enough threads.
    #[error(transparent)]
    Threads(#[from] ThreadError),
}

/// Decides for all customers of `after` with both releases. `progress` gets the number of customers so far, now and
/// then. The result does not depend on threads.
///
/// Where an offer is limited in total, or new, what a customer gets depends on those before them: each release then decides on
/// one thread, for one customer after another.
///
/// # Errors
/// A placement that neither release has. When the operating system refuses a thread.
pub fn simulate(
    simulation: &Simulation,
    progress: impl FnMut(u64) + Send,
) -> Result<Comparison, SimulationError> {
    let Simulation { before, after, placements, .. } = simulation;
    let placements = Placements::of(before, after, placements)?;
    let rows = in_order(&simulation.after.snapshot);
    let wanted = parallel::thread_count(simulation.options.threads);
    let (order, threads) = match has_totals(simulation) {
        true if wanted > 1 => (Order::OneByOne { sides_at_once: true }, 1),
        true => (Order::OneByOne { sides_at_once: false }, 1),
        false => (Order::Any, wanted),
    };
    let (next, progress) = (AtomicUsize::new(0), Mutex::new((0, progress)));
    let run = |thread: usize| {
        let mut state = State::new(simulation, &placements.both, thread);
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(chunk) =
                rows.get(start..(start + CHUNK).min(rows.len())).filter(|chunk| !chunk.is_empty())
            else {
                return state;
            };
            state.add(simulation, chunk, order);
            let (done, progress) = &mut *progress.lock().unwrap_or_else(PoisonError::into_inner);
            *done += chunk.len() as u64;
            progress(*done);
        }
    };
    let parts = thread::scope(|scope| {
        let started = parallel::start(scope, threads, &run);
        if started.is_err() {
            // Nothing is left for those that have started.
            next.store(rows.len(), Ordering::Relaxed);
        }
        started.map(parallel::joined)
    })?;
    let parts = parts.into_iter().reduce(|mut all, part| {
        all.merge(part);
        all
    });
    let all = parts.unwrap_or_else(|| State::new(simulation, &placements.both, 0));
    Ok(all.finish(simulation, placements, rows.len() as u64))
}

/// Refuses placements that neither release has.
///
/// # Errors
/// The first of them.
pub fn check_placements(
    (before, after): (&Named, &Named),
    placements: &[String],
) -> Result<(), SimulationError> {
    Placements::of(before, after, placements).map(|_| ())
}

/// In which order customers are decided.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// In any: none of them changes what another one gets.
    Any,
    /// One after another; perhaps by both releases at the same time.
    OneByOne { sides_at_once: bool },
}

/// Whether what an offer of either release gets depends on what was shown before: it is limited in total, or new.
fn has_totals(simulation: &Simulation) -> bool {
    let offers = |named: &Named| {
        let release = &named.snapshot.release;
        let offers = release.catalog().library.offers();
        offers.iter().any(|offer| offer.cap_total.is_some() || offer.budget.is_some())
            || !release.experiments().newcomers.is_empty()
    };
    offers(&simulation.before) || offers(&simulation.after)
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
    /// Those that are wanted; of none: all.
    fn of(before: &Named, after: &Named, wanted: &[String]) -> Result<Self, SimulationError> {
        let ids = |named: &Named| -> BTreeSet<String> {
            let placements = &named.snapshot.release.catalog().policy.placements;
            placements.iter().map(|placement| placement.id.clone()).collect()
        };
        let (before, after) = (ids(before), ids(after));
        let all: BTreeSet<String> = before.union(&after).cloned().collect();
        let wanted: BTreeSet<String> = match wanted {
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

/// What a release decides at a placement for some customers.
struct Decisions {
    candidates: Vec<OfferIndex>,
    /// In order.
    of_customers: decision::Decisions,
}

/// What one thread knows.
struct State {
    tally: Tally,
    before: Placed,
    after: Placed,
    /// Each placement with its position in the tally.
    placements: Vec<(String, u32)>,
    /// One for each release.
    workers: [Worker; 2],
    excluded: Excluded,
    first_changes: u64,
    slate_changes: u64,
    sides: (Side, Side),
}

impl State {
    fn new(simulation: &Simulation, placements: &[String], thread: usize) -> Self {
        let sessions = simulation.options.sessions;
        let mut tally = Tally::default();
        Self {
            before: Placed::new(&simulation.before.snapshot, 0, &mut tally),
            after: Placed::new(&simulation.after.snapshot, 1, &mut tally),
            placements: placements.iter().map(|id| (id.clone(), tally.placement(id))).collect(),
            tally,
            workers: [worker(thread, sessions), worker(thread, sessions)],
            excluded: Excluded::default(),
            first_changes: 0,
            slate_changes: 0,
            sides: (Side::default(), Side::default()),
        }
    }

    /// Decides for some customers at every placement.
    fn add(&mut self, simulation: &Simulation, chunk: &[RowIndex], order: Order) {
        let customers = &simulation.after.snapshot.customers;
        let ids: Vec<&str> = chunk.iter().map(|row| customers.id(*row).unwrap_or_default()).collect();
        let together = match order {
            Order::Any => ids.len(),
            Order::OneByOne { .. } => 1,
        };
        let [before, after] = &self.workers;
        let SimulatedHistory { before: known_before, after: known_after } = &simulation.history;
        let side = |placed: &Placed, limiter, worker| {
            let decide = |ids: &[&str]| self.decide(simulation, placed, limiter, worker, ids);
            ids.chunks(together).map(decide).collect::<Vec<_>>()
        };
        let decide_before = || side(&self.before, known_before, before);
        let decide_after = || side(&self.after, known_after, after);
        let beside = |_: usize| decide_after();
        let (before, after) = match order {
            Order::OneByOne { sides_at_once: true } => thread::scope(|scope| {
                let beside = parallel::start(scope, 1, &beside);
                let before = decide_before();
                // Where no thread can be started, this one goes on.
                let after = beside.ok().map(parallel::joined).and_then(|mut after| after.pop());
                (before, after.unwrap_or_else(decide_after))
            }),
            Order::OneByOne { sides_at_once: false } | Order::Any => (decide_before(), decide_after()),
        };
        for ((ids, before), after) in ids.chunks(together).zip(before).zip(after) {
            let mut changed = vec![(false, false); ids.len()];
            for (place, (before, after)) in before.iter().zip(&after).enumerate() {
                match (before, after) {
                    (Ok(before), Ok(after)) => self.compare(place, ids, (before, after), &mut changed),
                    (Err(error), _) | (_, Err(error)) => {
                        let placement = &self.placements[place].0;
                        for id in ids {
                            self.excluded.fail(id, format!("{placement}: {error}"));
                        }
                    }
                }
            }
            self.first_changes += changed.iter().filter(|(first, _)| *first).count() as u64;
            self.slate_changes += changed.iter().filter(|(_, slate)| *slate).count() as u64;
        }
    }

    /// What one release decides for some customers at each placement.
    fn decide(
        &self,
        simulation: &Simulation,
        placed: &Placed,
        limiter: &Limiter,
        worker: &Worker,
        ids: &[&str],
    ) -> Vec<Result<Decisions, DecisionError>> {
        let customer = |id: &&str| Customer { id: (*id).to_owned(), ..Customer::default() };
        let mut held = Vec::new();
        let at = |(placement, _): &(String, u32)| {
            let request = RankRequest {
                placement: placement.clone(),
                customers: ids.iter().map(customer).collect(),
                ..RankRequest::default()
            };
            let decided = decide_together(&placed.snapshot, request, simulation.now, limiter, worker)?;
            held.push(decided.held);
            Ok(Decisions { candidates: decided.candidates, of_customers: decided.decisions })
        };
        let decided = self.placements.iter().map(at).collect();
        // These customers are not asked for again.
        held.into_iter().for_each(Held::keep_totals);
        decided
    }

    fn compare(
        &mut self,
        place: usize,
        ids: &[&str],
        (before, after): (&Decisions, &Decisions),
        changed: &mut [(bool, bool)],
    ) {
        let placement = self.placements[place].1;
        let Self { tally, excluded, sides: (side_before, side_after), .. } = self;
        let decisions = before.of_customers.iter().zip(&after.of_customers);
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
