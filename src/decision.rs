//! Decisions: features → segment → eligible offers → scores → arbitration → explanation.
//!
//! Owns the path of a request from resolved names to an answer, for `Rank`, `Score` and `AssignSegments`. One call takes
//! one [`Snapshot`] and looks at nothing else that can change. Knows releases, models, offers, segments
//! and features; never the wire. Start reading at [`Decider::rank`], then `rank.rs`.

mod answer;
mod arbitration;
mod customer;
mod degraded;
mod error;
mod gates;
mod plan;
mod rank;
mod reach;
mod request;
mod score;
mod scoring;
mod segments;
mod tally;
mod withheld;

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use chrono::Utc;
use futures_util::stream::{self, StreamExt, TryStreamExt};

pub use answer::{
    CustomerError, Factors, RankResult, RankedOffer, Reason, RejectedOffer, Rejection, ScoreAnswer, Segment,
    SegmentAnswer, Stage,
};
pub use error::{Asked, DecisionError};
pub use reach::{Reach, STAGES, reach};
pub use request::{ContextValue, Customer, Explain, RankRequest, RowProblem, RowProblems, ScoreRequest};
pub use score::MAX_SCORES;

use crate::feature::{FeatureBatch, RecentRows};
use crate::model::{Call, Cost, Lane, Needs, Stop, Worker, Workers};
use crate::release::Snapshot;
use crate::telemetry::Metrics;

/// A batch smaller than this stays on one worker: handing work over costs more than deciding for a few customers.
const CUSTOMERS_PER_PART: usize = 16;

/// The same for rows of `Score` and `AssignSegments`, which cost less each.
const ROWS_PER_PART: usize = 1024;

/// Work of one thread from which on a call is bulk work, whoever waits for it.
const LONG: Duration = Duration::from_millis(20);

/// Work of one thread that a piece of bulk work should be: what an interactive call may have to wait for.
const PIECE: Duration = Duration::from_micros(250);

/// Answers calls from whatever snapshot is published when they begin.
#[derive(Clone)]
pub struct Decider {
    snapshot: Arc<ArcSwapOption<Snapshot>>,
    workers: Workers,
    metrics: Arc<Metrics>,
    recent: Arc<RecentRows>,
    /// Of a row of `AssignSegments`.
    assigning: Arc<Cost>,
}

impl Decider {
    /// A decider over the pointer that publishing moves. Of what `Rank` scores, some is kept in `recent`.
    #[must_use]
    pub fn new(
        snapshot: Arc<ArcSwapOption<Snapshot>>,
        workers: Workers,
        metrics: Arc<Metrics>,
        recent: Arc<RecentRows>,
    ) -> Self {
        Self { snapshot, workers, metrics, recent, assigning: Arc::default() }
    }

