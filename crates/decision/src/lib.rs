//! Decisions: features → segment → eligible offers → scores → arbitration → explanation.
//!
//! Owns the path from a request with resolved names to an answer, for `Rank`, `Score` and `AssignSegments`. One call
//! takes one [`Snapshot`] and reads nothing else that can change. Knows releases, models, offers, segments and
//! features; never the wire. Start reading at [`Decider::rank`], then `rank.rs`. What shadows would have decided is
//! found beside the answers: `shadow.rs`.

mod answer;
mod arbitration;
mod arms;
mod customer;
mod degraded;
mod error;
mod factors;
mod gates;
mod limits;
mod plan;
mod rank;
mod reach;
mod recorder;
mod replay;
mod request;
mod score;
mod scoring;
mod segments;
mod settling;
mod shadow;
mod slate;
mod tally;
mod withheld;

use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt, TryStreamExt};

pub use answer::{
    CustomerError, Factors, RankResult, RankedOffer, Reason, ScoreAnswer, SegmentAnswer, Stage, WithheldOffer,
};
pub use error::{Asked, DecisionError};
pub use limits::{Limiter, Naming, Refusal};
pub use reach::{Reach, STAGES, reach};
pub use recorder::{
    CallHistory, CandidateOutcome, Decisions, Durable, RecordedCall, RecordedCustomer, RecordedDecision,
    Recorder, SourcedValue, ValueSource,
};
pub use replay::{
    DecidedAgain, DecidedTogether, Held, RecordedArms, RecordedHistory, RecordedScores, RecordedValues,
    ReplayInput, decide_again, decide_together,
};
pub use request::{
    AskedRank, ContextValue, Customer, Explain, RankRequest, RowProblem, RowProblems, ScoreRequest,
};
pub use score::MAX_SCORES;
pub use shadow::{Compared, Decided, RankedCandidate, ShadowComparison, ShadowJob, ShadowSink, compare};
pub use withheld::in_words;

use feature::{FeatureBatch, RecentRows};
use limits::Adds;
use recorder::{Needed, Room};
use release::Snapshot;
use settling::{Certain, Recorded, Settling};
use telemetry::Metrics;
use work::{Call, Cancellation, Cost, Lane, Needs, Worker, Workers};

/// A part of fewer customers stays on one worker: handing it over costs more than deciding it.
const CUSTOMERS_PER_PART: usize = 16;

/// The same for rows of `Score` and `AssignSegments`, which cost less each.
const ROWS_PER_PART: usize = 1024;

/// A call that needs more time than this on one thread is bulk work, in whichever lane it came.
const BULK_THRESHOLD: Duration = Duration::from_millis(20);

/// The time that a piece of bulk work should take on one thread. An interactive call may wait this long for a worker.
const PIECE_DURATION: Duration = Duration::from_micros(250);

/// Answers calls from the snapshot that is published when they begin.
#[derive(Clone)]
pub struct Decider {
    snapshot: Arc<ArcSwapOption<Snapshot>>,
    workers: Workers,
    metrics: Arc<Metrics>,
    recent: Arc<RecentRows>,
    /// The cost of a row of `AssignSegments`.
    assigning: Arc<Cost>,
    /// Gets the decisions of `Rank`.
    recorder: Option<Arc<dyn Recorder>>,
    /// What limits look at.
    limiter: Option<Limiter>,
    /// Gets the decisions of `Rank` that shadows sample.
    shadow: Option<Arc<dyn ShadowSink>>,
}

impl Decider {
    /// Creates a decider over the pointer that publishing moves. `recent` samples the pairs that `Rank` scores.
    #[must_use]
    pub fn new(
        snapshot: Arc<ArcSwapOption<Snapshot>>,
        workers: Workers,
        metrics: Arc<Metrics>,
        recent: Arc<RecentRows>,
    ) -> Self {
        Self {
            snapshot,
            workers,
            metrics,
            recent,
            assigning: Arc::default(),
            recorder: None,
            limiter: None,
            shadow: None,
        }
    }

    /// The same decider; what `Rank` decides is handed to `recorder`.
    #[must_use]
    pub fn with_recorder(self, recorder: Arc<dyn Recorder>) -> Self {
        Self { recorder: Some(recorder), ..self }
    }

    /// The same decider; its releases' limits look at the history of `limiter`, and what `Rank` shows is added to it.
    #[must_use]
    pub fn with_limiter(self, limiter: Limiter) -> Self {
        Self { limiter: Some(limiter), ..self }
    }

