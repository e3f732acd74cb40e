//! The library of ONNX Runtime: found, loaded once, without telemetry. Also sessions with the options for serving.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use super::known::{GraphFacts, Known};
use crate::ModelError;
use work::priority::yield_if_due;

/// The version of ONNX Runtime that `scripts/fetch_onnxruntime.py` fetches and this code is tested with.
pub const VERSION: &str = "1.31.1";

/// ONNX Runtime reads this when its environment is made. The API that disables telemetry comes too late: files are
/// written by then.
const TELEMETRY_SWITCH: &str = "ORT_DISABLE_TELEMETRY";

/// The one environment of the process, made on first use and never dropped.
static SHARED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);

/// ONNX Runtime, ready to load models. Clones are cheap and share the environment of the process.
#[derive(Debug, Clone)]
pub struct OnnxRuntime {
    environment: Environment,
    known: Arc<Known>,
}

/// Sets `ORT_DISABLE_TELEMETRY=1` for this process, unless it is set already. Call it at the top of `main`.
///
/// # Errors
/// [`ModelError::TooLateForTelemetry`] when other threads exist, which may read the environment.
pub fn disable_telemetry() -> Result<(), ModelError> {
    if telemetry_is_off() {
        return Ok(());
    }
    let threads = threads_of_this_process();
    if threads > 1 {
        return Err(ModelError::TooLateForTelemetry { threads });
    }
    // SAFETY: no other thread exists that could read or write the environment. That was checked above where the
    // operating system reports threads, and the documentation of this function requires it everywhere.
    #[expect(unsafe_code, reason = "there is no safe way to set a variable that a C library will read")]
    unsafe {
        env::set_var(TELEMETRY_SWITCH, "1");
    }
    Ok(())
}

fn telemetry_is_off() -> bool {
    env::var_os(TELEMETRY_SWITCH).as_deref() == Some(OsStr::new("1"))
}

/// The thread count on Linux. Elsewhere it is unknown, and the caller is trusted.
fn threads_of_this_process() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

impl OnnxRuntime {
    /// Loads the library, or returns the loaded one. It is searched for at `ORT_DYLIB_PATH` if that is set. Else the
    /// places are: beside the executable, `var/onnxruntime/` under the current directory, and the same under the
    /// executable's checkout.
    ///
    /// # Errors
    /// When no library is found or its version is wrong, with the command that fetches it. When telemetry is not
    /// disabled; see [`disable_telemetry`].
    pub fn load() -> Result<Self, ModelError> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*shared {
            return Ok(runtime.clone());
        }
        if !telemetry_is_off() {
            return Err(ModelError::TelemetryOn);
        }
        let path = find_library()?;
        let unusable = |message: String| ModelError::RuntimeUnusable { path: path.clone(), message };
        let environment = ort::init_from(&path)
            .map_err(|error| unusable(error.to_string()))?
            .with_name("proffer")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        let runtime = Self { environment, known: Arc::default() };
        *shared = Some(runtime.clone());
        Ok(runtime)
    }

    /// Stores what the gates found of graphs, so that it is not computed again here.
    pub fn trust(&self, facts: impl IntoIterator<Item = GraphFacts>) {
        facts.into_iter().for_each(|facts| self.known.trust(facts));
    }

    /// The facts of the graph whose file has this SHA-256, in hexadecimal.
    #[must_use]
    pub fn facts(&self, sha256: &str) -> Option<GraphFacts> {
        self.known.facts(sha256)
    }

    /// What this process knows of models.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// A session of a model whose bytes were checked. Weights in other files come from `directory`.
    pub(super) fn session(&self, model: &[u8], directory: &Path) -> Result<Session, ModelError> {
        yield_if_due();
        let directory = directory.canonicalize()?;
        let directory = directory.to_str().ok_or(ModelError::Load("its path is not Unicode".to_owned()))?;
        // One thread per session: requests run side by side, not inside each other. An idle thread that spins, or an
        // arena that never shrinks, costs more than it gains at batches of a few dozen rows.
        let build = || -> ort::Result<Session> {
            Session::builder(&self.environment)?
                .with_execution_providers([ep::CPU::default().with_arena_allocator(false).build()])?
                .with_intra_threads(1)?
                .with_inter_threads(1)?
                .with_intra_op_spinning(false)?
                .with_inter_op_spinning(false)?
                .with_parallel_execution(false)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_log_level(LogLevel::Warning)?
                .with_config_entry("session.model_external_initializers_file_folder_path", directory)?
                .commit_from_memory(model)
        };
        build().map_err(|error| ModelError::Load(error.to_string()))
    }
}

