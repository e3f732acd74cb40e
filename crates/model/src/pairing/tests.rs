//! A customer with many offers gets the same scores as each row alone.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::GraphCache;
use crate::onnx::OnnxRuntime;
use feature::{Entity, FeatureSchema, FeatureType, SegmentRef};
use work::Worker;

/// The sample's gradient boosting under its schema, with or without missing values.
fn propensity(accepts_missing: bool) -> (Model, FeatureSchema) {
    let models = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let text = std::fs::read_to_string(models.join("features.toml")).unwrap();
    let schema = FeatureSchema::parse("features.toml", &text).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(models.join("propensity/1/model.onnx"), directory.path().join("model.onnx")).unwrap();
    let manifest = std::fs::read_to_string(models.join("propensity/1/model.toml")).unwrap();
    let manifest: Vec<String> = manifest
        .lines()
        .take_while(|line| !line.starts_with("[checksums"))
        .map(|line| match line.split_once(" = ") {
            Some((key @ "accepts_missing", _)) => format!("{key} = {accepts_missing}"),
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(directory.path().join("model.toml"), manifest.join("\n")).unwrap();
    let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 1);
    (Model::load(directory.path(), "propensity", 1, &schema, &cache).unwrap(), schema)
}

/// A value of each feature of an entity, some of them missing.
fn values(schema: &FeatureSchema, entity: Entity, numbers: &[u32], missing: bool) -> Vec<ValueRef<'static>> {
    let value = |(feature, number): (&feature::Feature, &u32)| {
        if missing && number.is_multiple_of(17) {
            return ValueRef::Missing;
        }
        match feature.feature_type {
            FeatureType::Float => ValueRef::Float((number % 10_000) as f32 / 7.0),
            FeatureType::Int => ValueRef::Int(i64::from(number % 60)),
            FeatureType::Bool => ValueRef::Bool(number.is_multiple_of(2)),
            FeatureType::String => ValueRef::String("middle"),
        }
    };
    schema.of(entity).iter().zip(numbers.iter().cycle()).map(value).collect()
}

#[test]
fn pairs_score_as_single_rows() {
    for accepts_missing in [true, false] {
        let (model, schema) = propensity(accepts_missing);
        let worker = Worker::only();
        let strategy = (
            proptest::collection::vec(any::<u32>(), 40),
            proptest::collection::vec(proptest::collection::vec(any::<u32>(), 10), 1..40),
            proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
            any::<bool>(),
        );
        let holds = |(customer, offers, wanted, missing): (
            Vec<u32>,
            Vec<Vec<u32>>,
            Vec<prop::sample::Index>,
            bool,
        )| {
            let offers: Vec<_> =
                offers.iter().map(|numbers| values(&schema, Entity::Offer, numbers, missing)).collect();
            let pairing = model.pairing(&offers).unwrap();
            let (context, customer) = (
                values(&schema, Entity::Context, &customer, missing),
                values(&schema, Entity::Customer, &customer, missing),
            );
            let segment = Some(SegmentRef { id: 3, name: "any" });
            let row = |offer| Row { customer: &customer, context: &context, offer, segment };
            let wanted: Vec<usize> = wanted.iter().map(|index| index.index(offers.len())).collect();
            let mut found = Vec::new();
            model.score_pairs(&pairing, &row(&[]), &wanted, |answer| found.push(answer)).unwrap();
            prop_assert_eq!(found.len(), wanted.len());
            for (found, offer) in found.into_iter().zip(wanted) {
                let mut matrix = model.matrix();
                let expected = match matrix.push(&row(&offers[offer])) {
                    Ok(()) => Ok(model.score(&worker, &matrix).unwrap().values[0]),
                    Err(error) => Err(error),
                };
                prop_assert_eq!(found.map(f32::to_bits), expected.map(f32::to_bits));
            }
            Ok(())
        };
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(60));
        runner.run(&strategy, holds).unwrap();
    }
}

#[test]
fn an_unknown_offer_is_refused() {
    let (model, schema) = propensity(true);
    let offers = [values(&schema, Entity::Offer, &[1, 2, 3], false)];
    let pairing = model.pairing(&offers).unwrap();
    let customer = values(&schema, Entity::Customer, &[5, 6, 7], false);
    let row = Row { customer: &customer, context: &[], offer: &[], segment: None };
    let refused = model.score_pairs(&pairing, &row, &[0, 1], |_| panic!("told before it was checked"));
    assert!(matches!(refused, Err(ModelError::Input { .. })), "{refused:?}");
    assert!(pairing.memory_bytes() > 0);
}
