//! Shadows beside the answers: a bounded queue, and one thread of idle priority that compares.
//!
//! A call offers the decisions that shadows sample once it is answered ([`ShadowSink::offer`]). It never waits, and what
//! finds no room is counted as shed. The thread decides again (`decision::compare`) with sessions of its own, counts what
//! it finds (`shadows/tallies.rs`), and records it. Nothing here changes, delays or fails an answer.

mod queue;
mod tallies;

use std::fmt;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use chrono::{DateTime, Utc};

use self::queue::{Queue, Taken};
use self::tallies::Tallies;
use super::AppError;
use crate::grpc::ShadowReports;
use decision::{Compared, ShadowComparison, ShadowJob, ShadowSink, compare};
use document::settings::Settings;
use event::proto::ShadowRecord;
use release::{Publisher, Release};
use replay::Privacy;
use telemetry::{Metrics, ShadowMetrics};
use work::priority::set_idle_priority;
use work::{Call, Cost, FOREIGN_STACK, Worker, catch_panic};

/// The comparisons that are handed to the event log together.
const RECORDED_TOGETHER: usize = 64;

/// How long the erasure of a person waits for a comparison to end; then it is tried again.
const FORGETTING: Duration = Duration::from_secs(5);

/// How much may wait to be compared, in the section `[shadow]`.
#[derive(Debug, Clone)]
pub struct ShadowConfig {
    /// Calls that may wait.
    pub queue: usize,
    /// Bytes of the calls that wait and of the one that is compared.
    pub bytes: usize,
}

impl ShadowConfig {
    /// Reads its keys.
    pub fn read(settings: &mut Settings) -> Self {
        Self { queue: settings.integer("shadow.queue", 1..=100_000), bytes: settings.size("shadow.bytes") }
    }
}

/// What the thread that compares works with.
pub(super) struct ShadowParts {
    /// Where the serving snapshot is.
    pub publisher: Publisher,
    /// Whose sessions it may use, alone.
    pub worker: Worker,
    /// Where comparisons are recorded; `None`: they are only counted.
    pub log: Option<event::Recorder>,
    /// How records name customers.
    pub privacy: Privacy,
    /// Where comparisons are counted.
    pub metrics: Arc<Metrics>,
}

/// The queue of a server, with a thread that compares. Dropping it ends the thread.
pub(super) struct Shadows {
    queue: Arc<Queue<ShadowJob>>,
    tallies: Arc<Tallies>,
    metrics: Arc<Metrics>,
}

impl Shadows {
    /// Starts the thread, which sleeps until a shadow samples a decision.
    ///
    /// # Errors
    /// When the operating system refuses the thread.
    pub(super) fn start(config: &ShadowConfig, parts: ShadowParts) -> Result<Self, AppError> {
        let ShadowParts { publisher, worker, log, privacy, metrics } = parts;
        let queue = Arc::new(Queue::new(config.queue, config.bytes));
        let tallies = Arc::new(Tallies::new(publisher.clone(), Arc::clone(&metrics)));
        let waiting = Arc::downgrade(&queue);
        metrics.sample(move |metrics| {
            let waiting = waiting.upgrade().map_or(0, |queue| queue.len());
            _ = metrics.shadows.queued.set(waiting as i64);
        });
        let lane = Lane {
            publisher,
            worker,
            log,
            privacy,
            tallies: Arc::clone(&tallies),
            metrics: Arc::clone(&metrics),
        };
        let jobs = Arc::clone(&queue);
        // Models of shadows are foreign code as those of answers are.
        let thread = Builder::new().name("shadow".to_owned()).stack_size(FOREIGN_STACK);
        let refused = |source| AppError::Io { what: "cannot start the thread `shadow`".to_owned(), source };
        thread.spawn(move || lane.serve(&jobs)).map_err(refused)?;
        Ok(Self { queue, tallies, metrics })
    }

    /// What was found out, for reports.
    pub(super) fn reports(&self) -> Arc<dyn ShadowReports> {
        Arc::clone(&self.tallies) as Arc<dyn ShadowReports>
    }

    /// Sheds all that waits and is compared, since it may have persons who are being erased. What was compared before
    /// is with the event log by then.
    ///
    /// # Errors
    /// When a comparison does not end.
    pub(super) fn forget(&self) -> Result<(), String> {
        self.queue.clear().iter().for_each(|job| shed(&self.metrics, job));
        if self.queue.rests(FORGETTING) {
            Ok(())
        } else {
            Err("a comparison with a shadow does not end".to_owned())
        }
    }

    /// Ends the thread, and waits for it up to `within`. What was still to be compared is shed.
    pub(super) fn close(&self, within: Duration) {
        self.end();
        if !self.queue.rests(within) {
            tracing::warn!("leaving while a shadow still decides; what it would have compared is lost");
        }
    }

