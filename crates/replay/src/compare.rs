//! Whether a record and what was decided again are the same, byte for byte, and where they differ.

use event::proto::{
    Candidates, DecisionRecord, RecordedAssignment, RecordedFactors, RecordedOffer, RecordedRefusal,
    RecordedReservation, RecordedSegment,
};
use prost::Message;
use serde::Serialize;

/// A field of the answer that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The field.
    pub field: String,
    /// What the record has.
    pub recorded: String,
    /// What was decided again.
    pub replayed: String,
}

/// The differences between a record and the same record with the answer that was decided again; none if their bytes
/// are the same.
#[must_use]
pub fn differences(recorded: &DecisionRecord, replayed: &DecisionRecord) -> Vec<Difference> {
    if recorded.encode_to_vec() == replayed.encode_to_vec() {
        return Vec::new();
    }
    let mut found = Found(Vec::new());
    found.of("default_channel", &recorded.default_channel, &replayed.default_channel);
    found.of("segment", &segment(recorded.segment.as_ref()), &segment(replayed.segment.as_ref()));
    let arms = |of: &DecisionRecord| {
        let arm = |one: &RecordedAssignment| format!("{}={} ({})", one.experiment, one.variant, one.how);
        of.assignments.iter().map(arm).collect::<Vec<_>>().join(", ")
    };
    found.of("assignments", &arms(recorded), &arms(replayed));
    found.of("held_out", &recorded.held_out.to_string(), &replayed.held_out.to_string());
    let empty = Candidates::default();
    let (ours, theirs) =
        (recorded.candidates.as_ref().unwrap_or(&empty), replayed.candidates.as_ref().unwrap_or(&empty));
    found.of("candidates", &ours.stages.len().to_string(), &theirs.stages.len().to_string());
    let outcomes = |of: &Candidates, at: usize| {
        let number = |list: &[u8]| list.get(at).map_or_else(|| "none".to_owned(), u8::to_string);
        format!("stage {}, reason {}", number(&of.stages), number(&of.reasons))
    };
    for at in 0..ours.stages.len().max(theirs.stages.len()) {
        found.of(&format!("candidates[{at}]"), &outcomes(ours, at), &outcomes(theirs, at));
    }
    let bits = |scores: &[f32]| scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
    found.of(
        "raw_scores",
        &format!("{:x?}", bits(&ours.raw_scores)),
        &format!("{:x?}", bits(&theirs.raw_scores)),
    );
    found.of("unscored", &ours.unscored.join("; "), &theirs.unscored.join("; "));
    let nothing = || "none".to_owned();
    for at in 0..recorded.offers.len().max(replayed.offers.len()) {
        let (ours, theirs) = (recorded.offers.get(at), replayed.offers.get(at));
        found.of(
            &format!("offers[{at}]"),
            &ours.map_or_else(nothing, offer),
            &theirs.map_or_else(nothing, offer),
        );
    }
    for at in 0..recorded.refusals.len().max(replayed.refusals.len()) {
        let (ours, theirs) = (recorded.refusals.get(at), replayed.refusals.get(at));
        found.of(
            &format!("refusals[{at}]"),
            &ours.map_or_else(nothing, refusal),
            &theirs.map_or_else(nothing, refusal),
        );
    }
    found.of("degraded", &recorded.degraded.join(", "), &replayed.degraded.join(", "));
    if found.0.is_empty() {
        // A field that is not part of the answer: it was taken from the record, so it is one of a later version.
        let message = |of: &DecisionRecord| format!("{} bytes", of.encoded_len());
        found.of("record", &message(recorded), &format!("{}, elsewhere different", message(replayed)));
    }
    found.0
}

struct Found(Vec<Difference>);

impl Found {
    fn of(&mut self, field: &str, recorded: &str, replayed: &str) {
        if recorded != replayed {
            self.0.push(Difference {
                field: field.to_owned(),
                recorded: recorded.to_owned(),
                replayed: replayed.to_owned(),
            });
        }
    }
}

fn segment(segment: Option<&RecordedSegment>) -> String {
    segment.map_or_else(
        || "none".to_owned(),
        |segment| format!("{} at distance {}, margin {}", segment.id, segment.distance, segment.margin),
    )
}

