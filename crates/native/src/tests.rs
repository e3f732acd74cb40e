//! Random ensembles compared with a plain evaluator, for every instruction set and every way of scoring.

mod damage;
mod graphs;
mod linear;
mod mlp;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::instructions::Instructions;
use crate::samples::Sample;
use crate::samples::trees::{Kind, Random};

/// The engine for a sample, without a transform, so that it returns sums.
fn plain(sample: &Sample) -> NativeModel {
    let parts = [InputPart { name: "x", columns: sample.features }];
    NativeModel::read(&sample.bytes(), "y", &parts).unwrap()
}

fn with_instructions(mut model: NativeModel, instructions: Instructions) -> NativeModel {
    match &mut model.evaluator {
        Evaluator::Float(trees) => Arc::get_mut(trees).unwrap().instructions = instructions,
        Evaluator::Double(trees) => Arc::get_mut(trees).unwrap().instructions = instructions,
        Evaluator::Linear(_) => {}
        Evaluator::Mlp(mlp) => mlp.instructions = instructions,
    }
    model
}

fn scores(model: &NativeModel, rows: &[f64]) -> Vec<u32> {
    let mut out = vec![f32::NAN; rows.len() / model.row_width() * model.width()];
    model.score(rows, &mut Scratch::default(), &mut out);
    out.iter().map(|score| score.to_bits()).collect()
}

/// A customer and the offers to score them with.
struct PairCase<'a> {
    sides: &'a [Side],
    customer: Vec<f64>,
    offers: Vec<f64>,
    wanted: Vec<usize>,
    /// The pair's values, for each wanted offer.
    pairs: Vec<f64>,
    /// For each wanted offer, the row of an unsplit model.
    whole: Vec<f64>,
}

impl<'a> PairCase<'a> {
    fn of(
        sides: &'a [Side],
        customer: Vec<f64>,
        offers: Vec<f64>,
        pairs: &[f64],
        wanted: Vec<usize>,
    ) -> Self {
        let width = sides.len();
        let places = || wanted.iter().flat_map(|offer| (0..width).map(move |at| (offer * width + at, at)));
        let whole = places().map(|(place, at)| match sides[at] {
            Side::Customer => customer[at],
            Side::Offer => offers[place],
            Side::Pair => pairs[place],
        });
        let (whole, pairs) = (whole.collect(), places().map(|(place, _)| pairs[place]).collect());
        Self { sides, customer, offers, wanted, pairs, whole }
    }

    /// The scores of a split model, as bits.
    fn factorised(&self, model: &Arc<NativeModel>) -> Vec<u32> {
        let factorised = model.split(self.sides).unwrap();
        let vectors = factorised.offers(&self.offers);
        let mut mine = CustomerVectors::default();
        // The vectors were used for another customer before.
        factorised.customer(&self.offers[..self.sides.len()], &mut mine);
        factorised.customer(&self.customer, &mut mine);
        let mut out = vec![f32::NAN; self.wanted.len() * model.width()];
        let mut scratch = Scratch::default();
        factorised.score_pairs(&mine, &vectors, &self.wanted, &self.pairs, &mut scratch, &mut out).unwrap();
        out.iter().map(|score| score.to_bits()).collect()
    }
}

/// A sample whose scores are its sums.
fn summing(seed: u64) -> Sample {
    let mut sample = Sample::of(seed);
    sample.transform = "NONE";
    sample.base.clear();
    if sample.aggregate == "AVERAGE" {
        sample.aggregate = "SUM";
    }
    if sample.kind == Kind::Classifier && sample.targets == 2 {
        sample.kind = Kind::Regressor;
    }
    sample
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn sums_are_those_of_a_plain_evaluator_on_every_machine(seed: u64, count in 1..90_usize) {
        let sample = summing(seed);
        let rows = sample.rows(count, seed ^ 1);
        let expected: Vec<u32> = rows
            .chunks_exact(sample.features)
            .flat_map(|row| sample.sums(row))
            .map(|sum| (sum as f32).to_bits())
            .collect();
        for instructions in Instructions::all() {
            let model = with_instructions(plain(&sample), instructions);
            prop_assert_eq!(&scores(&model, &rows), &expected, "{:?}", instructions);
            let alone: Vec<u32> = rows.chunks_exact(sample.features).flat_map(|row| scores(&model, row)).collect();
            prop_assert_eq!(&alone, &expected, "one by one, {:?}", instructions);
        }
    }

    #[test]
    fn factorised_scores_have_the_bits_of_plain_ones_for_every_split(seed: u64, offers in 1..90_usize) {
        let sample = Sample::of(seed);
        let parts = [InputPart { name: "x", columns: sample.features }];
        let Ok(model) = NativeModel::read(&sample.bytes(), "y", &parts) else { return Ok(()) };
        let mut random = Random::new(seed ^ 2);
        let sides: Vec<Side> =
            (0..sample.features).map(|_| random.of(&[Side::Customer, Side::Offer, Side::Pair])).collect();
        let (customer, offer_rows, pair_rows) =
            (sample.rows(1, seed ^ 3), sample.rows(offers, seed ^ 4), sample.rows(offers, seed ^ 5));
        // Any selection, in any order, with duplicates.
        let wanted: Vec<usize> = if random.below(2) == 0 {
            (0..offers).collect()
        } else {
            (0..=random.below(2 * offers)).map(|_| random.below(offers)).collect()
        };
        let case = PairCase::of(&sides, customer, offer_rows, &pair_rows, wanted);
        for instructions in Instructions::all() {
            let parts = [InputPart { name: "x", columns: sample.features }];
            let model = Arc::new(with_instructions(NativeModel::read(&sample.bytes(), "y", &parts).unwrap(), instructions));
            let found = case.factorised(&model);
            prop_assert_eq!(found, scores(&model, &case.whole), "{:?} {:?}", instructions, sides);
        }
        drop(model);
    }

    #[test]
    fn no_damage_to_a_graph_makes_reading_panic(seed in 0..64_u64, at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let sample = Sample::of(seed);
        let mut bytes = sample.bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        let parts = [InputPart { name: "x", columns: sample.features }];
        if let Ok(model) = NativeModel::read(&bytes, "y", &parts) {
            scores(&model, &sample.rows(3, seed));
        }
    }
}
