//! What a file says of shadows, their mistakes, and the versions that they name.

use std::collections::BTreeSet;

use super::super::experiments;
use super::super::sample::POLICY;
use super::{check_at, check_in, check_whole, line_of};
use crate::{
    Changes, Exploration, Method, ModelVersion, Strategy, named_versions, variant_versions, versions,
};

/// The sample with two shadows. They change what its experiments change, too.
fn shadowed() -> String {
    format!(
        "{POLICY}\n[[shadow]]\nid = \"propensity_v8\"\nplacements = [\"app_home\"]\nsample = 0.25\n\
         models = {{ propensity = 8 }}\n\n[[shadow]]\nid = \"by_margins\"\nsample = 1\nstrategy = \"margin\"\n\
         category_weights = {{ travel = 10.0 }}\ncontext_weights = {{ season = 5.0 }}\n\
         exploration = {{ method = \"greedy\" }}\n"
    )
}

#[test]
fn a_shadow_says_what_it_says() {
    let policy = shadowed();
    let experiments = experiments(&policy);
    let [margins, model] = &experiments.shadows[..] else { panic!("{:?}", experiments.shadows) };
    assert_eq!((&*margins.id, &*model.id), ("by_margins", "propensity_v8"));
    assert_eq!((margins.sample.to_bits(), model.sample.to_bits()), (1.0_f64.to_bits(), 0.25_f64.to_bits()));
    assert!((0..3).all(|placement| margins.is_at(placement)));
    assert!(model.is_at(0) && !model.is_at(1) && !model.is_at(2));
    let changes = Changes {
        strategy: Some(Strategy::Margin),
        category_weights: vec![(1, 10.0)],
        context_weights: vec![(1, 5.0)],
        exploration: Some(Exploration { method: Method::Greedy }),
        ..Changes::default()
    };
    assert_eq!(margins.changes, changes);
    let line = line_of(&policy, "models = { propensity = 8 }");
    let version = ModelVersion { name: "propensity".to_owned(), version: 8, line };
    assert_eq!(model.changes, Changes { models: vec![version], ..Changes::default() });
    assert_eq!(model.line, line_of(&policy, "[[shadow]]"));
}

#[test]
fn shadows_change_nothing_about_experiments() {
    let (with, without) = (experiments(&shadowed()), experiments(POLICY));
    assert!(without.shadows.is_empty());
    let ids = |found: &crate::Experiments<String>| -> Vec<String> {
        found.all.iter().map(|experiment| experiment.id.clone()).collect()
    };
    assert_eq!(ids(&with), ids(&without));
    assert_eq!(with.holdout, without.holdout);
    assert_eq!(with.exploration, without.exploration);
    assert_eq!(with.newcomers, without.newcomers);
}

#[test]
fn a_mistake_in_a_shadow_is_named_with_its_line() {
    let name = "shadow `propensity_v8`";
    let policy = shadowed();
    let check = |valid: &str, broken: &str, message: &str| {
        check_in(&policy, valid, broken, &[&format!("{name}{message}")]);
    };
    for (share, found) in [("0", "the number 0"), ("1.5", "the number 1.5"), ("\"x\"", "the string \"x\"")] {
        check(
            "sample = 0.25",
            &format!("sample = {share}"),
            &format!(": `sample` must be a share above 0 and at most 1, such as 0.05, not {found}"),
        );
    }
    let placements = "placements = [\"app_home\"]\nsample";
    check(
        placements,
        "placements = [\"app_hom\"]\nsample",
        ": `placements`: unknown placement `app_hom`; did you mean `app_home`?",
    );
    check(
        placements,
        "placements = []\nsample",
        ": `placements` is an empty list; remove it for all placements, or name one",
    );
    let models = "models = { propensity = 8 }";
    check(models, "models = 8", ": `models` must be a table ([models])");
    check(
        models,
        "models = { propensity = 0 }",
        " [models]: `propensity` must be a version, a whole number of at least 1, not the number 0",
    );
    check(
        models,
        "models = { propensty = 8 }",
        " [models]: no placement of the shadow uses model `propensty`; did you mean `propensity`?",
    );
    check(models, "models = { network = 1 }", " [models]: no placement of the shadow uses model `network`");
    check(models, "strategy = \"value\"", ": `strategy` must be one of priority, margin, not \"value\"");
    check(
        models,
        "category_weights = { travl = 5 }",
        " [category_weights]: unknown category `travl`; did you mean `travel`?",
    );
    check(
        models,
        "category_weights = { loans = -40 }",
        " [category_weights]: `loans` -40 plus -60 of an offer of the category is -100; the sum must be more than -100 \
         percent",
    );
    check(
        models,
        "context_weights = { seasons = 5 }",
        " [context_weights]: unknown context weight `seasons`; did you mean `season`?",
    );
    check(
        models,
        "exploration = { method = \"thompson\" }",
        " [exploration]: method thompson: not enforced by this version; use softmax",
    );
    check(
        models,
        "count = 3",
        ": `count` is not for shadows: slates of two sizes cannot be compared; remove it",
    );
    check(
        models,
        "when = 'tenure'\nmodels = { propensity = 8 }",
        ": unknown key `when`; known here: category_weights, context_weights, count, exploration, id, models, placements, \
         sample, strategy",
    );
}

