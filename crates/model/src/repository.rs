//! The models of the store that clients may run by name, with or without a manifest.
//!
//! Chooses the version of each model to load: the one that the release pins, else the highest that loads. Unjudged
//! files are not loaded; the owner decides for each file through a [`Permit`]. Reading takes no lock. Loading happens
//! in [`Repository::refresh`], on a thread of the caller's that may block. A model that fails to load is kept with the
//! reason and affects no other. Never decides what a release uses. Start reading at [`Repository::find`].

mod directory;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use self::directory::{Layout, Source, Stamp, Stamps};
use super::{GraphCache, LoadedGraph, ModelError};

use document::suggestion;
use work::priority::yield_if_due;

/// The directory `models/` of a store: `<name>/<version>/model.onnx`.
///
/// Versions are positive integers and immutable: a loaded one is not read again while its file exists. Where a version
/// holds `<offer id>.onnx` files instead, each is a model of its own named `<name>/<offer id>`. `M` is the type that a
/// file is loaded as.
pub struct Repository<M = LoadedGraph> {
    root: PathBuf,
    load: Load<M>,
    permits: Permits,
    index: ArcSwap<Index<M>>,
    /// Serialises refreshes.
    refreshed: Mutex<Refreshed<M>>,
}

/// State between refreshes.
struct Refreshed<M> {
    /// Models that were loaded and may still be in use.
    retired: Vec<Arc<M>>,
    /// The directory at the last scan.
    layout: Layout,
}

/// A loaded version.
#[derive(Debug)]
pub struct ServedModel<M = LoadedGraph> {
    /// Its number.
    pub version: u64,
    /// The model itself.
    pub model: Arc<M>,
}

/// Why a model cannot be served under a name and version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// No directory of that name holds a version.
    #[error("there is no model `{name}`{hint}")]
    ModelNotFound {
        /// The name that was asked for.
        name: String,
        /// A similar name, as the end of the sentence.
        hint: String,
    },
    /// The model does not have this version.
    #[error("model `{name}` has no version {version}; it has {}", list(versions))]
    VersionNotFound {
        /// The model.
        name: String,
        /// The version that was asked for.
        version: u64,
        /// The versions that it has, ascending.
        versions: Vec<u64>,
    },
    /// The version exists, but another one serves.
    #[error(
        "version {version} of model `{name}` is not loaded; {}",
        serving.map_or_else(|| "nor is any other".to_owned(), |serving| format!("version {serving} is"))
    )]
    NotLoaded {
        /// The model.
        name: String,
        /// The version that was asked for.
        version: u64,
        /// The one that serves.
        serving: Option<u64>,
    },
    /// The version was loaded, and then taken out of service.
    #[error("version {version} of model `{name}` does not answer: {reason}")]
    NotInService {
        /// The model.
        name: String,
        /// The version.
        version: u64,
        /// Why.
        reason: String,
    },
    /// The version exists, but is damaged, unsupported or incomplete.
    #[error("version {version} of model `{name}` cannot be loaded: {reason}")]
    CannotLoad {
        /// The model.
        name: String,
        /// The version.
        version: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whether a file may be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// The bytes with this SHA-256, in hexadecimal, passed.
    Passed(String),
    /// The file failed, and why.
    Failed(String),
    /// The file is not judged yet, and why.
    Unjudged(String),
}

/// Gives the permit of a file of a model that no release pins, by name, version and path.
pub type Permits = Box<dyn Fn(&str, u64, &Path) -> Permit + Send + Sync>;

/// What a refresh loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The models that the release pins, which are in memory.
    Pinned,
    /// All models of the directory.
    All,
}

type Load<M> = Box<dyn Fn(&Path, Option<&str>) -> Result<Arc<M>, String> + Send + Sync>;
type Index<M> = BTreeMap<String, Entry<M>>;

/// The versions of one model.
struct Entry<M> {
    /// The version for a request without one, loaded or not.
    preferred: u64,
    versions: BTreeMap<u64, Slot<M>>,
}

/// What is known of a version.
enum Slot<M> {
    Loaded(Arc<M>),
    /// Failed to load. Tried again when the files' stamp changes.
    Failed {
        reason: String,
        stamp: Stamp,
    },
    /// Not judged; checked again at the next refresh.
    Unjudged(String),
    /// Not wanted.
    Idle,
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Loaded(model) => Self::Loaded(Arc::clone(model)),
            Self::Failed { reason, stamp } => Self::Failed { reason: reason.clone(), stamp: stamp.clone() },
            Self::Unjudged(why) => Self::Unjudged(why.clone()),
            Self::Idle => Self::Idle,
        }
    }
}

