//! What a running server remembers: decisions go to its event log, closed logs are sealed into the store, and the
//! erased vanish from the log before.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::AppError;
use super::erasures::Erasures;
use decision::{Durable, RecordedCall};
use event::privacy::PrivacyConfig;
use event::retention::Keep;
use event::seal::{Sealer, SealerConfig};
use event::{
    Durability, EventConfig, EventLog, EventReader, EventStore, IntoEvents, Record, Reserved, WhenFull,
};
use release::Deployer;
use replay::Privacy;
use telemetry::Metrics;
use work::Lane;

/// The event log of a server, the thread that seals it, and those that follow erasures.
#[derive(Debug)]
pub(super) struct Records {
    log: EventLog,
    sealer: Sealer,
    erasures: Erasures,
    store: EventStore,
    privacy: Privacy,
}

impl Records {
    /// Opens the log and starts sealing it into the store at `location`. `None`: decisions are not recorded.
    ///
    /// # Errors
    /// When the data directory or the store cannot be used.
    pub(super) fn start(
        config: &EventConfig,
        privacy: &PrivacyConfig,
        location: &str,
        mirror: &Path,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, AppError> {
        if !config.record {
            return Ok(None);
        }
        let (pseudonyms, cipher) = privacy.load()?;
        let privacy = Privacy { pseudonyms, cipher };
        let store = EventStore::open(location, Some(mirror), std::env::vars())?;
        let (log, recovery) = EventLog::start(config, env!("CARGO_PKG_VERSION"), metrics)?;
        tracing::info!(server = log.server(), directory = %config.directory.display(), ?recovery, "recording decisions");
        let erasures = Erasures::start(location, &log, privacy.pseudonyms.clone())?;
        let sealing = SealerConfig { keep: Keep::all(config.keep), ..SealerConfig::default() };
        let sealer = Sealer::start(log.log_files(), store.clone(), Arc::clone(metrics), sealing)
            .map_err(|source| AppError::Io { what: "cannot start sealing".to_owned(), source })?;
        Ok(Some(Self { log, sealer, erasures, store, privacy }))
    }

    /// Looks for erasures every `poll`. The customers in memory are those of `deployer`, which serves by now.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(super) fn follow_erasures(&mut self, deployer: &Deployer, poll: Duration) -> Result<(), AppError> {
        self.erasures.follow(deployer, poll)
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

    /// How records name customers.
    pub(super) fn privacy(&self) -> Privacy {
        self.privacy.clone()
    }

    /// Writes what is queued and ends. Blocks for at most about `within` for sealing, for erasing and for the disk each.
    pub(super) fn close(self, within: Duration) {
        // Before the log gives its directory up: another server that takes it must not meet a file that is being sealed
        // or blanked.
        self.sealer.stop_within(within);
        let leaving = self.erasures.stop(within);
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

    fn release(&self, bytes: usize) {
        drop(self.log.reserved(bytes));
    }

    fn refuses(&self) -> bool {
        self.log.when_full() == WhenFull::Refuse
    }

    fn record(&self, bytes: usize, call: RecordedCall) -> Option<Durable> {
        let batch = Batch { call, privacy: Arc::clone(&self.privacy) };
        let receipt = self.log.record(self.log.reserved(bytes), Box::new(batch));
        match self.log.durability() {
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
