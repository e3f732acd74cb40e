//! Mistakes in what files say of experiments: `proffer check` names each with its line; and what a store keeps of them.

use std::path::Path;

use super::scene::{Bank, experiment};
use crate::binary::{command, init, proffer};

/// The line that has this text, from 1.
fn line_of(bank: &Bank, file: &str, part: &str) -> usize {
    let text = std::fs::read_to_string(bank.path().join(file)).unwrap();
    let at = text.find(part).unwrap_or_else(|| panic!("{part} is not in {text}"));
    text[..at].matches('\n').count() + 1
}

/// Checks a workspace with these mistakes: each is reported with file, line (that of the text) and message.
fn check(bank: &Bank, expected: &[(&str, &str, &str)]) {
    let ended = proffer(["check".as_ref(), bank.path()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for (file, part, message) in expected {
        let line = format!("{file}:{}: {message}", line_of(bank, file, part));
        assert!(ended.stderr.contains(&line), "{line}\nis not in\n{}", ended.stderr);
    }
}

/// Experiments with a mistake in nearly every line.
const WRONG: &str = r#"
[holdout]
share = 0.9
redraw = "weekly"

[[experiment]]
id = "first"
placements = ["hame"]
coverage = 1.5
when = "offer.value > 3.0"
colour = "red"
[[experiment.variant]]
id = "control"
weight = 0.5
count = 3 # of the control
[[experiment.variant]]
id = "challenger"
weight = 0.4
models = { n = 2 }
strategy = "profit"
category_weights = { card = 5.0 }
context_weights = { sprung = 5.0 }
exploration = { method = "thompson" }
[experiment.metric]
primary = "convertion"
guardrails = [{ metric = "opt_out_rate", tolerate = -1 }]

[[experiment]]
id = "second"
coverage = 0.5
scheme = "growthbok"
guardrails = []
[[experiment.step]]
coverage = 0.4 # less
after = "soon"
"#;

/// What is to be said of them: the file, a text of the line, the message.
const FOUND: &[(&str, &str, &str)] = &[
    ("policy.toml", "share = 0.9", "[holdout]: `share` must be 0.0001 to 0.5, not 0.9"),
    (
        "policy.toml",
        "redraw = \"weekly\"",
        "[holdout]: `redraw` must be one of never, monthly, not \"weekly\"",
    ),
    (
        "policy.toml",
        "[\"hame\"]",
        "experiment `first`: `placements`: unknown placement `hame`; did you mean `home`?",
    ),
    (
        "policy.toml",
        "coverage = 1.5",
        "experiment `first`: `coverage` must be a share of 0 to 1, such as 0.05",
    ),
    ("policy.toml", "offer.value > 3.0", "experiment `first`: `when` reads `offer`"),
    ("policy.toml", "colour", "experiment `first`: unknown key `colour`"),
    (
        "policy.toml",
        "count = 3 # of",
        "experiment `first` variant `control`: the first variant is the control",
    ),
    (
        "policy.toml",
        "n = 2",
        "experiment `first` variant `challenger` [models]: no placement of the experiment uses model `n`",
    ),
    (
        "policy.toml",
        "\"profit\"",
        "experiment `first` variant `challenger`: `strategy` must be one of priority, margin",
    ),
    (
        "policy.toml",
        "card = 5.0",
        "experiment `first` variant `challenger` [category_weights]: unknown category `card`; did you mean `cards`?",
    ),
    (
        "policy.toml",
        "sprung = 5.0",
        "experiment `first` variant `challenger` [context_weights]: unknown context weight `sprung`; did you mean `spring`?",
    ),
    (
        "policy.toml",
        "\"thompson\"",
        "experiment `first` variant `challenger` [exploration]: method thompson: not enforced by this version",
    ),
    (
        "policy.toml",
        "convertion",
        "experiment `first` [metric]: `primary`: unknown metric `convertion`, not built in and no [[metric]]; did you mean \
         `conversion`?",
    ),
    (
        "policy.toml",
        "tolerate = -1",
        "experiment `first` [metric] [guardrails]: `tolerate` must be a loss of at least 0",
    ),
    (
        "policy.toml",
        "guardrails = []",
        "experiment `second`: `guardrails` belongs to [experiment.metric]; move it there",
    ),
    ("policy.toml", "\"growthbok\"", "experiment `second`: `scheme` must be one of"),
    (
        "policy.toml",
        "coverage = 0.5",
        "experiment `second`: `coverage` 0.5 is more than the last step's 0.4; remove the steps",
    ),
    (
        "policy.toml",
        "after = \"soon\"",
        "experiment `second` [step]: `after` must be a duration of 1m to 365d",
    ),
    ("policy.toml", "method = \"softmax\"", "placement `home` [exploration]: `temperature` is missing"),
    (
        "policy.toml",
        "exploration = { method = \"greedy\" }",
        "`exploration` belongs to a [[placement]]; move it there",
    ),
];

#[test]
fn every_mistake_in_a_policy_is_reported_with_its_line() {
    let bank = Bank::new(WRONG)
        .with("policy.toml", "count = 2\n", "count = 2\nexploration = { method = \"softmax\" }\n")
        .with("policy.toml", "time_zone", "exploration = { method = \"greedy\" }\ntime_zone");
    check(&bank, FOUND);
}

#[test]
fn every_mistake_about_a_new_offer_is_reported_with_its_line() {
    let bank = Bank::new("").with(
        "offers.toml",
        "id = \"gold\"\n",
        "id = \"gold\"\nmandatory = 3\nprior = { propensity = 1.5 } # gold\nmaturity = { max_share = 2.0, impressions = 0 }\n",
    );
    check(
        &bank,
        &[
            ("offers.toml", "mandatory = 3", "offer `gold`: `mandatory` must be true or false"),
            ("offers.toml", "1.5 } # gold", "offer `gold` [prior]: `propensity` must be a share of 0 to 1"),
            ("offers.toml", "1.5 } # gold", "offer `gold` [prior]: `evidence` is missing"),
            ("offers.toml", "max_share", "offer `gold` [maturity]: `max_share` must be a share above 0"),
            (
                "offers.toml",
                "impressions = 0",
                "offer `gold` [maturity]: `impressions` must be a number of impressions",
            ),
        ],
    );
}

#[test]
fn the_version_of_a_variant_must_be_there_and_fit() {
    let missing = Bank::new(&experiment("model", "coverage = 1.0", "models = { m = 9 }"));
    let message = "experiment `model` variant `challenger`: there is no version 9 of model `m`; push it first or name another one";
    check(&missing, &[("policy.toml", "m = 9", message)]);

    // Its inputs are checked as those of any model.
    let unfit = Bank::new(&experiment("model", "coverage = 1.0", "models = { m = 2 }")).with(
        "m/2/model.toml",
        "'balance'",
        "'balanse'",
    );
    let ended = proffer(["check".as_ref(), unfit.path()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("m/2/model.toml") && ended.stderr.contains("balanse"), "{ended:?}");

    // An experiment that is over needs nothing.
    let over = Bank::new(&experiment("model", "coverage = 1.0\nstate = \"stopped\"", "models = { m = 9 }"));
    let ended = proffer(["check".as_ref(), over.path()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn the_version_of_a_variant_must_pass_its_gates() {
    let failing = |state: &str| {
        let lines = format!("coverage = 1.0\nstate = \"{state}\"");
        let bank = Bank::new(&experiment("model", &lines, "models = { m = 2 }"));
        let graph =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx/pushed_nan_on_some_rows.onnx");
        std::fs::copy(graph, bank.path().join("m/2/model.onnx")).unwrap();
        bank
    };
    for state in ["draft", "running", "paused"] {
        let bank = failing(state);
        let made = init(&bank.path().join("store"), bank.path());
        for ended in [proffer(["check".as_ref(), bank.path()]), made] {
            assert_eq!(ended.code, Some(1), "{state}: {ended:?}");
            assert!(ended.stderr.contains("m/2: fails its gates: finite"), "{state}: {ended:?}");
        }
    }
    let ended = proffer(["check".as_ref(), failing("stopped").path()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_store_keeps_the_versions_of_variants_as_it_keeps_pinned_ones() {
    let bank = Bank::new(&experiment("model", "coverage = 1.0", "models = { m = 2 }"));
    let ended = proffer(["check".as_ref(), bank.path()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // The highest version that no variant names is pinned.
    let found = ["model m version 1\n", "model m version 2, of variants\n"];
    assert!(found.iter().all(|line| ended.stdout.contains(line)), "{ended:?}");
    let store = bank.path().join("store");
    assert_eq!(init(&store, bank.path()).code, Some(0));
    for version in ["1", "2"] {
        let words = ["model", "delete", "m", version, "--store", store.to_str().unwrap()];
        let ended: crate::binary::Ended = command().args(words).output().unwrap().into();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("release 1"), "{ended:?}");
    }
    // A draft whose variant has no such version names the line.
    let policy = bank.path().join("policy.toml");
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, text.replace("m = 2", "m = 5")).unwrap();
    let words = ["release", "create", "--policy", policy.to_str().unwrap(), "--note", "x", "--store"];
    let ended: crate::binary::Ended = command().args(words).arg(&store).output().unwrap().into();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("there is no version 5 of model `m`"), "{ended:?}");
}