fn offer(offer: &RecordedOffer) -> String {
    let RecordedOffer {
        offer_id,
        priority,
        fallback,
        selection_probability,
        factors,
        terms,
        cap_total,
        budget,
        conditional,
        mandatory,
    } = offer;
    let marks = [(*conditional, ", conditional"), (*mandatory, ", mandatory")];
    let marks: String = marks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, mark)| mark).collect();
    let fallback = if *fallback { ", fallback" } else { "" };
    let factors = factors.as_ref().map(self::factors).unwrap_or_default();
    let terms =
        terms.map(|terms| format!("; cost {}, value {}", terms.cost, terms.value)).unwrap_or_default();
    let reserved: String = [("cap_total", cap_total), ("budget", budget)].map(reservation).concat();
    format!(
        "{offer_id} with priority {priority}, probability {selection_probability}{marks}{fallback}{factors}{terms}{reserved}"
    )
}

fn reservation((limit, reserved): (&str, &Option<RecordedReservation>)) -> String {
    let text = |reserved: &RecordedReservation| {
        format!("; {limit} reserved for `{}` for {} ms", reserved.outcome, reserved.lapses_in)
    };
    reserved.as_ref().map(text).unwrap_or_default()
}

fn refusal(refusal: &RecordedRefusal) -> String {
    let RecordedRefusal { round, fallback, offer_id, reason, limit, frees_in } = refusal;
    let when = if *fallback { "as the fallback".to_owned() } else { format!("in round {round}") };
    format!("{offer_id} {when}, reason {reason} {limit}, frees in {frees_in} ms")
}

fn factors(factors: &RecordedFactors) -> String {
    let RecordedFactors {
        score,
        propensity,
        context_weight,
        value,
        lever,
        cost,
        margin,
        model,
        model_version,
    } = factors;
    format!(
        "; score {score}, propensity {propensity}, context weight {context_weight}, value {value}, lever {lever}, \
         cost {cost}, margin {margin} by {model} {model_version}"
    )
}

#[cfg(test)]
mod tests {
    use event::proto::RecordedTerms;

    use super::*;

    fn record() -> DecisionRecord {
        let factors =
            RecordedFactors { score: 0.5, propensity: 0.25, value: 80.0, ..RecordedFactors::default() };
        DecisionRecord {
            decision_id: "0190".to_owned(),
            segment: Some(RecordedSegment { id: 3, distance: 1.5, margin: 0.2 }),
            candidates: Some(Candidates {
                stages: vec![0, 1],
                reasons: vec![0, 2],
                raw_scores: vec![0.5],
                unscored: Vec::new(),
            }),
            offers: vec![RecordedOffer {
                offer_id: "a".to_owned(),
                factors: Some(factors),
                cap_total: Some(RecordedReservation { outcome: "accept".to_owned(), lapses_in: 9 }),
                ..Default::default()
            }],
            refusals: vec![RecordedRefusal { offer_id: "b".to_owned(), reason: 19, ..Default::default() }],
            degraded: vec!["default:age".to_owned()],
            ..DecisionRecord::default()
        }
    }

    #[test]
    fn equal_records_do_not_differ() {
        assert_eq!(differences(&record(), &record()), []);
    }

    #[test]
    fn each_part_of_an_answer_is_named() {
        type Change = fn(&mut DecisionRecord);
        let cases: [(&str, Change); 17] = [
            ("assignments", |one| one.assignments.push(RecordedAssignment::default())),
            ("held_out", |one| one.held_out = true),
            ("offers[0]", |one| one.offers[0].conditional = true),
            ("offers[0]", |one| one.offers[0].mandatory = true),
            ("segment", |one| one.segment.as_mut().unwrap().distance = 1.500_000_1),
            ("candidates[1]", |one| one.candidates.as_mut().unwrap().reasons[1] = 3),
            ("candidates", |one| one.candidates.as_mut().unwrap().stages.push(1)),
            ("raw_scores", |one| one.candidates.as_mut().unwrap().raw_scores[0] = 0.500_000_06),
            ("offers[0]", |one| one.offers[0].factors.as_mut().unwrap().propensity += f64::EPSILON / 4.0),
            ("offers[1]", |one| one.offers.push(one.offers[0].clone())),
            ("offers[0]", |one| one.offers[0].cap_total.as_mut().unwrap().lapses_in += 1),
            ("offers[0]", |one| one.offers[0].terms = Some(RecordedTerms::default())),
            ("refusals[0]", |one| one.refusals[0].frees_in += 1),
            ("refusals[0]", |one| one.refusals.clear()),
            ("default_channel", |one| one.default_channel.push('x')),
            ("degraded", |one| one.degraded.clear()),
            ("record", |one| one.request_id.push('x')),
        ];
        for (field, change) in cases {
            let mut other = record();
            change(&mut other);
            let found = differences(&record(), &other);
            assert_eq!(found.first().map(|one| one.field.as_str()), Some(field), "{found:?}");
        }
    }
}
