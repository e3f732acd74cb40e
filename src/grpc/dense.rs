//! `proffer.v1.DenseFeatures`, decoded faster than by the generated code: names into one text, values in bulk.
//!
//! Decoding is a large part of a `Score` call beside the scoring. The wire format is that of `features.proto`. Damaged
//! bytes are left to prost, which says what is wrong with them.

use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, decode_varint, float, skip_field, string};
use prost::{DecodeError, Message, Name};

use feature::Names;

/// See `features.proto`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DenseFeatures {
    /// The names of the columns.
    pub names: Names,
    /// rows × names values, row-major; NaN is a missing value.
    pub values: Vec<f32>,
}

const NAMES: u32 = 1;
const VALUES: u32 = 2;

impl Name for DenseFeatures {
    const NAME: &'static str = "DenseFeatures";
    const PACKAGE: &'static str = "proffer.v1";
}

impl Message for DenseFeatures {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        for name in self.names.iter() {
            prost::encoding::encode_key(NAMES, WireType::LengthDelimited, buffer);
            prost::encoding::encode_varint(name.len() as u64, buffer);
            buffer.put_slice(name.as_bytes());
        }
        float::encode_packed(VALUES, &self.values, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if let Some((content, taken)) = whole(wire_type, buffer.chunk())
            && self.take(tag, content)
        {
            buffer.advance(taken);
            return Ok(());
        }
        let (merged, field) = match tag {
            NAMES => {
                let mut name = String::new();
                let merged = string::merge(wire_type, &mut name, buffer, context);
                (merged.map(|()| self.names.push(&name)), "names")
            }
            VALUES => (float::merge_repeated(wire_type, &mut self.values, buffer, context), "values"),
            _ => return skip_field(wire_type, tag, buffer, context),
        };
        merged.map_err(|mut error| {
            error.push(Self::NAME, field);
            error
        })
    }

    fn encoded_len(&self) -> usize {
        let name = |name: &str| {
            let key = prost::encoding::key_len(NAMES);
            key + prost::encoding::encoded_len_varint(name.len() as u64) + name.len()
        };
        self.names.iter().map(name).sum::<usize>() + float::encoded_len_packed(VALUES, &self.values)
    }

    fn clear(&mut self) {
        self.names.clear();
        self.values.clear();
    }
}

impl DenseFeatures {
    /// Takes the content of a field that is contiguous in the buffer, unless it is damaged or of another field.
    fn take(&mut self, tag: u32, content: &[u8]) -> bool {
        if tag == NAMES
            && let Ok(name) = std::str::from_utf8(content)
        {
            self.names.push(name);
            return true;
        }
        if tag == VALUES
            && let (values, []) = content.as_chunks()
        {
            self.values.extend(values.iter().copied().map(f32::from_le_bytes));
            return true;
        }
        false
    }
}

/// The content of a length-delimited field, and the bytes with its length; `None` if it is not all in `bytes`.
fn whole(wire_type: WireType, bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut rest = bytes;
    let length = (wire_type == WireType::LengthDelimited).then(|| decode_varint(&mut rest).ok())??;
    let content = rest.get(..usize::try_from(length).ok()?)?;
    Some((content, bytes.len() - rest.len() + content.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::bytes::Bytes;

    use super::*;

    /// The same message as prost decodes it.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Plain {
        #[prost(string, repeated, tag = "1")]
        names: Vec<String>,
        #[prost(float, repeated, tag = "2")]
        values: Vec<f32>,
    }

    fn assert_same(bytes: &[u8], cut: usize) -> Result<(), TestCaseError> {
        // In one piece, and in two.
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let pieces = || Bytes::copy_from_slice(first).chain(Bytes::copy_from_slice(second));
        for (ours, plain) in [
            (DenseFeatures::decode(bytes), Plain::decode(bytes)),
            (DenseFeatures::decode(pieces()), Plain::decode(pieces())),
        ] {
            match (ours, plain) {
                (Ok(ours), Ok(plain)) => {
                    prop_assert!(ours.names.iter().eq(plain.names.iter()));
                    let bits =
                        |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                    prop_assert_eq!(bits(&ours.values), bits(&plain.values));
                }
                (Err(ours), Err(plain)) => {
                    prop_assert_eq!(ours.to_string(), plain.to_string().replace("Plain.", "DenseFeatures."));
                }
                (ours, plain) => prop_assert!(false, "{:?}, not {:?}", ours, plain),
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn on_the_wire_it_is_what_prost_has(
            names in prop::collection::vec(".{0,9}|[a-z]{200}", 0..9),
            values in prop::collection::vec(any::<f32>(), 0..40),
            cut in 0..200_usize,
        ) {
            let plain = Plain { names, values };
            let ours = DenseFeatures { names: plain.names.iter().collect(), values: plain.values.clone() };
            prop_assert_eq!(ours.encode_to_vec(), plain.encode_to_vec());
            prop_assert_eq!(ours.encoded_len(), plain.encoded_len());
            assert_same(&plain.encode_to_vec(), cut)?;
        }

        #[test]
        fn what_is_damaged_is_refused_as_prost_refuses_it(
            names in prop::collection::vec("[a-z]{0,5}", 0..4),
            values in prop::collection::vec(any::<f32>(), 0..4),
            damage in prop::collection::vec((0..60_usize, any::<u8>()), 1..4),
            cut in 0..60_usize,
        ) {
            let mut bytes = Plain { names, values }.encode_to_vec();
            for (at, byte) in damage {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            assert_same(&bytes, cut)?;
            bytes.truncate(cut);
            assert_same(&bytes, cut / 2)?;
        }
    }

    #[test]
    fn values_that_are_not_packed_are_taken_too() {
        let mut bytes = Vec::new();
        float::encode_repeated(VALUES, &[1.5, -2.0], &mut bytes);
        assert_eq!(DenseFeatures::decode(bytes.as_slice()).unwrap().values, [1.5, -2.0]);
    }
}
