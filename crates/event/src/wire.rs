//! The fields of a protobuf message, without decoding it.

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'m> {
    /// A number; those of a fixed width as they are.
    Number(u64),
    /// A text, bytes, or a message.
    Bytes(&'m [u8]),
}

/// Passes each field of a message to `take`: its number, and its value. `false`: the rest is no field.
pub(crate) fn walk<'m>(mut message: &'m [u8], take: &mut dyn FnMut(u64, Value<'m>)) -> bool {
    while !message.is_empty() {
        let Some((field, value)) = next(&mut message) else { return false };
        take(field, value);
    }
    true
}

fn next<'m>(message: &mut &'m [u8]) -> Option<(u64, Value<'m>)> {
    let tag = varint(message)?;
    let value = match tag & 7 {
        0 => Value::Number(varint(message)?),
        1 => Value::Number(fixed(split(message, 8)?)),
        2 => {
            let length = varint(message)?;
            Value::Bytes(split(message, length)?)
        }
        5 => Value::Number(fixed(split(message, 4)?)),
        _ => return None,
    };
    Some((tag >> 3, value))
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

/// Little-endian bytes, eight at most.
fn fixed(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
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
    use crate::proto::{DecisionRecord, OutcomeRecord};

    #[test]
    fn fields_come_in_their_order() {
        let record = OutcomeRecord {
            format: 1,
            received_at: -1,
            value: 2.5,
            event_id: "id".to_owned(),
            ..OutcomeRecord::default()
        };
        let bytes = record.encode_to_vec();
        let mut found = Vec::new();
        assert!(walk(&bytes, &mut |field, value| found.push((field, value))));
        let expected = [
            (1, Value::Number(1)),
            (2, Value::Bytes(b"id")),
            (3, Value::Number(u64::MAX)),
            (17, Value::Number(2.5_f64.to_bits())),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_field_ends_it() {
        let whole = DecisionRecord { count: 300, ..DecisionRecord::default() }.encode_to_vec();
        for (bytes, fields) in [
            (&whole[..whole.len() - 1], 0),
            (b"\x08\x01\x0b", 1),
            (b"\x0a\x05abcd", 0),
            (b"\x09\x01", 0),
            (&[0xff; 11], 0),
        ] {
            let mut found = 0;
            assert!(!walk(bytes, &mut |_, _| found += 1));
            assert_eq!(found, fields);
        }
        assert!(walk(b"", &mut |_, _| {}));
    }
}
