//! Which release serves: load in the background, warm up, publish, keep recent releases warm, follow `CURRENT`.
//!
//! Every change of what serves goes through [`Deployer::switch`] or [`Deployer::catch_up`]. Changes happen one at a
//! time, in the order of `CURRENT`'s sequence. Loading happens before that and outside the lock, so a return to a
//! warm release waits for no load. Requests only read the pointer that [`Publisher`] moves. Start reading at
//! [`Deployer::promote`].

mod follow;
mod loading;
mod rollback;
mod warm;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

pub use self::follow::Follower;
pub(crate) use self::loading::Turn;
use super::customers::Customers;
use super::store::{Stamp, Stamped};
use super::{
    Current, Promotion, Publisher, RefusedRelease, RegistryError, Release, ServingState, Snapshot, Store,
    StoreError, fault, now,
};
use document::Problems;
use feature::store::CustomerSource;
use model::GraphCache;
use model::{Engine, Repository};
use telemetry::{Metrics, Readiness};
use work::{Background, Call};

/// The most refused releases to remember.
const REFUSED: usize = 16;

/// How often `CURRENT` is read again when other writers move it at the same moment.
const ATTEMPTS: usize = 16;

/// What a promotion asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromotionRequest {
    /// The release to serve.
    pub release: u64,
    /// The release that the caller believes to be current.
    pub expected_current: Option<u64>,
    /// The person or job that promotes.
    pub author: String,
    /// The reason, for the history.
    pub reason: String,
}

/// What has to be current, so that a promotion is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Anything,
    /// This release, whichever promotion made it current.
    Release(u64),
    /// This promotion, and no later one of the same release.
    Promotion {
        release: u64,
        sequence: u64,
    },
}

/// What a deployer needs.
pub struct DeployerParts {
    /// Where releases come from.
    pub store: Store,
    /// Graphs in memory, shared by all releases.
    pub cache: Arc<GraphCache>,
    /// The models that callers run by name, which follow the serving release; `None` for a command line.
    pub repository: Option<Arc<Repository>>,
    /// The pointer that requests read.
    pub publisher: Publisher,
    /// Set to ready when the first release serves.
    pub readiness: Readiness,
    /// Counts loads, publications and refusals.
    pub metrics: Arc<Metrics>,
    /// How many releases with models of their own stay in memory after they served.
    pub keep_warm: usize,
    /// The threads that load and free releases.
    pub background: Background,
}

/// Decides which release serves; clones are handles to the same one.
#[derive(Clone)]
pub struct Deployer {
    shared: Arc<Shared>,
}

impl fmt::Debug for Deployer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deployer").field(&*self.shared.state.borrow()).finish()
    }
}

struct Shared {
    parts: DeployerParts,
    customers: Customers,
    state: watch::Sender<ServingState>,
    /// Numbers promotions and rollbacks in the order of their calls: of two that overlap, the later call wins.
    calls: AtomicU64,
    /// Held while a release is loaded, so that only one loads at a time and memory stays bounded.
    loading: Mutex<()>,
    /// Held while `CURRENT` and the pointer move, never during a load.
    published: Mutex<Published>,
}

/// What serves, as far as the order of publications needs it.
#[derive(Default)]
struct Published {
    /// The sequence of the `CURRENT` that serves.
    sequence: u64,
    /// The latest call that moved `CURRENT`.
    call: u64,
    /// Snapshots that served before, the latest first.
    warm: VecDeque<Arc<Snapshot>>,
}

/// Brings a repository in line with the pins of a release.
type Update = fn(&Repository, &BTreeMap<String, u64>) -> io::Result<()>;

impl Deployer {
    /// A deployer that has loaded nothing yet.
    #[must_use]
    pub fn new(parts: DeployerParts) -> Self {
        let customers = Customers::new(CustomerSource::new(parts.store.customers_dir()));
        Self {
            shared: Arc::new(Shared {
                parts,
                customers,
                state: watch::Sender::new(ServingState::default()),
                calls: AtomicU64::new(0),
                loading: Mutex::new(()),
                published: Mutex::default(),
            }),
        }
    }

