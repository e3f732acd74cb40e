//! Shadows over recorded requests: what would they have decided?
//!
//! A release decides again for each record, as it is and with each of its shadows, by the functions that compare beside
//! answers. Another release than the one that decided finds the recorded values by name, as in a what-if. Start reading
//! at [`replay_shadows`].

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use decision::{Explain, ReplayInput, ShadowJob};
use event::proto::DecisionRecord;
use experiment::Shadow;
use history::History;
use release::Snapshot;
use shadow::{Comparison, Tally};
use work::{Call, Worker};

use super::shadow_record;
use crate::comparison::Excluded;
use crate::ordered::Ordered;
use crate::parallel::{Batch, ParallelError, in_numbered_batches, thread_count};
use crate::privacy::Privacy;
use crate::record;
use crate::releases::Loaded;
use crate::whatif::{Bridge, worker};

/// How many releases that records name are kept ready per thread, as in a what-if.
const KEPT: usize = 4;

/// How many batches per thread may wait for those before them.
const AHEAD: usize = 2;

/// What is compared, and how.
#[derive(Debug, Clone, Copy)]
pub struct ShadowOptions<'a> {
    /// The id of the shadow that is run; `None`: all of the release that are ready.
    pub shadow: Option<&'a str>,
    /// Whether a shadow is compared on those decisions alone that a server samples for it; else on all.
    pub sampled: bool,
    /// How many threads decide; 0: one per core.
    pub threads: usize,
    /// How many sessions each model of the releases has, as in [`Options`](crate::Options).
    pub sessions: usize,
}

impl Default for ShadowOptions<'_> {
    fn default() -> Self {
        Self { shadow: None, sampled: false, threads: 0, sessions: 1 }
    }
}

/// What shadows would have decided for recorded requests.
#[derive(Debug, Default)]
pub struct ReplayedShadows {
    /// The comparisons. But for how long each side took, it is the same for the same records, whatever the threads.
    pub tally: Tally,
    /// All records.
    pub records: u64,
    /// Those that could not be decided again.
    pub excluded: Excluded,
    /// Decisions for customers whom the release holds out: nothing is ranked for them.
    pub held_out: u64,
    /// Decisions at placements where none of the shadows holds, or that none of them samples.
    pub without_shadow: u64,
}

impl ReplayedShadows {
    /// How many records were compared with one shadow at least, a shadow that failed included.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.records - self.excluded.decisions() - self.held_out - self.without_shadow
    }

    /// Adds what another thread counted; the comparisons of all are in one tally.
    fn merge(&mut self, other: Self) {
        self.records += other.records;
        self.excluded.merge(other.excluded);
        self.held_out += other.held_out;
        self.without_shadow += other.without_shadow;
    }
}

/// Runs the shadows of `other` over each record that `source` passes on. `base` returns the release that decided, by its
/// number; where that is `other` itself, the decision is made again exactly as it was. `progress` gets the number of
/// records so far, now and then. Takes the memory of a tally and of some batches per thread, however many records there
/// are.
///
/// # Errors
/// That of the source. When the operating system refuses a thread.
pub fn replay_shadows<E>(
    source: impl FnOnce(&mut dyn FnMut(DecisionRecord) -> ControlFlow<()>) -> Result<(), E>,
    base: impl Fn(u64) -> Result<Arc<Snapshot>, String> + Sync,
    other: &Arc<Snapshot>,
    options: ShadowOptions<'_>,
    progress: impl FnMut(u64),
) -> Result<ReplayedShadows, ParallelError<E>> {
    let started = AtomicUsize::new(0);
    let names = Arc::new(History::default());
    let other =
        Other { snapshot: Arc::clone(other), limited: Loaded::new(Arc::clone(other), &names), options };
    let ordered = Ordered::new(Tally::default(), AHEAD * thread_count(options.threads));
    let begin = || State {
        other: &other,
        names: Arc::clone(&names),
        worker: worker(started.fetch_add(1, Ordering::Relaxed), options.sessions),
        bases: Vec::new(),
        counts: ReplayedShadows::default(),
    };
    let add = |state: &mut State<'_>, Batch { number, records }: Batch| {
        let make = || {
            let mut found = Vec::new();
            for record in &records {
                state.add(record, &base, &mut found);
            }
            found
        };
        ordered.add(number, make, |tally: &mut Tally, found: Vec<Comparison>| {
            for comparison in &found {
                tally.add(comparison);
            }
        });
    };
    let parts = in_numbered_batches(source, options.threads, begin, add, progress)?;
    let mut all = ReplayedShadows::default();
    for part in parts {
        all.merge(part.counts);
    }
    all.tally = ordered.into_sum();
    Ok(all)
}

