//! Versions of tiny graphs, whose scores can be computed by hand.

use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use std::fs;

use super::*;
use crate::InputError;
use crate::onnx::OnnxRuntime;
use feature::{Row, SegmentRef, ValueRef};

const FEATURES: &str = r#"
[[feature]]
name = "balance"
type = "float"
entity = "customer"

[[feature]]
name = "tenure"
type = "int"
entity = "customer"

[[feature]]
name = "visits"
type = "int"
entity = "customer"

[[feature]]
name = "income"
type = "float"
entity = "customer"

[[feature]]
name = "has_card"
type = "bool"
entity = "customer"

[[feature]]
name = "tier"
type = "string"
entity = "customer"

[[feature]]
name = "month"
type = "int"
entity = "context"

[[feature]]
name = "annual_fee"
type = "float"
entity = "offer"
"#;

const PAIRWISE: &str =
    "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['balance', 'annual_fee', 'segment']\n";

const CUSTOMER: [ValueRef<'static>; 6] = [
    ValueRef::Float(2.0),
    ValueRef::Int(12),
    ValueRef::Int(3),
    ValueRef::Float(0.5),
    ValueRef::Bool(true),
    ValueRef::String("gold"),
];

fn row<'a>(customer: &'a [ValueRef<'a>], offer: &'a [ValueRef<'a>]) -> Row<'a> {
    Row { customer, context: &[ValueRef::Int(7)], offer, segment: Some(SegmentRef { id: 3, name: "savers" }) }
}

/// A version on disk: a manifest and files from the fixtures.
fn version(manifest: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("model.toml"), manifest).unwrap();
    for (name, fixture) in files {
        let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx");
        fs::copy(fixtures.join(format!("{fixture}.onnx")), folder.path().join(name)).unwrap();
    }
    folder
}

fn load_from(folder: &TempDir) -> Result<Model, Problems> {
    let schema = FeatureSchema::parse("features.toml", FEATURES).unwrap();
    let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 1);
    Model::load(folder.path(), "affinity", 1, &schema, &cache)
}

fn load(manifest: &str, fixture: &str) -> Model {
    load_from(&version(manifest, &[("model.onnx", fixture)])).unwrap()
}

fn problems(manifest: &str, files: &[(&str, &str)]) -> String {
    load_from(&version(manifest, files)).unwrap_err().to_string()
}

fn worker() -> Worker {
    Worker::tokens(1).remove(0)
}

/// The scores of rows that differ only in the customer's balance.
fn by_balance(model: &Model, balances: &[f32]) -> Vec<f32> {
    let mut matrix = model.matrix();
    for balance in balances {
        let mut customer = CUSTOMER;
        customer[0] = ValueRef::Float(*balance);
        matrix.push(&row(&customer, &[ValueRef::Float(10.0)])).unwrap();
    }
    model.score(&worker(), &matrix).unwrap().values
}

#[test]
fn a_pairwise_model_scores_customer_times_offer() {
    let manifest = format!("{PAIRWISE}[calibration]\nmethod = 'platt'\na = 0.5\nb = -17.0\n");
    let model = load(&manifest, "pair_logit");
    assert_eq!((model.name(), model.version()), ("affinity", 1));
    assert!(model.uses_segment() && model.is_calibrated());
    assert_eq!((model.columns(), model.offers()), (["logit".to_owned()].as_slice(), [].as_slice()));
    // 1 · balance + 2 · annual_fee + 4 · segment
    let scores = by_balance(&model, &[2.0, 4.0]);
    assert_eq!(scores, [34.0, 36.0]);
    assert_eq!(model.propensity(scores[0]), Some(0.5));
    model.warm_up(&worker()).unwrap();
}

