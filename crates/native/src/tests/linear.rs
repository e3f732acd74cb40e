//! Random linear models: nodes before and behind them, and that splitting changes no bit.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;

use super::{PairCase, scores};
use crate::proto::*;
use crate::samples::linear::{LinearSample, floats, node};
use crate::samples::trees::{Random, ints};
use crate::{NativeModel, Side};

proptest! {
    #[test]
    fn factorised_sums_have_the_bits_of_plain_ones_for_every_split(seed: u64, offers in 1..40_usize) {
        let sample = LinearSample::of(seed);
        let mut random = Random::new(seed ^ 2);
        let width = sample.model().row_width();
        let sides: Vec<Side> = (0..width).map(|_| random.of(&[Side::Customer, Side::Offer, Side::Pair])).collect();
        let model = Arc::new(sample.model().grouped(&sides));
        let customer = model.probe_rows(1, true, seed ^ 3);
        let (offer_rows, pair_rows) = (model.probe_rows(offers, true, seed ^ 4), model.probe_rows(offers, true, seed ^ 5));
        let wanted: Vec<usize> = (0..=random.below(2 * offers)).map(|_| random.below(offers)).collect();
        let case = PairCase::of(&sides, customer, offer_rows, &pair_rows, wanted);
        prop_assert_eq!(case.factorised(&model), scores(&model, &case.whole), "{:?}", sides);
    }

    #[test]
    fn no_damage_to_a_graph_makes_reading_panic(seed in 0..64_u64, at in any::<prop::sample::Index>(), byte: u8) {
        let sample = LinearSample::of(seed);
        let mut bytes = sample.bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(model) = NativeModel::read(&bytes, "y", &sample.parts()) {
            scores(&model, &model.probe_rows(3, true, seed));
        }
    }
}

#[test]
fn unsupported_linear_models_are_refused_with_the_reason() {
    let mut model = ModelProto::decode(LinearSample::of(3).bytes().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let last = graph.node.last_mut().unwrap();
    *last = node("LinearClassifier", "ai.onnx.ml", &["row"], "label", vec![floats("intercepts", vec![0.5])]);
    last.output.push("y".to_owned());
    last.attribute.push(ints("classlabels_ints", vec![0, 1]).into());
    let parts = LinearSample::of(3).parts();
    let error = NativeModel::read(&model.encode_to_vec(), "y", &parts).unwrap_err();
    assert_eq!(error.to_string(), "LinearClassifier (label, y): it has not an intercept for each class");
}
