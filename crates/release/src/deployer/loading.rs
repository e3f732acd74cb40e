//! Loading releases: in the background, one after another, and sharing what is in memory.
//!
//! What costs memory and time are models. So only a release with models of its own waits for its turn; a step that ends
//! the arms of an experiment has none, and is loaded beside the others ([`Turn::AtOnce`]).

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::{Deployer, warm};
use crate::load::{Unfit, trust};
use crate::{RegistryError, Release, ReleaseFiles, ReleaseSource, Snapshot, StoreError, fault, refusals};
use document::Problems;
use work::run_with_foreign_stack;

/// When a release is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// After those that are being loaded.
    InLine,
    /// At once, if its models are in memory.
    AtOnce,
}

impl Deployer {
    /// The release with its customers, in memory and warmed up; and whether it was in memory already.
    pub(super) fn prepare(&self, release: u64, turn: Turn) -> Result<(Arc<Snapshot>, bool), RegistryError> {
        if let Some(found) = self.find_warm(release) {
            return Ok((self.with_customers(found), true));
        }
        if turn == Turn::AtOnce
            && let Some(loaded) = self.load_at_once_if_shared(release)?
        {
            return Ok((loaded, false));
        }
        let _one_at_a_time = self.shared.loading.lock().unwrap_or_else(PoisonError::into_inner);
        // The previous holder of the lock may have loaded it.
        if let Some(found) = self.find_warm(release) {
            return Ok((self.with_customers(found), true));
        }
        self.shared.state.send_modify(|state| state.loading = release);
        let (deployer, in_memory) = (self.clone(), self.in_memory());
        let loaded = self.parts().background.load.run(move || {
            fault::point("promote.loading");
            deployer.load(release, &in_memory)
        });
        self.shared.state.send_modify(|state| state.loading = 0);
        self.told_of(release, loaded).map(|loaded| (loaded, false))
    }

    /// Loads a release while another is being loaded; `None` if one of the models that answer is not in memory. A
    /// release that shares all its models takes little memory and no long time. Its shadows do without what is not in
    /// memory, until a release is loaded in line.
    fn load_at_once_if_shared(&self, number: u64) -> Result<Option<Arc<Snapshot>>, RegistryError> {
        let files = self.parts().store.release(number)?;
        let (answering, in_memory) = (files.answering_versions(), self.in_memory());
        if !in_memory.iter().any(|release| answering.is_subset(&warm::models_of(release))) {
            return Ok(None);
        }
        let deployer = self.clone();
        let loaded = self.parts().background.step.run(move || deployer.load_shared(&files, &in_memory));
        self.told_of(number, loaded).map(Some)
    }

    /// Loads a release whose models are in memory, with the customers that serve if they fit and there are no later
    /// ones in memory; the next poll renews them.
    fn load_shared(
        &self,
        files: &ReleaseFiles,
        in_memory: &[Arc<Release>],
    ) -> Result<Arc<Snapshot>, RegistryError> {
        let began = Instant::now();
        let loaded = in_memory.iter().flat_map(|release| release.models());
        let loaded: BTreeSet<_> = loaded.map(|model| (model.name().to_owned(), model.version())).collect();
        let absent = left_out(&files.versions(), &files.answering_versions(), &loaded);
        let release = Arc::new(self.load_files_without(files, in_memory, absent)?);
        let schema = release.schema();
        let known = self.shared.customers.known(schema).or_else(|| {
            let serving = self.parts().publisher.serving()?;
            (serving.release.schema() == schema).then(|| Arc::clone(&serving.customers))
        });
        let snapshot = match known {
            Some(customers) => Arc::new(Snapshot { release, customers }),
            None => self.with_customers_of_store(release)?,
        };
        self.count_load(files.record.number, began);
        Ok(snapshot)
    }

    /// Remembers a release that could not be loaded.
    fn told_of(
        &self,
        release: u64,
        loaded: io::Result<Result<Arc<Snapshot>, RegistryError>>,
    ) -> Result<Arc<Snapshot>, RegistryError> {
        let loaded = loaded.map_err(|error| RegistryError::Internal(error.to_string()))?;
        match &loaded {
            // A missing release concerns only its caller, and an unreadable store says nothing about a release.
            Ok(_) | Err(RegistryError::NotFound(_) | RegistryError::Store(_)) => {}
            Err(error) => self.refuse(release, error),
        }
        loaded
    }

    pub(super) fn load_at_once(&self, number: u64) -> Result<Arc<Snapshot>, RegistryError> {
        run_with_foreign_stack(|| self.load(number, &[]))
            .map_err(|error| RegistryError::Internal(error.to_string()))?
    }

