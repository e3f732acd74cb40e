//! Which versions are loaded for variants, what they take the place of, and what is said of those that cannot decide.

use std::fs;
use std::path::{Path, PathBuf};

use model::onnx::OnnxRuntime;

use super::super::Release;
use super::*;

const FEATURES: &str = "\
    [[feature]]\nname = 'balance'\ntype = 'float'\nentity = 'customer'\ndefault = 100.0\n\
    [[feature]]\nname = 'income'\ntype = 'float'\nentity = 'customer'\ndefault = 100.0\n\
    [[feature]]\nname = 'annual_fee'\ntype = 'float'\nentity = 'offer'\ndefault = 1.0\nrange = [0, 500]\n";

const POLICY: &str = "\
    [[category]]\nid = 'c'\n[[placement]]\nid = 'home'\nchannels = ['app']\ncount = 1\nmodel = 'm'\n";

const OFFER: &str =
    "[[offer]]\nid = 'gold'\nname = 'Gold'\ncategory = 'c'\nplacements = ['home']\nvalue = 9.0\n";

const CALIBRATION: &str = "[calibration]\nmethod = 'platt'\na = 1.0\nb = 0.0\n";

/// A directory with versions 1 and 2 of a model.
fn two_versions() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "m/1", "balance", "");
    write(directory.path(), "m/2", "income", "");
    directory
}

/// Writes a version of a model that takes this feature of a customer; `calibration` ends its manifest.
fn write(models: &Path, version: &str, input: &str, calibration: &str) {
    let graph = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx/pushed_good.onnx");
    let version = models.join(version);
    fs::create_dir_all(&version).unwrap();
    fs::copy(&graph, version.join("model.onnx")).unwrap();
    let manifest = format!(
        "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['{input}', 'annual_fee']\n{calibration}"
    );
    fs::write(version.join("model.toml"), manifest).unwrap();
}

/// Loads a release that pins version 1 of these models.
fn load_from(models: &Path, pinned: &[&str], offers: &str, policy: &str) -> Result<Release, Problems> {
    let pins = pinned.iter().map(|name| ((*name).to_owned(), 1)).collect();
    let source = ReleaseSource {
        number: 0,
        features: FEATURES,
        offers,
        policy,
        models_dir: models.to_owned(),
        store: None,
        pins: &pins,
    };
    Release::load(&source, &GraphCache::new(OnnxRuntime::load().unwrap(), 1))
}

/// An experiment of four arms in this state; the last three have these versions of `m`.
fn versions_tried(state: &str, versions: [u64; 3]) -> String {
    let variant =
        |id: &str, changes: &str| format!("[[experiment.variant]]\nid = '{id}'\nweight = 0.25\n{changes}\n");
    let [b, c, d] = versions.map(|version| format!("models = {{ m = {version} }}"));
    let variants = [variant("a", ""), variant("b", &b), variant("c", &c), variant("d", &d)].concat();
    format!("{POLICY}[[experiment]]\nid = 'e'\nstate = '{state}'\ncoverage = 1.0\n{variants}")
}

#[test]
fn versions_of_variants_are_loaded_once_behind_the_pinned_ones() {
    let names = |release: &Release| -> Vec<String> {
        release.models().iter().map(|model| format!("{}/{}", model.name(), model.version())).collect()
    };
    let directory = two_versions();
    let load = |policy: &str| load_from(directory.path(), &["m"], OFFER, policy).unwrap();
    for state in ["draft", "running", "paused"] {
        let release = load(&versions_tried(state, [2, 2, 1]));
        assert_eq!(names(&release), ["m/1", "m/2"], "{state}");
        assert_eq!(release.pinned_models().len(), 1);
        // The version that the release pins anyway takes the place of nothing.
        let by = Replacement { pinned: ModelIndex::new(0), by: ModelIndex::new(1) };
        let replaced = [0, 1, 2, 3].map(|variant| release.replacements(0, variant).to_vec());
        assert_eq!(replaced, [vec![], vec![by], vec![by], vec![]], "{state}");
        // Without a variant, the pinned version scores.
        let scorer = release.scorer(PlacementIndex::new(0), OfferIndex::new(0)).unwrap();
        assert_eq!(scorer.model, by.pinned);
    }
    // An experiment that is over needs nothing, not even that the version is there.
    let over = load(&versions_tried("stopped", [2, 9, 1]));
    assert_eq!(names(&over), ["m/1"]);
    assert!((0..4).all(|variant| over.replacements(0, variant).is_empty()));
}