    /// The snapshot that a call beginning now is answered from.
    ///
    /// # Errors
    /// Before the first release is loaded.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, DecisionError> {
        self.snapshot.load_full().ok_or(DecisionError::NotReady)
    }

    /// Ranks offers for each customer of the request, in order, with the snapshot that did it.
    ///
    /// # Errors
    /// When the request does not fit the release, the work is refused, or the call is over before it is done.
    pub async fn rank(
        &self,
        request: RankRequest,
        call: &Call,
    ) -> Result<(Arc<Snapshot>, Vec<RankResult>), DecisionError> {
        let snapshot = self.snapshot()?;
        let recent = (!request.dry_run).then(|| Arc::clone(&self.recent));
        let began = call.trace().now();
        let plan = match plan::Plan::new(Arc::clone(&snapshot), request, Utc::now()) {
            Ok(plan) => Arc::new(plan),
            Err(error) => return Err(explain(error, &snapshot).await),
        };
        call.trace().step("plan", began);
        let customers = plan.customers.len();
        let (shared, cost) = (Arc::clone(&plan), snapshot.release.cost(plan.placement));
        let session = snapshot.release.needs_session(plan.placement);
        let load = Load { items: customers, least: CUSTOMERS_PER_PART, cost, units: 1, session };
        let work = move |range: Range<usize>, worker: &Worker, call: &Call| {
            let (began, customers) = (Instant::now(), range.len());
            // A call leaves one pair, however many pieces it is done in, so that no campaign drowns the others.
            let recent = recent.as_deref().filter(|_| range.start == 0);
            let deciding = call.trace().open("decide");
            let decided = rank::decide(&shared, range, recent, worker, call, deciding.trace())?;
            shared.snapshot.release.cost(shared.placement).record(customers, began.elapsed());
            Ok(decided)
        };
        let mut all = rank::Decided::default();
        self.split(load, call, work, |part| all.append(part)).await?;
        all.tally.record(&plan, &all.results, &self.metrics);
        Ok((snapshot, all.results))
    }

    /// Scores rows with one model of the release.
    ///
    /// # Errors
    /// When the request does not fit the release or its model, the work is refused, or the call is over before it is done.
    pub async fn score(&self, request: ScoreRequest, call: &Call) -> Result<ScoreAnswer, DecisionError> {
        let snapshot = self.snapshot()?;
        let began = call.trace().now();
        let plan = match score::ScorePlan::new(Arc::clone(&snapshot), request) {
            Ok(plan) => Arc::new(plan),
            Err(error) => return Err(explain(error, &snapshot).await),
        };
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
            values,
            calibrated: plan.model.is_calibrated(),
            errors,
        })
    }

    /// Assigns each row to a segment; those of `unreadable` have an error.
    ///
    /// # Errors
    /// When the release has no segmentation, the batch does not fit its schema, the work is refused, or the call is over
    /// before it is done.
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
        Ok(SegmentAnswer { release: snapshot.release.number(), segments, errors })
    }

    /// Runs `work` over `0..items` on as many threads as the size is worth, and hands the parts to `take` in order. Long work and that of streams is bulk
    /// work: it is done in pieces so small that a call which a person waits for soon finds a worker.
    ///
    /// # Errors
    /// Where the deadline cannot be met by what items cost of late, before any work; where a piece is refused or stopped.
    async fn split<T, F>(
        &self,
        Load { items, least, cost, units, session }: Load<'_>,
        call: &Call,
        work: F,
        mut take: impl FnMut(T) + Send,
    ) -> Result<(), DecisionError>
    where
        T: Send + 'static,
        F: Fn(Range<usize>, &Worker, &Call) -> Result<T, Stop> + Clone + Send + 'static,
    {
        let whole = cost.of(items * units);
        let call = if whole > LONG { call.clone().in_lane(Lane::Bulk) } else { call.clone() };
        let parts = self.workers.count().min(items / least).max(1);
        self.workers.admit(&call, whole, parts).inspect_err(|_| cost.doubt(items * units))?;
        let even = items.div_ceil(parts).max(1);
        let size = match call.lane() {
            Lane::Interactive => even,
            Lane::Bulk => cost.units_in(PIECE).map_or(least, |fit| (fit / units).max(1)).min(even),
        };
        let piece = |start: usize| {
            let (owed, work, range) = (call.clone(), work.clone(), start..(start + size).min(items));
            let needs = Needs { cost: cost.of(range.len() * units), session };
            let call = &call;
            async move {
                let work = move |worker: &Worker| work(range, worker, &owed);
                Ok::<T, DecisionError>(self.workers.run(call, needs, work).await??)
            }
        };
        if size >= items {
            take(piece(0).await?);
            return Ok(());
        }
        // No more at once than there are workers, so that one caller's pieces do not fill the queue.
        let mut pieces = pin!(stream::iter((0..items).step_by(size).map(piece)).buffered(parts));
        while let Some(part) = pieces.try_next().await? {
            take(part);
        }
        Ok(())
    }
}

/// What a call asks for, in items that can be shared out.
struct Load<'a> {
    items: usize,
    /// Items that are worth handing to another worker.
    least: usize,
    /// What a unit costs, and how many units an item is.
    cost: &'a Cost,
    units: usize,
    /// Whether a worker's sessions may be needed.
    session: bool,
}

/// Tells what does not exist from what is only not loaded. The store may be far away, so it is asked on a thread that may wait.
async fn explain(error: DecisionError, snapshot: &Snapshot) -> DecisionError {
    let (DecisionError::NotLoaded { asked, .. }, Some(store)) = (&error, snapshot.release.store()) else {
        return error;
    };
    let (asked, store) = (asked.clone(), store.clone());
    match tokio::task::spawn_blocking(move || asked.exists(&store)).await {
        Ok(false) => error.nonexistent(),
        _ => error,
    }
}

impl From<crate::release::AssignedSegment> for Segment {
    fn from(assigned: crate::release::AssignedSegment) -> Self {
        let crate::release::AssignedSegment { id, name, distance, margin } = assigned;
        Self { id, name, distance, margin }
    }
}
