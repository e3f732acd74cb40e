//! The recorded models, and the whole server with all of them in its store.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use crate::harness::{Copy, Server, data};

/// The folder of the recordings, or `None` and a message.
pub(super) fn folder() -> Option<PathBuf> {
    data("onnx_models").filter(|folder| folder.join("REFERENCE_RUNS.json").is_file())
}

/// The recordings, by file.
pub(super) fn reference(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("REFERENCE_RUNS.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["models"].take()
}

/// The sample workspace with every recorded file in addition to its models, served once for all tests that only read.
pub(super) fn server(folder: &Path) -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let workspace = Copy::new();
        let files = reference(folder);
        for file in files.as_object().unwrap().keys() {
            install(folder, file, workspace.path());
        }
        let server = Server::start(workspace.path(), &[]);
        let names: Vec<String> = files.as_object().unwrap().keys().map(|file| served_name(file)).collect();
        server.wait_until_judged(&names);
        server
    })
}

/// The name under which a recorded file is served: `sklearn/a.onnx` as `sklearn.a`.
pub(super) fn served_name(file: &str) -> String {
    file.trim_end_matches(".onnx").replace('/', ".")
}

/// Installs a recorded file as version 1 of a model, with its external weights.
fn install(recorded: &Path, file: &str, models: &Path) {
    let version = models.join(served_name(file)).join("1");
    std::fs::create_dir_all(&version).unwrap();
    std::fs::copy(recorded.join(file), version.join("model.onnx")).unwrap();
    let weights = recorded.join(format!("{file}.data"));
    if weights.is_file() {
        std::fs::copy(weights, version.join("model.onnx.data")).unwrap();
    }
}
