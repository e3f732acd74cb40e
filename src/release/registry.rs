//! What the store holds and how it comes in: pushing, judging, listing and deleting model versions; making and comparing releases.
//!
//! Whatever is refused has changed nothing. What serves is not decided here but by the [`Deployer`]. The same registry works
//! in a server and on the command line over a store. Start reading at [`Registry::finish_push`] and
//! [`Registry::create_release`].

mod diff;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use self::upload::Upload;
use super::background::{self, Lane};
use super::gates::{self, Candidate, Champion};
use super::store::NewRelease;
use super::{
    CreatedRelease, Deployer, Deployment, ModelSummary, Publisher, PushHeader, Pushed, RegistryError,
    Release, ReleaseDiff, ReleaseDraft, ReleaseFiles, ReleaseList, ReleaseSource, Store, Verdict,
    VersionDetail, VersionState, VersionSummary, fault, review,
};
use crate::document::Problems;
use crate::feature::store::CustomerSource;
use crate::feature::{FeatureSchema, RecentRows};
use crate::model::onnx::{OnnxCache, OnnxRuntime};
use crate::model::{Call, Manifest};
use crate::telemetry::{Metrics, Readiness};

/// The most bytes of one upload, all files together, where nobody says otherwise.
pub const UPLOAD_BYTES: u64 = 2 << 30;

/// What a registry needs.
pub struct Holdings {
    /// The store.
    pub store: Store,
    /// Models in memory, shared with what serves.
    pub cache: Arc<OnnxCache>,
    /// What serves, whose features and models a new version is judged against.
    pub publisher: Publisher,
    /// Rows of recent requests, by which distributions are compared.
    pub recent: Arc<RecentRows>,
    /// Where gates are counted.
    pub metrics: Arc<Metrics>,
    /// The most bytes of one upload.
    pub upload_bytes: u64,
}

/// What the store holds; clones are handles to the same one.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Holdings>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.shared.store.location()).finish()
    }
}

impl Registry {
    /// A registry over a store.
    #[must_use]
    pub fn new(holdings: Holdings) -> Self {
        Self { shared: Arc::new(holdings) }
    }

    /// A registry and a deployer over `store` without a server: what they load serves nobody, and whoever follows the store does.
    ///
    /// # Errors
    /// When ONNX Runtime cannot be had.
    pub fn offline(store: Store) -> Result<(Self, Deployer), RegistryError> {
        let runtime = OnnxRuntime::load().map_err(|error| RegistryError::Precondition(error.to_string()))?;
        let cache = Arc::new(OnnxCache::new(runtime, 1));
        let (publisher, metrics) = (Publisher::default(), Arc::new(Metrics::new()));
        let deployer = Deployer::new(Deployment {
            store: store.clone(),
            cache: Arc::clone(&cache),
            repository: None,
            publisher: publisher.clone(),
            readiness: Readiness::default(),
            metrics: Arc::clone(&metrics),
            keep_warm: 0,
        });
        let recent = Arc::new(RecentRows::new(0));
        let registry =
            Self::new(Holdings { store, cache, publisher, recent, metrics, upload_bytes: UPLOAD_BYTES });
        Ok((registry, deployer))
    }

    /// Checks what is announced and makes room for it.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] with the field; [`RegistryError::Exists`] where the number is taken by other bytes.
    pub fn begin_push(&self, header: PushHeader) -> Result<Upload, RegistryError> {
        upload::check(&header, self.shared.upload_bytes)?;
        if let Some(features) = &header.features {
            FeatureSchema::parse("features.toml", features)
                .map_err(|problems| invalid("header.features_toml", problems.to_string()))?;
        }
        let manifest = upload::complete_manifest(&header)?;
        let store = &self.shared.store;
        if header.version > 0 && store.has_version(&header.name, header.version) {
            // The manifest has the checksum of every file: where it is the same, all is.
            let known = store.version(&header.name, header.version)?;
            if known.manifest != manifest {
                return Err(RegistryError::Exists(format!(
                    "version {} of `{}` is there already and is another one; versions never change: push under the next \
                     number",
                    header.version, header.name
                )));
            }
        }
        Upload::new(store.stage()?, header, manifest)
    }

