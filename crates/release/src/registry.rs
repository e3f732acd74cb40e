//! What the store contains and how it gets there: push, judge, list and delete model versions; create and compare
//! releases.
//!
//! A refused call changes nothing. The [`Deployer`](super::Deployer) decides what serves, not this file. The same
//! registry works in a server and for the command line on a store. Start reading at [`Registry::finish_push`] and
//! [`Registry::create_release`].

mod diff;
mod sample;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use self::upload::Upload;
use super::gates;
use super::judging::{AbsolutePath, Judgement, Question, ServingVersion};
use super::load::trust;
use super::store::{NewRelease, needed};
use super::{
    CreatedRelease, Current, Evidence, Judges, ModelSummary, Publisher, PushHeader, Pushed, RegistryError,
    Release, ReleaseDiff, ReleaseDraft, ReleaseFiles, ReleaseList, ReleaseSource, Store, StoreError, Verdict,
    VersionDetail, VersionState, VersionSummary, fault, review,
};
use document::Problems;
use feature::store::CustomerSource;
use feature::{FeatureSchema, RecentRows};
use model::GraphCache;
use model::Manifest;
use telemetry::Metrics;
use work::{Call, IdleThread};

/// The default limit for the bytes of one upload, all files together.
pub const UPLOAD_BYTES: u64 = 2 << 30;

/// What a registry needs.
pub struct RegistryParts {
    /// The store.
    pub store: Store,
    /// Graphs in memory, shared with what serves.
    pub cache: Arc<GraphCache>,
    /// What serves: a pushed version is judged against its features and models.
    pub publisher: Publisher,
    /// Rows of recent requests, for comparing distributions.
    pub recent: Arc<RecentRows>,
    /// Counts the outcomes of gates.
    pub metrics: Arc<Metrics>,
    /// The most bytes of one upload.
    pub upload_bytes: u64,
    /// Starts the judging processes.
    pub judges: Judges,
    /// The thread of idle priority that waits for them and checks releases.
    pub judge: IdleThread,
}

/// The registry; clones are handles to the same one.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<RegistryParts>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.shared.store.location()).finish()
    }
}

impl Registry {
    /// A registry over a store.
    #[must_use]
    pub fn new(parts: RegistryParts) -> Self {
        Self { shared: Arc::new(parts) }
    }

