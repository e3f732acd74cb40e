//! Shadows beside the answers: a bounded queue, and one thread of idle priority that compares.
//!
//! A call offers the decisions that shadows sample once its answer is ready ([`ShadowSink::offer`]). It never waits, and
//! what finds no room is counted as shed. The thread decides again (`decision::compare`) with sessions of its own, counts what
//! it finds (`shadows/tallies.rs`), and records it. Another looks now and then for what waits in vain: a job keeps its
//! snapshot in memory, and a thread of idle priority may get no time. Nothing here changes, delays or fails an answer.

mod queue;
mod shed;
mod tallies;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use self::queue::{Queue, Taken};
use self::shed::Shed;
use self::tallies::{Generation, Tallies};
use super::AppError;
use super::repeating::Repeating;
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

/// How often is looked for what waits in vain.
const SWEEPING: Duration = Duration::from_secs(1);

/// The CPU time after which a job is not just slow: its shadows may never end. The time on the clock says nothing about a
/// thread of idle priority.
const OVERRUN: Duration = Duration::from_secs(10);

/// The least time between two warnings that a shadow fails.
const BETWEEN_WARNINGS: Duration = Duration::from_mins(1);

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
    /// Whose sessions it may use, alone. It is watched.
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
    publisher: Publisher,
    shed: Arc<Shed>,
    /// Ends with this. The lock lets threads share it, and is never taken.
    _sweeping: Mutex<Repeating>,
}

impl Shadows {
    /// Starts the thread, which sleeps until a shadow samples a decision.
    ///
    /// # Errors
    /// When the operating system refuses the thread.
    pub(super) fn start(config: &ShadowConfig, parts: ShadowParts) -> Result<Self, AppError> {
        let ShadowParts { publisher, worker, log, privacy, metrics } = parts;
        let queue = Arc::new(Queue::new(config.queue, config.bytes));
        let shed = Arc::new(Shed::new(Arc::clone(&metrics)));
        let tallies = Arc::new(Tallies::new(publisher.clone(), Arc::clone(&metrics), Arc::clone(&shed)));
        let (waiting, booked) = (Arc::downgrade(&queue), Arc::clone(&shed));
        metrics.sample(move |metrics| {
            booked.book();
            let waiting = waiting.upgrade().map_or(0, |queue| queue.len());
            _ = metrics.shadows.queued.set(waiting as i64);
        });
        let (swept, serving, booked) = (Arc::clone(&queue), publisher.clone(), Arc::clone(&shed));
        let sweep = move || {
            swept.take_outdated(|job| is_outdated(&serving, job)).iter().for_each(|job| booked.count(job));
            booked.book();
        };
        let sweeping = Repeating::start("shadow-queue", SWEEPING, || {}, sweep)?;
        let lane = Lane {
            publisher: publisher.clone(),
            worker,
            log,
            privacy,
            tallies: Arc::clone(&tallies),
            metrics,
            shed: Arc::clone(&shed),
            warned: BTreeMap::new(),
        };
        let jobs = Arc::clone(&queue);
        // Models of shadows are foreign code as those of answers are.
        let thread = Builder::new().name("shadow".to_owned()).stack_size(FOREIGN_STACK);
        let refused = |source| AppError::Io { what: "cannot start the thread `shadow`".to_owned(), source };
        thread.spawn(move || lane.serve(&jobs)).map_err(refused)?;
        Ok(Self { queue, tallies, publisher, shed, _sweeping: Mutex::new(sweeping) })
    }

    /// What was found out, for reports.
    pub(super) fn reports(&self) -> Arc<dyn ShadowReports> {
        Arc::clone(&self.tallies) as Arc<dyn ShadowReports>
    }

