//! Which models the Open Inference Protocol may load: versions that passed, and graphs without a manifest that ran in
//! a judging process.
//!
//! A version with a manifest is judged by its push or by `init`. If its push was interrupted, it stays unjudged until
//! the same files are pushed again. Graphs without a manifest are judged in the background, one after another. Their
//! results are kept by SHA-256 until the server ends.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::Judges;
use crate::Store;
use crate::records::{GateOutcome, Verdict};
use model::onnx::OnnxRuntime;
use model::{MAX_MANIFEST_BYTES, Manifest, Permit, read_text_at_most, sha256_of, sha256_of_file};
use work::IdleThread;

/// The most graphs without a manifest to remember; beyond it, all are forgotten and judged again.
const MOST: usize = 4096;

/// The most graphs that wait to be judged; the next poll asks for the others again.
const MAX_WAITING: usize = 64;

/// Decides for each file of a store whether a server may load it; clones share one state.
#[derive(Clone)]
pub struct Permits {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    runtime: OnnxRuntime,
    judges: Judges,
    thread: IdleThread,
    bare: Mutex<Bare>,
}

/// What is known about graphs without a manifest.
#[derive(Default)]
struct Bare {
    /// File → its size, modification time and SHA-256.
    digests: HashMap<PathBuf, (u64, Option<SystemTime>, String)>,
    /// SHA-256 → its permit.
    known: HashMap<String, Permit>,
    waiting: usize,
}

impl std::fmt::Debug for Permits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Permits").field(&self.shared.store.location()).finish()
    }
}

impl Permits {
    /// Permits for the models of `store`. Facts from its verdicts go to `runtime`. `thread` runs the judging of
    /// graphs without a manifest.
    #[must_use]
    pub fn new(store: Store, runtime: OnnxRuntime, judges: Judges, thread: IdleThread) -> Self {
        Self { shared: Arc::new(Shared { store, runtime, judges, thread, bare: Mutex::default() }) }
    }

    /// Whether `file` of a version may be loaded. Never waits for judging; reads the file if its SHA-256 is not known
    /// yet.
    #[must_use]
    pub fn of(&self, name: &str, version: u64, file: &Path) -> Permit {
        // `<name>/<offer id>` is a graph of a version of `<name>`.
        let model = name.split_once('/').map_or(name, |(model, _)| model);
        let manifest = file.with_file_name("model.toml");
        let found = if manifest.exists() {
            self.of_version(model, version, file, &manifest)
        } else {
            self.of_bare(file).map_err(|error| error.to_string())
        };
        found.unwrap_or_else(|reason| Permit::Unjudged(format!("whether it has passed is unknown: {reason}")))
    }

    fn of_version(&self, model: &str, version: u64, file: &Path, manifest: &Path) -> Result<Permit, String> {
        let judged = self.shared.store.judged(model, version).map_err(|error| error.to_string())?;
        let Some((verdict, evidence)) = judged else {
            return Ok(Permit::Unjudged(
                "it is not judged: its push was cut; push the same files again".to_owned(),
            ));
        };
        if !verdict.passed {
            return Ok(Permit::Failed(format!("it failed its gates: {}", verdict.failures())));
        }
        let text = read_text_at_most(manifest, MAX_MANIFEST_BYTES).map_err(|error| error.to_string())?;
        if !evidence.is_empty() && sha256_of(text.as_bytes()) != evidence.sha256 {
            return Ok(Permit::Failed(
                "its model.toml is not the one that passed: it was changed since".to_owned(),
            ));
        }
        let manifest = Manifest::parse("model.toml", &text).map_err(|problems| problems.to_string())?;
        let named = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((_, sha256)) = manifest.checksums.iter().find(|(name, _)| *name == named) else {
            return Ok(Permit::Failed(format!("its model.toml has no checksum of {named}")));
        };
        self.shared.runtime.trust(evidence.graphs);
        Ok(Permit::Passed(sha256.to_owned()))
    }

    fn of_bare(&self, file: &Path) -> io::Result<Permit> {
        let metadata = fs::metadata(file)?;
        let (size, modified) = (metadata.len(), metadata.modified().ok());
        let remembered = |bare: &Bare| {
            let (of_size, of_time, sha256) = bare.digests.get(file)?;
            (*of_size == size && *of_time == modified).then(|| sha256.clone())
        };
        let sha256 = match remembered(&self.shared.bare()) {
            Some(sha256) => sha256,
            None => sha256_of_file(file)?,
        };
        let mut bare = self.shared.bare();
        if bare.digests.len() >= MOST || bare.known.len() >= MOST {
            let waiting = bare.waiting;
            *bare = Bare { waiting, ..Bare::default() };
        }
        bare.digests.insert(file.to_owned(), (size, modified, sha256.clone()));
        if let Some(known) = bare.known.get(&sha256) {
            return Ok(known.clone());
        }
        let unjudged = Permit::Unjudged("it is being judged".to_owned());
        if bare.waiting < MAX_WAITING {
            let (shared, file) = (Arc::clone(&self.shared), file.to_owned());
            let asked = sha256.clone();
            self.shared.thread.start(move || shared.judge(&file, &asked))?;
            bare.waiting += 1;
            bare.known.insert(sha256, unjudged.clone());
        }
        Ok(unjudged)
    }
}

impl Shared {
    fn bare(&self) -> std::sync::MutexGuard<'_, Bare> {
        self.bare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, file: &Path, sha256: &str) {
        let judged = self.judges.judge_bare(file);
        let mut bare = self.bare();
        bare.waiting = bare.waiting.saturating_sub(1);
        let permit = match judged {
            Ok(judgement) => {
                let failed = judgement.gates.iter().any(|gate| gate.outcome == GateOutcome::Failed);
                let verdict = Verdict::of(judgement.gates, 0);
                if failed {
                    Permit::Failed(verdict.failures())
                } else if judgement.evidence.sha256 == sha256 {
                    Permit::Passed(sha256.to_owned())
                } else {
                    // The file was replaced meanwhile; the next poll judges the new one.
                    bare.known.remove(sha256);
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "a model cannot be judged; judging is tried again");
                bare.known.remove(sha256);
                return;
            }
        };
        bare.known.insert(sha256.to_owned(), permit);
    }
}
