//! Small workspaces with one model, whose offers and limits a test chooses.

use std::fs;
use std::path::Path;

const FEATURES: &str = "\
[[feature]]
name = 'balance'
type = 'float'
entity = 'customer'
default = 100.0
range = [0.0, 20000.0]

[[feature]]
name = 'consent_news'
type = 'bool'
entity = 'customer'

[[feature]]
name = 'annual_fee'
type = 'float'
entity = 'offer'
default = 1.0
range = [0.0, 100.0]
";

const MANIFEST: &str = "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['balance', 'annual_fee']\n";

/// Writes a workspace without customers, with the model `m`.
pub(crate) fn write(directory: &Path, offers: &str, policy: &str) {
    let version = directory.join("m/1");
    fs::create_dir_all(&version).unwrap();
    let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx/pushed_good.onnx");
    fs::copy(graph, version.join("model.onnx")).unwrap();
    fs::write(version.join("model.toml"), MANIFEST).unwrap();
    for (file, text) in [("features.toml", FEATURES), ("offers.toml", offers), ("policy.toml", policy)] {
        fs::write(directory.join(file), text).unwrap();
    }
}