impl Repository {
    /// The models below `root`, loaded through `cache`, so that a release and this repository share them. Each needs a
    /// permit. Empty until the first [`Repository::refresh`].
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, cache: Arc<GraphCache>, permits: Permits) -> Self {
        let load = move |path: &Path, sha256: Option<&str>| {
            let model = match sha256 {
                Some(sha256) => cache.load_only(path, sha256)?,
                None => cache.load(path)?,
            };
            // Calls by name to natively served models are rare.
            if !model.is_native() {
                model.onnx().make_first(cache.sessions())?;
            }
            Ok(model)
        };
        let load = move |path: &Path, sha256: Option<&str>| {
            load(path, sha256).map_err(|error: ModelError| error.to_string())
        };
        Self::with_loader(root, load, permits)
    }
}

impl<M> Repository<M> {
    fn with_loader(
        root: impl Into<PathBuf>,
        load: impl Fn(&Path, Option<&str>) -> Result<Arc<M>, String> + Send + Sync + 'static,
        permits: Permits,
    ) -> Self {
        let refreshed = Mutex::new(Refreshed { retired: Vec::new(), layout: Layout::new() });
        Self { root: root.into(), load: Box::new(load), permits, index: ArcSwap::default(), refreshed }
    }

    /// The loaded model of that name and version. Without a version: the pinned one, else the highest that loads.
    ///
    /// # Errors
    /// When there is no such model or version, or it is not loaded, with the reason.
    pub fn find(&self, name: &str, version: Option<u64>) -> Result<ServedModel<M>, RepositoryError> {
        let index = self.index.load();
        let Some(entry) = index.get(name) else {
            let hint = suggestion(name, index.keys().map(String::as_str));
            return Err(RepositoryError::ModelNotFound { name: name.to_owned(), hint });
        };
        let version = version.unwrap_or(entry.preferred);
        match entry.versions.get(&version) {
            Some(Slot::Loaded(model)) => Ok(ServedModel { version, model: Arc::clone(model) }),
            Some(Slot::Failed { reason, .. }) => {
                Err(RepositoryError::CannotLoad { name: name.to_owned(), version, reason: reason.clone() })
            }
            Some(Slot::Unjudged(why)) => {
                Err(RepositoryError::CannotLoad { name: name.to_owned(), version, reason: why.clone() })
            }
            Some(Slot::Idle) => {
                Err(RepositoryError::NotLoaded { name: name.to_owned(), version, serving: entry.serving() })
            }
            None => Err(RepositoryError::VersionNotFound {
                name: name.to_owned(),
                version,
                versions: entry.versions.keys().copied().collect(),
            }),
        }
    }

    /// Loads what the directory and `pins` (model name → version of the current release) require. Readers see one
    /// atomic change. Cheap when nothing changed, so it may run every second.
    ///
    /// # Errors
    /// When the directory cannot be read for a transient reason. Nothing changes then.
    pub fn refresh(&self, pins: &BTreeMap<String, u64>) -> io::Result<()> {
        self.look(pins, Extent::All)
    }

    /// Does the same only for the models of `pins`, which a release has in memory, so it is fast. Other models stay
    /// unchanged.
    ///
    /// # Errors
    /// As [`Repository::refresh`].
    pub fn refresh_pinned(&self, pins: &BTreeMap<String, u64>) -> io::Result<()> {
        self.look(pins, Extent::Pinned)
    }

    fn look(&self, pins: &BTreeMap<String, u64>, extent: Extent) -> io::Result<()> {
        let mut refreshed = self.refreshed.lock().unwrap_or_else(PoisonError::into_inner);
        refreshed.layout = directory::scan(&self.root)?;
        self.settle_all(&mut refreshed, pins, extent);
        Ok(())
    }

