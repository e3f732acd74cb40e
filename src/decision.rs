//! Decisions: features → segment → eligible offers → scores → arbitration → explanation.
//!
//! Owns the path of a request from resolved names to an answer, for `Rank`, `Score` and `AssignSegments`. One call takes
//! one [`Snapshot`] and looks at nothing else that can change. Knows releases, models, offers, segments
//! and features; never the wire. Start reading at [`Decider::rank`], then `rank.rs`.

mod answer;
mod arbitration;
mod customer;
mod error;
mod gates;
mod plan;
mod rank;
mod request;
mod score;
mod scoring;
mod segments;
mod tally;

use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use chrono::Utc;
use tracing::Instrument;

pub use answer::{
    CustomerError, Factors, RankResult, RankedOffer, Reason, RejectedOffer, Rejection, ScoreAnswer, Segment,
    Stage,
};
pub use error::{Asked, DecisionError};
pub use request::{ContextValue, Customer, Explain, RankRequest, ScoreRequest};
pub use score::MAX_SCORES;

use crate::feature::{FeatureBatch, RecentRows};
use crate::model::{Call, Stop, Worker, Workers};
use crate::release::Snapshot;
use crate::telemetry::Metrics;

/// A batch smaller than this stays on one worker: handing work over costs more than deciding for a few customers.
const CUSTOMERS_PER_PART: usize = 16;

/// The same for rows of `Score` and `AssignSegments`, which cost less each.
const ROWS_PER_PART: usize = 1024;

/// Answers calls from whatever snapshot is published when they begin.
#[derive(Clone)]
pub struct Decider {
    snapshot: Arc<ArcSwapOption<Snapshot>>,
    workers: Workers,
    metrics: Arc<Metrics>,
    recent: Arc<RecentRows>,
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
        Self { snapshot, workers, metrics, recent }
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
        let plan = match plan::Plan::new(Arc::clone(&snapshot), request, Utc::now()) {
            Ok(plan) => Arc::new(plan),
            Err(error) => return Err(explain(error, &snapshot).await),
        };
        let customers = plan.customers.len();
        let shared = Arc::clone(&plan);
        let parts = self
            .split(customers, CUSTOMERS_PER_PART, call, move |range, worker, call| {
                rank::decide(&shared, range, recent.as_deref(), worker, call)
            })
            .await?;
        let mut all = Vec::with_capacity(customers);
        for (results, tally) in parts {
            tally.record(&plan, &self.metrics);
            all.extend(results);
        }
        Ok((snapshot, all))
    }

    /// Scores rows with one model of the release.
    ///
    /// # Errors
    /// When the request does not fit the release or its model, the work is refused, or the call is over before it is done.
    pub async fn score(&self, request: ScoreRequest, call: &Call) -> Result<ScoreAnswer, DecisionError> {
        let snapshot = self.snapshot()?;
        let plan = match score::ScorePlan::new(Arc::clone(&snapshot), request) {
            Ok(plan) => Arc::new(plan),
            Err(error) => return Err(explain(error, &snapshot).await),
        };
        let shared = Arc::clone(&plan);
        let parts = self
            .split(plan.rows(), ROWS_PER_PART, call, move |range, worker, call| {
                shared.score(range, worker, call)
            })
            .await?;
        let rows = plan.rows();
        let (name, version) = (plan.model.name(), plan.model.version());
        let counted = self.metrics.model(name, version);
        let mut values = Vec::with_capacity(rows * plan.column_names.len());
        let mut errors = Vec::new();
        for part in parts {
            part.batches.iter().for_each(|(rows, took)| counted.scored(*rows, *took));
            counted.unavailable(part.errors.len());
            values.extend(part.values);
            errors.extend(part.errors);
        }
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

    /// Assigns each row to a segment, with the snapshot that did it.
    ///
    /// # Errors
    /// When the release has no segmentation, the batch does not fit its schema, the work is refused, or the call is over
    /// before it is done.
    pub async fn assign_segments(
        &self,
        features: FeatureBatch,
        call: &Call,
    ) -> Result<(Arc<Snapshot>, Vec<Segment>), DecisionError> {
        let snapshot = self.snapshot()?;
        let plan = Arc::new(segments::SegmentPlan::new(Arc::clone(&snapshot), features)?);
        let shared = Arc::clone(&plan);
        let parts = self
            .split(plan.rows(), ROWS_PER_PART, call, move |range, _, call| shared.assign(range, call))
            .await?;
        Ok((snapshot, parts.into_iter().flatten().collect()))
    }

    /// Runs `work` over `0..items` on as many workers as the size is worth, and returns the parts in order.
    async fn split<T, F>(
        &self,
        items: usize,
        least: usize,
        call: &Call,
        work: F,
    ) -> Result<Vec<T>, DecisionError>
    where
        T: Send + 'static,
        F: Fn(Range<usize>, &Worker, &Call) -> Result<T, Stop> + Clone + Send + 'static,
    {
        let parts = self.workers.count().min(items / least).max(1);
        let size = items.div_ceil(parts).max(1);
        let mut running = tokio::task::JoinSet::new();
        for part in 1..parts {
            let (workers, call, work) = (self.workers.clone(), call.clone(), work.clone());
            let range = (part * size).min(items)..((part + 1) * size).min(items);
            let run = async move {
                let owed = call.clone();
                let result = workers.run(&call, move |worker| work(range, worker, &owed)).await;
                (part, result)
            };
            running.spawn(run.in_current_span());
        }
        // The first part is awaited here: a call of one part costs no task.
        let owed = call.clone();
        let first = self.workers.run(call, move |worker| work(0..size.min(items), worker, &owed)).await??;
        let mut results: Vec<Option<T>> = Vec::with_capacity(parts);
        results.push(Some(first));
        results.resize_with(parts, || None);
        while let Some(joined) = running.join_next().await {
            let (part, result) = joined.map_err(|error| DecisionError::Internal(error.to_string()))?;
            results[part] = Some(result??);
        }
        Ok(results.into_iter().flatten().collect())
    }
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
