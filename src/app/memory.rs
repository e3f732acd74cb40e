//! What a running server remembers of its customers and offers, for limits and outcomes.
//!
//! One thread of normal priority does what locks the history, since calls may wait for its locks: dropping what is old,
//! forgetting persons, adding what was read. Others of idle priority make checkpoints, and read what a release looks at
//! and none has looked at before (`memory/reaching.rs`); they never touch the history that serves.

mod erased;
mod keeper;
mod pause;
mod reaching;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use self::erased::ErasedTimes;
use self::keeper::Keeper;
use super::AppError;
use super::erasures::Missed;
use super::records::Records;
use super::repeating::Repeating;
use decision::Limiter;
use event::EventReader;
use event::erasure::Erased;
use event::privacy::Pseudonyms;
use feature::FeatureSchema;
use history::feedback::{Feedback, FeedbackConfig, FeedbackParts};
use history::{
    History, Known, Limits, RecentDecisions, RecoveredFrom, SavedHistory, Shortfall, Started, has_limits,
};
use offer::Catalog;
use release::{Publisher, Release, ReleaseFiles, Store};
use replay::CustomerNames;
use telemetry::{LimitUse, Metrics};
use work::priority::set_idle_priority;

/// How much longer history is kept than limits look back: the next release may look back further.
const KEEP: TimeDelta = TimeDelta::days(1);

/// How often a checkpoint is made, if something was recorded since the last one. A start reads the log of this time.
const SAVE_EVERY: Duration = Duration::from_mins(5);

/// A checkpoint of a large history takes long: at most this part of the time is spent on them.
const SAVE_SHARE: u32 = 50;

/// The history of a server, and what counts in it.
pub(super) struct Memory {
    history: Arc<History>,
    recent: Arc<RecentDecisions>,
    limiter: Limiter,
    publisher: Publisher,
    metrics: Arc<Metrics>,
    keeper: Keeper,
    /// `None` if nothing is recorded: then outcomes are not taken, and limits are forgotten when the server ends.
    recorded: Option<Recorded>,
    /// The last release that was looked at.
    seen: Mutex<u64>,
}

/// What a server that records has besides.
struct Recorded {
    feedback: Feedback,
    reader: EventReader,
    saved: Arc<SavedHistory>,
    erasures: Missed,
    pseudonyms: Pseudonyms,
    /// How long an outcome that comes again is known to be a duplicate.
    deduplicated: TimeDelta,
    /// Whether what the history lacks is being read, or can no longer be added.
    is_reaching: Mutex<bool>,
    /// Held while what was read of that is in memory, until it is added or dropped.
    reading: Mutex<()>,
    /// How often persons were erased from memory.
    erased: Arc<ErasedTimes>,
    /// How far back the history knows events; `None` until it is built.
    known: Mutex<Option<Known>>,
}