    fn end(&self) {
        self.queue.end().iter().for_each(|job| shed(&self.metrics, job));
    }
}

impl ShadowSink for Shadows {
    fn offer(&self, job: ShadowJob) -> bool {
        let bytes = job.bytes();
        let Err(job) = self.queue.push(job, bytes) else { return true };
        shed(&self.metrics, &job);
        false
    }
}

impl Drop for Shadows {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Shadows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shadows").field("tallies", &self.tallies).finish_non_exhaustive()
    }
}

/// Counts the decisions of a job that are not compared.
fn shed(metrics: &Metrics, job: &ShadowJob) {
    for (shadow, decisions) in job.by_shadow() {
        metrics.shadow_shed(shadow).inc_by(decisions as u64);
    }
}

/// The thread that compares.
struct Lane {
    publisher: Publisher,
    worker: Worker,
    log: Option<event::Recorder>,
    privacy: Privacy,
    tallies: Arc<Tallies>,
    metrics: Arc<Metrics>,
}

/// A shadow of a job.
struct Sampling {
    shadow: Arc<str>,
    /// Decisions that are still to be compared.
    left: usize,
    /// Whether its comparisons are counted in its statistics.
    is_taken: bool,
    metrics: ShadowMetrics,
}

impl Lane {
    fn serve(self, queue: &Queue<ShadowJob>) {
        set_idle_priority();
        Cost::ignore_this_thread();
        queue.serve();
        while let Some(Taken { job, call, is_behind }) = queue.next() {
            if let Err(panicked) = catch_panic(|| self.compare(&job, &call, is_behind)) {
                tracing::error!(%panicked, "comparing with shadows panicked; it goes on with other decisions");
            }
            // Before there is room for others.
            drop(job);
            queue.done();
        }
    }

    fn compare(&self, job: &ShadowJob, call: &Call, is_behind: bool) {
        if is_behind && self.is_outdated(job) {
            return shed(&self.metrics, job);
        }
        let release = &job.snapshot().release;
        let mut sampling: Vec<Sampling> = job
            .by_shadow()
            .map(|(shadow, left)| Sampling {
                shadow: Arc::clone(shadow),
                left,
                is_taken: self.tallies.takes(shadow, release),
                metrics: self.metrics.shadow(shadow),
            })
            .collect();
        let mut records = Vec::new();
        let compared = catch_panic(|| {
            compare(job, &self.worker, call, |comparison| {
                let of = sampling.iter_mut().find(|one| one.shadow == comparison.shadow);
                let Some(of) = of else { return };
                // First, so that a comparison that panics here is not counted as shed, too.
                of.left = of.left.saturating_sub(1);
                records.extend(self.take(&comparison, of, release, job.decided_at()));
                if records.len() >= RECORDED_TOGETHER {
                    self.record(std::mem::take(&mut records));
                }
            })
        });
        self.record(records);
        for Sampling { shadow, left, .. } in &sampling {
            if *left > 0 {
                self.metrics.shadow_shed(shadow).inc_by(*left as u64);
            }
        }
        if let Err(panicked) = compared {
            tracing::error!(%panicked, "comparing with shadows panicked; it goes on with other decisions");
        }
    }

    /// Whether another snapshot serves: a job keeps its own in memory.
    fn is_outdated(&self, job: &ShadowJob) -> bool {
        self.publisher.serving().is_none_or(|serving| !Arc::ptr_eq(&serving, job.snapshot()))
    }

    /// Counts a comparison. Returns its record if there is a log.
    fn take(
        &self,
        comparison: &ShadowComparison,
        sampling: &Sampling,
        release: &Release,
        decided_at: DateTime<Utc>,
    ) -> Option<ShadowRecord> {
        let record = replay::shadow_record(comparison, release, decided_at, Utc::now(), &self.privacy);
        let kept = self.log.as_ref().map(|_| record.clone());
        if sampling.is_taken {
            match shadow::read(record) {
                Ok(Some(comparison)) => self.tallies.add(&comparison),
                // Nobody is erased in what was just made.
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "a comparison is not in the report of its shadow"),
            }
        }
        // Last, so that who sees them finds as much in the report.
        match &comparison.result {
            Ok(Compared { champion, challenger }) => {
                let first_agrees =
                    !champion.shown.is_empty() && champion.shown.first() == challenger.shown.first();
                sampling.metrics.compared(first_agrees, champion.took, challenger.took);
            }
            Err(_) => sampling.metrics.failed(),
        }
        kept
    }

    /// Records comparisons; those that the log has no room for are counted there.
    fn record(&self, records: Vec<ShadowRecord>) {
        if let Some(log) = &self.log {
            log.record_shadows(records);
        }
    }
}
