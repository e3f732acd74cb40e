//! What another release would have answered to recorded requests.
//!
//! A record has the request and all that was known of the customer. The other release decides again from that: its own
//! rules, models, limits and policy, on the recorded values. It is compared with what was answered ([`what_if`]), or
//! with what a second release answers likewise ([`simulate_records`]). Start reading at [`State::compare`].

mod bridge;
mod limits;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use decision::{RecordedDecision, decide_again};
use event::proto::DecisionRecord;
use history::History;
use offer::{Candidate, Catalog, OfferIndex};
use release::{AssignedSegment, Release, Snapshot};
use work::Worker;

pub(crate) use self::bridge::Bridge;
use self::limits::{Compared, Unknown};
use super::comparison::{Comparison, Excluded, Named, Options, Records, Subject, shown};
use super::effect::{Code, Shown, Side, Tally};
use super::parallel::{ParallelError, in_parallel};
use super::releases::Loaded;

/// How many releases that records name are kept ready per thread. Records come in the order of time, so few take
/// turns.
const KEPT: usize = 4;

/// The ranks of the releases that decide again: they name offers before those that decided, the other one first.
const OTHER: u64 = u64::MAX;
const BEFORE: u64 = OTHER - 1;

/// Decides again, with `other`, for each record that `source` passes on. `base` returns the release that decided, by
/// its number. `progress` gets the number of records so far, now and then. The result does not depend on threads.
///
/// # Errors
/// That of the source. When the operating system refuses a thread.
pub fn what_if<E>(
    source: impl FnOnce(&mut dyn FnMut(DecisionRecord) -> ControlFlow<()>) -> Result<(), E>,
    base: impl Fn(u64) -> Result<Arc<Snapshot>, String> + Sync,
    other: &Named,
    options: Options,
    progress: impl FnMut(u64),
) -> Result<Comparison, ParallelError<E>> {
    compare(source, base, (None, other), options, progress)
}

/// As [`what_if`], but compared with what the release `before` answers, which decides again, too.
///
/// # Errors
/// As [`what_if`].
pub fn simulate_records<E>(
    source: impl FnOnce(&mut dyn FnMut(DecisionRecord) -> ControlFlow<()>) -> Result<(), E>,
    base: impl Fn(u64) -> Result<Arc<Snapshot>, String> + Sync,
    (before, after): (&Named, &Named),
    options: Options,
    progress: impl FnMut(u64),
) -> Result<Comparison, ParallelError<E>> {
    compare(source, base, (Some(before), after), options, progress)
}

fn compare<E>(
    source: impl FnOnce(&mut dyn FnMut(DecisionRecord) -> ControlFlow<()>) -> Result<(), E>,
    base: impl Fn(u64) -> Result<Arc<Snapshot>, String> + Sync,
    (before, other): (Option<&Named>, &Named),
    options: Options,
    progress: impl FnMut(u64),
) -> Result<Comparison, ParallelError<E>> {
    let threads = AtomicUsize::new(0);
    let names = Arc::new(History::default());
    let limited = |named: &Named| {
        let loaded = Loaded::new(Arc::clone(&named.snapshot), &names);
        (Arc::clone(&named.snapshot), loaded)
    };
    let (limited_before, limited_other) = (before.map(limited), limited(other));
    let begin = || {
        let worker = worker(threads.fetch_add(1, Ordering::Relaxed), options.sessions);
        State::new(limited_before.as_ref(), &limited_other, Arc::clone(&names), worker)
    };
    let add = |state: &mut State, records: Vec<DecisionRecord>| {
        for record in &records {
            state.add(record, &base);
        }
    };
    let mut parts = in_parallel(source, options.threads, begin, add, progress)?.into_iter();
    let mut all = parts.next().unwrap_or_else(begin);
    parts.for_each(|part| all.merge(part));
    Ok(all.finish(before, other))
}

/// The worker of the thread of this number.
pub(crate) fn worker(thread: usize, sessions: usize) -> Worker {
    let index = thread % sessions.max(1);
    Worker::tokens(index + 1).pop().unwrap_or_else(Worker::only)
}