impl Memory {
    /// A history without events. Outcomes are recorded in the log of `records`.
    ///
    /// # Errors
    /// When the thread that drops what is old cannot be started.
    pub(super) fn start(
        config: &FeedbackConfig,
        records: Option<&Records>,
        publisher: &Publisher,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, AppError> {
        let history = Arc::new(History::new(config.dedup));
        let pseudonyms: Pseudonyms = records.map(|records| records.privacy().pseudonyms).unwrap_or_default();
        let key = pseudonyms.of("customer").key;
        let recent = Arc::new(RecentDecisions::new(&history, config.decisions, &key));
        let names = Arc::new(CustomerNames::new(pseudonyms.clone()));
        let limiter = Limiter::new(Arc::clone(&history), names).with_recent(Arc::clone(&recent));
        let recorded = records.map(|records| {
            let parts = FeedbackParts {
                history: Arc::clone(&history),
                recent: Arc::clone(&recent),
                reader: records.reader(),
                log: records.log(),
                pseudonyms: pseudonyms.clone(),
                metrics: Arc::clone(metrics),
            };
            Recorded {
                feedback: Feedback::new(parts),
                reader: records.reader(),
                saved: records.saved(),
                erasures: records.missed_erasures(),
                pseudonyms,
                deduplicated: config.dedup,
                is_reaching: Mutex::default(),
                reading: Mutex::default(),
                erased: Arc::default(),
                known: Mutex::default(),
            }
        });
        let keeper = Keeper::start(&history, KEEP).map_err(|source| AppError::Io {
            what: "cannot start the thread that drops old history".to_owned(),
            source,
        })?;
        let (publisher, metrics, seen) = (publisher.clone(), Arc::clone(metrics), Mutex::default());
        Ok(Self { history, recent, limiter, publisher, metrics, keeper, recorded, seen })
    }

    /// What limits look at.
    pub(super) fn limiter(&self) -> Limiter {
        self.limiter.clone()
    }

    /// Takes outcomes.
    pub(super) fn feedback(&self) -> Option<Feedback> {
        self.recorded.as_ref().map(|recorded| recorded.feedback.clone())
    }

    /// Counts what was recorded before this server started, as far back as the limits of the current release look.
    ///
    /// # Errors
    /// When the store cannot be reached, or a file with events is damaged.
    pub(super) fn recover(&self, store: &Store) -> Result<(), AppError> {
        let Some(recorded) = &self.recorded else { return Ok(()) };
        let (began, now) = (Instant::now(), Utc::now());
        let current = store.current()?.current.release;
        let ReleaseFiles { features, offers, policy, .. } = store.release(current)?;
        let schema = FeatureSchema::parse("features.toml", &features).ok();
        let catalog = schema
            .and_then(|schema| offer::read(&schema, ("offers.toml", &offers), ("policy.toml", &policy)).ok());
        // A release that cannot be read does not serve; what loads it says why.
        let Some(catalog) = catalog else { return Ok(()) };
        let memory = (&*self.history, &*self.recent);
        let has_erased = |since| recorded.erasures.missed_since(since);
        let started = recorded.saved.start(memory, &recorded.reader, &catalog, has_erased, now)?;
        let Started { recovered, from, known, not_saved } = started;
        let (took, is_built_anew) = (began.elapsed(), !matches!(from, RecoveredFrom::Checkpoint(_)));
        match from {
            RecoveredFrom::Checkpoint(at) => {
                self.metrics.history.checkpoint_time.set(at.timestamp_micros() as f64 / 1e6);
                tracing::info!(
                    %at,
                    behind = ?recovered,
                    ?took,
                    "the history is that of its checkpoint and what is behind it"
                );
            }
            RecoveredFrom::Events => tracing::info!(?recovered, ?took, "the history is built of events"),
            RecoveredFrom::EventsInstead { reason } => {
                tracing::warn!(
                    reason,
                    ?recovered,
                    ?took,
                    "the history is built of events, since its checkpoint cannot be used"
                );
            }
        }
        match not_saved {
            Some(error) => self.not_saved(&error),
            None if is_built_anew => self.is_saved(now),
            None => {}
        }
        *lock(&recorded.known) = Some(known);
        Ok(())
    }

    /// Looks at a release that serves from now on: resolves its limits before a call needs them. If the history does
    /// not reach as far back as they look, warns, and has what it lacks read.
    fn look_at(self: &Arc<Self>, release: &Arc<Release>) {
        let now = Utc::now();
        if let Err(error) = self.limiter.limits(release, now) {
            tracing::error!(release = release.number(), %error, "the limits of a release cannot be resolved");
        }
        if std::mem::replace(&mut *lock(&self.seen), release.number()) == release.number() {
            return;
        }
        let catalog = release.catalog();
        let Some(recorded) = &self.recorded else {
            if has_limits(catalog) {
                tracing::warn!(
                    "decisions are not recorded (`records.record`): limits forget what they count when this server \
                     ends, and offers with `cap_total` or `budget` are withheld"
                );
            }
            return;
        };
        let known = *lock(&recorded.known);
        let shortfall = known.and_then(|known| known.shortfall(&self.history, catalog, now));
        self.metrics.history.incomplete.set(i64::from(shortfall.is_some()));
        if let Some(Shortfall { of, needed, known }) = shortfall {
            let day = |moment: Option<DateTime<Utc>>, none: &str| {
                moment.map_or_else(|| none.to_owned(), |moment| moment.to_rfc3339())
            };
            tracing::warn!(
                release = release.number(),
                looks_at = format!("{of} since {}", day(needed, "the first")),
                known_since = day(known, "never"),
                "limits of the release look further back than the history of this server reaches, and count too \
                 little until what is recorded has been read"
            );
            self.reach_back();
        }
    }

    /// Looks at each release that begins to serve.
    pub(super) async fn follow(self: Arc<Self>, deployer: release::Deployer) {
        let mut state = deployer.state();
        loop {
            let memory = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || {
                if let Some(release) = memory.serving() {
                    memory.look_at(&release);
                }
            });
            // A panic was logged where it happened.
            let _ = looked.await;
            if state.changed().await.is_err() {
                return;
            }
        }
    }

