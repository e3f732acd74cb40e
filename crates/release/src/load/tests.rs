//! What a release takes from its experiments and new offers, shown with small releases.

use std::fs;

use super::*;

const FEATURES: &str = "\
    [[feature]]\nname = 'balance'\ntype = 'float'\nentity = 'customer'\ndefault = 100.0\n\
    [[feature]]\nname = 'income'\ntype = 'float'\nentity = 'customer'\ndefault = 100.0\n\
    [[feature]]\nname = 'age'\ntype = 'float'\nentity = 'customer'\ndefault = 40.0\n\
    [[feature]]\nname = 'annual_fee'\ntype = 'float'\nentity = 'offer'\ndefault = 1.0\nrange = [0, 500]\n";

const POLICY: &str = "\
    [[category]]\nid = 'c'\n[[placement]]\nid = 'home'\nchannels = ['app']\ncount = 1\nmodel = 'm'\n";

const OFFER: &str =
    "[[offer]]\nid = 'gold'\nname = 'Gold'\ncategory = 'c'\nplacements = ['home']\nvalue = 9.0\n";

const CALIBRATION: &str = "[calibration]\nmethod = 'platt'\na = 1.0\nb = 0.0\n";

/// Loads a release that pins version 1 of a model. Version 2, which takes the income instead of the balance, is there
/// for variants. `calibrations` are the ends of their manifests.
fn load(offers: &str, policy: &str, calibrations: [&str; 2]) -> Result<Release, Problems> {
    let [first, second] = calibrations;
    let versions = [
        ("pushed_good.onnx", "'balance', 'annual_fee'", first),
        ("pushed_good.onnx", "'income', 'annual_fee'", second),
    ];
    load_graphs(offers, policy, versions)
}

/// The same with the graph, the inputs and the end of the manifest of each version.
fn load_graphs(offers: &str, policy: &str, versions: [(&str, &str, &str); 2]) -> Result<Release, Problems> {
    let directory = tempfile::tempdir().unwrap();
    let graphs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx");
    for (version, (graph, inputs, calibration)) in ["m/1", "m/2"].into_iter().zip(versions) {
        let version = directory.path().join(version);
        fs::create_dir_all(&version).unwrap();
        fs::copy(graphs.join(graph), version.join("model.onnx")).unwrap();
        let manifest =
            format!("kind = 'propensity'\nlayout = 'pairwise'\ninputs = [{inputs}]\n{calibration}");
        fs::write(version.join("model.toml"), manifest).unwrap();
    }
    let pins = BTreeMap::from([("m".to_owned(), 1)]);
    let source = ReleaseSource {
        number: 0,
        features: FEATURES,
        offers,
        policy,
        models_dir: directory.path().to_owned(),
        store: None,
        pins: &pins,
    };
    Release::load(&source, &GraphCache::new(OnnxRuntime::load().unwrap(), 1))
}

/// The policy with an experiment in this state that tries version 2 on those who are of age.
fn tried(state: &str) -> String {
    format!(
        "{POLICY}[[experiment]]\nid = 'e'\nstate = '{state}'\ncoverage = 1.0\nwhen = 'customer.age >= 18.0'\n\
         [[experiment.variant]]\nid = 'a'\nweight = 0.5\n\
         [[experiment.variant]]\nid = 'b'\nweight = 0.5\nmodels = {{ m = 2 }}\n"
    )
}

#[test]
fn experiments_that_assign_nobody_use_no_features() {
    for (state, uses) in [("draft", true), ("running", true), ("paused", false), ("stopped", false)] {
        let release = load(OFFER, &tried(state), ["", ""]).unwrap();
        let used = release.feature_usage().at(PlacementIndex::new(0));
        let has = |name: &str| {
            let features = release.schema().of(feature::Entity::Customer);
            used.has_customer(features.iter().position(|feature| feature.name == name).unwrap())
        };
        assert!(has("balance"), "{state}");
        assert_eq!((has("age"), has("income")), (uses, uses), "{state}");
    }
}

/// A challenger that ONNX Runtime runs takes a placement's calls to the workers only once somebody can meet it.
#[test]
fn experiments_that_assign_nobody_need_no_session() {
    let draft = tried("draft");
    let listed = draft.replace("id = 'b'\n", "id = 'b'\nlisted = ['tester']\n");
    let cases = [
        (tried("running"), true, true),
        (tried("running").replace("coverage = 1.0", "coverage = 0.0"), false, true),
        (draft, false, true),
        (listed, true, true),
        (tried("paused"), false, false),
        (tried("stopped"), false, false),
    ];
    for (policy, unforced, forced) in cases {
        let versions = [
            ("pushed_good.onnx", "'balance', 'annual_fee'", ""),
            ("reciprocal.onnx", "'income'", CALIBRATION),
        ];
        let release = load_graphs(OFFER, &policy, versions).unwrap();
        let home = PlacementIndex::new(0);
        let needs = (release.needs_session(home, false), release.needs_session(home, true));
        assert_eq!(needs, (unforced, forced), "{policy}");
    }
}

#[test]
fn a_prior_needs_calibrated_models() {
    let offers = format!("{OFFER}prior = {{ propensity = 0.1, evidence = 50.0 }}\n");
    let found = |policy: &str, calibrations| load(&offers, policy, calibrations).unwrap_err().to_string();
    let plain = found(POLICY, ["", ""]);
    assert!(
        plain.starts_with(
            "offers.toml:7: offer `gold` [prior]: placement `home` scores with version 1 of `m`"
        )
    );
    assert!(plain.contains("calibrate it in m/1/model.toml or remove the prior"), "{plain}");
    // Without a prior there is nothing to compare with.
    load(OFFER, POLICY, ["", ""]).unwrap();
    load(&offers, POLICY, [CALIBRATION, ""]).unwrap();
    // What a variant puts in the place of the model counts, too, and also while the experiment pauses.
    for state in ["running", "paused"] {
        let challenger = found(&tried(state), [CALIBRATION, ""]);
        assert!(challenger.contains("scores with version 2 of `m`"), "{challenger}");
        assert!(!challenger.contains("version 1"), "{challenger}");
        load(&offers, &tried(state), [CALIBRATION, CALIBRATION]).unwrap();
    }
}
