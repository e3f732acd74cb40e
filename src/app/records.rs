//! What a running server remembers: decisions go to its event log, closed logs are sealed into the store, and the
//! erased vanish from the log before.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::AppError;
use super::erasures::{Erasures, Missed};
use super::memory::Memory;
use super::neighbours::Neighbours;
use super::reports::{BESIDE_DECISIONS, Reports};
use super::shadows::Shadows;
use decision::{Decider, Durable, RecordedCall};
use document::settings::shown;
use event::log::Recovery;
use event::privacy::PrivacyConfig;
use event::retention::Keep;
use event::seal::{Sealer, SealerConfig};
use event::{
    Durability, EventConfig, EventLog, EventReader, EventStore, IntoEvents, LogOptions, Record, Reserved,
    WhenFull,
};
use feature::Entity;
use history::SavedHistory;
use history::feedback::FeedbackConfig;
use release::{Deployer, Ramps, ServingState, Store};
use replay::Privacy;
use telemetry::Metrics;
use work::Lane;

/// A file or directory that belongs in no store.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what} {} is in the store {}, whose readers it is not for; choose a place outside of it",
    path.display(), store.display()
)]
pub struct InStore {
    /// The flag or the key of the configuration that names it.
    what: &'static str,
    path: PathBuf,
    store: PathBuf,
}

/// Refuses a path that lies in a store: who reads a store must not come by keys, or by the names in a log.
///
/// # Errors
/// When there is a store around it.
pub fn outside_of_stores(path: &Path, what: &'static str) -> Result<(), InStore> {
    match Store::around(path) {
        Some(store) => Err(InStore { what, path: path.to_owned(), store }),
        None => Ok(()),
    }
}

/// The event log of a server, the thread that seals it, and those that follow erasures.
#[derive(Debug)]
pub(super) struct Records {
    log: EventLog,
    sealer: Sealer,
    erasures: Erasures,
    saved: Arc<SavedHistory>,
    store: EventStore,
    privacy: Privacy,
}

impl Records {
    /// Opens the log and starts sealing it into the store at `location`. `None`: decisions are not recorded.
    ///
    /// # Errors
    /// When the data directory or the store cannot be used.
    pub(super) fn start(
        (config, feedback): (&EventConfig, &FeedbackConfig),
        privacy: &PrivacyConfig,
        location: &str,
        mirror: &Path,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, AppError> {
        if !config.record {
            return Ok(None);
        }
        outside_of_stores(&config.directory, "data.directory")?;
        if let Some(keys) = &privacy.keys {
            outside_of_stores(keys, "records.keys")?;
        }
        let (pseudonyms, cipher) = privacy.load()?;
        let privacy = Privacy { pseudonyms, cipher };
        let store = EventStore::open(location, Some(mirror), std::env::vars())?;
        let keys = privacy.pseudonyms.keys().cloned().collect();
        let options = LogOptions { keys, store: Some(&store) };
        let (log, recovery) = EventLog::start_with(config, env!("CARGO_PKG_VERSION"), metrics, options)?;
        tell(&recovery, &privacy);
        tracing::info!(
            server = log.server(),
            directory = %config.directory.display(),
            unsealed_files = recovery.files,
            unsealed_events = recovery.events,
            keep = shown(config.keep),
            "recording decisions"
        );
        let saved = Arc::new(SavedHistory::new(&config.directory, log.log_files(), feedback.dedup));
        let erasures = Erasures::start(location, &log, &saved, privacy.pseudonyms.clone())?;
        let sealing = SealerConfig { keep: Keep::all(config.keep), ..SealerConfig::default() };
        let sealer = Sealer::start(log.log_files(), store.clone(), Arc::clone(metrics), sealing)
            .map_err(|source| AppError::Io { what: "cannot start sealing".to_owned(), source })?;
        Ok(Some(Self { log, sealer, erasures, saved, store, privacy }))
    }

    /// Looks for erasures every `poll`, and for other servers. The customers in memory are those of `deployer`, which
    /// serves by now, what `memory` has, and what waits for `shadows`.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(super) fn follow_store(
        &mut self,
        deployer: &Deployer,
        memory: &Arc<Memory>,
        shadows: &Arc<Shadows>,
        neighbours: Neighbours,
        poll: Duration,
    ) -> Result<(), AppError> {
        self.erasures.follow(deployer, memory, shadows, neighbours, poll)
    }

    /// The erasures of which this server does not know.
    pub(super) fn missed_erasures(&self) -> Missed {
        self.erasures.missed()
    }

    /// What is saved of the history.
    pub(super) fn saved(&self) -> Arc<SavedHistory> {
        Arc::clone(&self.saved)
    }

    /// The log.
    pub(super) fn log(&self) -> event::Recorder {
        self.log.recorder()
    }

    /// Hands decisions to the log.
    pub(super) fn recorder(&self) -> Arc<dyn decision::Recorder> {
        recorder(self.log.recorder(), self.privacy.clone())
    }

    /// Reads what is sealed, and this server's log.
    pub(super) fn reader(&self) -> EventReader {
        EventReader::new(self.store.clone()).with_logs(self.log.log_files())
    }

    /// Reports on what is sealed and on this server's log, by the definitions of `store`.
    pub(super) fn reports(&self, store: &Store, ramps: &Ramps) -> Reports {
        Reports::new(store.clone(), ramps.clone(), self.reader()).with_limits(BESIDE_DECISIONS)
    }