    /// Erases persons from memory.
    ///
    /// # Errors
    /// When that cannot be done, as when the server ends.
    pub(super) fn forget(&self, persons: &Erased) -> Result<(), String> {
        let (recent, times) =
            (Arc::clone(&self.recent), self.recorded.as_ref().map(|one| Arc::clone(&one.erased)));
        let markers: BTreeSet<String> = persons.ids().map(str::to_owned).collect();
        let names = self.keeper.ask(move |history| {
            // What is being read may have them, too.
            let are_new = times.is_some_and(|times| times.note(markers));
            let mut names = history.customer_ids();
            names.extend(recent.customers());
            (names, are_new)
        });
        let (mut names, are_new) = names.map_err(|error| error.to_string())?;
        names.retain(|name| {
            work::priority::yield_if_due();
            persons.has_name(name)
        });
        if !names.is_empty() {
            let recent = Arc::clone(&self.recent);
            let forgotten = self.keeper.ask(move |history| {
                for name in names {
                    history.forget(&name);
                    recent.forget(&name);
                }
            });
            forgotten.map_err(|error| error.to_string())?;
        }
        if let Some(recorded) = self.recorded.as_ref().filter(|_| are_new) {
            // A reading that began before has noticed by then, and has dropped what it had.
            drop(lock(&recorded.reading));
        }
        Ok(())
    }

    /// The release that serves, without the customers: who is erased while it is held must not stay in memory.
    fn serving(&self) -> Option<Arc<Release>> {
        self.publisher.serving().map(|snapshot| Arc::clone(&snapshot.release))
    }

    /// Makes checkpoints now and then.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(super) fn save_regularly(self: &Arc<Self>) -> Result<Repeating, AppError> {
        let (memory, mut next) = (Arc::downgrade(self), Instant::now());
        Repeating::start("checkpoint", SAVE_EVERY, set_idle_priority, move || {
            let Some(memory) = memory.upgrade().filter(|_| Instant::now() >= next) else { return };
            let began = Instant::now();
            memory.save();
            next = Instant::now() + began.elapsed() * SAVE_SHARE;
        })
    }

    /// Makes a checkpoint of what is in the log, and waits for it up to `within`.
    pub(super) fn save_within(memory: &Arc<Self>, within: Duration) {
        let ((tell, told), saving) = (channel::<()>(), Arc::clone(memory));
        let save = move || {
            let _tell = tell;
            saving.save();
        };
        if let Err(error) = Builder::new().name("checkpoint".to_owned()).spawn(save) {
            tracing::warn!(%error, "no checkpoint of the history is made: there is no thread");
        } else if told.recv_timeout(within) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(
                "leaving while a checkpoint of the history is made; the next start reads more of the log"
            );
        }
    }

    /// Makes a checkpoint.
    fn save(&self) {
        let (Some(recorded), Some(release)) = (&self.recorded, self.serving()) else { return };
        let (now, catalog) = (Utc::now(), release.catalog());
        let keep = KEEP.max(self.history.longest());
        match recorded.saved.advance(&recorded.reader, catalog, keep, now) {
            Ok(true) => self.is_saved(now),
            Ok(false) => {}
            Err(error) => self.not_saved(&error),
        }
    }

    fn is_saved(&self, now: DateTime<Utc>) {
        self.metrics.history.checkpoint_time.set(now.timestamp_micros() as f64 / 1e6);
    }

    fn not_saved(&self, error: &history::SaveError) {
        self.metrics.history.checkpoint_failures.inc();
        tracing::warn!(%error, "no checkpoint of the history is made; the next start reads more of the log");
    }

    /// Has the gauges set whenever metrics are read.
    pub(super) fn sample(&self) {
        let (history, recent) = (Arc::downgrade(&self.history), Arc::downgrade(&self.recent));
        let (limiter, publisher) = (self.limiter.clone(), self.publisher.clone());
        self.metrics.sample(move |metrics| {
            let (Some(history), Some(recent)) = (history.upgrade(), recent.upgrade()) else { return };
            let size = history.size();
            metrics.history.customers.set(size.customers as i64);
            metrics.history.reservations.set(size.reservations as i64);
            metrics.history.bytes.set((size.bytes + recent.memory_bytes()) as i64);
            let now = Utc::now();
            let serving = publisher.serving();
            let uses = serving.and_then(|snapshot| {
                let limits = limiter.limits(&snapshot.release, now).ok()?;
                Some(uses(&limits, snapshot.release.catalog(), now))
            });
            metrics.history.set_uses(uses.unwrap_or_default());
        });
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("history", &self.history.size()).finish_non_exhaustive()
    }
}

/// How far the total caps and budgets of a release are used.
fn uses(limits: &Limits, catalog: &Catalog, now: DateTime<Utc>) -> Vec<LimitUse> {
    let one = |used: history::TotalUse| {
        let shown = |amount: i64| match used.limit {
            history::TotalLimit::Cap => amount as f64,
            // Budgets are kept in millionths.
            history::TotalLimit::Budget => amount as f64 / 1e6,
        };
        LimitUse {
            offer: catalog.library.get(used.offer).id.to_string(),
            limit: used.limit.name(),
            most: shown(used.most),
            used: shown(used.confirmed),
            reserved: shown(used.reserved),
        }
    };
    limits.usage(now).into_iter().map(one).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
