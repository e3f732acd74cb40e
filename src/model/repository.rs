//! The models of the store that anyone may run by name, with or without a manifest.
//!
//! Owns which version of which model is loaded for that: the one that the release pins, else the highest that can be
//! loaded. Reading takes no lock; loading happens in [`Repository::refresh`], on a thread of the caller's that may wait.
//! A model that cannot be loaded is remembered with the reason and stops nothing else. Never decides what a release uses.
//! Start reading at [`Repository::find`].

mod directory;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use self::directory::{Layout, Source, Stamp, Stamps};
use super::ModelError;
use super::onnx::{OnnxCache, OnnxModel};
use crate::document::suggestion;
use crate::priority::pause;

/// The directory `models/` of a store: `<name>/<version>/model.onnx`.
///
/// Versions are positive integers and immutable: one that is loaded is not read again while its file is there.
/// Where a version holds `<offer id>.onnx` files instead, each is a model of its own named `<name>/<offer id>`.
/// `M` is what a file is loaded as.
pub struct Repository<M = OnnxModel> {
    root: PathBuf,
    load: Load<M>,
    index: ArcSwap<Index<M>>,
    /// Keeps two refreshes from meeting.
    refreshed: Mutex<Refreshed<M>>,
}

/// What one refresh leaves to the next.
struct Refreshed<M> {
    /// What was loaded once and may still be in use.
    retired: Vec<Arc<M>>,
    /// What the directory had when it was looked at last.
    layout: Layout,
}

/// A version that is loaded.
#[derive(Debug)]
pub struct ServedModel<M = OnnxModel> {
    /// Its number.
    pub version: u64,
    /// The model itself.
    pub model: Arc<M>,
}

/// Why no model can be had under a name and version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// No directory of that name holds a version.
    #[error("there is no model `{name}`{hint}")]
    ModelNotFound {
        /// The name that was asked for.
        name: String,
        /// A name that may have been meant, as the end of the sentence.
        hint: String,
    },
    /// The model has other versions.
    #[error("model `{name}` has no version {version}; it has {}", list(versions))]
    VersionNotFound {
        /// The model.
        name: String,
        /// The version that was asked for.
        version: u64,
        /// Those that it has, ascending.
        versions: Vec<u64>,
    },
    /// The version is there, but another one serves.
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
    /// The version is there, but damaged, unsupported or incomplete.
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

type Load<M> = Box<dyn Fn(&Path) -> Result<Arc<M>, String> + Send + Sync>;
type Index<M> = BTreeMap<String, Entry<M>>;

/// The versions of one model.
struct Entry<M> {
    /// What an empty version means: loaded, or why not.
    preferred: u64,
    versions: BTreeMap<u64, Slot<M>>,
}

/// What is known of a version.
enum Slot<M> {
    Loaded(Arc<M>),
    /// Tried in vain; tried again when the files no longer have this stamp.
    Failed {
        reason: String,
        stamp: Stamp,
    },
    /// Not wanted.
    Idle,
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Loaded(model) => Self::Loaded(Arc::clone(model)),
            Self::Failed { reason, stamp } => Self::Failed { reason: reason.clone(), stamp: stamp.clone() },
            Self::Idle => Self::Idle,
        }
    }
}

impl Repository {
    /// The models below `root`, loaded through `cache`, so that a release and this repository share what both use.
    /// Empty until the first [`Repository::refresh`].
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, cache: Arc<OnnxCache>) -> Self {
        let load = move |path: &Path| {
            let model = cache.load(path)?;
            // Whoever asks for what an engine of ours serves by name is the exception.
            if !model.is_native() {
                model.make_sessions()?;
            }
            Ok(model)
        };
        Self::with_loader(root, move |path| load(path).map_err(|error: ModelError| error.to_string()))
    }
}