    /// A release for work beside serving, such as deciding again: one in memory, else it is loaded on idle priority
    /// and not kept.
    ///
    /// # Errors
    /// When it does not exist or cannot be loaded.
    pub fn release(&self, number: u64) -> Result<Arc<Release>, RegistryError> {
        if let Some(warm) = self.find_warm(number) {
            return Ok(Arc::clone(&warm.release));
        }
        let files = self.parts().store.release(number)?;
        self.load_beside(files)
    }

    /// As [`Deployer::release`], with other texts in place of its `offers.toml` and its `policy.toml`.
    ///
    /// # Errors
    /// As [`Deployer::release`], and everything that is wrong with the texts.
    pub fn changed_release(
        &self,
        number: u64,
        offers: Option<String>,
        policy: Option<String>,
    ) -> Result<Arc<Release>, RegistryError> {
        let mut files = self.parts().store.release(number)?;
        files.offers = offers.unwrap_or(files.offers);
        files.policy = policy.unwrap_or(files.policy);
        self.load_beside(files)
    }

    /// Whether a release would load with another text in place of its `policy.toml`. Models that are in memory are not
    /// loaded again, and it does not wait for gates. As long as the caller keeps what is returned, a release with this
    /// text does not load them again either.
    ///
    /// # Errors
    /// Everything that is wrong with the text; as [`Deployer::release`].
    pub fn check_policy(&self, release: &ReleaseFiles, policy: &str) -> Result<Arc<Release>, RegistryError> {
        let files = ReleaseFiles { policy: policy.to_owned(), ..release.clone() };
        let (deployer, in_memory) = (self.clone(), self.in_memory());
        let loaded = self.parts().background.load.run(move || deployer.load_files(&files, &in_memory));
        loaded.map_err(|error| RegistryError::Internal(error.to_string()))?.map(Arc::new)
    }

    /// Whether a release is in memory.
    pub(crate) fn has_in_memory(&self, release: u64) -> bool {
        self.find_warm(release).is_some()
    }

    /// A release with the customers of the store.
    ///
    /// # Errors
    /// When the customers do not fit its schema.
    pub fn with_customers_of_store(&self, release: Arc<Release>) -> Result<Arc<Snapshot>, RegistryError> {
        let customers = self.shared.customers.under(release.schema()).map_err(RegistryError::Unsound)?;
        Ok(Arc::new(Snapshot { release, customers }))
    }

    fn load_beside(&self, files: ReleaseFiles) -> Result<Arc<Release>, RegistryError> {
        let (deployer, in_memory) = (self.clone(), self.in_memory());
        let loaded = self.parts().background.judge.run(move || deployer.load_files(&files, &in_memory));
        loaded.map_err(|error| RegistryError::Internal(error.to_string()))?.map(Arc::new)
    }

    fn load(&self, number: u64, in_memory: &[Arc<Release>]) -> Result<Arc<Snapshot>, RegistryError> {
        let began = Instant::now();
        let files = self.parts().store.release(number)?;
        let snapshot = self.with_customers_of_store(Arc::new(self.load_files(&files, in_memory)?))?;
        self.count_load(number, began);
        Ok(snapshot)
    }

    fn count_load(&self, release: u64, began: Instant) {
        self.parts().metrics.release_loaded(began.elapsed());
        tracing::info!(release, took = ?began.elapsed(), "loaded");
    }

    fn load_files(&self, files: &ReleaseFiles, in_memory: &[Arc<Release>]) -> Result<Release, RegistryError> {
        self.load_files_without(files, in_memory, Unfit::default())
    }

    /// Loads a release whose shadows do without the versions that are `unfit`, or that could not be run for a release
    /// in memory.
    fn load_files_without(
        &self,
        files: &ReleaseFiles,
        in_memory: &[Arc<Release>],
        mut unfit: Unfit,
    ) -> Result<Release, RegistryError> {
        let parts = self.parts();
        let (mut versions, answering) = (files.versions(), files.answering_versions());
        let known = in_memory.iter().flat_map(|release| release.unfit());
        let known: Unfit = known.filter(|(version, _)| versions.contains(*version)).map(owned).collect();
        unfit.extend(known.clone());
        versions.retain(|version| answering.contains(version) || !unfit.contains_key(version));
        for (name, version) in &versions {
            match parts.store.fetch_version(name, *version).map_err(missing_pin) {
                Err(error) if !answering.contains(&(name.clone(), *version)) => {
                    let release = files.record.number;
                    tracing::warn!(release, model = name, version, %error, "a shadow's version cannot be fetched");
                }
                fetched => _ = fetched?,
            }
        }
        trust(&parts.store, &versions, parts.cache.runtime());
        let source = ReleaseSource::of_store(&parts.store, files);
        let mut release =
            Release::load_without(&source, &parts.cache, &unfit).map_err(RegistryError::Unsound)?;
        release.keep_unfit(known);
        for refusal in refusals(&release, &source).iter() {
            tracing::warn!(release = files.record.number, %refusal, "a new release would be refused for this; it decides as before");
        }
        release.warm_up_to_serve(&parts.cache, in_memory).map_err(RegistryError::Unsound)?;
        Ok(release)
    }

