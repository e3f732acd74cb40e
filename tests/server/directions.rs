//! Reversed scores: an inverted calibration never goes live unnoticed.

use std::path::{Path, PathBuf};

use super::binary::{Ended, command, init, proffer};
use super::harness::{Copy, Server, rank_request, sample_workspace};

/// Coefficients from scikit-learn, where a negative slope rises; with `method = "platt"` it falls.
const PASTED: &str = "method = \"platt\"\na = -4.0\nb = 2.0\n";

/// A store of the sample in a temporary directory.
fn sample_store() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    (directory, store)
}

/// Replaces the calibration in the manifest of a version, and removes its checksums and golden rows, which no longer
/// hold.
fn recalibrate(version: &Path, calibration: &str) {
    let path = version.join("model.toml");
    let mut manifest: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    manifest.remove("checksums");
    manifest.remove("gates");
    manifest.insert("calibration".to_owned(), calibration.parse::<toml::Table>().unwrap().into());
    std::fs::write(path, toml::to_string(&manifest).unwrap()).unwrap();
    let _ = std::fs::remove_file(version.join("golden.csv"));
}

/// Pushes the sample's model `propensity` with another calibration to a store without a server.
fn push(store: &Path, calibration: &str) -> Ended {
    let copy = Copy::new();
    let version = copy.path().join("propensity/1");
    recalibrate(&version, calibration);
    let (store, version) = (store.to_str().unwrap(), version.to_str().unwrap());
    proffer(["model", "push", "propensity", version, "--store", store])
}

/// The line of a gate in the verdict.
fn gate<'e>(ended: &'e Ended, name: &str) -> &'e str {
    let found = ended.stdout.lines().find(|line| line.trim_start().starts_with(name));
    found.unwrap_or_else(|| panic!("no {name} in {ended:?}"))
}

#[test]
fn a_falling_calibration_fails_and_a_declared_one_is_compared_on_the_customers_of_the_store() {
    let (_directory, store) = sample_store();
    let pasted = push(&store, PASTED);
    assert_eq!(pasted.code, Some(1), "{pasted:?}");
    assert!(gate(&pasted, "calibration").contains("FAILED"), "{pasted:?}");
    assert!(gate(&pasted, "golden").contains("WARNING"), "{pasted:?}");
    assert!(pasted.stdout.contains("sklearn_sigmoid"), "{pasted:?}");
    let meant = push(&store, &format!("{PASTED}falling = true\n"));
    assert_eq!(meant.code, Some(1), "{meant:?}");
    assert!(gate(&meant, "calibration").contains("passed"), "{meant:?}");
    assert!(gate(&meant, "distribution").contains("FAILED"), "{meant:?}");
    assert!(meant.stdout.contains("customers of the store"), "{meant:?}");
    assert!(meant.stdout.contains("rank correlation -"), "{meant:?}");
    // The convention of scikit-learn under its own name preserves the order, and roughly the level.
    let named = push(&store, "method = \"sklearn_sigmoid\"\na = -8.0\nb = 3.4\n");
    assert!(gate(&named, "calibration").contains("passed"), "{named:?}");
    assert!(!named.stdout.contains("rank correlation -"), "{named:?}");
}

#[tokio::test]
async fn check_and_init_reject_a_calibration_that_a_stored_release_may_have() {
    let copy = Copy::new();
    let (_directory, store) = sample_store();
    recalibrate(&copy.path().join("propensity/1"), PASTED);
    let workspace = copy.path().to_str().unwrap();
    let elsewhere = store.with_file_name("elsewhere");
    for refused in [proffer(["check", workspace]), init(&elsewhere, copy.path())] {
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("propensity/1/model.toml:"), "{refused:?}");
        assert!(refused.stderr.contains("falling = true"), "{refused:?}");
    }
    // Earlier versions of Proffer accepted it: the release exists, so it is served.
    recalibrate(&store.join("models/propensity/1"), PASTED);
    let server = Server::over(&store, &[]);
    let answer =
        server.client().await.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner();
    assert_eq!(answer.release, 1);
    assert!(!answer.results[0].offers.is_empty(), "{answer:?}");
}

#[test]
fn a_version_is_compared_with_the_serving_one_wherever_the_store_is() {
    let (directory, store) = sample_store();
    let copy = Copy::new();
    let version = copy.path().join("propensity/1");
    let manifest = std::fs::read_to_string(version.join("model.toml")).unwrap();
    std::fs::write(version.join("model.toml"), format!("{manifest}# another version\n")).unwrap();
    // The judge has another working directory.
    let relative = store.strip_prefix(directory.path()).unwrap();
    let mut push = command();
    // The library's path may be relative to the test's working directory, which the command does not share.
    let library = std::path::absolute(model::onnx::find_library().unwrap()).unwrap();
    push.current_dir(directory.path()).env("ORT_DYLIB_PATH", library);
    push.args(["model", "push", "propensity"]).arg(&version);
    let pushed: Ended = push.arg("--store").arg(relative).output().unwrap().into();
    assert_eq!(pushed.code, Some(0), "{pushed:?}");
    assert!(gate(&pushed, "distribution").contains("passed"), "{pushed:?}");
}

#[test]
fn a_push_can_be_checked_against_predictions_of_the_training_library() {
    let (_directory, store) = sample_store();
    let copy = Copy::new();
    let version = copy.path().join("network/1");
    // The library's predictions as a user might export them: with an extra column and another column name.
    let golden = std::fs::read_to_string(version.join("golden.csv")).unwrap();
    std::fs::remove_file(version.join("golden.csv")).unwrap();
    let rows = copy.path().join("predictions.csv");
    let exported = |change: &dyn Fn(&str) -> String| {
        let lines = golden.lines().enumerate().map(|(at, line)| match at {
            0 => format!("index,{}\n", line.replace("expected:", "prediction:")),
            _ => format!("{at},{}\n", change(line)),
        });
        std::fs::write(&rows, lines.collect::<String>()).unwrap();
    };
    let push = || {
        let words =
            ["model", "push", "network", version.to_str().unwrap(), "--store", store.to_str().unwrap()];
        proffer(words.into_iter().chain(["--check-against", rows.to_str().unwrap()]))
    };
    exported(&str::to_owned);
    let same = push();
    assert_eq!(same.code, Some(0), "{same:?}");
    assert!(gate(&same, "golden").contains("passed"), "{same:?}");
    assert!(same.stdout.contains("columns that the model does not take: index"), "{same:?}");
    // The graph differs from the library's model.
    exported(&|line| line.rsplit_once(',').map(|(rest, _)| format!("{rest},0.987")).unwrap());
    let other = push();
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(gate(&other, "golden").contains("FAILED"), "{other:?}");
}