    /// Does the same after `pins` changed. Scans the directory only if the last scan did not have these versions.
    ///
    /// # Errors
    /// As [`Repository::refresh`].
    pub fn follow(&self, pins: &BTreeMap<String, u64>) -> io::Result<()> {
        let mut refreshed = self.refreshed.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |(name, version): (&String, &u64)| {
            refreshed.layout.get(name).is_some_and(|versions| versions.contains_key(version))
        };
        if !pins.iter().all(has) {
            refreshed.layout = directory::scan(&self.root)?;
        }
        self.settle_all(&mut refreshed, pins, Extent::All);
        Ok(())
    }

    fn settle_all(&self, refreshed: &mut Refreshed<M>, pins: &BTreeMap<String, u64>, extent: Extent) {
        let Refreshed { retired, layout } = refreshed;
        // Unused models are dropped here, not in the request that used them last.
        retired.retain(|model| Arc::strong_count(model) > 1);
        let before = self.index.load_full();
        let (mut index, mut stamps) = (Index::new(), Stamps::default());
        for (name, sources) in &*layout {
            yield_if_due();
            let model = name.split_once('/').map_or(name.as_str(), |(model, _)| model);
            let pin = pins.get(model).copied();
            let entry = match (extent, pin) {
                (Extent::Pinned, None) => before.get(name).map_or_else(|| Entry::idle(sources), Entry::clone),
                _ => self.settle(name, sources, pin, before.get(name), &mut stamps),
            };
            index.insert(name.clone(), entry);
        }
        retired.extend(before.iter().flat_map(|(name, entry)| {
            let kept = index.get(name);
            entry.loaded().filter(move |model| !kept.is_some_and(|kept| kept.holds(model))).map(Arc::clone)
        }));
        self.index.store(Arc::new(index));
    }

    /// The entry of one model: of the versions that may serve, the first that loads.
    fn settle(
        &self,
        name: &str,
        sources: &BTreeMap<u64, Source>,
        pin: Option<u64>,
        before: Option<&Entry<M>>,
        stamps: &mut Stamps,
    ) -> Entry<M> {
        let highest = sources.keys().next_back().copied().unwrap_or_default();
        let mut entry = Entry { preferred: pin.unwrap_or(highest), versions: BTreeMap::new() };
        let mut serving = false;
        for (&version, source) in sources.iter().rev() {
            let wanted = !serving && pin.is_none_or(|pin| pin == version);
            let known = before.and_then(|entry| entry.versions.get(&version));
            let slot = if wanted {
                self.fill((name, version, pin.is_some()), source, known, stamps)
            } else {
                Slot::Idle
            };
            if matches!(slot, Slot::Loaded(_)) {
                serving = true;
                entry.preferred = version;
            }
            entry.versions.insert(version, slot);
        }
        entry
    }

    fn fill(
        &self,
        (name, version, pinned): (&str, u64, bool),
        source: &Source,
        known: Option<&Slot<M>>,
        stamps: &mut Stamps,
    ) -> Slot<M> {
        let file = match source {
            Source::File(file) => file,
            Source::PerOffer => {
                let reason = format!("it has one model per offer; ask for `{name}/<offer id>`");
                return Slot::Failed { reason, stamp: Stamp::default() };
            }
            Source::Empty => {
                let reason = "it has no ONNX file".to_owned();
                return Slot::Failed { reason, stamp: Stamp::default() };
            }
        };
        if let Some(Slot::Loaded(model)) = known {
            return Slot::Loaded(Arc::clone(model));
        }
        // Taken before the file is read, so that the next refresh sees later writes.
        let stamp = stamps.of(file);
        if let Some(Slot::Failed { reason, stamp: tried }) = known
            && tried == stamp
        {
            return Slot::Failed { reason: reason.clone(), stamp: stamp.clone() };
        }
        // A pinned version has passed, and the release has it in memory.
        let permit = if pinned { None } else { Some((self.permits)(name, version, file)) };
        let sha256 = match &permit {
            None => None,
            Some(Permit::Passed(sha256)) => Some(sha256.as_str()),
            Some(Permit::Unjudged(why)) => return Slot::Unjudged(why.clone()),
            Some(Permit::Failed(reason)) => {
                tracing::warn!(model = name, version, reason, "model is not loaded");
                return Slot::Failed { reason: reason.clone(), stamp: stamp.clone() };
            }
        };
        match (self.load)(file, sha256) {
            Ok(model) => {
                tracing::debug!(model = name, version, "model loaded for the Open Inference Protocol");
                Slot::Loaded(model)
            }
            Err(reason) => {
                // A client learns what is wrong with the file, not where the store is.
                let reason = reason.replace(&format!("{}/", self.root.display()), "");
                tracing::warn!(model = name, version, reason, "model cannot be loaded");
                Slot::Failed { reason, stamp: stamp.clone() }
            }
        }
    }
}

