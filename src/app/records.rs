//! What a running server remembers: decisions go to its event log, closed logs are sealed into the store.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::AppError;
use decision::{Durable, RecordedCall};
use event::proto::DecisionRecord;
use event::seal::{Sealer, SealerConfig};
use event::{Durability, EventConfig, EventLog, EventReader, EventStore, IntoEvents, Reserved, WhenFull};
use telemetry::Metrics;

/// The event log of a server and the thread that seals it.
#[derive(Debug)]
pub(super) struct Records {
    log: EventLog,
    sealer: Sealer,
    store: EventStore,
}

impl Records {
    /// Opens the log and starts sealing it into the store at `location`. `None`: decisions are not recorded.
    ///
    /// # Errors
    /// When the data directory cannot be used.
    pub(super) fn start(
        config: &EventConfig,
        location: &str,
        mirror: &Path,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, AppError> {
        if !config.record {
            return Ok(None);
        }
        let store = EventStore::open(location, Some(mirror), std::env::vars())?;
        let (log, recovery) = EventLog::start(config, env!("CARGO_PKG_VERSION"), metrics)?;
        tracing::info!(server = log.server(), directory = %config.directory.display(), ?recovery, "recording decisions");
        let sealing = SealerConfig { keep: Some(config.keep), ..SealerConfig::default() };
        let sealer = Sealer::start(log.log_files(), store.clone(), Arc::clone(metrics), sealing)
            .map_err(|source| AppError::Io { what: "cannot start sealing".to_owned(), source })?;
        Ok(Some(Self { log, sealer, store }))
    }

    /// Hands decisions to the log.
    pub(super) fn recorder(&self) -> Arc<dyn decision::Recorder> {
        Arc::new(Recorder(self.log.recorder()))
    }

    /// Reads what is sealed, and this server's log.
    pub(super) fn reader(&self) -> EventReader {
        EventReader::new(self.store.clone()).with_logs(self.log.log_files())
    }

    /// Writes what is queued and ends. Blocks for at most about `within`.
    pub(super) fn close(self, within: Duration) {
        self.sealer.stop();
        let closed = self.log.close(within);
        if closed.lost > 0 {
            tracing::error!(lost = closed.lost, "decisions were not recorded: the log could not be written in time");
        }
    }
}

/// The event log as decisions know it.
#[derive(Debug)]
struct Recorder(event::Recorder);

impl decision::Recorder for Recorder {
    fn try_reserve(&self, bytes: usize) -> Option<usize> {
        self.0.try_reserve(bytes).map(Reserved::into_bytes)
    }

    fn reserve(&self, bytes: usize) -> Pin<Box<dyn Future<Output = Option<usize>> + Send + '_>> {
        Box::pin(async move { self.0.reserve(bytes).await.map(Reserved::into_bytes) })
    }

    fn release(&self, bytes: usize) {
        drop(self.0.reserved(bytes));
    }

    fn refuses(&self) -> bool {
        self.0.when_full() == WhenFull::Refuse
    }

    fn record(&self, bytes: usize, call: RecordedCall) -> Option<Durable> {
        let receipt = self.0.record(self.0.reserved(bytes), Box::new(Batch(call)));
        match self.0.durability() {
            Durability::Background => None,
            Durability::Awaited => Some(Box::pin(async move { receipt.durable().await.is_ok() })),
        }
    }

    fn dropped(&self, decisions: usize) {
        self.0.dropped(decisions);
    }
}

/// The decisions of a call, which become records on the thread that writes them.
struct Batch(RecordedCall);

impl IntoEvents for Batch {
    fn events(self: Box<Self>, emit: &mut dyn FnMut(DecisionRecord)) {
        replay::write(&self.0, emit);
    }

    fn count(&self) -> usize {
        self.0.decisions.len()
    }
}
