//! Following the store: every server converges on what `CURRENT` names, whoever moved it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Deployer, Snapshot};
use crate::document::Problems;
use crate::feature::FeatureSchema;
use crate::feature::store::{CustomerTable, Fingerprint};
use crate::release::{RegistryError, StoreError};
use crate::release::background::{self, Lane};
use crate::release::store::{Stamp, Stamped};

/// A release that could not be loaded is tried again after this long at most: what is wrong may pass.
const PATIENCE: Duration = Duration::from_secs(30);

/// A thread that looks at the store until it is dropped.
pub struct Follower {
    wake: Sender<Wake>,
    thread: Option<JoinHandle<()>>,
    /// Tells of changes at once where the store is a local directory; looking every so often is enough without it.
    _watcher: Option<RecommendedWatcher>,
}

enum Wake {
    Look,
    Stop,
}

/// What was seen last.
struct Seen {
    stamp: Stamp,
    fingerprint: Option<Fingerprint>,
    refused: Option<Refused>,
    /// Why the customers that are there now were not taken; told once.
    wrong_customers: Option<Problems>,
}

/// A `CURRENT` whose release could not be loaded.
struct Refused {
    sequence: u64,
    again: Instant,
    patience: Duration,
}

impl Deployer {
    /// Looks at the store every `poll`, and at once when a file of a local store changes, and serves what is there.
    /// `stamp` is that of the `CURRENT` which serves.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn follow(&self, stamp: Stamp, poll: Duration) -> std::io::Result<Follower> {
        let (wake, woken) = channel();
        let watcher = self.watch_files(&wake);
        let deployer = self.clone();
        let fingerprint = self.shared.customers.fingerprint();
        let seen = Seen { stamp, fingerprint, refused: None, wrong_customers: None };
        let thread = std::thread::Builder::new()
            .name("follow".to_owned())
            .spawn(move || deployer.look_until_stopped(&woken, poll, seen))?;
        Ok(Follower { wake, thread: Some(thread), _watcher: watcher })
    }

    fn watch_files(&self, wake: &Sender<Wake>) -> Option<RecommendedWatcher> {
        let root = self.parts().store.local_root()?;
        let wake = wake.clone();
        let told = move |event: notify::Result<notify::Event>| {
            let names_current =
                |event: &notify::Event| event.paths.iter().any(|path| path.ends_with("CURRENT"));
            // To read the file is an event, too.
            if event.is_ok_and(|event| !event.kind.is_access() && names_current(&event)) {
                // The follower is gone when the server stops.
                let _ = wake.send(Wake::Look);
            }
        };
        let watcher = notify::recommended_watcher(told).and_then(|mut watcher| {
            watcher.watch(root, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        // A network file system, or too many watchers: the store is looked at every so often all the same.
        watcher
            .inspect_err(|error| tracing::info!(%error, "changes of the store are found by polling alone"))
            .ok()
    }

    fn look_until_stopped(&self, woken: &Receiver<Wake>, poll: Duration, mut seen: Seen) {
        loop {
            match woken.recv_timeout(poll) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Wake::Look) | Err(RecvTimeoutError::Timeout) => {}
            }
            let followed = self.catch_up(&mut seen).map_err(|error| error.to_string());
            let brought = self.look_beside(&mut seen).map_err(|error| error.to_string());
            self.note_store_error(followed.and(brought).err().unwrap_or_default());
        }
    }

    /// Serves what `CURRENT` names, if that is not what serves. A release that cannot be loaded is refused, and what served
    /// before serves on.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn catch_up(&self, seen: &mut Seen) -> Result<(), RegistryError> {
        let store = &self.parts().store;
        // While a call of this server moves CURRENT and publishes, it is neither here nor there.
        let read = {
            let _published = self.lock();
            store.current_unless(&seen.stamp)?
        };
        let Stamped { current, stamp } = match (read, &seen.refused) {
            (Some(read), _) => read,
            (None, Some(refused)) if Instant::now() >= refused.again => store.current()?,
            (None, _) => return Ok(()),
        };
        if current.sequence <= self.lock().sequence {
            (seen.stamp, seen.refused) = (stamp, None);
            return Ok(());
        }
        self.shared.state.send_modify(|state| state.current = Some(current.clone()));
        self.parts().metrics.release_wanted.set(current.release as i64);
        match self.prepare(current.release) {
            Ok((snapshot, _)) => {
                let mut published = self.lock();
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
                self.refresh_models_beside();
            }
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

    /// New customers are published beside the same release; models that no release pins are loaded for the Open Inference Protocol.
    /// What cannot be read is told, and what served before still serves.
    ///
    /// # Errors
    /// When something could not be brought from a store that is far away; everything else is done.
    fn look_beside(&self, seen: &mut Seen) -> Result<(), StoreError> {
        let parts = self.parts();
        let Some(serving) = parts.publisher.serving() else { return Ok(()) };
        // A model that cannot be brought keeps no customers away.
        let models = parts.store.sync_models(serving.release.pins());
        let synced = parts.store.sync_customers().and(models);
        // Waited for, so that looks do not pile up where threads of low priority get no time.
        let (deployer, release) = (self.clone(), Arc::clone(&serving.release));
        if let Err(error) = background::run(Lane::Load, move || deployer.refresh_models(&release)) {
            tracing::warn!(%error, "no thread to load models on");
        }
        let fingerprint = self.shared.customers.fingerprint();
        if fingerprint == seen.fingerprint {
            return synced;
        }
        let (deployer, release) = (self.clone(), Arc::clone(&serving.release));
        let read = background::run(Lane::Load, move || deployer.shared.customers.under(release.schema()));
        let read = read.unwrap_or_else(|error| Err(Problems::one("customers", None, error.to_string())));
        match read {
            Ok(customers) => {
                let mut published = self.lock();
                // Another release may serve by now, which read what was there before; then the next look does it.
                if parts.publisher.serving().is_some_and(|now| Arc::ptr_eq(&now, &serving)) {
                    seen.fingerprint = fingerprint;
                    seen.wrong_customers = None;
                    tracing::info!(customers = customers.len(), "new customers serve");
                    parts.metrics.customers_loaded(customers.len(), customers.memory_bytes());
                    let release = Arc::clone(&serving.release);
                    let refreshed = Arc::new(Snapshot { release, customers: Arc::clone(&customers) });
                    parts.publisher.publish(refreshed).into_iter().for_each(super::retire);
                    renew_warm(&mut published.warm, serving.release.schema(), &customers);
                }
            }
            // Tried again at the next look, since what is wrong may pass; told once.
            Err(problems) => {
                if seen.wrong_customers.as_ref() != Some(&problems) {
                    tracing::error!(%problems, "the new customers cannot be read; the old ones serve");
                    seen.wrong_customers = Some(problems);
                }
            }
        }
        synced
    }

    /// Whether the store can be read; told when it changes.
    fn note_store_error(&self, error: String) {
        self.parts().metrics.store_reachable.set(i64::from(error.is_empty()));
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

/// Releases that are kept warm do not keep the customers of yesterday, where their schema is the same.
fn renew_warm(warm: &mut VecDeque<Arc<Snapshot>>, schema: &FeatureSchema, customers: &Arc<CustomerTable>) {
    for kept in warm.iter_mut().filter(|kept| kept.release.schema().as_ref() == schema) {
        let release = Arc::clone(&kept.release);
        let renewed = Arc::new(Snapshot { release, customers: Arc::clone(customers) });
        super::retire(std::mem::replace(kept, renewed));
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Where the thread has ended there is nobody to tell.
        let _ = self.wake.send(Wake::Stop);
        // A look that is under way holds nothing that must be saved, and is not waited for.
        drop(self.thread.take());
    }
}