#[test]
fn a_version_of_a_variant_that_cannot_decide_is_named_with_its_line() {
    let directory = two_versions();
    let models = directory.path();
    write(models, "m/2", "balanse", "");
    let segments = models.join("m/3");
    fs::create_dir_all(&segments).unwrap();
    fs::write(segments.join("model.toml"), "kind = 'segmentation'\n").unwrap();
    fs::write(
        segments.join("segments.json"),
        r#"{
            "format_version": 1,
            "features": [
                { "name": "balance", "impute": 0.5, "log1p": false, "mean": 0.0, "deviation": 1.0, "range": [0, 1] }
            ],
            "segments": [
                { "id": 0, "name": "Quiet", "size": 2, "centroid": [0.2] },
                { "id": 1, "name": "Busy", "size": 1, "centroid": [0.8] }
            ],
            "inertia": 0.0,
            "training": { "rows": 3, "k": 2, "seed": 42, "n_init": 10 }
        }"#,
    )
    .unwrap();
    let policy = versions_tried("running", [9, 3, 2]);
    let found = load_from(models, &["m"], OFFER, &policy).unwrap_err();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let line = |part: &str| policy.lines().position(|line| line == part).unwrap() + 1;
    for expected in [
        format!(
            "policy.toml:{}: experiment `e` variant `b`: there is no version 9 of model `m`; push it first or name \
             another one",
            line("models = { m = 9 }")
        ),
        format!(
            "policy.toml:{}: experiment `e` variant `c`: version 3 of model `m` gives no propensity; its `kind` must \
             be propensity or recommendation",
            line("models = { m = 3 }")
        ),
    ] {
        assert!(found.contains(&expected), "{expected} is not in {found:#?}");
    }
    // What is wrong inside of a version is in its own file.
    let inside = |one: &String| one.starts_with("m/2/model.toml") && one.contains("balanse");
    assert!(found.iter().any(inside), "{found:#?}");
}

#[test]
fn a_version_of_a_variant_is_calibrated_where_several_models_compete() {
    let directory = tempfile::tempdir().unwrap();
    let models = directory.path();
    write(models, "m/1", "balance", CALIBRATION);
    write(models, "m/2", "income", "");
    write(models, "n/1", "balance", CALIBRATION);
    // Another model scores a category at the first placement, and none at the second.
    let other = "[[category]]\nid = 'd'\n[[placement]]\nid = 'home'\nchannels = ['app']\ncount = 1\nmodel = 'm'\n\
                 [[placement.scorer]]\nmodel = 'n'\ncategories = ['d']\n\
                 [[placement]]\nid = 'shop'\nchannels = ['app']\ncount = 1\nmodel = 'm'\n";
    let offers = format!(
        "{}{}",
        OFFER.replace("['home']", "['home', 'shop']"),
        OFFER.replace("'gold'", "'loan'").replace("category = 'c'", "category = 'd'")
    );
    let policy = |placement: &str| {
        let tried = versions_tried("running", [2, 1, 1]);
        let experiment = &tried[POLICY.len()..];
        let here = format!("id = 'e'\nplacements = ['{placement}']\n");
        format!("[[category]]\nid = 'c'\n{other}{}", experiment.replacen("id = 'e'\n", &here, 1))
    };
    let at_home = policy("home");
    let found = load_from(models, &["m", "n"], &offers, &at_home).unwrap_err().to_string();
    let line = at_home.lines().position(|line| line == "models = { m = 2 }").unwrap() + 1;
    let expected = format!(
        "policy.toml:{line}: experiment `e` variant `b`: placement `home` uses several models, and version 2 of `m` \
         is not calibrated"
    );
    assert!(found.starts_with(&expected) && found.contains("calibrate it in m/2/model.toml"), "{found}");
    // Where it is the only model, there is nothing to compare.
    load_from(models, &["m", "n"], &offers, &policy("shop")).unwrap();
    write(models, "m/2", "income", CALIBRATION);
    load_from(models, &["m", "n"], &offers, &at_home).unwrap();
}