/// A release with the positions of its offers and segments in a tally.
#[derive(Debug)]
pub(super) struct Placed {
    pub snapshot: Arc<Snapshot>,
    offers: Vec<u32>,
    segments: Vec<u32>,
}

impl Placed {
    pub(super) fn new(snapshot: &Arc<Snapshot>, rank: u64, tally: &mut Tally) -> Self {
        let release = &snapshot.release;
        let names = release.segmentation().map(release::Segmenter::names).unwrap_or_default();
        let segments = (0..).zip(names).map(|(id, name)| tally.segment(id, name)).collect();
        let offers = tally.offers(&release.catalog().library, rank);
        Self { snapshot: Arc::clone(snapshot), offers, segments }
    }

    pub(super) fn catalog(&self) -> &Catalog {
        self.snapshot.release.catalog()
    }

    fn offer(&self, offer: OfferIndex) -> Option<u32> {
        self.offers.get(offer.get()).copied()
    }

    fn segment(&self, id: i64, tally: &mut Tally) -> (u32, i64) {
        let known = usize::try_from(id).ok().and_then(|id| self.segments.get(id)).copied();
        (known.unwrap_or_else(|| tally.segment(id, &Arc::from(""))), id)
    }

    /// A decision of this release. `candidates` are those of the decision, in order.
    pub(super) fn side(
        &self,
        decision: &RecordedDecision,
        candidates: &[OfferIndex],
        tally: &mut Tally,
        side: &mut Side,
    ) {
        side.clear();
        side.segment = decision.segment.as_ref().map(|AssignedSegment { id, .. }| self.segment(*id, tally));
        for offer in &decision.offers {
            let Some(position) = self.offer(offer.offer) else { continue };
            let terms =
                offer.factors.as_ref().map(|factors| (factors.propensity * factors.value, factors.margin));
            side.shown.push(Shown::new(position, offer.fallback, terms));
        }
        let withheld = candidates.iter().zip(&decision.candidates).filter_map(|(offer, outcome)| {
            let (stage, reason) = outcome.withheld?;
            Some((self.offer(*offer)?, Code::new(stage, reason)))
        });
        side.withheld.extend(withheld);
    }
}

/// A release that decided.
#[derive(Debug)]
struct Base {
    number: u64,
    placed: Placed,
    loaded: Loaded,
    /// What leads from it to those that decide again.
    to_before: Option<Lead>,
    to_other: Lead,
}

/// Where a release that decides again finds what the release that decided has recorded.
#[derive(Debug)]
struct Lead {
    /// What the limits of both look at.
    compared: Compared,
    bridge: Bridge,
}

/// A release that decides again.
struct Again {
    placed: Placed,
    /// With its limits, or why they cannot be looked at.
    limited: Result<Loaded, String>,
    unknown: Unknown,
}

impl Again {
    fn new(
        (snapshot, limited): &(Arc<Snapshot>, Result<Loaded, String>),
        rank: u64,
        tally: &mut Tally,
    ) -> Self {
        let placed = Placed::new(snapshot, rank, tally);
        Self { placed, limited: limited.clone(), unknown: Unknown::default() }
    }

    fn has_placement(&self, placement: &str) -> bool {
        self.placed.catalog().policy.find_placement(placement).is_some()
    }

    fn lead_from(&self, base: &Snapshot) -> Lead {
        let (from, to) = (base.release.schema(), self.placed.snapshot.release.schema());
        Lead { compared: Compared::default(), bridge: Bridge::new(from, to) }
    }

    /// Decides for a record of the release that is loaded as `base`.
    fn decide(
        &mut self,
        record: &DecisionRecord,
        (base, lead): (&Loaded, &mut Lead),
        worker: &Worker,
        tally: &mut Tally,
        side: &mut Side,
    ) -> Result<(), String> {
        let limited = self.limited.as_ref().map_err(String::clone)?;
        let input = lead.bridge.cross(record, base, limited).map_err(|error| error.to_string())?;
        let snapshot = &self.placed.snapshot;
        let decided = decide_again(snapshot, input, worker).map_err(|error| error.to_string())?;
        if let Some(error) = &decided.decision.error {
            return Err(error.message().to_owned());
        }
        self.placed.side(&decided.decision, &decided.candidates, tally, side);
        self.unknown.add(lead.compared.beyond(record, base, limited), &decided.candidates);
        Ok(())
    }
}

