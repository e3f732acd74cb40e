//! How much memory a record takes, before it is decoded.
//!
//! An empty offer takes three bytes in a message and two hundred in memory, and a million of them pack to nothing.
//! So repeated fields of a record are counted first.

/// The bytes in memory of a record without what repeats in it …
const RECORD_BYTES: u64 = 1_024;
/// … of an offer that was shown …
const OFFER_BYTES: u64 = 256;
/// … of any other part: an empty text is a pointer and two lengths …
const PART_BYTES: u64 = 32;
/// … and of a number, which may have one byte in the message.
const NUMBER_BYTES: u64 = 8;

/// Lists grow by doubling.
const GROWTH: u64 = 2;

/// Fields of a record that are messages with parts of their own: values of features, and candidates.
const NESTED: [u64; 3] = [30, 31, 50];
/// The field of the offers that were shown.
const OFFERS: u64 = 60;

/// About how many bytes a record takes in memory at most. What cannot be decoded counts as far as it can.
pub(super) fn weight(record: &[u8]) -> u64 {
    let mut weight = RECORD_BYTES;
    walk(record, &mut |field, bytes| {
        weight += match (field, bytes) {
            (OFFERS, Some(bytes)) => OFFER_BYTES + bytes.len() as u64,
            (field, Some(bytes)) if NESTED.contains(&field) => nested(bytes),
            (_, Some(bytes)) => PART_BYTES + bytes.len() as u64,
            (_, None) => NUMBER_BYTES,
        };
    });
    weight.saturating_mul(GROWTH)
}

fn nested(message: &[u8]) -> u64 {
    let mut weight = PART_BYTES;
    walk(message, &mut |_, bytes| {
        // Each byte may be a number.
        weight += NUMBER_BYTES * bytes.map_or(1, |bytes| bytes.len() as u64) + PART_BYTES;
    });
    weight
}

/// Passes each field of a message to `take`: its number, and its bytes if it has a length.
fn walk<'m>(mut message: &'m [u8], take: &mut dyn FnMut(u64, Option<&'m [u8]>)) {
    while let Some(tag) = varint(&mut message) {
        let field = tag >> 3;
        let skipped = match tag & 7 {
            0 => varint(&mut message).map(|_| None),
            1 => split(&mut message, 8).map(|_| None),
            2 => varint(&mut message).and_then(|length| split(&mut message, length)).map(Some),
            5 => split(&mut message, 4).map(|_| None),
            _ => None,
        };
        let Some(bytes) = skipped else { return };
        take(field, bytes);
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn split<'m>(bytes: &mut &'m [u8], length: u64) -> Option<&'m [u8]> {
    let (part, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::{DecisionRecord, FeatureValues, RecordedOffer};

    #[test]
    fn whatever_repeats_is_counted() {
        const MANY: usize = 100_000;
        let values = |values| Some(values);
        let strings = FeatureValues { strings: vec![String::new(); MANY], ..FeatureValues::default() };
        let ints = FeatureValues { ints: vec![0; MANY], ..FeatureValues::default() };
        let default = DecisionRecord::default;
        let records = [
            (
                DecisionRecord { offers: vec![RecordedOffer::default(); MANY], ..default() },
                size_of::<RecordedOffer>(),
            ),
            (DecisionRecord { consents: vec![String::new(); MANY], ..default() }, size_of::<String>()),
            (DecisionRecord { customer: values(strings), ..default() }, size_of::<String>()),
            (DecisionRecord { context: values(ints), ..default() }, size_of::<i64>()),
        ];
        for (record, bytes) in records {
            let weight = weight(&record.encode_to_vec());
            assert!(weight >= (MANY * bytes) as u64, "{weight}");
            assert!(weight <= (4 * MANY * (bytes + 64)) as u64, "{weight}");
        }
        assert!(RECORD_BYTES >= size_of::<DecisionRecord>() as u64);
        assert!(OFFER_BYTES >= size_of::<RecordedOffer>() as u64);
    }

    #[test]
    fn what_is_no_message_has_a_weight_too() {
        for bytes in [&b""[..], b"\xff", b"\xe2\x03\xff\xff\xff\x7f", b"\x0b\x0c", &[0xff; 40]] {
            assert!(weight(bytes) < 10_000);
        }
    }
}