    /// The same decider; what its releases' shadows sample of the decisions of `Rank` is offered to `sink`, once they
    /// are answered.
    #[must_use]
    pub fn with_shadow(self, sink: Arc<dyn ShadowSink>) -> Self {
        Self { shadow: Some(sink), ..self }
    }

    /// The snapshot for a call that begins now.
    ///
    /// # Errors
    /// Before the first release is loaded.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, DecisionError> {
        self.snapshot.load_full().ok_or(DecisionError::NotReady)
    }

    /// Ranks offers for each customer of the request, in order. Also returns the snapshot that answered.
    ///
    /// # Errors
    /// When the request does not fit the release, the work is refused, or the call ends before it is done.
    pub async fn rank(
        &self,
        request: RankRequest,
        call: &Call,
    ) -> Result<(Arc<Snapshot>, Vec<RankResult>), DecisionError> {
        let snapshot = self.snapshot()?;
        let started = Instant::now();
        let recent = (!request.dry_run).then(|| Arc::clone(&self.recent));
        let recorder = self.recorder.as_ref().filter(|_| !request.dry_run);
        let room = match recorder {
            Some(recorder) => Some(self.room(recorder, (&snapshot, &request), call).await?),
            None => None,
        };
        let began = call.trace().now();
        let is_dry_run = request.dry_run;
        let sink = self.shadow.as_deref().filter(|_| !is_dry_run && has_shadow(&snapshot, &request));
        let footprint = sink.map(|_| request.footprint());
        let mut plan = plan::Plan::new(Arc::clone(&snapshot), request, whole_micros(Utc::now()))?;
        plan.records = matches!(room, Some(Some(_)));
        if let Some(limiter) = &self.limiter {
            let adds = match (is_dry_run, recorder) {
                (true, _) => Adds::Nothing,
                (false, Some(recorder)) if plan.records && !recorder.is_stalled() => Adds::Durably,
                (false, _) => Adds::Undurably,
            };
            self.metrics.history.viewed(limiter.look(&mut plan, adds)?);
        }
        let plan = Arc::new(plan);
        call.trace().step("plan", began);
        let customers = plan.customers.len();
        // Rows of one customer see each other, so they are decided one after another.
        let least = if plan.limits.is_some() && plan.has_repeated_customers() {
            customers
        } else {
            CUSTOMERS_PER_PART
        };
        let (shared, cost) = (Arc::clone(&plan), snapshot.release.cost(plan.placement));
        let session = snapshot.release.needs_session(plan.placement, !plan.forced.is_empty());
        let load = Load { items: customers, least, cost, units: 1, session };
        let work = move |range: Range<usize>, worker: &Worker, call: &Call| {
            let (began, customers) = (Instant::now(), range.len());
            // Only the first piece of a call may record a pair, so that a large call does not crowd out the others.
            let recent = recent.as_deref().filter(|_| range.start == 0);
            let deciding = call.trace().open("decide");
            let decided = rank::decide(&shared, range, recent, worker, call, deciding.trace())?;
            shared.snapshot.release.cost(shared.placement).record(customers, began.elapsed());
            Ok(decided)
        };
        let mut all = rank::Decided::default();
        self.split(load, call, work, |part| all.append(part)).await?;
        all.tally.record(&plan, &all.results, &self.metrics);
        let sampled = footprint.and_then(|request| shadow::sample(&plan, &all, request));
        // What is reserved is given back if the call ends before it is recorded.
        let rank::Decided { mut results, recorded, reserved, .. } = all;
        let settling = Settling { plan, reserved };
        match room {
            Some(Some(room)) => {
                let plan = Arc::clone(&settling.plan);
                let decided = RecordedCall { plan, took: started.elapsed(), decisions: recorded };
                if !self.record(room, decided, settling, call).await? {
                    self.not_recorded(&mut results)?;
                }
            }
            Some(None) => {
                self.not_recorded(&mut results)?;
                settling.keep();
            }
            None => settling.keep(),
        }
        // Nothing of the answer depends on it any more.
        if let Some((sink, job)) = sink.zip(sampled) {
            shadow::offer(sink, job);
        }
        Ok((snapshot, results))
    }

    /// Hands what was decided to the recorder, and ends its reservations once its record is certain. Returns whether it
    /// is recorded; what was decided stays counted even if it is not, since it is answered.
    ///
    /// # Errors
    /// When something was reserved and cannot become durable, when there is no room and such calls are refused, or the
    /// call ends while it waits for room: what was reserved is given back.
    async fn record(
        &self,
        mut room: Room,
        decided: RecordedCall,
        settling: Settling,
        call: &Call,
    ) -> Result<bool, DecisionError> {
        let must_be_durable = decided.must_be_durable();
        let needed = room.needed(&decided);
        let mut fits = room.try_extend(needed);
        if !fits && room.may_wait() {
            fits = wait(call, room.exchange(needed)).await?.is_some();
        }
        if !fits {
            if must_be_durable || room.is_required() {
                room.refused(decided.decisions.len());
                return Err(DecisionError::NotRecorded);
            }
            settling.keep();
            return Ok(false);
        }
        let Some(durable) = room.record(decided) else {
            settling.recorded(self.limiter.as_ref());
            return Ok(true);
        };
        let recorded = Recorded { durable, settling, limiter: self.limiter.clone(), must_be_durable };
        let is_durable = Certain::of(recorded).await;
        if must_be_durable && !is_durable { Err(DecisionError::NotRecorded) } else { Ok(is_durable) }
    }

    /// Room for the records of a call; `None` where it is decided without being recorded.
    ///
    /// # Errors
    /// When there is no room and such calls are refused, or the call ends while it waits.
    async fn room(
        &self,
        recorder: &Arc<dyn Recorder>,
        (snapshot, request): (&Snapshot, &RankRequest),
        call: &Call,
    ) -> Result<Option<Room>, DecisionError> {
        let needed = Needed::before(snapshot, request);
        if let Some(room) = Room::try_reserve(recorder, call.lane(), needed) {
            return Ok(Some(room));
        }
        if recorder.refuses() {
            return Err(DecisionError::NotRecorded);
        }
        if call.lane() == Lane::Interactive {
            return Ok(None);
        }
        wait(call, Room::reserve(recorder, needed)).await
    }

    /// Says in each result that it was not recorded.
    ///
    /// # Errors
    /// When such calls are refused.
    fn not_recorded(&self, results: &mut [RankResult]) -> Result<(), DecisionError> {
        if let Some(recorder) = &self.recorder {
            recorder.dropped(results.len());
            if recorder.refuses() {
                return Err(DecisionError::NotRecorded);
            }
        }
        for result in results {
            let line = NOT_RECORDED.to_owned();
            let at = result.degraded.partition_point(|other| *other < line);
            result.degraded.insert(at, line);
        }
        Ok(())
    }

    /// Scores rows with one model of the release.
    ///
    /// # Errors
    /// When the request does not fit the release or its model, the work is refused, or the call ends before it is done.
    pub async fn score(&self, request: ScoreRequest, call: &Call) -> Result<ScoreAnswer, DecisionError> {
        let snapshot = self.snapshot()?;
        let began = call.trace().now();
        let plan = Arc::new(score::ScorePlan::new(Arc::clone(&snapshot), request)?);
        call.trace().step("plan", began);
        let (shared, cost, units) = (Arc::clone(&plan), plan.model.cost(), plan.pairs_per_row());
        let load = Load {
            items: plan.rows(),
            least: ROWS_PER_PART,
            cost,
            units,
            session: plan.model.needs_session(),
        };
        let rows = plan.rows();
        let mut values = Vec::with_capacity(rows * plan.column_names.len());
        let (mut errors, mut batches) = (Vec::new(), Vec::new());
        let work = move |range: Range<usize>, worker: &Worker, call: &Call| {
            let _scoring = call.trace().open("scoring");
            shared.score(range, worker, call)
        };
        self.split(load, call, work, |part| {
            values.extend(part.values);
            errors.extend(part.errors);
            batches.extend(part.batches);
        })
        .await?;
        let (name, version) = (plan.model.name(), plan.model.version());
        let counted = self.metrics.model(name, version);
        for (rows, took) in batches {
            counted.scored(rows, took);
        }
        counted.unavailable(errors.len());
        Ok(ScoreAnswer {
            model: name.to_owned(),
            version,
            release: plan.snapshot.release.number(),
            rows,
            columns: plan.column_names.clone(),
            values: plan.in_columns(values),
            calibrated: plan.model.is_calibrated(),
            errors,
            degraded: plan.degraded.clone(),
        })
    }

    /// Assigns each row to a segment. Rows in `unreadable` get an error.
    ///
    /// # Errors
    /// When the release has no segmentation, the batch does not fit its schema, or the work is refused. When the call
    /// ends before it is done.
    pub async fn assign_segments(
        &self,
        features: FeatureBatch,
        unreadable: RowProblems,
        call: &Call,
    ) -> Result<SegmentAnswer, DecisionError> {
        let snapshot = self.snapshot()?;
        let plan = Arc::new(segments::SegmentPlan::new(Arc::clone(&snapshot), features, unreadable)?);
        let shared = Arc::clone(&plan);
        let (cost, assigning) = (&*self.assigning, Arc::clone(&self.assigning));
        let load = Load { items: plan.rows(), least: ROWS_PER_PART, cost, units: 1, session: false };
        let work = move |range: Range<usize>, _: &Worker, call: &Call| {
            let (began, rows) = (Instant::now(), range.len());
            let _assigning = call.trace().open("assign");
            let assigned = shared.assign(range, call)?;
            assigning.record(rows, began.elapsed());
            Ok(assigned)
        };
        let (mut segments, mut errors) = (Vec::with_capacity(plan.rows()), Vec::new());
        self.split(load, call, work, |part: segments::SegmentPart| {
            segments.extend(part.segments);
            errors.extend(part.errors);
        })
        .await?;
        let degraded = plan.degraded();
        Ok(SegmentAnswer { release: snapshot.release.number(), segments, errors, degraded })
    }

    /// Runs `work` over `0..items` on as many workers as its size justifies, and passes the parts to `take` in order.
    /// Long work and that of streams is bulk work. It runs in pieces small enough that an interactive call soon finds a
    /// worker.
    ///
    /// # Errors
    /// When recent costs say that the deadline cannot be met, before any work; when a piece is refused or stopped.
    async fn split<T, F>(
        &self,
        Load { items, least, cost, units, session }: Load<'_>,
        call: &Call,
        work: F,
        mut take: impl FnMut(T) + Send,
    ) -> Result<(), DecisionError>
    where
        T: Send + 'static,
        F: Fn(Range<usize>, &Worker, &Call) -> Result<T, Cancellation> + Clone + Send + 'static,
    {
        let whole = cost.of(items * units);
        let call = if whole > BULK_THRESHOLD { call.clone().in_lane(Lane::Bulk) } else { call.clone() };
        let parts = self.workers.count().min(items / least).max(1);
        self.workers.admit(&call, whole, parts).inspect_err(|_| cost.decay(items * units))?;
        let even = items.div_ceil(parts).max(1);
        let size = match call.lane() {
            Lane::Interactive => even,
            Lane::Bulk => cost.units_in(PIECE_DURATION).map_or(least, |fit| (fit / units).max(1)).min(even),
        };
        let piece = |start: usize| {
            let (piece_call, work, range) = (call.clone(), work.clone(), start..(start + size).min(items));
            let needs = Needs { cost: cost.of(range.len() * units), session };
            let call = &call;
            async move {
                let work = move |worker: &Worker| work(range, worker, &piece_call);
                Ok::<T, DecisionError>(self.workers.run(call, needs, work).await??)
            }
        };
        if size >= items {
            take(piece(0).await?);
            return Ok(());
        }
        // At most one piece per worker at a time, so that one caller's pieces do not fill the queue.
        let mut pieces = pin!(stream::iter((0..items).step_by(size).map(piece)).buffered(parts));
        while let Some(part) = pieces.try_next().await? {
            take(part);
        }
        Ok(())
    }
}