    /// Makes the upload a version, runs the gates, and stores what they said. Where the version was there already, and judged, its
    /// verdict stands.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] where bytes are missing or are not what was announced; nothing is left behind then.
    pub fn finish_push(&self, upload: Upload) -> Result<Pushed, RegistryError> {
        let (header, staged) = upload.finish()?;
        fault::point("push.uploaded");
        let store = &self.shared.store;
        let wanted = (header.version > 0).then_some(header.version);
        let placed = store.add_version(&header.name, wanted, staged)?;
        tracing::info!(model = header.name, version = placed.version, created = placed.created, "pushed");
        let verdict = match store.verdict(&header.name, placed.version)? {
            Some(verdict) => verdict,
            None => {
                let (registry, name) = (self.clone(), header.name.clone());
                let judge = move || registry.judge(&name, placed.version, header.features.as_deref());
                let judged = background::run(Lane::Judge, judge)
                    .map_err(|error| RegistryError::Internal(error.to_string()))??;
                fault::point("push.judged");
                store.add_verdict(&header.name, placed.version, &judged)?
            }
        };
        Ok(Pushed { name: header.name, version: placed.version, created: placed.created, verdict })
    }

    /// Runs the gates over a version that is in the store.
    fn judge(&self, name: &str, version: u64, features: Option<&str>) -> Result<Verdict, RegistryError> {
        let store = &self.shared.store;
        let directory = store.fetch_version(name, version)?;
        let current = store.release(store.current()?.current.release)?;
        let present = FeatureSchema::parse("features.toml", &current.features)?;
        let announced = features.map(|features| FeatureSchema::parse("features.toml", features)).transpose();
        let announced =
            announced.map_err(|problems| invalid("header.features_toml", problems.to_string()))?;
        let champion = match current.record.models.get(name) {
            Some(pinned) if *pinned != version => Some((store.fetch_version(name, *pinned)?, *pinned)),
            _ => None,
        };
        let champion = champion.as_ref().map(|(directory, version)| Champion {
            directory,
            version: *version,
            schema: &present,
        });
        let candidate = Candidate {
            directory: &directory,
            name,
            version,
            schema: announced.as_ref().unwrap_or(&present),
            segments: self.segments_of(&current.record.models)?,
            champion,
            recent: &self.shared.recent.snapshot(),
            // Sessions of its own: those that serve are not kept from requests.
            cache: &OnnxCache::new(self.shared.cache.runtime().clone(), 1),
        };
        let gates = gates::judge(&candidate);
        for report in &gates {
            self.shared.metrics.gate(&report.gate, report.outcome.word());
        }
        let verdict = Verdict::of(gates, current.record.number);
        tracing::info!(model = name, version, passed = verdict.passed, "judged");
        Ok(verdict)
    }

    /// How many segments the segmentation among these versions has.
    fn segments_of(&self, pins: &BTreeMap<String, u64>) -> Result<Option<usize>, RegistryError> {
        for (name, version) in pins {
            if let Some(count) = gates::segments_in(&self.shared.store.fetch_version(name, *version)?) {
                return Ok(Some(count));
            }
        }
        Ok(None)
    }