    /// Checks the header of a push and makes a staging directory for its files.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] with the field; [`RegistryError::Exists`] where the number belongs to another
    /// version.
    pub fn begin_push(&self, header: PushHeader) -> Result<Upload, RegistryError> {
        upload::check(&header, self.shared.upload_bytes)?;
        if let Some(features) = &header.features {
            FeatureSchema::parse("features.toml", features)
                .map_err(|problems| invalid("header.features_toml", problems.to_string()))?;
        }
        let manifest = upload::complete_manifest(&header)?;
        let store = &self.shared.store;
        if header.version > 0 && store.has_version(&header.name, header.version)? {
            // The manifest has the checksum of every file: equal manifests mean equal files.
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

    /// Turns the upload into a version, runs the gates and stores their verdict. If the same version exists and was
    /// judged, its verdict stands.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] where bytes are missing or differ from the header; nothing is left behind then.
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
                let (verdict, evidence) = self
                    .shared
                    .judge
                    .run(judge)
                    .map_err(|error| RegistryError::Internal(error.to_string()))??;
                fault::point("push.judged");
                store.add_judgement(&header.name, placed.version, &verdict, &evidence)?
            }
        };
        Ok(Pushed { name: header.name, version: placed.version, created: placed.created, verdict })
    }

    /// Judges a stored version in a separate process; this process reads nothing of it.
    fn judge(
        &self,
        name: &str,
        version: u64,
        features: Option<&str>,
    ) -> Result<(Verdict, Evidence), RegistryError> {
        let store = &self.shared.store;
        let directory = store.fetch_version(name, version)?;
        let current = store.release(store.current()?.current.release)?;
        let present = FeatureSchema::parse("features.toml", &current.features)?;
        let pinned = current.record.models.get(name).filter(|pinned| **pinned != version);
        let champion =
            pinned.map(|pinned| Ok::<_, StoreError>((store.fetch_version(name, *pinned)?, *pinned)));
        let champion = champion.transpose()?;
        let sample = match &champion {
            Some((directory, _)) => self.sample(&current, &present, directory),
            None => gates::Sample::default(),
        };
        let under = features.unwrap_or(&current.features);
        let asked = Question::new(&directory, name, version, under, &sample);
        let mut asked = asked.map_err(|error| RegistryError::Internal(error.to_string()))?;
        asked.segments = self.segments_of(&current.record.models)?;
        let champion = champion.map(|(directory, version)| Ok((AbsolutePath::new(&directory)?, version)));
        let champion = champion
            .transpose()
            .map_err(|error: std::io::Error| RegistryError::Internal(error.to_string()))?;
        asked.champion = champion.map(|(directory, version)| ServingVersion {
            directory,
            version,
            features: current.features.clone(),
            // Without facts, the judging process verifies the champion's graphs against ONNX Runtime again.
            facts: store
                .judged(name, version)
                .ok()
                .flatten()
                .map(|(_, found)| found.graphs)
                .unwrap_or_default(),
        });
        let Judgement { gates, evidence } = self.shared.judges.judge(asked)?;
        for report in &gates {
            self.shared.metrics.gate(&report.gate, report.outcome.word());
        }
        let verdict = Verdict::of(gates, current.record.number);
        if verdict.passed {
            self.shared.cache.runtime().trust(evidence.graphs.iter().cloned());
        }
        tracing::info!(model = name, version, passed = verdict.passed, "judged");
        Ok((verdict, evidence))
    }

    /// The number of segments of the segmentation among these versions.
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

    /// One version; 0 means the highest.
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
        let releases = store.readable_pinned_by(name, version)?;
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

    /// Whether the store has a release of this number.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_release(&self, number: u64) -> Result<bool, RegistryError> {
        Ok(self.shared.store.has_release(number)?)
    }

    /// Whether the store has this version.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_version(&self, name: &str, version: u64) -> Result<bool, RegistryError> {
        Ok(self.shared.store.has_version(name, version)?)
    }

    /// Deletes a version that no release pins. Its number is never used again.
    ///
    /// # Errors
    /// [`RegistryError::Precondition`] where a release pins it; [`RegistryError::NotFound`].
    pub fn delete_version(&self, name: &str, version: u64) -> Result<(), RegistryError> {
        self.shared.store.delete_version(name, version)?;
        tracing::info!(model = name, version, "deleted");
        Ok(())
    }

    /// Checks a draft as a promotion would and writes it as the next release, unless `call` is over by then.
    ///
    /// # Errors
    /// [`RegistryError::Precondition`] where a version did not pass its gates; [`RegistryError::Unsound`] with every
    /// problem found.
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
        let [features, offers, policy] = [
            draft.features.as_ref().unwrap_or(&base.features),
            draft.offers.as_ref().unwrap_or(&base.offers),
            draft.policy.as_ref().unwrap_or(&base.policy),
        ];
        let mut versions = needed(&models, policy);
        // The check names the line of a variant whose version is missing.
        for (name, version) in versions.clone() {
            if models.get(&name) != Some(&version) && !store.has_version(&name, version)? {
                versions.remove(&(name, version));
            }
        }
        self.refuse_unfit(&versions)?;
        for (name, version) in &versions {
            store.fetch_version(name, *version)?;
        }
        let (registry, pins) = (self.clone(), models.clone());
        let texts = [features, offers, policy].map(String::clone);
        let warnings = self
            .shared
            .judge
            .run(move || registry.check(&texts, &pins))
            .map_err(|error| RegistryError::Internal(error.to_string()))?
            .map_err(RegistryError::Unsound)?;
        fault::point("create.checked");
        call.check()?;
        let (author, note) = (&draft.author, &draft.note);
        let step = draft.step.as_ref();
        let new = NewRelease { author, note, models: &models, features, offers, policy, step };
        let record = store.add_release(&new)?;
        tracing::info!(release = record.number, by = record.author, "release made");
        Ok(CreatedRelease { record, warnings: warnings.iter().map(ToString::to_string).collect() })
    }

    /// The warnings about a release of these files and versions. The error lists every problem that would keep it
    /// from serving.
    fn check(
        &self,
        [features, offers, policy]: &[String; 3],
        pins: &BTreeMap<String, u64>,
    ) -> Result<Problems, Problems> {
        let models_dir = self.shared.store.models_dir().to_owned();
        let source = ReleaseSource { number: 0, features, offers, policy, models_dir, store: None, pins };
        // Its own sessions, as for gates: those that serve stay free for requests.
        let cache = GraphCache::new(self.shared.cache.runtime().clone(), 1);
        trust(&self.shared.store, &needed(pins, policy), cache.runtime());
        let release = Release::load(&source, &cache)?;
        let warnings = review(&release, &source).into_warnings()?;
        release.warm_up(cache.sessions(), &[])?;
        let serving = self.shared.publisher.serving();
        // The current customers were read under the serving schema; another schema must be checked against them.
        if serving.is_none_or(|serving| serving.release.schema() != release.schema()) {
            CustomerSource::new(self.shared.store.customers_dir()).load(release.schema())?;
        }
        Ok(warnings)
    }

    /// Refuses versions that are missing or have not passed their gates.
    fn refuse_unfit(&self, versions: &BTreeSet<(String, u64)>) -> Result<(), RegistryError> {
        let store = &self.shared.store;
        let mut unfit = Vec::new();
        for (name, version) in versions {
            if !store.has_version(name, *version)? {
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

    /// One release with its files; 0 means the current one.
    ///
    /// # Errors
    /// When there is no such release, or it is damaged.
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

    /// At most `count` promotions and rollbacks with a sequence below `before` (0: from the latest), latest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn promotions(&self, count: usize, before: u64) -> Result<Vec<Current>, RegistryError> {
        let before = if before == 0 { u64::MAX } else { before };
        let mut promotions = self.shared.store.promotions_before(before, count)?;
        promotions.reverse();
        Ok(promotions)
    }

    /// What changes from one release to another; 0 means the current one.
    ///
    /// # Errors
    /// When one of them does not exist.
    pub fn diff(&self, from: u64, to: u64) -> Result<ReleaseDiff, RegistryError> {
        Ok(diff::diff(&self.release(from)?, &self.release(to)?))
    }
}

fn invalid(field: impl Into<String>, message: impl Into<String>) -> RegistryError {
    RegistryError::Invalid { field: field.into(), message: message.into() }
}
