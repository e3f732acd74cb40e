//! What stands in the place of a record whose person was erased.

use prost::Message;
use prost::encoding::encoded_len_varint;

use crate::kind::{EventRecord, Record};
use crate::proto::Event;

/// The record's time, and zeros that make it as long as it was. Two servers that blank the same record write the same.
///
/// `length`: what the record takes as protobuf. `None` for a record that is too short, as none of a server is: each has
/// an id.
fn blank(record: &Record, length: usize) -> Option<Record> {
    // Some lengths cannot be made with each of them, as the length of the zeros takes one byte or two.
    let formats = [record.format(), 0, 1];
    formats.into_iter().find_map(|format| {
        let missing = length.checked_sub(record.blanked(format, Vec::new()).encoded_len())?;
        // The tag takes two bytes, the length up to five.
        for head in 3..=7 {
            let zeros = missing.checked_sub(head).filter(|zeros| *zeros > 0)?;
            let blank = record.blanked(format, vec![0; zeros]);
            if blank.encoded_len() == length {
                return Some(blank);
            }
        }
        None
    })
}

/// The event with its record blanked. `length`: what the event takes, with fields that this version does not know.
/// `None` for a record that is too short, and for what is no record.
pub(super) fn blank_event(event: &Event, length: usize) -> Option<Event> {
    let record = Record::of_event(event.event.clone()?)?;
    let mut blanked = Event { position: event.position, recorded_at: event.recorded_at, event: None };
    // Behind position and time come the tag of the record, one byte for every kind, its length, and itself.
    let rest = length.checked_sub(blanked.encoded_len() + 1)?;
    let mut lengths = (1..=5).filter_map(|head| rest.checked_sub(head));
    let length = lengths.find(|length| encoded_len_varint(*length as u64) + length == rest)?;
    blanked.event = Some(blank(&record, length)?.into_event());
    Some(blanked)
}

/// Whether a record is what is left of an erased one.
#[must_use]
pub fn is_erased(record: &dyn EventRecord) -> bool {
    record.is_erased()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kind::Kind;
    use crate::proto::{DecisionRecord, OutcomeRecord, ShadowOffer, ShadowRecord};

    fn event(record: impl Into<Record>) -> Event {
        Event { position: 9, recorded_at: 7, event: Some(record.into().into_event()) }
    }

    fn blanked(event: &Event) -> Record {
        let length = event.encoded_len();
        let blanked = blank_event(event, length).unwrap();
        assert_eq!((blanked.position, blanked.recorded_at, blanked.encoded_len()), (9, 7, length));
        // What was blanked is blanked to the same.
        assert_eq!(blank_event(&blanked, length).as_ref(), Some(&blanked));
        Record::of_event(blanked.event.unwrap()).unwrap()
    }

    fn decision(length: usize) -> DecisionRecord {
        DecisionRecord {
            format: 1,
            decided_at: 1_796_083_200_000_000,
            decision_id: "01930000-0000-7000-8000-000000000000".to_owned(),
            request_id: "x".repeat(length),
            ..DecisionRecord::default()
        }
    }

    fn outcome(length: usize) -> OutcomeRecord {
        OutcomeRecord {
            format: 1,
            received_at: 1_796_083_200_000_000,
            event_id: "e-1".to_owned(),
            attributes: [("note".to_owned(), "x".repeat(length))].into(),
            ..OutcomeRecord::default()
        }
    }

    fn shadow(length: usize) -> ShadowRecord {
        ShadowRecord {
            format: 1,
            compared_at: 1_796_083_200_000_000,
            decision_id: "01930000-0000-7000-8000-000000000000".to_owned(),
            offers: vec![ShadowOffer { offer_id: "x".repeat(length), ..ShadowOffer::default() }],
            ..ShadowRecord::default()
        }
    }

    #[test]
    fn every_length_can_be_made() {
        for length in (0..600).chain(16_300..16_500) {
            for record in [Record::from(decision(length)), outcome(length).into(), shadow(length).into()] {
                let kind = record.kind();
                let left = blanked(&event(record));
                assert!(is_erased(&left) && left.kind() == kind, "{length}");
                assert_eq!(left.filed_at(), 1_796_083_200_000_000);
                // Nothing else is there, and the zeros are zeros.
                let zeros = match &left {
                    Record::Decision(record) => record.erased.clone(),
                    Record::Outcome(record) => record.erased.clone(),
                    Record::Shadow(record) => record.erased.clone(),
                };
                assert!(zeros.iter().all(|byte| *byte == 0), "{length}");
                assert_eq!(left, left.blanked(left.format(), zeros));
            }
        }
    }

    #[test]
    fn what_is_no_record_and_what_is_too_short_stays() {
        let header = Event { position: 1, recorded_at: 1, event: None };
        assert_eq!(blank_event(&header, header.encoded_len()), None);
        let short = event(DecisionRecord { customer_id: "x".to_owned(), ..DecisionRecord::default() });
        assert_eq!(blank_event(&short, short.encoded_len()), None);
    }

    proptest! {
        #[test]
        fn fields_that_are_not_known_go_and_the_length_stays(
            id in "[a-z]{36}", unknown in prop::collection::vec(any::<u8>(), 1..300), format in 0_u32..3,
        ) {
            let record = DecisionRecord { format, decision_id: id, decided_at: 5, ..DecisionRecord::default() };
            let mut bytes = record.encode_to_vec();
            prost::encoding::bytes::encode(1_000, &unknown, &mut bytes);
            // A record of each kind.
            for field in Kind::ALL.map(|kind| kind.field() as u32) {
                let mut whole = Vec::new();
                prost::encoding::uint64::encode(1, &9, &mut whole);
                prost::encoding::int64::encode(2, &7, &mut whole);
                prost::encoding::bytes::encode(field, &bytes, &mut whole);
                let read = Event::decode(&*whole).unwrap();
                let left = blank_event(&read, whole.len()).unwrap();
                prop_assert_eq!(left.encoded_len(), whole.len());
            }
        }
    }
}