    /// Every model, or the one of that name, with its versions.
    ///
    /// # Errors
    /// When there is no model of that name, or the store cannot be read.
    pub fn models(&self, name: Option<&str>) -> Result<Vec<ModelSummary>, RegistryError> {
        let store = &self.shared.store;
        let pins = store.release_record(store.current()?.current.release)?.models;
        let mut models = Vec::new();
        for (model, versions) in store.versions()? {
            if name.is_some_and(|name| name != model) {
                continue;
            }
            let mut summaries = Vec::with_capacity(versions.len());
            for version in versions {
                summaries.push(self.summary(&model, version, pins.get(&model) == Some(&version))?);
            }
            models.push(ModelSummary { name: model, versions: summaries });
        }
        match name {
            Some(name) if models.is_empty() => {
                Err(RegistryError::NotFound(format!("there is no model `{name}`")))
            }
            _ => Ok(models),
        }
    }

    fn summary(&self, name: &str, version: u64, current: bool) -> Result<VersionSummary, RegistryError> {
        let record = self.shared.store.version(name, version)?;
        let manifest = Manifest::parse("model.toml", &record.manifest).ok();
        let state = match self.shared.store.verdict(name, version)? {
            Some(Verdict { passed: true, .. }) => VersionState::Passed,
            Some(_) => VersionState::Failed,
            None => VersionState::Unjudged,
        };
        let kind = manifest.map_or_else(String::new, |manifest| manifest.kind.word().to_owned());
        Ok(VersionSummary { version, kind, bytes: record.bytes, state, current })
    }

    /// One version; 0 is the highest.
    ///
    /// # Errors
    /// When there is no such model or version.
    pub fn version(&self, name: &str, version: u64) -> Result<VersionDetail, RegistryError> {
        let store = &self.shared.store;
        let versions = store.versions()?;
        let Some(versions) = versions.get(name) else {
            return Err(RegistryError::NotFound(format!("there is no model `{name}`")));
        };
        let highest = versions.last().copied().unwrap_or_default();
        let version = if version == 0 { highest } else { version };
        let record = store.version(name, version)?;
        let directory = store.fetch_version(name, version)?;
        let files = upload::files_of(&directory, &record.manifest);
        let mut releases = Vec::new();
        for number in store.releases()? {
            // One that cannot be read pins nothing that could be served.
            if store.release_record(number).is_ok_and(|record| record.models.get(name) == Some(&version)) {
                releases.push(number);
            }
        }
        let verdict = store.verdict(name, version)?;
        Ok(VersionDetail {
            name: name.to_owned(),
            version,
            manifest: record.manifest,
            files,
            verdict,
            releases,
        })
    }

    /// Removes a version that no release pins. Its number is not used again.
    ///
    /// # Errors
    /// [`RegistryError::Precondition`] where a release pins it; [`RegistryError::NotFound`].
    pub fn delete_version(&self, name: &str, version: u64) -> Result<(), RegistryError> {
        self.shared.store.delete_version(name, version)?;
        tracing::info!(model = name, version, "deleted");
        Ok(())
    }

    /// Checks a bundle whole, as promoting would, and makes it the next release, if `call` still wants it then.
    ///
    /// # Errors
    /// [`RegistryError::Precondition`] where a version did not pass its gates, [`RegistryError::Unsound`] with everything
    /// that is wrong.
    pub fn create_release(&self, draft: &ReleaseDraft, call: &Call) -> Result<CreatedRelease, RegistryError> {
        let store = &self.shared.store;
        let base = if draft.base == 0 { store.current()?.current.release } else { draft.base };
        let base = store.release(base)?;
        let mut models = base.record.models.clone();
        for (name, version) in &draft.models {
            match version {
                0 => _ = models.remove(name),
                version => _ = models.insert(name.clone(), *version),
            }
        }
        self.refuse_unfit(&models)?;
        let [features, offers, policy] = [
            draft.features.as_ref().unwrap_or(&base.features),
            draft.offers.as_ref().unwrap_or(&base.offers),
            draft.policy.as_ref().unwrap_or(&base.policy),
        ];
        for (name, version) in &models {
            store.fetch_version(name, *version)?;
        }
        let (registry, pins) = (self.clone(), models.clone());
        let texts = [features, offers, policy].map(String::clone);
        let warnings = background::run(Lane::Judge, move || registry.check(&texts, &pins))
            .map_err(|error| RegistryError::Internal(error.to_string()))?
            .map_err(RegistryError::Unsound)?;
        fault::point("create.checked");
        call.check()?;
        let (author, note) = (&draft.author, &draft.note);
        let record =
            store.add_release(&NewRelease { author, note, models: &models, features, offers, policy })?;
        tracing::info!(release = record.number, by = record.author, "release made");
        Ok(CreatedRelease { record, warnings: warnings.iter().map(ToString::to_string).collect() })
    }