#[test]
fn a_shadow_needs_an_id_a_sample_and_a_change() {
    check_whole(
        "[[shadow]]\nsample = 0.1\nstrategy = \"margin\"\n",
        &["policy.toml:1: [shadow]: `id` is missing; give it a string"],
    );
    check_whole(
        "[[shadow]]\nid = \"s\"\nstrategy = \"margin\"\n",
        &[
            "policy.toml:1: shadow `s`: `sample` is missing; give it a share above 0 and at most 1, such as 0.05",
        ],
    );
    check_whole(
        "[[shadow]]\nid = \"s\"\nsample = 0.1\n",
        &[
            "policy.toml:1: shadow `s`: it changes nothing; give it at least one of models, strategy, category_weights, \
           context_weights, exploration",
        ],
    );
    check_whole("shadow = 1\n", &["policy.toml:1: `shadow` must be an array of tables ([[shadow]])"]);
    let named = |id: &str| format!("[[shadow]]\nid = \"{id}\"\nsample = 0.1\nstrategy = \"margin\"\n");
    check_whole(
        &named("a b"),
        &[
            "policy.toml:2: shadow `a b`: `id` must be letters, digits, _ - and ., beginning with a letter or a digit, not \
           \"a b\"",
        ],
    );
    check_whole(
        &format!("{}{}", named("s"), named("s")),
        &["policy.toml:6: shadow `s`: `s` is already the id of the shadow in line 1"],
    );
}

#[test]
fn too_many_shadows_are_refused() {
    let many = |count: usize| -> String {
        let shadow =
            |number: usize| format!("[[shadow]]\nid = \"s{number}\"\nsample = 0.1\nstrategy = \"margin\"\n");
        (0..count).map(shadow).collect()
    };
    assert_eq!(experiments(&many(8)).shadows.len(), 8);
    check_at(&many(9), "[[shadow]]", "9 shadows; at most 8 are allowed, so remove those that are over");
}

#[test]
fn the_versions_of_shadows_are_kept_and_none_of_them_is_needed_for_answers() {
    let policy = "[[experiment]]\nid = \"e\"\nstate = \"stopped\"\n[[experiment.variant]]\nid = \"a\"\n\
                  [[experiment.variant]]\nid = \"b\"\nmodels = { propensity = 7 }\n\
                  [[shadow]]\nid = \"s\"\nmodels = { propensity = 8, affinity = 2, broken = 0 }\n\
                  [[shadow]]\nid = \"t\"\nmodels = { propensity = 8 }\n[[shadow]]\nid = \"u\"\nmodels = 3\n";
    let named = |pairs: &[(&str, u64)]| -> BTreeSet<(String, u64)> {
        pairs.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
    };
    assert_eq!(versions(policy), named(&[("affinity", 2), ("propensity", 8)]));
    assert_eq!(variant_versions(policy), named(&[]));
    assert_eq!(named_versions(policy), named(&[("affinity", 2), ("propensity", 7), ("propensity", 8)]));
    assert_eq!(versions("[[shadow]]\nid = \"s\"\nmodels = { m = 3 }\n"), named(&[("m", 3)]));
    assert_eq!(versions("[[shadow"), named(&[]));
}