#[test]
fn a_multi_offer_model_scores_a_column_per_offer() {
    let manifest = "kind = 'propensity'\nlayout = 'multi_offer'\ninputs = ['balance', 'month']\n\
                    offers = ['gold', 'blue', 'black']";
    let model = load(manifest, "offers_by_column");
    assert_eq!(model.offers(), ["gold", "blue", "black"]);
    assert_eq!(by_balance(&model, &[1.0, 10.0]), [1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
    let mut matrix = model.matrix();
    matrix.push(&row(&CUSTOMER, &[])).unwrap();
    let scores = model.score_columns(&worker(), &matrix, &[2, 0]).unwrap();
    assert_eq!((scores.get(0, 0), scores.get(0, 1), scores.get(0, 2)), (Some(6.0), Some(2.0), None));
    let beyond = model.score_columns(&worker(), &matrix, &[3]).unwrap_err();
    assert_eq!(beyond.to_string(), "output `column 3`: the model has 3 columns");
    matrix.clear();
    assert!(model.score(&worker(), &matrix).unwrap().values.is_empty());
}

#[test]
fn a_per_offer_model_runs_the_graphs_that_are_wanted() {
    let manifest = "kind = 'propensity'\nlayout = 'per_offer'\ninputs = ['balance', 'tenure', 'segment']\n";
    let folder = version(manifest, &[("gold.onnx", "pair_logit_doubled"), ("blue.onnx", "pair_logit")]);
    let model = load_from(&folder).unwrap();
    assert_eq!(model.offers(), ["blue", "gold"]);
    // 2 + 2 · 12 + 4 · 3, and twice that.
    assert_eq!(by_balance(&model, &[2.0]), [38.0, 76.0]);
    let mut matrix = model.matrix();
    matrix.push(&row(&CUSTOMER, &[])).unwrap();
    assert_eq!(model.score_columns(&worker(), &matrix, &[1]).unwrap().values, [76.0]);
    model.warm_up(&worker()).unwrap();
    let other = version(manifest, &[("gold.onnx", "pair_logit"), ("blue.onnx", "offers_by_column")]);
    let found = load_from(&other).unwrap_err().to_string();
    assert!(
        found.contains("affinity/1/gold.onnx: its inputs differ from those of affinity/1/blue.onnx"),
        "{found}"
    );
    assert!(found.contains("affinity/1/blue.onnx: the graph's output `scores` has 3 columns"), "{found}");
    assert!(problems(manifest, &[]).contains("needs a file `<offer id>.onnx` for each offer"));
    assert!(problems(manifest, &[("a b.onnx", "pair_logit")]).contains("its name is no offer id"));
}

#[test]
fn one_tensor_per_feature_takes_every_type() {
    let model =
        load("kind = 'generic'\ninputs_layout = 'per_feature'\naccepts_missing = true", "per_feature");
    let mut matrix = model.matrix();
    matrix.push(&row(&CUSTOMER, &[])).unwrap();
    let mut silver = CUSTOMER;
    silver[5] = ValueRef::String("silver");
    matrix.push(&row(&silver, &[])).unwrap();
    // 2 + 12 + 3 + 0.5 + true, and 100 for gold.
    assert_eq!(model.score(&worker(), &matrix).unwrap().values, [118.5, 18.5]);
    // A missing float is accepted here. A missing text, integer or boolean is refused, and the row is not added.
    for (index, feature) in [(1, "tenure"), (2, "visits"), (4, "has_card"), (5, "tier")] {
        let mut customer = CUSTOMER;
        customer[index] = ValueRef::Missing;
        let error = matrix.push(&row(&customer, &[])).unwrap_err();
        assert_eq!(error, InputError::Missing { feature: feature.to_owned() });
    }
    let mut many = CUSTOMER;
    many[2] = ValueRef::Int(1 << 40);
    let error = matrix.push(&row(&many, &[])).unwrap_err();
    assert_eq!(error, InputError::TooLarge { feature: "visits".to_owned(), value: 1 << 40 });
    many[2] = ValueRef::Int(3);
    many[3] = ValueRef::Missing;
    matrix.push(&row(&many, &[])).unwrap();
    let scores = model.score(&worker(), &matrix).unwrap();
    assert_eq!(scores.values[..2], [118.5, 18.5]);
    assert!(scores.values[2].is_nan());
    model.warm_up(&worker()).unwrap();
}

#[test]
fn dense_tensors_may_be_of_double_or_whole_numbers() {
    let doubles = load("kind = 'generic'\ninputs = ['balance', 'has_card']", "dense_double");
    assert_eq!(by_balance(&doubles, &[0.25, 2.0]), [1.25, 3.0]);
    let whole = load("kind = 'generic'\ninputs = ['tenure', 'segment']", "dense_int64");
    assert_eq!(by_balance(&whole, &[0.0]), [15.0]);
    let found =
        problems("kind = 'generic'\ninputs = ['tenure', 'balance']", &[("model.onnx", "dense_int64")]);
    assert!(found.contains("feature `balance` is of type float and cannot go into"), "{found}");
}

#[test]
fn the_score_of_a_classifier_is_the_class_that_was_named() {
    let inputs = "kind = 'generic'\ninputs = ['balance', 'month']\n";
    let scores =
        |output: &str, fixture: &str| by_balance(&load(&format!("{inputs}{output}"), fixture), &[0.25]);
    assert_eq!(scores("", "binary_int_labels"), [0.25]);
    assert_eq!(scores("[output]\nclass = 0", "binary_int_labels"), [0.75]);
    assert_eq!(scores("[output]\nclass = 'accepted'", "binary_string_labels"), [0.25]);
    assert_eq!(scores("[output]\nname = 'scores'\nclass = 2", "three_classes"), [0.75]);
    assert_eq!(scores("[output]\nname = 'negated'\nclass = 1", "three_classes"), [-0.5]);
    let refused = |output: &str, fixture: &str, message: &str| {
        let found = problems(&format!("{inputs}{output}"), &[("model.onnx", fixture)]);
        assert!(found.contains(message), "{output}: {found}");
    };
    refused("", "binary_string_labels", "name the class that is the score");
    refused("[output]\nclass = 1", "binary_string_labels", "are text; so must `class` be");
    refused("[output]\nclass = 'a'", "binary_int_labels", "are numbers; so must `class` be");
    refused("", "three_classes", "any of the outputs scores, negated could be the score");
    refused("[output]\nname = 'score'", "three_classes", "no output `score`; did you mean `scores`?");
    refused("[output]\nname = 'scores'", "three_classes", "has 3 columns; say which is the score");
    refused("[output]\nname = 'scores'\nclass = 3", "three_classes", "`class` is 3, but");
    refused("[output]\nname = 'label'", "binary_int_labels", "is a tensor of int64; a score is");
    // Labels are only known from the output.
    let unknown = load(&format!("{inputs}[output]\nclass = 'maybe'"), "binary_string_labels");
    let error = unknown.warm_up(&worker()).unwrap_err();
    assert_eq!(error.to_string(), "output `probabilities`: none of its 2 columns is \"maybe\"");
}

#[test]
fn a_score_that_is_not_finite_is_no_propensity() {
    let manifest =
        "kind = 'recommendation'\nlayout = 'pairwise'\ninputs = ['annual_fee']\naccepts_missing = true";
    let model = load(manifest, "reciprocal");
    let mut matrix = model.matrix();
    for fee in [ValueRef::Float(0.0), ValueRef::Missing, ValueRef::Float(4.0)] {
        matrix.push(&row(&CUSTOMER, &[fee])).unwrap();
    }
    let scores = model.score(&worker(), &matrix).unwrap().values;
    assert_eq!(
        scores.iter().map(|score| model.propensity(*score)).collect::<Vec<_>>(),
        [None, None, Some(0.25)]
    );
}

#[test]
fn a_missing_value_leaves_the_matrix_as_it_was() {
    let model = load(PAIRWISE, "pair_logit");
    let mut matrix = model.matrix();
    matrix.push(&row(&CUSTOMER, &[ValueRef::Float(10.0)])).unwrap();
    let without_segment = Row { segment: None, ..row(&CUSTOMER, &[ValueRef::Float(10.0)]) };
    let error = matrix.push(&without_segment).unwrap_err();
    assert_eq!(error.to_string(), "`segment` is missing, and the model does not accept that");
    assert!(matrix.push(&row(&CUSTOMER, &[ValueRef::Missing])).is_err());
    assert!(matrix.push(&row(&CUSTOMER, &[])).is_err());
    matrix.push(&row(&CUSTOMER, &[ValueRef::Float(0.0)])).unwrap();
    assert_eq!(matrix.rows(), 2);
    assert_eq!(model.score(&worker(), &matrix).unwrap().values, [34.0, 14.0]);
}

#[test]
fn dense_values_in_the_order_of_the_inputs_are_scored_as_they_are() {
    let model = load(PAIRWISE, "pair_logit");
    let values = [2.0, 10.0, 3.0, 4.0, 10.0, 3.0];
    assert!(model.takes_dense(["balance", "annual_fee", "segment"], &values));
    assert_eq!(model.score_dense(&worker(), 2, &values).unwrap().values, by_balance(&model, &[2.0, 4.0]));
    assert!(!model.takes_dense(["annual_fee", "balance", "segment"], &values));
    assert!(!model.takes_dense(["balance", "annual_fee"], &values));
    assert!(!model.takes_dense(["balance", "annual_fee", "segment"], &[f32::NAN; 3]));
    for rows in [1, 3, usize::MAX] {
        assert!(matches!(model.score_dense(&worker(), rows, &values), Err(ModelError::Input { .. })));
    }
    let doubles = load("kind = 'generic'\ninputs = ['balance', 'has_card']", "dense_double");
    assert!(!doubles.takes_dense(["balance", "has_card"], &[1.0, 1.0]));
}

#[test]
fn large_matrices_are_scored_in_blocks() {
    let model = load(PAIRWISE, "pair_logit");
    let balances: Vec<f32> = (0..2 * BLOCK_ROWS + 5).map(|row| row as f32).collect();
    let expected: Vec<f32> = balances.iter().map(|balance| balance + 32.0).collect();
    assert_eq!(by_balance(&model, &balances), expected);
}

#[test]
fn everything_that_disagrees_is_reported_at_once() {
    let manifest = "kind = 'propensity'\nlayout = 'multi_offer'\ninputs = ['balanse', 'tier', 'annual_fee', 'x']\n\
                    offers = ['gold', 'blue']\n[checksums]\n'model.onnx' = \
                    '0000000000000000000000000000000000000000000000000000000000000000'\n";
    let found = problems(manifest, &[("model.onnx", "offers_by_column")]);
    for expected in [
        "affinity/1/model.toml:3: the schema has no feature `balanse`; did you mean `balance`?",
        "affinity/1/model.toml:3: the schema has no feature `x`",
        "feature `tier` is of type string and cannot go into the graph's input `features`, a tensor of float",
        "`annual_fee` is a feature of the offer, and only rows of a pairwise model have one",
        "`inputs` names 4 features, but the graph's input `features` has 2 columns",
        "affinity/1/model.toml:4: `offers` lists 2 offers, but the graph's output `scores` has 3 columns",
        "affinity/1/model.onnx: its SHA-256 is",
    ] {
        assert!(found.contains(expected), "{expected}\n--\n{found}");
    }
    let several = problems("kind = 'generic'\ninputs = ['balance']", &[("model.onnx", "per_feature")]);
    assert!(several.contains("but the graph takes 6 (balance, tenure"), "{several}");
    let listed = "kind = 'generic'\ninputs_layout = 'per_feature'\ninputs = ['balance', 'tenure', 'visit', 'income', \
                  'has_card', 'tier']";
    let listed = problems(listed, &[("model.onnx", "per_feature")]);
    assert!(listed.contains("the graph has no input `visit`; did you mean `visits`?"), "{listed}");
    assert!(listed.contains("`inputs` lacks `visits`, which the graph takes"), "{listed}");
    let wide = problems("kind = 'generic'\ninputs_layout = 'per_feature'", &[("model.onnx", "pair_logit")]);
    assert!(wide.contains("the schema has no feature `features`"), "{wide}");
    assert!(wide.contains("has 3 columns, but a feature fills one"), "{wide}");
}

#[test]
fn files_that_are_missing_or_no_model_are_named() {
    let nothing = problems(PAIRWISE, &[]);
    assert!(nothing.contains("affinity/1/model.onnx: the file cannot be read"), "{nothing}");
    let folder = version(PAIRWISE, &[]);
    fs::write(folder.path().join("model.onnx"), "version https://git-lfs.github.com/spec/v1\n").unwrap();
    let pointer = load_from(&folder).unwrap_err().to_string();
    assert!(pointer.contains("affinity/1/model.onnx: this is a Git LFS pointer"), "{pointer}");
    fs::remove_file(folder.path().join("model.toml")).unwrap();
    assert!(load_from(&folder).unwrap_err().to_string().contains("affinity/1/model.toml: cannot be read"));
    assert!(problems("kind = 'segmentation'", &[]).contains("a segmentation has no graph"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_fixed_batch_scores_as_an_open_one(balances in proptest::collection::vec(-100.0_f32..100.0, 0..14)) {
        let (open, fixed) = (load(PAIRWISE, "pair_logit"), load(PAIRWISE, "fixed_batch_of_4"));
        prop_assert_eq!(by_balance(&open, &balances), by_balance(&fixed, &balances));
    }
}