    /// The releases in memory: the serving one first.
    fn in_memory(&self) -> Vec<Arc<Release>> {
        let warm = self.lock().warm.iter().map(|snapshot| Arc::clone(&snapshot.release)).collect::<Vec<_>>();
        let serving = self.parts().publisher.serving().map(|snapshot| Arc::clone(&snapshot.release));
        serving.into_iter().chain(warm).collect()
    }

    fn find_warm(&self, number: u64) -> Option<Arc<Snapshot>> {
        let serving = self.parts().publisher.serving();
        let published = self.lock();
        let found = serving.iter().chain(&published.warm).find(|known| known.release.number() == number);
        found.map(Arc::clone)
    }

    /// The snapshot with the latest customers if they are in memory; else with its own, which the next poll renews.
    fn with_customers(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        match self.shared.customers.known(snapshot.release.schema()) {
            Some(customers) if !Arc::ptr_eq(&customers, &snapshot.customers) => {
                Arc::new(Snapshot { release: Arc::clone(&snapshot.release), customers })
            }
            _ => snapshot,
        }
    }
}

fn owned((version, why): (&(String, u64), &Problems)) -> ((String, u64), Problems) {
    (version.clone(), why.clone())
}

/// What the shadows of a release that is loaded at once do without: what is not in memory, and no answer needs.
fn left_out(
    all: &BTreeSet<(String, u64)>,
    answering: &BTreeSet<(String, u64)>,
    loaded: &BTreeSet<(String, u64)>,
) -> Unfit {
    all.difference(answering).filter(|version| !loaded.contains(*version)).map(not_in_memory).collect()
}

/// Why the shadows of a release that is loaded at once do without a version.
fn not_in_memory(version: &(String, u64)) -> ((String, u64), Problems) {
    let mut why = Problems::new();
    let file = format!("{}/{}", version.0, version.1);
    why.push(
        file,
        None,
        "is not in memory, and the release had to serve at once; promote a release to load it",
    );
    (version.clone(), why)
}

/// The release exists, but a version that it pins does not.
fn missing_pin(error: StoreError) -> RegistryError {
    if matches!(error, StoreError::NoSuchVersion { .. }) {
        return RegistryError::Precondition(error.to_string());
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn versions() -> impl Strategy<Value = BTreeSet<(String, u64)>> {
        let name = prop_oneof![Just("a"), Just("b")].prop_map(str::to_owned);
        prop::collection::btree_set((name, 1..6_u64), 0..8)
    }

    proptest! {
        /// A step goes to the arms of an experiment at once: nothing is loaded for it that was not in memory.
        #[test]
        fn a_step_loads_no_version_of_a_shadow(
            answering in versions(), of_shadows in versions(), in_memory in versions(),
        ) {
            let all: BTreeSet<_> = answering.union(&of_shadows).cloned().collect();
            // Those that answers need are in memory, else it is not loaded at once.
            let loaded: BTreeSet<_> = in_memory.union(&answering).cloned().collect();
            let absent = left_out(&all, &answering, &loaded);
            prop_assert!(answering.iter().all(|version| !absent.contains_key(version)));
            let needed: BTreeSet<_> = all.into_iter().filter(|version| !absent.contains_key(version)).collect();
            prop_assert!(needed.is_subset(&loaded));
            // And what is there is used.
            prop_assert!(of_shadows.intersection(&loaded).all(|version| needed.contains(version)));
            prop_assert!(absent.values().all(|why| why.to_string().contains("promote a release to load it")));
        }
    }

    #[test]
    fn what_answers_need_is_never_left_out() {
        let set = |versions: &[u64]| -> BTreeSet<(String, u64)> {
            versions.iter().map(|version| ("m".to_owned(), *version)).collect()
        };
        let absent = left_out(&set(&[1, 2, 3]), &set(&[1, 2]), &set(&[1]));
        assert_eq!(absent.into_keys().collect::<BTreeSet<_>>(), set(&[3]));
    }
}
