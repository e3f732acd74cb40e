//! How much memory a record takes, before it is decoded.
//!
//! An empty offer takes three bytes in a message and two hundred in memory, and a million of them pack to nothing.
//! So repeated fields of a record are counted first.

use crate::wire::{Value, walk};

/// The bytes in memory of a record without what repeats in it …
const RECORD_BYTES: u64 = 1_280;
/// … of an offer that was shown …
pub(super) const OFFER_BYTES: u64 = 256;
/// … of one that a limit refused …
pub(super) const REFUSAL_BYTES: u64 = 96;
/// … of an arm of the customer …
pub(super) const ASSIGNMENT_BYTES: u64 = 64;
/// … of a new offer among the candidates …
pub(super) const NEWCOMER_BYTES: u64 = 32;
/// … of a version of a model …
pub(super) const MODEL_BYTES: u64 = 32;
/// … of an offer that a champion or a shadow ranked …
pub(super) const SHADOW_OFFER_BYTES: u64 = 96;
/// … of any other part: an empty text is a pointer and two lengths …
const PART_BYTES: u64 = 32;
/// … of a number, which may have one byte in the message …
const NUMBER_BYTES: u64 = 8;
/// … and of an entry of a map: two texts, and their share of a node, which may have place for twice as many.
pub(super) const PAIR_BYTES: u64 = 192;

/// Lists grow by doubling.
const GROWTH: u64 = 2;

/// What a value of a field takes in memory, beside its bytes in the message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Weight {
    /// So many bytes.
    Bytes(u64),
    /// It is a message with parts of its own.
    Nested,
}

/// About how many bytes a record takes in memory at most. `fields`: the weights of those that are no plain texts and
/// numbers, by number. What cannot be decoded counts as far as it can.
pub(super) fn weight(record: &[u8], fields: &[(u64, Weight)]) -> u64 {
    let mut weight = RECORD_BYTES;
    walk(record, &mut |field, value| {
        let known = fields.iter().find(|(number, _)| *number == field).map(|(_, weight)| *weight);
        weight += match (known, value) {
            (Some(Weight::Bytes(each)), Value::Bytes(bytes)) => each + bytes.len() as u64,
            (Some(Weight::Nested), Value::Bytes(bytes)) => nested(bytes),
            (None, Value::Bytes(bytes)) => PART_BYTES + bytes.len() as u64,
            (_, Value::Number(_)) => NUMBER_BYTES,
        };
    });
    weight.saturating_mul(GROWTH)
}

fn nested(message: &[u8]) -> u64 {
    let mut weight = PART_BYTES;
    walk(message, &mut |_, value| {
        // Each byte may be a number.
        let numbers = if let Value::Bytes(bytes) = value { bytes.len() as u64 } else { 1 };
        weight += NUMBER_BYTES * numbers + PART_BYTES;
    });
    weight
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::columns::Columnar;
    use crate::proto::{
        DecisionRecord, FeatureValues, OutcomeRecord, RecordedAssignment, RecordedModel, RecordedNewcomer,
        RecordedOffer, RecordedRefusal, SeenHistory, SeenKind, ShadowOffer, ShadowRecord,
    };

    const MANY: usize = 100_000;

    /// At least so many bytes, and not much more than four times as many.
    fn weighs<R: Columnar>(record: &R, bytes: usize) {
        let weight = weight(&record.encode_to_vec(), R::WEIGHTS);
        assert!(weight >= bytes as u64, "{weight}");
        assert!(weight <= (4 * (bytes + MANY * 64)) as u64, "{weight}");
    }

    #[test]
    fn whatever_repeats_is_counted() {
        let strings = FeatureValues { strings: vec![String::new(); MANY], ..FeatureValues::default() };
        let ints = FeatureValues { ints: vec![0; MANY], ..FeatureValues::default() };
        let default = DecisionRecord::default;
        let offers = DecisionRecord { offers: vec![RecordedOffer::default(); MANY], ..default() };
        weighs(&offers, MANY * size_of::<RecordedOffer>());
        let consents = DecisionRecord { consents: vec![String::new(); MANY], ..default() };
        weighs(&consents, MANY * size_of::<String>());
        weighs(&DecisionRecord { customer: Some(strings), ..default() }, MANY * size_of::<String>());
        weighs(&DecisionRecord { context: Some(ints), ..default() }, MANY * size_of::<i64>());
        let kinds = SeenHistory { kinds: vec![SeenKind::default(); MANY], ..SeenHistory::default() };
        weighs(&DecisionRecord { history: Some(kinds), ..default() }, MANY * size_of::<SeenKind>());
        let times = SeenHistory { times: vec![0; MANY], ..SeenHistory::default() };
        weighs(&DecisionRecord { history: Some(times), ..default() }, MANY * size_of::<i64>());
        let refusals = DecisionRecord { refusals: vec![RecordedRefusal::default(); MANY], ..default() };
        weighs(&refusals, MANY * size_of::<RecordedRefusal>());
        let assignments =
            DecisionRecord { assignments: vec![RecordedAssignment::default(); MANY], ..default() };
        weighs(&assignments, MANY * size_of::<RecordedAssignment>());
        let newcomers = DecisionRecord { newcomers: vec![RecordedNewcomer::default(); MANY], ..default() };
        weighs(&newcomers, MANY * size_of::<RecordedNewcomer>());
        // A node of a tree is half full at least.
        let attributes: BTreeMap<_, _> = (0..MANY).map(|at| (at.to_string(), String::new())).collect();
        let bytes = MANY * 2 * size_of::<[String; 2]>();
        weighs(&OutcomeRecord { attributes, ..OutcomeRecord::default() }, bytes);
        let offers = vec![ShadowOffer::default(); MANY];
        weighs(&ShadowRecord { offers, ..ShadowRecord::default() }, MANY * size_of::<ShadowOffer>());
        let shown = vec![String::new(); MANY];
        weighs(&ShadowRecord { shadow_shown: shown, ..ShadowRecord::default() }, MANY * size_of::<String>());
        let models = vec![RecordedModel::default(); MANY];
        let of_both = ShadowRecord {
            champion_models: models.clone(),
            shadow_models: models,
            ..ShadowRecord::default()
        };
        weighs(&of_both, 2 * MANY * size_of::<RecordedModel>());
        assert!(RECORD_BYTES >= size_of::<DecisionRecord>() as u64);
        assert!(RECORD_BYTES >= size_of::<OutcomeRecord>() as u64);
        assert!(RECORD_BYTES >= size_of::<ShadowRecord>() as u64);
        assert!(MODEL_BYTES >= size_of::<RecordedModel>() as u64);
        assert!(SHADOW_OFFER_BYTES >= size_of::<ShadowOffer>() as u64);
        assert!(OFFER_BYTES >= size_of::<RecordedOffer>() as u64);
        assert!(ASSIGNMENT_BYTES >= size_of::<RecordedAssignment>() as u64);
        assert!(NEWCOMER_BYTES >= size_of::<RecordedNewcomer>() as u64);
        assert!(REFUSAL_BYTES >= size_of::<RecordedRefusal>() as u64);
    }

    #[test]
    fn what_is_no_message_has_a_weight_too() {
        for bytes in [&b""[..], b"\xff", b"\xe2\x03\xff\xff\xff\x7f", b"\x0b\x0c", &[0xff; 40]] {
            assert!(weight(bytes, DecisionRecord::WEIGHTS) < 10_000);
        }
    }
}