/// What bulk work waits for, as long as its caller does.
///
/// # Errors
/// When the call ends before.
async fn wait<T>(call: &Call, waiting: impl Future<Output = Option<T>>) -> Result<Option<T>, DecisionError> {
    let deadline = call.deadline().map(tokio::time::Instant::from_std);
    let waited = match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, waiting).await,
        None => Ok(waiting.await),
    };
    call.check()?;
    Ok(waited.unwrap_or_default())
}

/// The line of `degraded` in a result that was decided and not recorded.
const NOT_RECORDED: &str = "not_recorded";

/// Whether a shadow is compared on decisions for the placement of a request.
fn has_shadow(snapshot: &Snapshot, request: &RankRequest) -> bool {
    let release = &snapshot.release;
    let placement = || release.catalog().policy.find_placement(&request.placement);
    !release.shadows().is_empty()
        && placement().is_some_and(|placement| release.shadows_at(placement).next().is_some())
}

/// A record keeps microseconds, and what is decided again must see the same time.
fn whole_micros(moment: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(moment.timestamp_micros()).unwrap_or(moment)
}

/// The size of a call, in items that can be split among workers.
struct Load<'a> {
    items: usize,
    /// The least number of items worth handing to another worker.
    least: usize,
    /// The cost of a unit, and the units per item.
    cost: &'a Cost,
    units: usize,
    /// Whether the work may need a worker's ONNX Runtime sessions.
    session: bool,
}
