//! Whether the models score today as they did: the native engine to the bit, ONNX Runtime within a bound.

use std::collections::BTreeMap;

use decision::DecidedAgain;
use event::proto::DecisionRecord;
use release::Snapshot;
use serde::Serialize;

/// How far a score by ONNX Runtime may be from the recorded one, relative to max(1, |score|). Another processor adds in
/// another order.
const BOUND: f32 = 1e-5;

/// The engine whose scores are the same everywhere.
const NATIVE: &str = "native";

/// The scores of a replay, by model and version.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rescored {
    /// By `name/version`.
    pub models: BTreeMap<String, Scores>,
}

/// The scores of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Scores {
    /// `native` or `onnxruntime`.
    pub engine: String,
    /// Scores with the same bits.
    pub equal: u64,
    /// Scores with other bits and within the bound; none for the native engine.
    pub close: u64,
    /// Scores beyond the bound, and those that are missing on one side alone.
    pub beyond: u64,
    /// The largest difference, relative to max(1, |score|).
    pub largest: f32,
}

impl Rescored {
    /// How many scores are beyond their bound.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.models.values().map(|scores| scores.beyond).sum()
    }

    /// Compares the scores of a decision with its record.
    pub(crate) fn add(&mut self, snapshot: &Snapshot, scored: &DecidedAgain, recorded: &DecisionRecord) {
        let release = &snapshot.release;
        let Some(placement) = release.catalog().policy.find_placement(&recorded.placement) else { return };
        let candidates = scored.decision.candidates.iter().zip(&scored.candidates);
        let reached = candidates.filter(|(outcome, _)| outcome.reached_models());
        let known = recorded.candidates.iter().flat_map(|candidates| &candidates.raw_scores);
        for ((outcome, offer), recorded) in reached.zip(known) {
            let Some(scorer) = release.scorer(placement, *offer) else { continue };
            let arms = &scored.decision.assignments;
            let mut replacements =
                arms.iter().flat_map(|arm| release.replacements(arm.experiment, arm.variant));
            let replaced = replacements.find(|replacement| replacement.pinned == scorer.model);
            let index = replaced.map_or(scorer.model, |replacement| replacement.by);
            let Some(model) = release.models().get(index.get()) else { continue };
            let scores = self.models.entry(format!("{}/{}", model.name(), model.version())).or_default();
            if scores.engine.is_empty() {
                let engine = if model.needs_session() { "onnxruntime" } else { NATIVE };
                engine.clone_into(&mut scores.engine);
            }
            scores.add(*recorded, outcome.raw);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (name, scores) in other.models {
            let ours = self.models.entry(name).or_default();
            ours.engine = scores.engine;
            ours.equal += scores.equal;
            ours.close += scores.close;
            ours.beyond += scores.beyond;
            ours.largest = ours.largest.max(scores.largest);
        }
    }
}

impl Scores {
    fn add(&mut self, recorded: f32, scored: f32) {
        if recorded.to_bits() == scored.to_bits() || (recorded.is_nan() && scored.is_nan()) {
            self.equal += 1;
            return;
        }
        let apart = (recorded - scored).abs() / recorded.abs().max(1.0);
        if apart.is_nan() {
            self.beyond += 1;
            return;
        }
        self.largest = self.largest.max(apart);
        if self.engine == NATIVE || apart > BOUND {
            self.beyond += 1;
        } else {
            self.close += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(engine: &str, pairs: &[(f32, f32)]) -> (u64, u64, u64) {
        let mut scores = Scores { engine: engine.to_owned(), ..Scores::default() };
        for (recorded, scored) in pairs {
            scores.add(*recorded, *scored);
        }
        (scores.equal, scores.close, scores.beyond)
    }

    #[test]
    fn the_native_engine_is_held_to_the_bit() {
        let next = f32::from_bits(0.5_f32.to_bits() + 1);
        assert_eq!(scores("native", &[(0.5, 0.5), (0.5, next), (f32::NAN, f32::NAN)]), (2, 0, 1));
    }

    #[test]
    fn onnx_runtime_is_held_to_a_relative_bound() {
        let pairs =
            [(0.5, 0.500_009), (0.5, 0.500_02), (1000.0, 1000.009), (1000.0, 1000.02), (0.5, f32::NAN)];
        assert_eq!(scores("onnxruntime", &pairs), (0, 2, 3));
    }
}