/// What one thread knows.
struct State {
    tally: Tally,
    /// What is compared with; `None`: what was answered.
    again: Option<Again>,
    other: Again,
    /// Has the names of all releases, and nothing else.
    names: Arc<History>,
    worker: Worker,
    bases: Vec<Base>,
    excluded: Excluded,
    records: u64,
    releases: BTreeMap<u64, u64>,
    /// Microseconds since 1970.
    span: Option<(i64, i64)>,
    before: Side,
    after: Side,
}

impl State {
    fn new(
        before: Option<&(Arc<Snapshot>, Result<Loaded, String>)>,
        other: &(Arc<Snapshot>, Result<Loaded, String>),
        names: Arc<History>,
        worker: Worker,
    ) -> Self {
        let mut tally = Tally::default();
        Self {
            other: Again::new(other, OTHER, &mut tally),
            again: before.map(|before| Again::new(before, BEFORE, &mut tally)),
            names,
            tally,
            worker,
            bases: Vec::new(),
            excluded: Excluded::default(),
            records: 0,
            releases: BTreeMap::new(),
            span: None,
            before: Side::default(),
            after: Side::default(),
        }
    }

    fn add(&mut self, record: &DecisionRecord, base: impl Fn(u64) -> Result<Arc<Snapshot>, String>) {
        self.records += 1;
        *self.releases.entry(record.release).or_default() += 1;
        let at = record.decided_at;
        self.span = Some(self.span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        if record.error.is_some() {
            self.excluded.without_decision += 1;
        } else if !self.other.has_placement(&record.placement) {
            *self.excluded.gone_placements.entry(record.placement.clone()).or_default() += 1;
        } else if self.again.as_ref().is_some_and(|again| !again.has_placement(&record.placement)) {
            *self.excluded.new_placements.entry(record.placement.clone()).or_default() += 1;
        } else if let Err(reason) = self.compare(record, base) {
            self.excluded.fail(&record.decision_id, reason);
        }
    }

    fn compare(
        &mut self,
        record: &DecisionRecord,
        load: impl Fn(u64) -> Result<Arc<Snapshot>, String>,
    ) -> Result<(), String> {
        self.make_ready(record.release, load)?;
        let Self { tally, again, other, worker, bases, before, after, .. } = self;
        let Base { placed, loaded, to_before, to_other, .. } =
            bases.last_mut().ok_or("no release is loaded")?;
        match again.as_mut().zip(to_before.as_mut()) {
            Some((again, lead)) => again.decide(record, (loaded, lead), worker, tally, before)?,
            None => recorded(record, placed, tally, before)?,
        }
        other.decide(record, (loaded, to_other), worker, tally, after)?;
        let placement = tally.placement(&record.placement);
        tally.add(placement, before, after);
        Ok(())
    }

    /// Makes the release of this number the last of `bases`.
    fn make_ready(
        &mut self,
        number: u64,
        load: impl Fn(u64) -> Result<Arc<Snapshot>, String>,
    ) -> Result<(), String> {
        if self.bases.last().is_some_and(|base| base.number == number) {
            return Ok(());
        }
        if let Some(known) = self.bases.iter().position(|base| base.number == number) {
            let base = self.bases.remove(known);
            self.bases.push(base);
            return Ok(());
        }
        let snapshot = load(number)?;
        if self.bases.len() >= KEPT {
            self.bases.remove(0);
        }
        self.bases.push(Base {
            number,
            loaded: Loaded::new(Arc::clone(&snapshot), &self.names)?,
            to_before: self.again.as_ref().map(|again| again.lead_from(&snapshot)),
            to_other: self.other.lead_from(&snapshot),
            placed: Placed::new(&snapshot, number, &mut self.tally),
        });
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.tally.merge(other.tally);
        self.other.unknown.merge(other.other.unknown);
        if let (Some(ours), Some(theirs)) = (&mut self.again, other.again) {
            ours.unknown.merge(theirs.unknown);
        }
        self.excluded.merge(other.excluded);
        self.records += other.records;
        for (release, records) in other.releases {
            *self.releases.entry(release).or_default() += records;
        }
        let spans = [self.span, other.span].into_iter().flatten();
        self.span = spans.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    }

    fn finish(self, before: Option<&Named>, other: &Named) -> Comparison {
        let moment = |micros: i64| DateTime::<Utc>::from_timestamp_micros(micros).map(shown);
        let mut unknown = self.other.unknown;
        if let Some(again) = self.again {
            unknown.or_more(again.unknown);
        }
        let subject = Subject::Records(Records {
            before: before.map(|named| named.name.clone()),
            after: other.name.clone(),
            release: other.snapshot.release.number(),
            releases: self.releases,
            records: self.records,
            first: self.span.and_then(|(first, _)| moment(first)),
            last: self.span.and_then(|(_, last)| moment(last)),
            not_known: unknown.0,
        });
        let assumptions = subject.assumptions();
        Comparison { subject, effect: self.tally.finish(), excluded: self.excluded, assumptions }
    }
}

/// A decision as it was recorded.
fn recorded(
    record: &DecisionRecord,
    placed: &Placed,
    tally: &mut Tally,
    side: &mut Side,
) -> Result<(), String> {
    side.clear();
    side.segment = record.segment.as_ref().map(|segment| placed.segment(segment.id, tally));
    for offer in &record.offers {
        let known = placed.catalog().library.find(&offer.offer_id).and_then(|known| placed.offer(known));
        let position = known.unwrap_or_else(|| tally.find_offer(&offer.offer_id));
        let terms =
            offer.factors.as_ref().map(|factors| (factors.propensity * factors.value, factors.margin));
        side.shown.push(Shown::new(position, offer.fallback, terms));
    }
    let outcomes = record.candidates.as_ref().ok_or("candidates: are missing")?;
    let candidates = candidates(record, &placed.snapshot.release)?;
    if candidates.len() != outcomes.stages.len() || candidates.len() != outcomes.reasons.len() {
        return Err(format!(
            "candidates: the record has {} and release {} has {}",
            outcomes.stages.len(),
            placed.snapshot.release.number(),
            candidates.len()
        ));
    }
    for ((offer, stage), reason) in candidates.iter().zip(&outcomes.stages).zip(&outcomes.reasons) {
        if (*stage, *reason) == (0, 0) {
            continue;
        }
        let code = Code::of_record(*stage, *reason).ok_or_else(|| {
            format!("candidates: stage {stage} with reason {reason} is not known to this version")
        })?;
        side.withheld.extend(placed.offer(*offer).map(|offer| (offer, code)));
    }
    Ok(())
}

/// The candidates of a recorded decision, in order: those of the placement, or what the request left of them.
fn candidates(record: &DecisionRecord, release: &Release) -> Result<Vec<OfferIndex>, String> {
    let catalog = release.catalog();
    let placement = catalog.policy.find_placement(&record.placement);
    let placement =
        placement.ok_or_else(|| format!("placement: the release has no `{}`", record.placement))?;
    let all = catalog.policy.placement(placement).candidates.iter().map(|Candidate { offer, .. }| *offer);
    let (wanted, unwanted) = (&record.candidate_offer_ids, &record.exclude_offer_ids);
    if wanted.is_empty() && unwanted.is_empty() {
        return Ok(all.collect());
    }
    let named =
        |ids: &[String], offer: OfferIndex| ids.iter().any(|id| **id == *catalog.library.get(offer).id);
    let remains =
        |offer: &OfferIndex| (wanted.is_empty() || named(wanted, *offer)) && !named(unwanted, *offer);
    Ok(all.filter(remains).collect())
}

#[cfg(test)]
mod tests;