fn log(level: LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info => {}
        LogLevel::Warning => tracing::warn!(target: "onnxruntime", category, location, "{message}"),
        LogLevel::Error | LogLevel::Fatal => {
            tracing::error!(target: "onnxruntime", category, location, "{message}");
        }
    }
}

/// The library that [`OnnxRuntime::load`] would load: an absolute path.
///
/// # Errors
/// When the library is in none of the searched places.
pub fn find_library() -> Result<PathBuf, ModelError> {
    let named = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    let looked_for = match named {
        Some(path) => vec![PathBuf::from(path)],
        None => usual_places(env::current_exe().ok().as_deref(), env::current_dir().ok().as_deref()),
    };
    let found = looked_for.iter().find(|path| path.is_file());
    // Made absolute, because the loader resolves a relative path against the executable first.
    let found = found.and_then(|path| path.canonicalize().ok());
    found.ok_or(ModelError::RuntimeNotFound { looked_for })
}

/// Where the library may be, best first. `target/release/proffer` and `target/debug/deps/…` are two and three levels
/// below their checkout.
fn usual_places(executable: Option<&Path>, current: Option<&Path>) -> Vec<PathBuf> {
    let library = if cfg!(target_os = "macos") {
        format!("libonnxruntime.{VERSION}.dylib")
    } else {
        format!("libonnxruntime.so.{VERSION}")
    };
    let mut places = Vec::new();
    let mut add = |path: PathBuf| {
        if !places.contains(&path) {
            places.push(path);
        }
    };
    let folder = executable.and_then(Path::parent);
    if let Some(folder) = folder {
        add(folder.join(&library));
    }
    let checkouts = folder.into_iter().flat_map(|folder| folder.ancestors().skip(2).take(2));
    for checkout in current.into_iter().chain(checkouts) {
        add(checkout.join("var").join("onnxruntime").join(&library));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_looked_for_beside_the_executable_then_in_the_checkouts() {
        let places =
            usual_places(Some(Path::new("/code/target/release/proffer")), Some(Path::new("/elsewhere")));
        let folders: Vec<_> = places.iter().map(|path| path.parent().unwrap().to_str().unwrap()).collect();
        let expected = [
            "/code/target/release",
            "/elsewhere/var/onnxruntime",
            "/code/var/onnxruntime",
            "/var/onnxruntime",
        ];
        assert_eq!(folders, expected);
        assert!(places.iter().all(|path| path.to_str().unwrap().contains(VERSION)));
    }

    #[test]
    fn the_process_has_one_environment() {
        let (first, second) = (OnnxRuntime::load().unwrap(), OnnxRuntime::load().unwrap());
        let address = |runtime: &OnnxRuntime| format!("{:?}", runtime.environment);
        assert_eq!(address(&first), address(&second));
    }

    #[test]
    fn a_missing_runtime_is_answered_with_the_command_that_fetches_it() {
        let error = ModelError::RuntimeNotFound { looked_for: usual_places(None, Some(Path::new("/x"))) };
        let message = error.to_string();
        assert!(message.contains("make onnxruntime") && message.contains("/x/var/onnxruntime"), "{message}");
    }
}
