//! Following the store: every server converges on what `CURRENT` names, whoever moved it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Deployer, Snapshot};
use crate::document::Problems;
use crate::feature::FeatureSchema;
use crate::feature::store::CustomerTable;
use crate::model::{Repository, panic_message};
use crate::release::RegistryError;
use crate::release::background::{self, Lane};
use crate::release::store::{Stamp, Stamped};

/// A release that could not be loaded is tried again after this long at most: what is wrong may pass.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two threads that look at the store until this is dropped: one at `CURRENT`, one at what lies beside the releases, so that nothing
/// that has to be brought or loaded keeps a promotion waiting.
pub struct Follower {
    wake: [Sender<Wake>; 2],
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
    refused: Option<Refused>,
}

/// What was told of what lies beside the releases, each once.
#[derive(Default)]
struct Told {
    wrong_customers: Option<Problems>,
    not_brought: String,
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
        let ((wake, woken), (wake_beside, woken_beside)) = (channel(), channel());
        let watcher = self.watch_files(&wake);
        let (deployer, mut seen) = (self.clone(), Seen { stamp, refused: None });
        Builder::new().name("follow".to_owned()).spawn(move || {
            look_until_stopped(&woken, poll, || {
                let followed = deployer.catch_up(&mut seen);
                deployer.note_store_error(followed.err().map(|error| error.to_string()).unwrap_or_default());
            });
        })?;
        let (deployer, mut told) = (self.clone(), Told::default());
        Builder::new().name("beside".to_owned()).spawn(move || {
            look_until_stopped(&woken_beside, poll, || deployer.look_beside(&mut told));
        })?;
        Ok(Follower { wake: [wake, wake_beside], _watcher: watcher })
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
        let serving = self.lock().sequence;
        if current.sequence < serving {
            return Err(RegistryError::Precondition(super::went_back(serving, current.sequence)));
        }
        if current.sequence == serving {
            (seen.stamp, seen.refused) = (stamp, None);
            return Ok(());
        }
        self.shared.state.send_modify(|state| state.current = Some(current.clone()));
        self.parts().metrics.release_wanted.set(current.release as i64);
        match self.prepare(current.release) {
            Ok((snapshot, _)) => {
                let mut published = self.lock();
                // It may have been rolled back while it was loading.
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
                self.follow_models_beside();
            }
            // Nothing is known of the release then, and the next look tries again.
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

    /// New customers are published beside the same release; models that no release pins are loaded for the Open Inference Protocol.
    /// What cannot be read is told, and what served before still serves.
    fn look_beside(&self, told: &mut Told) {
        let parts = self.parts();
        let Some(serving) = parts.publisher.serving() else { return };
        // A directory that is gone holds neither customers nor models: that must not be mistaken for having none.
        if parts.store.current().is_err() {
            return;
        }
        // A model that cannot be brought keeps no customers away.
        let models = parts.store.sync_models(serving.release.pins());
        let brought = parts.store.sync_customers().and(models);
        let not_brought = brought.err().map(|error| error.to_string()).unwrap_or_default();
        if !not_brought.is_empty() && not_brought != told.not_brought {
            tracing::warn!(error = not_brought, "not everything beside the release can be brought");
        }
        told.not_brought = not_brought;
        let deployer = self.clone();
        // Waited for, so that looks do not pile up where threads of low priority get no time.
        if let Err(error) =
            background::run(Lane::Load, move || deployer.models_of_serving(Repository::refresh))
        {
            tracing::warn!(%error, "the models beside the release are not looked at");
        }
        self.renew_customers(told);
    }

    fn renew_customers(&self, told: &mut Told) {
        let parts = self.parts();
        let Some(serving) = parts.publisher.serving() else { return };
        if self.shared.customers.is_current(&serving.customers) {
            return;
        }
        let (deployer, release) = (self.clone(), Arc::clone(&serving.release));
        let read = background::run(Lane::Load, move || deployer.shared.customers.under(release.schema()));
        match read.unwrap_or_else(|error| Err(Problems::one("customers", None, error.to_string()))) {
            Ok(customers) => {
                told.wrong_customers = None;
                let mut published = self.lock();
                // Where another release serves by now, the next look renews its customers.
                if parts.publisher.serving().is_some_and(|now| Arc::ptr_eq(&now, &serving)) {
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
                if told.wrong_customers.as_ref() != Some(&problems) {
                    tracing::error!(%problems, "the new customers cannot be read; the old ones serve");
                    told.wrong_customers = Some(problems);
                }
            }
        }
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

/// Looks every `poll`, and when woken. A look that panics is told, and the next one comes all the same.
fn look_until_stopped(woken: &Receiver<Wake>, poll: Duration, mut look: impl FnMut()) {
    loop {
        match woken.recv_timeout(poll) {
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Wake::Look) | Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(&mut look)) {
            tracing::error!(panic = panic_message(&*panic), "a look at the store panicked");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        for wake in &self.wake {
            // Where the thread has ended there is nobody to tell. A look that is under way holds nothing that must be saved, and is
            // not waited for.
            let _ = wake.send(Wake::Stop);
        }
    }
}
