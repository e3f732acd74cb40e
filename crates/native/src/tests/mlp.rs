//! Random MLPs: splitting and other instruction sets change no bit. Also graphs that are not MLPs.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;

use super::{PairCase, scores, with_instructions};
use crate::instructions::Instructions;
use crate::proto::*;
use crate::samples::mlp::MlpSample;
use crate::samples::trees::Random;
use crate::{NativeModel, Side};

proptest! {
    #[test]
    fn an_mlp_has_the_same_bits_for_every_split_and_instruction_set(seed: u64, offers in 1..150_usize) {
        let sample = MlpSample::of(seed);
        let mut random = Random::new(seed ^ 2);
        let width = sample.model().row_width();
        let kinds = random.of(&[&[Side::Customer, Side::Offer][..], &[Side::Customer, Side::Offer, Side::Pair]]);
        let sides: Vec<Side> = (0..width).map(|_| random.of(kinds)).collect();
        let plain = sample.model().grouped(&sides);
        let customer = plain.probe_rows(1, true, seed ^ 3);
        let (offer_rows, pair_rows) = (plain.probe_rows(offers, true, seed ^ 4), plain.probe_rows(offers, true, seed ^ 5));
        let wanted: Vec<usize> = (0..=random.below(2 * offers)).map(|_| random.below(offers)).collect();
        let case = PairCase::of(&sides, customer, offer_rows, &pair_rows, wanted);
        let whole = &case.whole;
        let expected = scores(&plain, whole);
        for instructions in Instructions::all() {
            let model = Arc::new(with_instructions(sample.model(), instructions).grouped(&sides));
            prop_assert_eq!(&scores(&model, whole), &expected, "{:?}", instructions);
            let alone: Vec<u32> = whole.chunks_exact(width).flat_map(|row| scores(&model, row)).collect();
            prop_assert_eq!(&alone, &expected, "one by one, {:?}", instructions);
            prop_assert_eq!(&case.factorised(&model), &expected, "{:?} {:?}", instructions, sides);
        }
    }

    #[test]
    fn no_damage_to_an_mlp_makes_reading_panic(seed in 0..64_u64, at in any::<prop::sample::Index>(), byte: u8) {
        let sample = MlpSample::of(seed);
        let mut bytes = sample.bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(model) = NativeModel::read(&bytes, "y", &sample.parts()) {
            scores(&model, &model.probe_rows(3, true, seed));
        }
    }
}

/// The error of a sample after a change to its graph.
fn refused(change: impl FnOnce(&mut GraphProto)) -> String {
    let sample = MlpSample { floats: 4, layers: vec![3, 1], seed: 1 };
    let mut proto = sample.proto();
    change(proto.graph.as_mut().unwrap());
    NativeModel::read(&proto.encode_to_vec(), "y", &sample.parts()).unwrap_err().to_string()
}

#[test]
fn unsupported_mlps_are_refused_with_the_reason() {
    let strange = refused(|graph| {
        let activation = graph.node.iter_mut().find(|node| node.output == ["active0"]).unwrap();
        activation.op_type = "Erf".to_owned();
    });
    assert!(strange.contains("Erf"), "{strange}");
    let narrow = refused(|graph| {
        let weights = graph.initializer.iter_mut().find(|tensor| tensor.name == "weights1").unwrap();
        weights.dims = vec![2, 1];
        weights.float_data.truncate(2);
    });
    assert!(narrow.contains("its matrix does not fit"), "{narrow}");
    let circle = refused(|graph| {
        let first = graph.node.iter_mut().find(|node| node.input.iter().any(|input| input == "row")).unwrap();
        first
            .input
            .iter_mut()
            .filter(|input| *input == "row")
            .for_each(|input| *input = "active0".to_owned());
    });
    assert!(circle.contains("circles"), "{circle}");
}