    /// Warns of each release that comes to serve and has sensitive values, if there is no key to record them with.
    pub(super) fn warn_of_lost_values(&self, decider: Decider, state: watch::Receiver<ServingState>) {
        if !self.privacy.cipher.encrypts() {
            tokio::spawn(warn_of_lost_values(decider, state));
        }
    }

    /// How records name customers.
    pub(super) fn privacy(&self) -> Privacy {
        self.privacy.clone()
    }

    /// Writes what is queued and ends. Blocks for at most about `within` for sealing, for erasing, for the history of
    /// `memory` and for the disk each.
    pub(super) fn close(self, memory: &Arc<Memory>, within: Duration) {
        // Before the log gives its directory up: another server that takes it must not meet a file that is being
        // sealed, blanked or saved.
        self.sealer.stop_within(within);
        let leaving = self.erasures.stop(within);
        if self.log.recorder().close_file(within).is_ok() {
            Memory::save_within(memory, within);
        }
        self.saved.end();
        let closed = self.log.close(within);
        leaving.leave();
        if closed.lost > 0 {
            tracing::error!(
                lost = closed.lost,
                "decisions were not recorded: the log could not be written in time"
            );
        }
    }
}

/// Says what was lost of the log, and what cannot be read of it.
fn tell(recovery: &Recovery, privacy: &Privacy) {
    for positions in &recovery.missing {
        let (first, last) = (positions.start(), positions.end());
        tracing::error!(
            first,
            last,
            "events were recorded, and no log file has them; their positions are not used again, and limits count them \
             only if the checkpoint of the history has them"
        );
    }
    for unread in &recovery.unread {
        tracing::error!(file = %unread.path.display(), reason = unread.message, "a file in the log is not read");
    }
    if let Some(position) = recovery.older_than_store {
        tracing::error!(
            position,
            "the data directory is older than the store, which has events of this server up to that position; numbers \
             go on behind them, and what was not sealed is lost"
        );
    }
    for key in recovery.keys.iter().filter(|key| !privacy.pseudonyms.knows(key)) {
        tracing::warn!(
            %key,
            "the log may have pseudonyms by a key that `records.keys` lacks: customers are not found under it, and not \
             erased"
        );
    }
}

async fn warn_of_lost_values(decider: Decider, mut state: watch::Receiver<ServingState>) {
    let mut told = None;
    loop {
        if let Ok(snapshot) = decider.snapshot()
            && told != Some(snapshot.release.number())
        {
            let (release, schema) = (snapshot.release.number(), snapshot.release.schema());
            let features =
                [Entity::Customer, Entity::Context].into_iter().flat_map(|entity| schema.of(entity));
            let lost: Vec<&str> =
                features.filter(|feature| feature.sensitive).map(|feature| feature.name.as_str()).collect();
            if !lost.is_empty() {
                tracing::warn!(
                    release,
                    features = lost.join(", "),
                    "sensitive values are not recorded, and decisions that use them cannot be repeated: `records.keys` \
                     names no key for encryption"
                );
            }
            told = Some(release);
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// A recorder of decisions that hands them to an event log.
#[must_use]
pub fn recorder(log: event::Recorder, privacy: Privacy) -> Arc<dyn decision::Recorder> {
    Arc::new(Recorder { log, privacy: Arc::new(privacy) })
}

/// The event log as decisions know it.
#[derive(Debug)]
struct Recorder {
    log: event::Recorder,
    privacy: Arc<Privacy>,
}

impl decision::Recorder for Recorder {
    fn try_reserve(&self, lane: Lane, bytes: usize) -> Option<usize> {
        self.log.try_reserve_in(lane, bytes).map(Reserved::into_bytes)
    }

    fn reserve(&self, bytes: usize) -> Pin<Box<dyn Future<Output = Option<usize>> + Send + '_>> {
        Box::pin(async move { self.log.reserve(bytes).await.map(Reserved::into_bytes) })
    }

    fn try_extend(&self, lane: Lane, bytes: usize, needed: usize) -> Option<usize> {
        let mut reserved = self.log.reserved(bytes);
        let is_enough = self.log.try_extend(&mut reserved, lane, needed);
        let bytes = reserved.into_bytes();
        is_enough.then_some(bytes)
    }

    fn release(&self, bytes: usize) {
        drop(self.log.reserved(bytes));
    }

    fn refuses(&self) -> bool {
        self.log.when_full() == WhenFull::Refuse
    }

    fn is_stalled(&self) -> bool {
        self.log.is_stalled()
    }

    fn record(&self, bytes: usize, call: RecordedCall) -> Option<Durable> {
        let batch = Batch { call, privacy: Arc::clone(&self.privacy) };
        let log = if batch.call.must_be_durable() { self.log.urgent() } else { self.log.clone() };
        let receipt = log.record(log.reserved(bytes), Box::new(batch));
        match log.durability() {
            Durability::Background => None,
            Durability::Awaited => Some(Box::pin(async move { receipt.durable().await.is_ok() })),
        }
    }

    fn dropped(&self, decisions: usize) {
        self.log.dropped(decisions);
    }
}

/// The decisions of a call, which become records on the thread that writes them.
struct Batch {
    call: RecordedCall,
    privacy: Arc<Privacy>,
}

impl IntoEvents for Batch {
    fn events(self: Box<Self>, emit: &mut dyn FnMut(Record)) {
        replay::write(&self.call, &self.privacy, |record| emit(record.into()));
    }

    fn count(&self) -> usize {
        self.call.decisions.len()
    }
}
