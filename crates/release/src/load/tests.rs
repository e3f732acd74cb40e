//! What a release takes from its experiments and new offers, shown with small releases.

use std::fs;

use super::*;
use crate::{Review, review};
use model::ModelError;
use work::Worker;

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
    with_versions(offers, policy, versions, Release::load)
}

/// The same for what needs the files, with another graph as version 2.
fn with_source<T>(
    offers: &str,
    policy: &str,
    [first, second]: [&str; 2],
    graph: &str,
    load: impl FnOnce(&ReleaseSource<'_>, &GraphCache) -> T,
) -> T {
    let graph = format!("{graph}.onnx");
    let versions = [
        ("pushed_good.onnx", "'balance', 'annual_fee'", first),
        (graph.as_str(), "'income', 'annual_fee'", second),
    ];
    with_versions(offers, policy, versions, load)
}

/// Writes the versions, and a third that takes what no customer has.
fn with_versions<T>(
    offers: &str,
    policy: &str,
    [first, second]: [(&str, &str, &str); 2],
    load: impl FnOnce(&ReleaseSource<'_>, &GraphCache) -> T,
) -> T {
    let directory = tempfile::tempdir().unwrap();
    let graphs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx");
    let third = ("pushed_good.onnx", "'wealth', 'annual_fee'", "");
    for (version, (graph, inputs, calibration)) in
        ["m/1", "m/2", "m/3"].into_iter().zip([first, second, third])
    {
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
    load(&source, &GraphCache::new(OnnxRuntime::load().unwrap(), 1))
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

/// The policy with a shadow that changes this.
fn shadowed(policy: &str, changes: &str) -> String {
    format!("{policy}[[shadow]]\nid = 's'\nsample = 0.5\n{changes}\n")
}

/// The release and its review.
fn reviewed(offers: &str, policy: &str, calibrations: [&str; 2]) -> (Release, Review) {
    with_source(offers, policy, calibrations, "pushed_good", |source, cache| {
        let release = Release::load(source, cache).unwrap_or_else(|problems| panic!("{problems}"));
        let review = review(&release, source);
        (release, review)
    })
}

fn replacement(pinned: usize, by: usize) -> Replacement {
    Replacement { pinned: ModelIndex::new(pinned), by: ModelIndex::new(by) }
}

#[test]
fn a_shadow_changes_nothing_of_what_answers_need() {
    // A graph that the native engine does not take needs a session.
    let load = |policy: &str| {
        with_source(OFFER, policy, ["", ""], "pushed_nan_on_some_rows", |source, cache| {
            Release::load(source, cache).unwrap_or_else(|problems| panic!("{problems}"))
        })
    };
    let (without, with) = (load(POLICY), load(&shadowed(POLICY, "models = { m = 2 }")));
    let home = PlacementIndex::new(0);
    assert_eq!(with.shadows(), [LoadedShadow::Ready { replacements: vec![replacement(0, 1)] }]);
    assert_eq!(with.shadows_at(home).collect::<Vec<_>>(), [0]);
    assert_eq!(with.models().len(), 2);
    assert!(with.model(ModelIndex::new(1)).needs_session());
    for release in [&without, &with] {
        assert_eq!(release.pins(), &BTreeMap::from([("m".to_owned(), 1)]));
        assert_eq!(release.deciding_models().len(), 1);
        assert!(!release.needs_session(home, true));
        assert_eq!(release.scorer(home, OfferIndex::new(0)), without.scorer(home, OfferIndex::new(0)));
    }
    // The income, which the shadow alone reads, is nothing that an answer does without.
    assert_eq!(with.feature_usage().at(home), without.feature_usage().at(home));
    // As a variant, the same version needs all of it.
    let tried = load(&tried("running"));
    assert!(
        tried.needs_session(home, true) && tried.feature_usage().at(home) != without.feature_usage().at(home)
    );
}

#[test]
fn a_shadow_that_cannot_be_loaded_is_refused_anew_and_served_without() {
    let calibrated = [CALIBRATION, ""];
    let prior = format!("{OFFER}prior = {{ propensity = 0.1, evidence = 50.0 }}\n");
    for (offers, models, message) in [
        (
            OFFER,
            "models = { m = 9 }",
            "policy.toml:11: shadow `s`: there is no version 9 of model `m`; push it first or name another one",
        ),
        (OFFER, "models = { m = 3 }", "m/3/model.toml"),
        (
            prior.as_str(),
            "models = { m = 2 }",
            "policy.toml:11: shadow `s`: placement `home` shows an offer with a prior, and version 2 of `m` is not \
             calibrated",
        ),
    ] {
        let (release, review) = reviewed(offers, &shadowed(POLICY, models), calibrated);
        let [LoadedShadow::Unavailable { reason }] = release.shadows() else {
            panic!("{:?}", release.shadows())
        };
        assert!(reason.to_string().contains(message), "{reason}");
        assert_eq!(release.shadows_at(PlacementIndex::new(0)).count(), 0);
        assert!(review.refusals.to_string().contains(message), "{review:?}");
        // It decides as without the shadow.
        assert_eq!((release.deciding_models().len(), release.pins().len()), (1, 1));
        assert!(release.scorer(PlacementIndex::new(0), OfferIndex::new(0)).is_some());
    }
    let (release, review) =
        reviewed(&prior, &shadowed(POLICY, "models = { m = 2 }"), [CALIBRATION, CALIBRATION]);
    assert!(release.shadows()[0].is_ready() && review.refusals.is_empty(), "{review:?}");
}

#[test]
fn a_version_of_variants_and_shadows_is_loaded_once() {
    let both = shadowed(&tried("running"), "models = { m = 2 }");
    let (release, _) = reviewed(OFFER, &both, ["", ""]);
    assert_eq!((release.models().len(), release.deciding_models().len()), (2, 2));
    assert_eq!(release.shadows(), [LoadedShadow::Ready { replacements: vec![replacement(0, 1)] }]);
    // The pinned version takes the place of that of the variant.
    let (release, review) = reviewed(OFFER, &shadowed(&tried("running"), "models = { m = 1 }"), ["", ""]);
    assert_eq!(release.shadows(), [LoadedShadow::Ready { replacements: vec![replacement(0, 0)] }]);
    let warnings = review.into_warnings().unwrap().to_string();
    assert!(warnings.contains("shadow `s`: it changes nothing of what the release pins"), "{warnings}");
}

#[test]
fn a_shadow_whose_graph_cannot_run_is_lost_and_no_other() {
    let ready = |by: usize| LoadedShadow::Ready { replacements: vec![replacement(0, by)] };
    let reason = Problems::one("m/2", None, "cannot score a row");
    let (mut one, mut other) = (ready(1), ready(2));
    for shadow in [&mut one, &mut other] {
        shadow.lose(ModelIndex::new(1), &reason);
    }
    assert_eq!((one, other), (LoadedShadow::Unavailable { reason }, ready(2)));
}

#[test]
fn a_shadow_that_panics_while_it_is_loaded_is_unavailable() {
    let (release, _) = reviewed(OFFER, &shadowed(POLICY, "models = { m = 2 }"), ["", ""]);
    let mut models = release.pinned_models().to_vec();
    let loaded =
        shadows::load(release.catalog(), &Unfit::default(), 1, &mut models, |_, _| panic!("on purpose"));
    let [LoadedShadow::Unavailable { reason }] = &loaded[..] else { panic!("{loaded:?}") };
    assert!(reason.to_string().contains("policy.toml:11: shadow `s`: it cannot be loaded"), "{reason}");
    assert_eq!(models.len(), 1);
    // So is one whose model panics while it is prepared.
    let mut loaded = release.shadows().to_vec();
    let model = (ModelIndex::new(1), &**release.model(ModelIndex::new(1)));
    assert_eq!(shadows::attempt(&mut loaded, model, || 7), Some(7));
    assert!(loaded[0].is_ready());
    assert_eq!(shadows::attempt(&mut loaded, model, || -> u8 { panic!("on purpose") }), None);
    let [LoadedShadow::Unavailable { reason }] = &loaded[..] else { panic!("{loaded:?}") };
    assert!(reason.to_string().contains("m/2"), "{reason}");
}

#[test]
fn a_shadow_that_panics_while_it_is_warmed_up_keeps_no_release_from_serving_now_or_later() {
    let home = PlacementIndex::new(0);
    with_source(OFFER, &shadowed(POLICY, "models = { m = 2 }"), ["", ""], "pushed_good", |source, cache| {
        let mut first = Release::load(source, cache).unwrap();
        assert!(first.shadows()[0].is_ready());
        let panics = |model: &Model, worker: &Worker| {
            assert!(model.version() != 2, "on purpose");
            model.warm_up(worker)
        };
        first.warm_up_by(cache, &[], panics).unwrap();
        let is_lost = |release: &Release| {
            matches!(release.shadows(), [LoadedShadow::Unavailable { reason }] if reason.to_string().contains("m/2"))
                && release.shadows_at(home).count() == 0
        };
        assert!(is_lost(&first));
        // It answers.
        assert!(first.scorer(home, OfferIndex::new(0)).is_some());
        first.model(ModelIndex::new(0)).warm_up(&Worker::only()).unwrap();
        // While that is in memory, the next one does not try again, and is not ready either.
        let mut next = Release::load_without(source, cache, first.unfit()).unwrap();
        next.keep_unfit(first.unfit().clone());
        assert!(is_lost(&next) && next.models().len() == 1);
        next.warm_up_by(cache, &[Arc::new(first)], panics).unwrap();
        assert!(is_lost(&next) && next.unfit().contains_key(&("m".to_owned(), 2)));
    });
}

#[test]
fn a_model_that_answers_and_panics_while_it_is_warmed_up_is_no_matter_of_shadows() {
    // What a shadow could not run, and a variant decides with, is run before it answers.
    let both = shadowed(&tried("running"), "models = { m = 2 }");
    with_source(OFFER, &both, ["", ""], "pushed_good", |source, cache| {
        let unfit = Unfit::from([(("m".to_owned(), 2), Problems::one("m/2", None, "cannot score a row"))]);
        let mut release = Release::load_without(source, cache, &unfit).unwrap();
        assert!(release.shadows()[0].is_ready() && release.models().len() == 2);
        let fails = |model: &Model, worker: &Worker| {
            let row = model.warm_up(worker);
            if model.version() == 2 { Err(ModelError::NotTheFile) } else { row }
        };
        assert!(release.warm_up_by(cache, &[], fails).is_err());
    });
}