impl<M> Repository<M> {
    fn with_loader(
        root: impl Into<PathBuf>,
        load: impl Fn(&Path) -> Result<Arc<M>, String> + Send + Sync + 'static,
    ) -> Self {
        let refreshed = Mutex::new(Refreshed { retired: Vec::new(), layout: Layout::new() });
        Self { root: root.into(), load: Box::new(load), index: ArcSwap::default(), refreshed }
    }

    /// The loaded model of that name and version; without a version, the pinned one, else the highest that can be loaded.
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

    /// Brings what is loaded in line with the directory and with `pins` (model name → version of the current release),
    /// in one step for readers. Cheap when nothing changed, so it may be called every second; costs as much as loading
    /// takes when something did.
    ///
    /// # Errors
    /// When the directory cannot be read for a reason that may pass; everything stays as it was.
    pub fn refresh(&self, pins: &BTreeMap<String, u64>) -> io::Result<()> {
        let mut refreshed = self.refreshed.lock().unwrap_or_else(PoisonError::into_inner);
        refreshed.layout = directory::scan(&self.root)?;
        self.settle_all(&mut refreshed, pins);
        Ok(())
    }

    /// The same after `pins` changed, without a look at what else is new in the directory if it had these versions at the last look.
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
        self.settle_all(&mut refreshed, pins);
        Ok(())
    }

    fn settle_all(&self, refreshed: &mut Refreshed<M>, pins: &BTreeMap<String, u64>) {
        let Refreshed { retired, layout } = refreshed;
        // What no request uses any more is destroyed here, and not by the request that happens to be the last.
        retired.retain(|model| Arc::strong_count(model) > 1);
        let before = self.index.load_full();
        let (mut index, mut stamps) = (Index::new(), Stamps::default());
        for (name, sources) in &*layout {
            pause();
            let model = name.split_once('/').map_or(name.as_str(), |(model, _)| model);
            let entry = self.settle(name, sources, pins.get(model).copied(), before.get(name), &mut stamps);
            index.insert(name.clone(), entry);
        }
        retired.extend(before.iter().flat_map(|(name, entry)| {
            let kept = index.get(name);
            entry.loaded().filter(move |model| !kept.is_some_and(|kept| kept.holds(model))).map(Arc::clone)
        }));
        self.index.store(Arc::new(index));
    }

    /// The entry of one model: of the versions that may serve, the first that can be loaded.
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
            let slot = if wanted { self.fill(name, version, source, known, stamps) } else { Slot::Idle };
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
        name: &str,
        version: u64,
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
        // Taken before the file is read: what is written meanwhile is seen next time.
        let stamp = stamps.of(file);
        if let Some(Slot::Failed { reason, stamp: tried }) = known
            && tried == stamp
        {
            return Slot::Failed { reason: reason.clone(), stamp: stamp.clone() };
        }
        match (self.load)(file) {
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

impl<M> Entry<M> {
    fn loaded(&self) -> impl Iterator<Item = &Arc<M>> {
        self.versions.values().filter_map(|slot| match slot {
            Slot::Loaded(model) => Some(model),
            Slot::Failed { .. } | Slot::Idle => None,
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

    /// A repository whose models are the texts of their files, and in which `broken` cannot be loaded.
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
            let repository = Repository::with_loader(root.path(), move |path| {
                counter.fetch_add(1, Ordering::Relaxed);
                match fs::read_to_string(path).unwrap() {
                    text if text.starts_with("broken") => Err(format!("{} is {text}", path.display())),
                    text => Ok(Arc::new(text)),
                }
            });
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
    fn pins_are_followed_to_versions_that_are_known_and_to_new_ones() {
        let texts = Texts::new();
        texts.write("card/1/model.onnx", "one");
        texts.refresh(&[("card", 1)]);
        texts.write("card/2/model.onnx", "two");
        texts.write("other/1/model.onnx", "new");
        let follow = |pin| texts.repository.follow(&[("card".to_owned(), pin)].into()).unwrap();
        follow(1);
        assert!(texts.find("other", None).unwrap_err().contains("no model"), "nobody looked");
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