/// The release whose shadows are run.
struct Other<'a> {
    snapshot: Arc<Snapshot>,
    /// With its limits, or why they cannot be looked at.
    limited: Result<Loaded, String>,
    options: ShadowOptions<'a>,
}

/// A release that decided.
struct Base {
    number: u64,
    loaded: Loaded,
    /// What leads from it to the release whose shadows are run; `None` if that is the same.
    bridge: Option<Bridge>,
}

/// What one thread knows.
struct State<'a> {
    other: &'a Other<'a>,
    /// Has the names of all releases, and nothing else.
    names: Arc<History>,
    worker: Worker,
    bases: Vec<Base>,
    counts: ReplayedShadows,
}

impl State<'_> {
    fn add(
        &mut self,
        record: &DecisionRecord,
        base: impl Fn(u64) -> Result<Arc<Snapshot>, String>,
        found: &mut Vec<Comparison>,
    ) {
        self.counts.records += 1;
        let policy = &self.other.snapshot.release.catalog().policy;
        if record.error.is_some() {
            self.counts.excluded.without_decision += 1;
        } else if policy.find_placement(&record.placement).is_none() {
            *self.counts.excluded.gone_placements.entry(record.placement.clone()).or_default() += 1;
        } else if let Err(reason) = self.compare(record, base, found) {
            self.counts.excluded.fail(&record.decision_id, reason);
        }
    }

    fn compare(
        &mut self,
        record: &DecisionRecord,
        load: impl Fn(u64) -> Result<Arc<Snapshot>, String>,
        found: &mut Vec<Comparison>,
    ) -> Result<(), String> {
        let other = self.other;
        let Other { snapshot, limited, options } = other;
        let limited = limited.as_ref().map_err(String::clone)?;
        let input = self.input(record, limited, load)?;
        let decision = input.values.decision_id.unwrap_or_default().as_u128();
        let is_wanted = |shadow: &Shadow| {
            options.shadow.is_none_or(|id| *shadow.id == *id)
                && (!options.sampled || shadow.samples(decision))
        };
        let job = ShadowJob::of_record(snapshot, input, is_wanted).map_err(|error| error.to_string())?;
        let Some(job) = job else {
            self.counts.without_shadow += 1;
            return Ok(());
        };
        let (before, mut unread) = (found.len(), None);
        let (decided_at, privacy) = (job.decided_at(), Privacy::default());
        let compared = decision::compare(&job, &self.worker, &Call::default(), |one| {
            let event = shadow_record(&one, &snapshot.release, decided_at, decided_at, &privacy);
            match shadow::read(event) {
                Ok(comparison) => found.extend(comparison),
                Err(error) => unread = Some(error.to_string()),
            }
        });
        if compared.map_err(|error| error.to_string())? > 0 {
            return Err("what answered cannot decide again".to_owned());
        }
        if let Some(error) = unread {
            found.truncate(before);
            return Err(error);
        }
        self.counts.held_out += u64::from(found.len() == before);
        Ok(())
    }

    /// What the release of the shadows decides for a record.
    fn input(
        &mut self,
        record: &DecisionRecord,
        limited: &Loaded,
        load: impl Fn(u64) -> Result<Arc<Snapshot>, String>,
    ) -> Result<ReplayInput, String> {
        let Base { loaded, bridge, .. } = self.base(record.release, limited, load)?;
        let input = match bridge {
            Some(bridge) => bridge.cross(record, loaded, limited),
            None => record::read(record, limited).map(|mut input| {
                input.request.explain = Explain::None;
                input
            }),
        };
        input.map_err(|error| error.to_string())
    }

    /// The release of this number, which becomes the last of `bases`.
    fn base(
        &mut self,
        number: u64,
        limited: &Loaded,
        load: impl Fn(u64) -> Result<Arc<Snapshot>, String>,
    ) -> Result<&Base, String> {
        let base = match self.bases.iter().position(|base| base.number == number) {
            Some(known) => self.bases.remove(known),
            None => {
                let snapshot = load(number)?;
                let is_same = Arc::ptr_eq(&snapshot, &limited.snapshot);
                let bridge = (!is_same)
                    .then(|| Bridge::new(snapshot.release.schema(), limited.snapshot.release.schema()));
                let loaded = if is_same { limited.clone() } else { Loaded::new(snapshot, &self.names)? };
                Base { number, loaded, bridge }
            }
        };
        if self.bases.len() >= KEPT {
            self.bases.remove(0);
        }
        self.bases.push(base);
        self.bases.last().ok_or_else(|| "no release is loaded".to_owned())
    }
}

#[cfg(test)]
mod tests;