    /// Sheds all that waits, is compared, or comes of calls until now, since it may have persons who are being erased,
    /// and forgets all examples. What was compared before is with the event log by then.
    ///
    /// # Errors
    /// When a comparison does not end.
    pub(super) fn forget(&self) -> Result<(), String> {
        self.queue.clear(Utc::now().timestamp_micros()).iter().for_each(|job| self.shed.count(job));
        if self.queue.rests(FORGETTING) {
            self.tallies.forget_examples();
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
        self.queue.end().iter().for_each(|job| self.shed.count(job));
        self.shed.book();
    }
}

impl ShadowSink for Shadows {
    fn offer(&self, job: ShadowJob) -> bool {
        let (bytes, at) = (job.bytes(), job.decided_at().timestamp_micros());
        // One of a snapshot that was replaced has customers as they were: someone may have been erased since.
        let refused =
            if is_outdated(&self.publisher, &job) { Err(job) } else { self.queue.push(job, at, bytes) };
        let Err(job) = refused else { return true };
        self.shed.count(&job);
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

/// Whether another snapshot serves than that of a job.
fn is_outdated(publisher: &Publisher, job: &ShadowJob) -> bool {
    publisher.serving().is_none_or(|serving| !Arc::ptr_eq(&serving, job.snapshot()))
}

/// The thread that compares.
struct Lane {
    publisher: Publisher,
    worker: Worker,
    log: Option<event::Recorder>,
    privacy: Privacy,
    tallies: Arc<Tallies>,
    metrics: Arc<Metrics>,
    shed: Arc<Shed>,
    /// When a shadow was last warned of, by its id.
    warned: BTreeMap<Arc<str>, Instant>,
}

/// A shadow of a job.
struct Sampling {
    shadow: Arc<str>,
    /// Decisions that are still to be compared.
    left: usize,
    /// The statistics in which its comparisons are counted, if they are.
    taken: Option<Generation>,
    metrics: ShadowMetrics,
}

impl Lane {
    fn serve(mut self, queue: &Queue<ShadowJob>) {
        set_idle_priority();
        Cost::ignore_this_thread();
        queue.serve();
        while let Some(Taken { mut job, call, is_behind }) = queue.next() {
            if let Err(panicked) = catch_panic(|| self.compare(&mut job, &call, is_behind)) {
                tracing::error!(%panicked, "comparing with shadows panicked; it goes on with other decisions");
            }
            // Before there is room for others.
            drop(job);
            queue.done();
        }
    }

    fn compare(&mut self, job: &mut ShadowJob, call: &Call, is_behind: bool) {
        let snapshot = Arc::clone(job.snapshot());
        let release = &snapshot.release;
        if is_behind && is_outdated(&self.publisher, job) {
            return self.shed.count(job);
        }
        let out = job.leave_out(|shadow| self.tallies.is_set_aside(&shadow.id, release));
        for (shadow, decisions) in &out {
            self.shed.add(shadow, *decisions);
        }
        let mut sampling: Vec<Sampling> = job
            .by_shadow()
            .map(|(shadow, left)| Sampling {
                shadow: Arc::clone(shadow),
                left,
                taken: self.tallies.takes(shadow, release),
                metrics: self.metrics.shadow(shadow),
            })
            .collect();
        let (mut records, began) = (Vec::new(), cpu_time());
        let mut failed = Vec::new();
        let compared = catch_panic(|| {
            self.worker.serve(call, || {
                compare(job, &self.worker, call, |comparison| {
                    let of = sampling.iter_mut().find(|one| one.shadow == comparison.shadow);
                    let Some(of) = of else { return };
                    // First, so that a comparison that panics here is not counted as shed, too.
                    of.left = of.left.saturating_sub(1);
                    if let Err(why) = &comparison.result {
                        failed.push((Arc::clone(&comparison.shadow), why.clone()));
                    }
                    records.extend(self.take(&comparison, of, release, job.decided_at()));
                    if records.len() >= RECORDED_TOGETHER {
                        self.record(std::mem::take(&mut records));
                    }
                })
            })
        });
        self.record(records);
        let has_overrun = matches!(compared, Ok(Err(_))) && cpu_time().saturating_sub(began) > OVERRUN;
        for Sampling { shadow, left, taken, .. } in &sampling {
            if *left > 0 {
                self.shed.add(shadow, *left);
                if has_overrun && taken.is_some_and(|taken| self.tallies.overran(shadow, taken)) {
                    tracing::error!(%shadow, "a shadow takes too much CPU time and is not compared any more");
                }
            }
        }
        if let Err(panicked) = compared {
            tracing::error!(%panicked, "comparing with shadows panicked; it goes on with other decisions");
        }
        for (shadow, why) in failed {
            self.warn(shadow, &why);
        }
    }

    /// Warns that a shadow fails, once in a while.
    fn warn(&mut self, shadow: Arc<str>, why: &str) {
        let now = Instant::now();
        let is_recent = |since: &Instant| now.saturating_duration_since(*since) < BETWEEN_WARNINGS;
        self.warned.retain(|_, since| is_recent(since));
        if let Entry::Vacant(entry) = self.warned.entry(shadow) {
            tracing::warn!(shadow = %entry.key(), why, "a shadow cannot decide; the log level `debug` has the words of a panic");
            entry.insert(now);
        }
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
        if let Some(taken) = sampling.taken {
            match shadow::read(record) {
                Ok(Some(comparison)) => self.tallies.add(&comparison, taken),
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

    /// Records comparisons. Those that the log has no room for are counted there.
    fn record(&self, records: Vec<ShadowRecord>) {
        if let Some(log) = &self.log {
            log.record_shadows(records);
        }
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
