//! What a running server remembers of its customers and offers, for limits and outcomes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};

use super::AppError;
use super::records::Records;
use decision::Limiter;
use event::EventReader;
use event::privacy::Pseudonyms;
use feature::FeatureSchema;
use history::feedback::{Feedback, FeedbackConfig, FeedbackParts};
use history::{History, Limits, RecentDecisions, recover};
use release::{ReleaseFiles, Store};
use replay::CustomerNames;
use telemetry::Metrics;

/// How often is dropped what nothing looks at any more.
const EXPIRY: Duration = Duration::from_mins(1);

/// How much longer history is kept than limits look back: the next release may look back further.
const KEEP: TimeDelta = TimeDelta::days(1);

/// The history of a server, and what counts in it.
pub(super) struct Memory {
    history: Arc<History>,
    recent: Arc<RecentDecisions>,
    pseudonyms: Pseudonyms,
    /// `None` if nothing is recorded: then outcomes are not taken.
    feedback: Option<(Feedback, EventReader)>,
    dedup: TimeDelta,
    _expiry: Expiry,
}

impl Memory {
    /// A history without events. Outcomes are recorded in the log of `records`.
    ///
    /// # Errors
    /// When the thread that drops what is old cannot be started.
    pub(super) fn start(
        config: &FeedbackConfig,
        records: Option<&Records>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, AppError> {
        let history = Arc::new(History::new(config.dedup));
        let pseudonyms = records.map(|records| records.privacy().pseudonyms).unwrap_or_default();
        let key = pseudonyms.of("customer").key;
        let recent = Arc::new(RecentDecisions::new(&history, config.decisions, &key));
        let feedback = records.map(|records| {
            let parts = FeedbackParts {
                history: Arc::clone(&history),
                recent: Arc::clone(&recent),
                reader: records.reader(),
                log: records.log(),
                pseudonyms: pseudonyms.clone(),
                metrics: Arc::clone(metrics),
            };
            (Feedback::new(parts), records.reader())
        });
        let expiry = Expiry::start(&history).map_err(|source| AppError::Io {
            what: "cannot start the expiry of history".to_owned(),
            source,
        })?;
        Ok(Self { history, recent, pseudonyms, feedback, dedup: config.dedup, _expiry: expiry })
    }

    /// What limits look at.
    pub(super) fn limiter(&self) -> Limiter {
        Limiter::new(Arc::clone(&self.history), Arc::new(CustomerNames::new(self.pseudonyms.clone())))
    }

    /// Takes outcomes.
    pub(super) fn feedback(&self) -> Option<Feedback> {
        self.feedback.as_ref().map(|(feedback, _)| feedback.clone())
    }

    /// Counts what was recorded before this server started, as far back as the limits of the current release look.
    ///
    /// # Errors
    /// When the store cannot be reached, or a file with events is damaged.
    pub(super) fn recover(&self, store: &Store) -> Result<(), AppError> {
        let Some((_, reader)) = &self.feedback else { return Ok(()) };
        let (began, now) = (Instant::now(), Utc::now());
        let current = store.current()?.current.release;
        let ReleaseFiles { features, offers, policy, .. } = store.release(current)?;
        let schema = FeatureSchema::parse("features.toml", &features).ok();
        let catalog = schema
            .and_then(|schema| offer::read(&schema, ("offers.toml", &offers), ("policy.toml", &policy)).ok());
        // A release that cannot be read does not serve; whoever loads it says why.
        let Some(catalog) = catalog else { return Ok(()) };
        // Budgets that are paced go on as they did.
        let limits = Limits::new(&self.history, &catalog, now);
        let recovered = recover((&self.history, &self.recent), reader, &catalog, self.dedup, now)?;
        drop(limits);
        tracing::info!(?recovered, took = ?began.elapsed(), "history is built");
        Ok(())
    }
}

/// A thread that drops what nothing looks at any more. It has normal priority, since calls may wait for its locks.
struct Expiry {
    stops: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Expiry {
    fn start(history: &Arc<History>) -> std::io::Result<Self> {
        let stops = Arc::new(AtomicBool::new(false));
        let (history, stop) = (Arc::downgrade(history), Arc::clone(&stops));
        let thread = thread::Builder::new().name("expiry".to_owned()).spawn(move || run(&history, &stop))?;
        Ok(Self { stops, thread })
    }
}

fn run(history: &Weak<History>, stops: &AtomicBool) {
    loop {
        thread::park_timeout(EXPIRY);
        let Some(history) = history.upgrade().filter(|_| !stops.load(Ordering::Relaxed)) else { return };
        history.expire(Utc::now(), KEEP);
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
    }
}