    /// Everything that would keep a release of these files and versions from serving, else what it is warned of.
    fn check(
        &self,
        [features, offers, policy]: &[String; 3],
        pins: &BTreeMap<String, u64>,
    ) -> Result<Problems, Problems> {
        let models_dir = self.shared.store.models_dir().to_owned();
        let source = ReleaseSource { number: 0, features, offers, policy, models_dir, store: None, pins };
        // Sessions of its own, as gates have: those that serve are not kept from requests.
        let cache = OnnxCache::new(self.shared.cache.runtime().clone(), 1);
        let release = Release::load(&source, &cache)?;
        let warnings = review(&release, &source).into_warnings()?;
        release.warm_up(cache.sessions(), &[])?;
        let serving = self.shared.publisher.serving();
        // The customers were read under this schema already, unless it is another.
        if serving.is_none_or(|serving| serving.release.schema() != release.schema()) {
            CustomerSource::new(self.shared.store.customers_dir()).load(release.schema())?;
        }
        Ok(warnings)
    }

    /// Every pinned version must be there and have passed its gates.
    fn refuse_unfit(&self, models: &BTreeMap<String, u64>) -> Result<(), RegistryError> {
        let store = &self.shared.store;
        let mut unfit = Vec::new();
        for (name, version) in models {
            if !store.has_version(name, *version) {
                return Err(RegistryError::NotFound(format!(
                    "there is no version {version} of a model `{name}`"
                )));
            }
            match store.verdict(name, *version)? {
                Some(verdict) if verdict.passed => {}
                Some(verdict) => {
                    unfit.push(format!("version {version} of `{name}` failed its gates: {}", verdict.failures()));
                }
                None => unfit.push(format!(
                    "version {version} of `{name}` was not judged: its push was cut; push the same files again"
                )),
            }
        }
        if unfit.is_empty() { Ok(()) } else { Err(RegistryError::Precondition(unfit.join("\n"))) }
    }

    /// One release with its files; 0 is the current one.
    ///
    /// # Errors
    /// When there is no such release, or it was damaged.
    pub fn release(&self, number: u64) -> Result<ReleaseFiles, RegistryError> {
        let number = if number == 0 { self.shared.store.current()?.current.release } else { number };
        Ok(self.shared.store.release(number)?)
    }

    /// At most `count` releases below `before` (0: from the newest), newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn releases(&self, count: usize, before: u64) -> Result<ReleaseList, RegistryError> {
        let store = &self.shared.store;
        let current = store.current()?.current;
        let mut releases = Vec::new();
        for number in
            store.releases()?.into_iter().rev().filter(|number| before == 0 || *number < before).take(count)
        {
            match store.release_record(number) {
                Ok(record) => releases.push(record),
                Err(error) => tracing::warn!(release = number, %error, "the release cannot be read"),
            }
        }
        Ok(ReleaseList { releases, current, serving: None })
    }

    /// What changes from one release to another; 0 is the current one.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn diff(&self, from: u64, to: u64) -> Result<ReleaseDiff, RegistryError> {
        Ok(diff::diff(&self.release(from)?, &self.release(to)?))
    }
}

fn invalid(field: impl Into<String>, message: impl Into<String>) -> RegistryError {
    RegistryError::Invalid { field: field.into(), message: message.into() }
}