    /// A watch on what serves here.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ServingState> {
        self.shared.state.subscribe()
    }

    /// Loads and publishes the release that `CURRENT` names, when a server starts.
    ///
    /// # Errors
    /// When there is no such release, or it cannot be loaded.
    pub fn start(&self) -> Result<Stamp, RegistryError> {
        let began = Instant::now();
        let Stamped { mut current, mut stamp } = self.parts().store.current()?;
        // An empty mirror of a bucket would mean no customers until the first poll.
        self.parts().store.sync_customers()?;
        // No requests yet, so the load need not yield.
        fault::point("promote.starting");
        let mut snapshot = self.load_at_once(current.release)?;
        // `CURRENT` may have moved during the load.
        while let Some(moved) = self.parts().store.current_unless(&stamp)? {
            (current, stamp) = (moved.current, moved.stamp);
            snapshot = self.load_at_once(current.release)?;
        }
        // The release's own models answer the Open Inference Protocol at once. Startup waits for no other model;
        // later polls load those.
        self.update_models(&snapshot.release, Repository::refresh_pinned);
        self.publish(&mut self.lock(), snapshot, &current);
        self.update_models_in_background(Repository::refresh);
        tracing::info!(release = current.release, took = ?began.elapsed(), "serving");
        Ok(stamp)
    }

    /// Loads and warms the release, moves `CURRENT`, publishes, and then returns. Writes nothing if the release is
    /// current. Checks `call` one last time before `CURRENT` moves.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError::Unsound`] where the release cannot be loaded.
    /// [`RegistryError::Overtaken`] where another release is current than expected, or a later call moved `CURRENT`
    /// during the load; [`RegistryError::Store`] where the target of a later rollback cannot be read. In each case
    /// nothing has changed.
    pub fn promote(&self, request: &PromotionRequest, call: &Call) -> Result<Promotion, RegistryError> {
        let expected = request.expected_current.map_or(Expected::Anything, Expected::Release);
        self.promote_over(request, expected, Turn::InLine, call)
    }

    /// As [`Deployer::promote`], over one promotion alone: after any other, also one of the same release, it is
    /// [`RegistryError::Overtaken`].
    ///
    /// # Errors
    /// As [`Deployer::promote`].
    pub(crate) fn promote_step(
        &self,
        request: &PromotionRequest,
        over: &Current,
        turn: Turn,
        call: &Call,
    ) -> Result<Promotion, RegistryError> {
        let expected = Expected::Promotion { release: over.release, sequence: over.sequence };
        self.promote_over(request, expected, turn, call)
    }

    fn promote_over(
        &self,
        request: &PromotionRequest,
        expected: Expected,
        turn: Turn,
        call: &Call,
    ) -> Result<Promotion, RegistryError> {
        let number = self.shared.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let begun = self.parts().store.current()?;
        expected.refuse_other(&begun.current)?;
        let (snapshot, warm) = self.prepare(request.release, turn)?;
        fault::point("promote.loaded");
        // The history may be long, so it is read before `CURRENT` moves, not under the lock.
        let foreseen = self.parts().store.current()?.current;
        expected.refuse_other(&foreseen)?;
        let target = self.target_over(&foreseen, request.release)?;
        fault::point("promote.foreseen");
        let replaced = Cell::new(foreseen.release);
        let promotion = self.switch(number, snapshot, warm, call, |current| {
            expected.refuse_other(current)?;
            replaced.set(current.release);
            // Only if another promotion came in between is it read again here.
            let is_as_foreseen = current.sequence == foreseen.sequence;
            let previous = if is_as_foreseen { target } else { self.target_over(current, request.release)? };
            Ok(next(current, request.release, previous, &request.author, &request.reason))
        })?;
        let warnings = self.warn_of_resumed(replaced.get(), request.release);
        Ok(Promotion { warnings, ..promotion })
    }

    /// Moves `CURRENT` to what `next` derives from the present one, and publishes. This is the only way in which a
    /// call changes what serves.
    fn switch(
        &self,
        number: u64,
        snapshot: Arc<Snapshot>,
        warm: bool,
        call: &Call,
        next: impl Fn(&Current) -> Result<Current, RegistryError>,
    ) -> Result<Promotion, RegistryError> {
        let store = &self.parts().store;
        let mut published = self.lock();
        let mut attempts = 0;
        let current = loop {
            let Stamped { current, stamp } = store.current()?;
            if current.sequence < published.sequence {
                return Err(RegistryError::Precondition(went_back(published.sequence, current.sequence)));
            }
            if published.call > number {
                let message = "a later promotion or rollback was made while this one was loading".to_owned();
                return Err(RegistryError::Overtaken { current: current.release, message });
            }
            let next = next(&current)?;
            call.check()?;
            if next.release == current.release {
                break current;
            }
            match store.replace_current(Some(&stamp), &next) {
                Ok(_) => break next,
                Err(StoreError::Overtaken { .. }) if attempts < ATTEMPTS => attempts += 1,
                // The write may have succeeded and only its answer was lost.
                Err(error) => match store.current() {
                    Ok(written) if written.current == next => break next,
                    _ => return Err(error.into()),
                },
            }
        };
        published.call = number;
        fault::point("promote.switched");
        let release = snapshot.release.number();
        if current.sequence > published.sequence {
            self.publish(&mut published, snapshot, &current);
        }
        drop(published);
        fault::point("promote.published");
        tracing::info!(
            release,
            sequence = current.sequence,
            by = current.author,
            reason = current.reason,
            "promoted"
        );
        self.follow_models_in_background();
        let later = store.current().ok().map(|read| read.current);
        let overtaken_by =
            later.filter(|later| later.sequence > current.sequence).map_or(0, |later| later.release);
        Ok(Promotion { current, overtaken_by, warm, warnings: Vec::new() })
    }

    /// Publishes with one pointer store. The snapshot before stays warm; the oldest warm ones retire.
    fn publish(&self, published: &mut Published, snapshot: Arc<Snapshot>, current: &Current) {
        let parts = self.parts();
        let release = Arc::clone(&snapshot.release);
        let (customers, bytes) = (snapshot.customers.len(), snapshot.customers.memory_bytes());
        let now_serving = Arc::clone(&snapshot);
        // The same snapshot is published again if `CURRENT` left its release and came back before another one served
        // here.
        let before = parts.publisher.publish(snapshot).filter(|before| !Arc::ptr_eq(before, &now_serving));
        published.sequence = current.sequence;
        let served_again = |warm: &Arc<Snapshot>| warm.release.number() == release.number();
        let mut gone: Vec<Arc<Snapshot>> = Vec::new();
        if let Some(position) = published.warm.iter().position(served_again) {
            gone.extend(published.warm.remove(position));
        }
        if let Some(before) = before {
            if served_again(&before) { gone.push(before) } else { published.warm.push_front(before) }
        }
        gone.extend(warm::retire(&mut published.warm, &release, current.previous, parts.keep_warm));
        for snapshot in gone {
            self.parts().background.reclaim.reclaim(snapshot);
        }
        let pins = release.pins().iter().map(|(name, version)| (name.as_str(), *version));
        let engines = release.models().iter().flat_map(|model| {
            let words = |engine: &Engine| (model.name(), model.version(), engine.name(), engine.reason());
            model.engines().map(words)
        });
        parts.metrics.release_published(release.number(), pins, engines);
        parts.metrics.follow_offers(release.all_offer_counts());
        parts.metrics.keep_experiments(|experiment, variant| {
            let found = release.experiments().find(experiment);
            found.is_some_and(|(_, found)| variant.is_none_or(|id| found.find_variant(id).is_some()))
        });
        parts.metrics.store.release_wanted.set(current.release as i64);
        parts.metrics.customers_loaded(customers, bytes);
        parts.readiness.ready(release.number());
        let warm = self.count_warm(published);
        self.shared.state.send_modify(|state| {
            state.release = release.number();
            state.sequence = current.sequence;
            state.current = Some(current.clone());
            state.warm = warm;
            state.refused.retain(|refused| refused.release != release.number());
        });
    }

    /// The releases that are warm.
    fn count_warm(&self, published: &Published) -> Vec<u64> {
        let warm: Vec<u64> = published.warm.iter().map(|warm| warm.release.number()).collect();
        self.parts().metrics.store.releases_warm.set(warm.len() as i64);
        warm
    }

    fn refuse(&self, release: u64, error: &RegistryError) {
        self.parts().metrics.release_refused();
        tracing::error!(release, %error, "the release cannot be loaded; what served before still serves");
        let refused = RefusedRelease { release, reason: error.to_string(), time: now() };
        self.shared.state.send_modify(|state| {
            state.refused.retain(|known| known.release != release);
            state.refused.insert(0, refused);
            state.refused.truncate(REFUSED);
        });
    }

    /// Makes the models of the Open Inference Protocol follow the serving release, in the background. The next poll
    /// loads all other new models in the directory.
    fn follow_models_in_background(&self) {
        self.update_models_in_background(Repository::follow);
    }

    fn update_models_in_background(&self, update: Update) {
        let deployer = self.clone();
        let follow = move || deployer.models_of_serving(update);
        if let Err(error) = self.parts().background.load.start(follow) {
            tracing::warn!(%error, "no thread to load models on");
        }
    }

    /// Uses the release that serves when this runs, not the one that served when it was queued.
    fn models_of_serving(&self, update: Update) {
        if let Some(serving) = self.parts().publisher.serving() {
            self.update_models(&serving.release, update);
        }
    }

    fn update_models(&self, release: &Release, update: Update) {
        let Some(repository) = &self.parts().repository else { return };
        if let Err(error) = update(repository, release.pins()) {
            tracing::warn!(%error, "the models of the store cannot be listed");
        }
    }

    fn parts(&self) -> &DeployerParts {
        &self.shared.parts
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.shared.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Problems> for RegistryError {
    fn from(problems: Problems) -> Self {
        Self::Unsound(problems)
    }
}

/// The message for a store that was replaced by an older copy.
fn went_back(from: u64, to: u64) -> String {
    format!(
        "CURRENT of the store went back from sequence {from} to {to}: restart the server to follow this store"
    )
}

/// The `CURRENT` after `current` that promotes `release`; a rollback from it goes to `previous`.
fn next(current: &Current, release: u64, previous: u64, author: &str, reason: &str) -> Current {
    Current {
        release,
        previous,
        sequence: current.sequence + 1,
        author: author.to_owned(),
        reason: reason.to_owned(),
        time: now(),
    }
}

impl Expected {
    /// Refuses what is current if something else was expected.
    fn refuse_other(self, current: &Current) -> Result<(), RegistryError> {
        let (wanted, is_it) = match self {
            Self::Anything => return Ok(()),
            Self::Release(release) => (release, current.release == release),
            Self::Promotion { release, sequence } => (release, current.sequence == sequence),
        };
        if is_it {
            return Ok(());
        }
        let message = if current.release == wanted {
            format!("release {wanted} was promoted again, by promotion {}", current.sequence)
        } else {
            format!("release {wanted} was expected to be current")
        };
        Err(RegistryError::Overtaken { current: current.release, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_promoted_over_one_promotion_and_a_person_over_a_release() {
        let current = |release, sequence| Current {
            release,
            previous: 0,
            sequence,
            author: String::new(),
            reason: String::new(),
            time: String::new(),
        };
        let step = Expected::Promotion { release: 2, sequence: 5 };
        assert!(step.refuse_other(&current(2, 5)).is_ok());
        let again = step.refuse_other(&current(2, 7)).unwrap_err();
        assert!(matches!(again, RegistryError::Overtaken { current: 2, .. }), "{again}");
        assert!(again.to_string().starts_with("release 2 was promoted again, by promotion 7"), "{again}");
        assert!(step.refuse_other(&current(3, 6)).is_err());
        assert!(Expected::Release(2).refuse_other(&current(2, 7)).is_ok());
        let other = Expected::Release(2).refuse_other(&current(3, 6)).unwrap_err();
        assert_eq!(other.to_string(), "release 2 was expected to be current; release 3 is current");
        assert!(Expected::Anything.refuse_other(&current(3, 6)).is_ok());
    }
}
