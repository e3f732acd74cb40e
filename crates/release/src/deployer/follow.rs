//! Following the store: every server converges on what `CURRENT` names, whichever process moved it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Deployer, Snapshot, Turn};
use crate::RegistryError;
use crate::store::{Stamp, Stamped};
use document::Problems;
use feature::FeatureSchema;
use feature::store::CustomerTable;
use model::Repository;
use work::catch_panic;

/// The longest wait before a refused release is tried again; the cause may pass.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two threads that poll the store until this is dropped: one for `CURRENT`, one for customers and unpinned models.
/// So a promotion never waits for their downloads or loads.
pub struct Follower {
    wake: [Sender<Wake>; 2],
    /// Reports changes of a local store at once; polling alone would suffice.
    _watcher: Option<RecommendedWatcher>,
}

enum Wake {
    Poll,
    Stop,
}

/// What the last poll saw.
struct Seen {
    stamp: Stamp,
    refused: Option<Refused>,
}

/// The last problem of each kind that was logged, so that each is logged once.
#[derive(Default)]
struct Logged {
    wrong_customers: Option<Problems>,
    not_synced: String,
}

/// A `CURRENT` whose release could not be loaded.
struct Refused {
    sequence: u64,
    again: Instant,
    patience: Duration,
}

impl Deployer {
    /// Polls the store every `poll`, and at once when a file of a local store changes, and serves what it finds.
    /// `stamp` belongs to the `CURRENT` that serves.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn follow(&self, stamp: Stamp, poll: Duration) -> std::io::Result<Follower> {
        let ((wake, woken), (wake_unpinned, woken_unpinned)) = (channel(), channel());
        let watcher = self.watch_files(&wake);
        let (deployer, mut seen) = (self.clone(), Seen { stamp, refused: None });
        Builder::new().name("follow".to_owned()).spawn(move || {
            poll_until_stopped(&woken, poll, || {
                let followed = deployer.catch_up(&mut seen);
                deployer.note_store_error(followed.err().map(|error| error.to_string()).unwrap_or_default());
            });
        })?;
        let (deployer, mut logged) = (self.clone(), Logged::default());
        Builder::new().name("beside".to_owned()).spawn(move || {
            poll_until_stopped(&woken_unpinned, poll, || deployer.poll_unpinned(&mut logged));
        })?;
        Ok(Follower { wake: [wake, wake_unpinned], _watcher: watcher })
    }

    fn watch_files(&self, wake: &Sender<Wake>) -> Option<RecommendedWatcher> {
        let root = self.parts().store.local_root()?;
        let wake = wake.clone();
        let on_event = move |event: notify::Result<notify::Event>| {
            let names_current =
                |event: &notify::Event| event.paths.iter().any(|path| path.ends_with("CURRENT"));
            // Reading the file is an event, too.
            if event.is_ok_and(|event| !event.kind.is_access() && names_current(&event)) {
                // The receiver is gone once the server stops.
                let _ = wake.send(Wake::Poll);
            }
        };
        let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
            watcher.watch(root, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        // A network file system, or too many watchers: polling still works.
        watcher
            .inspect_err(|error| tracing::info!(%error, "changes of the store are found by polling alone"))
            .ok()
    }

    /// Serves the release that `CURRENT` names, if another one serves. A release that cannot be loaded is refused,
    /// and the previous one goes on serving.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn catch_up(&self, seen: &mut Seen) -> Result<(), RegistryError> {
        let store = &self.parts().store;
        // The lock waits for a call of this server that has moved `CURRENT` but not published yet.
        let read = {
            let _published = self.lock();
            store.current_unless(&seen.stamp)?
        };
        let Stamped { current, stamp } = match (read, &seen.refused) {
            (Some(read), _) => read,
            (None, Some(refused)) if Instant::now() >= refused.again => store.current()?,
            (None, _) => return Ok(()),
        };
        let serving = self.lock().sequence;
        if current.sequence < serving {
            return Err(RegistryError::Precondition(super::went_back(serving, current.sequence)));
        }
        if current.sequence == serving {
            (seen.stamp, seen.refused) = (stamp, None);
            return Ok(());
        }
        self.shared.state.send_modify(|state| state.current = Some(current.clone()));
        self.parts().metrics.store.release_wanted.set(current.release as i64);
        match self.prepare(current.release, Turn::InLine) {
            Ok((snapshot, _)) => {
                let mut published = self.lock();
                // `CURRENT` may have moved during the load.
                if store.current_unless(&stamp)?.is_some() {
                    drop(published);
                    return self.catch_up(seen);
                }
                if current.sequence > published.sequence {
                    self.publish(&mut published, snapshot, &current);
                    tracing::info!(
                        release = current.release,
                        sequence = current.sequence,
                        "follows the store"
                    );
                }
                drop(published);
                (seen.stamp, seen.refused) = (stamp, None);
                self.follow_models_in_background();
            }
            // Says nothing about the release; the next poll tries again.
            Err(error @ RegistryError::Store(_)) => return Err(error),
            Err(error) => {
                let last = seen.refused.as_ref().filter(|refused| refused.sequence == current.sequence);
                let patience = last.map_or(Duration::from_secs(1), |last| PATIENCE.min(2 * last.patience));
                let again = Instant::now() + patience;
                seen.refused = Some(Refused { sequence: current.sequence, again, patience });
                seen.stamp = stamp;
                if matches!(error, RegistryError::NotFound(_)) {
                    self.refuse(current.release, &error);
                }
                tracing::debug!(%error, ?patience, "tried again later");
            }
        }
        Ok(())
    }

    /// Publishes new customers with the same release, and loads models that no release pins for the Open Inference
    /// Protocol. Logs what cannot be read; the previous customers and models go on serving.
    fn poll_unpinned(&self, logged: &mut Logged) {
        let parts = self.parts();
        let Some(serving) = parts.publisher.serving() else { return };
        // A missing directory contains no customers and no models; that must not pass for an empty store.
        if parts.store.current().is_err() {
            return;
        }
        // A model that cannot be downloaded does not hold up customers.
        let models = parts.store.sync_models(serving.release.pins());
        let synced = parts.store.sync_customers().and(models);
        let not_synced = synced.err().map(|error| error.to_string()).unwrap_or_default();
        if !not_synced.is_empty() && not_synced != logged.not_synced {
            tracing::warn!(error = not_synced, "the customers or a model of the store cannot be synced");
        }
        logged.not_synced = not_synced;
        let deployer = self.clone();
        // Waits for it: polls would pile up where threads of idle priority get no time.
        if let Err(error) = parts.background.load.run(move || deployer.models_of_serving(Repository::refresh))
        {
            tracing::warn!(%error, "the models that no release pins are not refreshed");
        }
        self.follow_customers(logged);
    }

    /// Has the customers that the store has now in memory, and none that it had before: of what serves they are
    /// replaced, and warm releases that have others retire. Blocks while they are read.
    ///
    /// # Errors
    /// When the store cannot be reached, or its customers not be read. What serves is as before then.
    pub fn renew_customers(&self) -> Result<(), RegistryError> {
        self.parts().store.sync_customers()?;
        // Another release may begin to serve meanwhile, with the customers of before.
        while !self.publish_customers()? {}
        let mut published = self.lock();
        let (kept, gone): (VecDeque<_>, VecDeque<_>) =
            published.warm.drain(..).partition(|warm| self.shared.customers.is_current(&warm.customers));
        published.warm = kept;
        if !gone.is_empty() {
            let warm = self.count_warm(&published);
            self.shared.state.send_modify(|state| state.warm = warm);
        }
        for gone in gone {
            self.parts().background.reclaim.reclaim(gone);
        }
        Ok(())
    }

    fn follow_customers(&self, logged: &mut Logged) {
        match self.publish_customers() {
            // If another release serves by now, the next poll renews its customers.
            Ok(_) => logged.wrong_customers = None,
            // The next poll tries again, since the cause may pass; the error is logged once.
            Err(problems) => {
                if logged.wrong_customers.as_ref() != Some(&problems) {
                    tracing::error!(%problems, "the new customers cannot be read; the old ones serve");
                    logged.wrong_customers = Some(problems);
                }
            }
        }
    }

    /// Publishes the customers of the store if others serve. `false`: another release has begun to serve meanwhile.
    fn publish_customers(&self) -> Result<bool, Problems> {
        let parts = self.parts();
        let Some(serving) = parts.publisher.serving() else { return Ok(true) };
        if self.shared.customers.is_current(&serving.customers) {
            return Ok(true);
        }
        let (deployer, release) = (self.clone(), Arc::clone(&serving.release));
        let read = parts.background.load.run(move || deployer.shared.customers.under(release.schema()));
        let customers =
            read.unwrap_or_else(|error| Err(Problems::one("customers", None, error.to_string())))?;
        let mut published = self.lock();
        if !parts.publisher.serving().is_some_and(|now| Arc::ptr_eq(&now, &serving)) {
            return Ok(false);
        }
        tracing::info!(customers = customers.len(), "new customers serve");
        parts.metrics.customers_loaded(customers.len(), customers.memory_bytes());
        let release = Arc::clone(&serving.release);
        let refreshed = Arc::new(Snapshot { release, customers: Arc::clone(&customers) });
        let before = parts.publisher.publish(refreshed);
        let renewed = renew_warm(&mut published.warm, serving.release.schema(), &customers);
        before.into_iter().chain(renewed).for_each(|gone| parts.background.reclaim.reclaim(gone));
        Ok(true)
    }

    /// Records whether the store can be read, and logs a change of that.
    fn note_store_error(&self, error: String) {
        self.parts().metrics.store.reachable.set(i64::from(error.is_empty()));
        self.shared.state.send_if_modified(|state| {
            if state.store_error == error {
                return false;
            }
            if error.is_empty() {
                tracing::info!("the store can be read again");
            } else {
                tracing::error!(%error, "the store cannot be read; what serves goes on serving");
            }
            state.store_error = error;
            true
        });
    }
}

/// Gives warm releases of the same schema the new customers; returns the snapshots that were replaced.
fn renew_warm(
    warm: &mut VecDeque<Arc<Snapshot>>,
    schema: &FeatureSchema,
    customers: &Arc<CustomerTable>,
) -> Vec<Arc<Snapshot>> {
    let mut replaced = Vec::new();
    for kept in warm.iter_mut().filter(|kept| kept.release.schema().as_ref() == schema) {
        let release = Arc::clone(&kept.release);
        let renewed = Arc::new(Snapshot { release, customers: Arc::clone(customers) });
        replaced.push(std::mem::replace(kept, renewed));
    }
    replaced
}

/// Runs `poll_once` every `poll`, and when woken. A panic is logged and does not end the loop.
fn poll_until_stopped(woken: &Receiver<Wake>, poll: Duration, mut poll_once: impl FnMut()) {
    loop {
        match woken.recv_timeout(poll) {
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Wake::Poll) | Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(panic) = catch_panic(&mut poll_once) {
            tracing::error!(panic = panic.message, "a poll of the store panicked");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        for wake in &self.wake {
            // Sending fails if the thread has ended. A running poll has nothing to save, so nothing waits for it.
            let _ = wake.send(Wake::Stop);
        }
    }
}