impl<M> std::fmt::Debug for Repository<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("root", &self.root).finish_non_exhaustive()
    }
}

impl<M> Clone for Entry<M> {
    fn clone(&self) -> Self {
        Self { preferred: self.preferred, versions: self.versions.clone() }
    }
}

impl<M> Entry<M> {
    /// Versions before their first load.
    fn idle(sources: &BTreeMap<u64, Source>) -> Self {
        let preferred = sources.keys().next_back().copied().unwrap_or_default();
        Self { preferred, versions: sources.keys().map(|version| (*version, Slot::Idle)).collect() }
    }

    fn loaded(&self) -> impl Iterator<Item = &Arc<M>> {
        self.versions.values().filter_map(|slot| match slot {
            Slot::Loaded(model) => Some(model),
            Slot::Failed { .. } | Slot::Unjudged(_) | Slot::Idle => None,
        })
    }

    fn serving(&self) -> Option<u64> {
        matches!(self.versions.get(&self.preferred), Some(Slot::Loaded(_))).then_some(self.preferred)
    }

    fn holds(&self, model: &Arc<M>) -> bool {
        self.loaded().any(|held| Arc::ptr_eq(held, model))
    }
}

fn list(versions: &[u64]) -> String {
    versions.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A repository whose models are the texts of their files. `broken` cannot be loaded.
    struct Texts {
        root: tempfile::TempDir,
        repository: Repository<String>,
        loads: Arc<AtomicUsize>,
    }

    impl Texts {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let loads = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&loads);
            let permits = |_: &str, _: u64, path: &Path| {
                if path.with_extension("unjudged").exists() {
                    return Permit::Unjudged("it is not judged".to_owned());
                }
                Permit::Passed("its SHA-256".to_owned())
            };
            let load = move |path: &Path, _: Option<&str>| {
                counter.fetch_add(1, Ordering::Relaxed);
                match fs::read_to_string(path).unwrap() {
                    text if text.starts_with("broken") => Err(format!("{} is {text}", path.display())),
                    text => Ok(Arc::new(text)),
                }
            };
            let repository = Repository::with_loader(root.path(), load, Box::new(permits));
            Self { root, repository, loads }
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn refresh(&self, pins: &[(&str, u64)]) {
            let pins = pins.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect();
            self.repository.refresh(&pins).unwrap();
        }

        fn find(&self, name: &str, version: Option<u64>) -> Result<(u64, String), String> {
            match self.repository.find(name, version) {
                Ok(found) => Ok((found.version, found.model.to_string())),
                Err(error) => Err(error.to_string()),
            }
        }
    }

    #[test]
    fn the_highest_version_serves_and_others_are_known_but_not_loaded() {
        let texts = Texts::new();
        texts.write("card/2/model.onnx", "two");
        texts.write("card/10/model.onnx", "ten");
        texts.refresh(&[]);
        assert_eq!(texts.find("card", None), Ok((10, "ten".to_owned())));
        assert_eq!(texts.find("card", Some(10)), Ok((10, "ten".to_owned())));
        let idle = texts.find("card", Some(2)).unwrap_err();
        assert_eq!(idle, "version 2 of model `card` is not loaded; version 10 is");
        let missing = texts.find("card", Some(3)).unwrap_err();
        assert_eq!(missing, "model `card` has no version 3; it has 2, 10");
        let unknown = texts.find("cart", None).unwrap_err();
        assert_eq!(unknown, "there is no model `cart`; did you mean `card`?");
    }

    #[test]
    fn a_pinned_version_serves_instead_of_the_highest() {
        let texts = Texts::new();
        texts.write("card/1/model.onnx", "one");
        texts.write("card/2/model.onnx", "two");
        texts.write("affinity/1/gold.onnx", "gold 1");
        texts.write("affinity/2/gold.onnx", "gold 2");
        texts.refresh(&[("card", 1), ("affinity", 1)]);
        assert_eq!(texts.find("card", None), Ok((1, "one".to_owned())));
        assert!(texts.find("card", Some(2)).unwrap_err().contains("not loaded"));
        assert_eq!(texts.find("affinity/gold", None), Ok((1, "gold 1".to_owned())));
        let whole = texts.find("affinity", None).unwrap_err();
        assert!(whole.ends_with("it has one model per offer; ask for `affinity/<offer id>`"), "{whole}");
    }

    #[test]
    fn an_unjudged_file_is_not_loaded_until_it_passed() {
        let texts = Texts::new();
        texts.write("card/1/model.onnx", "one");
        texts.write("card/2/model.onnx", "two");
        texts.write("card/2/model.unjudged", "");
        texts.write("other/1/model.onnx", "other");
        texts.repository.refresh_pinned(&[("other".to_owned(), 1)].into()).unwrap();
        assert_eq!(texts.find("other", None), Ok((1, "other".to_owned())));
        assert!(texts.find("card", None).unwrap_err().contains("is not loaded"));
        texts.refresh(&[]);
        assert_eq!(texts.find("card", None), Ok((1, "one".to_owned())));
        let unjudged = texts.find("card", Some(2)).unwrap_err();
        assert_eq!(unjudged, "version 2 of model `card` cannot be loaded: it is not judged");
        assert_eq!(texts.loads.load(Ordering::Relaxed), 2);
        fs::remove_file(texts.root.path().join("card/2/model.unjudged")).unwrap();
        texts.refresh(&[]);
        assert_eq!(texts.find("card", None), Ok((2, "two".to_owned())));
    }

    #[test]
    fn pins_are_followed_to_versions_that_are_known_and_to_new_ones() {
        let texts = Texts::new();
        texts.write("card/1/model.onnx", "one");
        texts.refresh(&[("card", 1)]);
        texts.write("card/2/model.onnx", "two");
        texts.write("other/1/model.onnx", "new");
        let follow = |pin| texts.repository.follow(&[("card".to_owned(), pin)].into()).unwrap();
        follow(1);
        assert!(texts.find("other", None).unwrap_err().contains("no model"), "not refreshed yet");
        follow(2);
        assert_eq!(texts.find("card", None), Ok((2, "two".to_owned())));
        assert_eq!(texts.find("other", None), Ok((1, "new".to_owned())));
        follow(1);
        assert_eq!(texts.find("card", None), Ok((1, "one".to_owned())));
    }

    #[test]
    fn a_damaged_version_is_named_with_its_reason_and_stops_nothing_else() {
        let texts = Texts::new();
        texts.write("bad/1/model.onnx", "broken by hand");
        texts.write("card/1/model.onnx", "one");
        texts.write("card/2/model.onnx", "broken");
        texts.refresh(&[]);
        let reason = texts.find("bad", None).unwrap_err();
        assert_eq!(reason, "version 1 of model `bad` cannot be loaded: bad/1/model.onnx is broken by hand");
        assert_eq!(texts.find("card", None), Ok((1, "one".to_owned())));
        assert!(texts.find("card", Some(2)).unwrap_err().contains("cannot be loaded"));
    }

    #[test]
    fn a_file_is_tried_again_only_when_something_beside_it_changed() {
        let texts = Texts::new();
        texts.write("card/1/model.onnx", "broken, for half of it is missing");
        texts.refresh(&[]);
        texts.refresh(&[]);
        assert_eq!(texts.loads.load(Ordering::Relaxed), 1);
        texts.write("card/1/model.onnx", "whole");
        texts.refresh(&[]);
        assert_eq!(texts.find("card", None), Ok((1, "whole".to_owned())));
        texts.refresh(&[]);
        assert_eq!(texts.loads.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_new_version_takes_over_and_a_removed_model_goes() {
        let texts = Texts::new();
        texts.write("card/1/model.onnx", "one");
        texts.refresh(&[]);
        let in_use = texts.repository.find("card", None).unwrap().model;
        texts.write("card/2/model.onnx", "two");
        texts.refresh(&[]);
        assert_eq!(texts.find("card", None), Ok((2, "two".to_owned())));
        assert_eq!(Arc::strong_count(&in_use), 2, "the request and the repository, which destroys it");
        fs::remove_dir_all(texts.root.path().join("card")).unwrap();
        texts.refresh(&[]);
        assert!(texts.find("card", None).unwrap_err().starts_with("there is no model"));
        let gone = Arc::downgrade(&in_use);
        drop(in_use);
        texts.refresh(&[]);
        assert!(gone.upgrade().is_none());
    }
}
