//! What another release would have answered to recorded requests.
//!
//! A record has the request and all that was known of the customer. The other release decides again from that: its own
//! rules, models, limits and policy, on the recorded values. Start reading at [`what_if`].

mod limits;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use decision::{Explain, RecordedDecision, ValueSource, decide_again};
use event::proto::DecisionRecord;
use feature::{Entity, FeatureSchema, Value, ValueRef};
use history::History;
use offer::{Candidate, Catalog, OfferIndex};
use release::{AssignedSegment, Release, Snapshot};
use work::Worker;

use self::limits::{Compared, Unknown};
use super::comparison::{Comparison, Excluded, Named, Options, Records, Subject, shown};
use super::effect::{Code, Shown, Side, Tally};
use super::parallel::{ParallelError, in_parallel};
use super::record;
use super::releases::Loaded;

/// How many releases that records name are kept ready per thread. Records come in the order of time, so few take
/// turns.
const KEPT: usize = 4;

/// The rank of the other release: it names offers.
const OTHER: u64 = u64::MAX;

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
    let threads = AtomicUsize::new(0);
    let names = Arc::new(History::default());
    let limited = Loaded::new(Arc::clone(&other.snapshot), &names);
    let begin = || {
        let worker = worker(threads.fetch_add(1, Ordering::Relaxed), options.sessions);
        State::new(&other.snapshot, limited.clone(), Arc::clone(&names), worker)
    };
    let add = |state: &mut State, records: Vec<DecisionRecord>| {
        for record in &records {
            state.add(record, &base);
        }
    };
    let mut parts = in_parallel(source, options.threads, begin, add, progress)?.into_iter();
    let mut all = parts.next().unwrap_or_else(begin);
    parts.for_each(|part| all.merge(part));
    Ok(all.finish(other))
}

/// The worker of the thread of this number.
pub(super) fn worker(thread: usize, sessions: usize) -> Worker {
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

/// A release that decided, and where the other one finds its features.
#[derive(Debug)]
struct Base {
    number: u64,
    placed: Placed,
    loaded: Loaded,
    /// What the limits of both look at.
    compared: Compared,
    customer: Mapping,
    context: Mapping,
}

/// For each feature of the other release: its position in the release that decided, if that has it.
#[derive(Debug)]
struct Mapping(Vec<Option<usize>>);

impl Mapping {
    fn new(entity: Entity, from: &FeatureSchema, to: &FeatureSchema) -> Self {
        let find = |name: &str| from.find(name).filter(|(of, _)| *of == entity).map(|(_, position)| position);
        Self(to.of(entity).iter().map(|feature| find(&feature.name)).collect())
    }

    /// The values for the other release. Defaults are left to it.
    fn apply(
        &self,
        mut values: Vec<(ValueSource, Option<Value>)>,
        entity: Entity,
        to: &FeatureSchema,
    ) -> Vec<(ValueSource, Option<Value>)> {
        let missing = || (ValueSource::Missing, None);
        let value = |(position, feature): (&Option<usize>, &feature::Feature)| {
            let Some((source, value)) = position.and_then(|position| values.get_mut(position)) else {
                return missing();
            };
            if !matches!(source, ValueSource::Request | ValueSource::Store) {
                return missing();
            }
            let value = value.take();
            if ValueRef::from(&value).feature_type() == Some(feature.feature_type) {
                return (*source, value);
            }
            let cast = ValueRef::from(&value).cast(feature.feature_type).and_then(|value| value.to_value());
            if cast.is_some() { (*source, cast) } else { missing() }
        };
        self.0.iter().zip(to.of(entity)).map(value).collect()
    }
}

/// What one thread knows.
struct State {
    tally: Tally,
    other: Placed,
    /// The other release with its limits, or why they cannot be looked at.
    limited: Result<Loaded, String>,
    /// Has the names of all releases, and nothing else.
    names: Arc<History>,
    worker: Worker,
    bases: Vec<Base>,
    unknown: Unknown,
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
        other: &Arc<Snapshot>,
        limited: Result<Loaded, String>,
        names: Arc<History>,
        worker: Worker,
    ) -> Self {
        let mut tally = Tally::default();
        Self {
            other: Placed::new(other, OTHER, &mut tally),
            limited,
            names,
            tally,
            worker,
            bases: Vec::new(),
            unknown: Unknown::default(),
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
        } else if self.other.catalog().policy.find_placement(&record.placement).is_none() {
            *self.excluded.gone_placements.entry(record.placement.clone()).or_default() += 1;
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
        let Self { tally, other, limited, worker, bases, unknown, before, after, .. } = self;
        let base = bases.last_mut().ok_or("no release is loaded")?;
        let limited = limited.as_ref().map_err(String::clone)?;
        let mut input = record::read(record, &base.loaded).map_err(|error| error.to_string())?;
        limits::resolve(&mut input, record, &base.loaded, limited).map_err(|error| error.to_string())?;
        recorded(record, base, tally, before)?;
        let schema = other.snapshot.release.schema();
        let values = &mut input.values;
        values.customer = base.customer.apply(std::mem::take(&mut values.customer), Entity::Customer, schema);
        values.context = base.context.apply(std::mem::take(&mut values.context), Entity::Context, schema);
        values.scores = None;
        input.ignored = None;
        // Unread texts cost more than the decision.
        input.request.explain = Explain::None;
        let decided = decide_again(&other.snapshot, input, worker).map_err(|error| error.to_string())?;
        if let Some(error) = &decided.decision.error {
            return Err(error.message().to_owned());
        }
        other.side(&decided.decision, &decided.candidates, tally, after);
        unknown.add(base.compared.beyond(record, &base.loaded, limited), &decided.candidates);
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
        let (from, to) = (snapshot.release.schema(), self.other.snapshot.release.schema());
        let mapping = |entity| Mapping::new(entity, from, to);
        self.bases.push(Base {
            number,
            loaded: Loaded::new(Arc::clone(&snapshot), &self.names)?,
            compared: Compared::default(),
            customer: mapping(Entity::Customer),
            context: mapping(Entity::Context),
            placed: Placed::new(&snapshot, number, &mut self.tally),
        });
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.tally.merge(other.tally);
        self.unknown.merge(other.unknown);
        self.excluded.merge(other.excluded);
        self.records += other.records;
        for (release, records) in other.releases {
            *self.releases.entry(release).or_default() += records;
        }
        let spans = [self.span, other.span].into_iter().flatten();
        self.span = spans.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    }

    fn finish(self, other: &Named) -> Comparison {
        let moment = |micros: i64| DateTime::<Utc>::from_timestamp_micros(micros).map(shown);
        let subject = Subject::Records(Records {
            after: other.name.clone(),
            release: other.snapshot.release.number(),
            releases: self.releases,
            records: self.records,
            first: self.span.and_then(|(first, _)| moment(first)),
            last: self.span.and_then(|(_, last)| moment(last)),
            not_known: self.unknown.0,
        });
        let assumptions = subject.assumptions();
        Comparison { subject, effect: self.tally.finish(), excluded: self.excluded, assumptions }
    }
}

/// A decision as it was recorded.
fn recorded(record: &DecisionRecord, base: &Base, tally: &mut Tally, side: &mut Side) -> Result<(), String> {
    side.clear();
    let placed = &base.placed;
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
            base.number,
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
