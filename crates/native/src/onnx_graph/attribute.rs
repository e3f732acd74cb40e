//! A constant of a node, decoded from the file only when it is used.
//!
//! A tree ensemble has lists with an entry per node, and most files give every entry a key of its own. Decoding them
//! one by one with prost would take a large part of the load time. Here they are decoded straight into a list.

use bytes::Bytes;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::proto::{NodeProto, TensorProto};

/// An `AttributeProto` of which each accessor decodes what it needs. The operator determines which field holds a value.
/// Decoding stops at damaged bytes; the check of the file refuses those.
#[derive(Debug, Clone, Copy)]
pub struct Attribute<'n>(&'n Bytes);

/// The field numbers.
mod tag {
    pub(crate) const NAME: u32 = 1;
    pub(crate) const F: u32 = 2;
    pub(crate) const I: u32 = 3;
    pub(crate) const S: u32 = 4;
    pub(crate) const T: u32 = 5;
    pub(crate) const FLOATS: u32 = 7;
    pub(crate) const INTS: u32 = 8;
    pub(crate) const STRINGS: u32 = 9;
}

impl NodeProto {
    /// The attribute with this name.
    pub fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.attribute.iter().map(Attribute).find(|attribute| attribute.name() == name.as_bytes())
    }
}

impl<'n> Attribute<'n> {
    /// Its name, which exporters write first.
    fn name(self) -> &'n [u8] {
        self.fields().find_map(|field| field.bytes(tag::NAME)).unwrap_or_default()
    }

    /// A float.
    pub fn float(self) -> f32 {
        let words = self.fields().filter_map(|field| field.word(tag::F));
        words.last().map(f32::from_le_bytes).unwrap_or_default()
    }

    /// An integer.
    pub fn int(self) -> i64 {
        let numbers = self.fields().filter_map(|field| field.number(tag::I));
        numbers.last().map(u64::cast_signed).unwrap_or_default()
    }

    /// A text.
    #[must_use]
    pub fn string(self) -> &'n [u8] {
        self.fields().filter_map(|field| field.bytes(tag::S)).last().unwrap_or_default()
    }

    /// A tensor.
    pub fn tensor(self) -> Option<TensorProto> {
        let mut tensor = None;
        for bytes in self.fields().filter_map(|field| field.bytes(tag::T)) {
            tensor.get_or_insert_with(TensorProto::default).merge(self.0.slice_ref(bytes)).ok()?;
        }
        tensor
    }

    /// Floats.
    pub fn floats(self) -> Vec<f32> {
        // The entries have a key each, or one for all.
        let mut all = Vec::with_capacity(self.0.len() / 5);
        for field in self.fields() {
            if let Some(word) = field.word(tag::FLOATS) {
                all.push(f32::from_le_bytes(word));
            } else if let Some(packed) = field.bytes(tag::FLOATS) {
                all.extend(packed.as_chunks().0.iter().copied().map(f32::from_le_bytes));
            }
        }
        all
    }

    /// Integers.
    #[must_use]
    pub fn ints(self) -> Vec<i64> {
        let mut all = Vec::with_capacity(self.0.len() / 2);
        for field in self.fields() {
            if let Some(number) = field.number(tag::INTS) {
                all.push(number.cast_signed());
            } else if let Some(mut packed) = field.bytes(tag::INTS) {
                while !packed.is_empty()
                    && let Ok(number) = decode_varint(&mut packed)
                {
                    all.push(number.cast_signed());
                }
            }
        }
        all
    }

    /// Texts.
    pub fn strings(self) -> impl Iterator<Item = &'n [u8]> {
        self.fields().filter_map(|field| field.bytes(tag::STRINGS))
    }

    fn fields(self) -> Fields<'n> {
        Fields(self.0)
    }
}

/// A field of a message: its number and value.
#[derive(Debug, Clone, Copy)]
struct Field<'b> {
    tag: u32,
    value: Value<'b>,
}

#[derive(Debug, Clone, Copy)]
enum Value<'b> {
    Number(u64),
    Word([u8; 4]),
    Bytes(&'b [u8]),
    /// A type that no known field has.
    Other,
}

impl<'b> Field<'b> {
    fn number(self, tag: u32) -> Option<u64> {
        if let Value::Number(number) = self.value
            && self.tag == tag
        {
            return Some(number);
        }
        None
    }

    fn word(self, tag: u32) -> Option<[u8; 4]> {
        if let Value::Word(word) = self.value
            && self.tag == tag
        {
            return Some(word);
        }
        None
    }

    fn bytes(self, tag: u32) -> Option<&'b [u8]> {
        if let Value::Bytes(bytes) = self.value
            && self.tag == tag
        {
            return Some(bytes);
        }
        None
    }
}

/// The fields of a message in order, up to its end or the first damage.
struct Fields<'b>(&'b [u8]);

impl<'b> Iterator for Fields<'b> {
    type Item = Field<'b>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (tag, wire_type) = decode_key(&mut self.0).ok()?;
        let value = match wire_type {
            WireType::Varint => Value::Number(decode_varint(&mut self.0).ok()?),
            WireType::ThirtyTwoBit => {
                let (word, rest) = self.0.split_first_chunk()?;
                self.0 = rest;
                Value::Word(*word)
            }
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut self.0).ok()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            WireType::SixtyFourBit | WireType::StartGroup | WireType::EndGroup => {
                skip_field(wire_type, tag, &mut self.0, DecodeContext::default()).ok()?;
                Value::Other
            }
        };
        Some(Field { tag, value })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::AttributeProto;

    /// The lists as exporters write them: a key for each entry.
    #[derive(Clone, PartialEq, Message)]
    struct Unpacked {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(float, repeated, packed = "false", tag = "7")]
        floats: Vec<f32>,
        #[prost(int64, repeated, packed = "false", tag = "8")]
        ints: Vec<i64>,
    }

    fn attributes() -> impl Strategy<Value = AttributeProto> {
        let lists = (
            prop::collection::vec(any::<f32>(), 0..40),
            prop::collection::vec(any::<i64>(), 0..40),
            prop::collection::vec("[a-z]{0,9}", 0..9),
        );
        (any::<f32>(), any::<i64>(), "[a-z]{0,9}", any::<Option<i64>>(), lists).prop_map(
            |(f, i, s, dim, (floats, ints, strings))| AttributeProto {
                name: "a name".to_owned(),
                f,
                i,
                s: s.into_bytes(),
                t: dim.map(|dim| TensorProto { dims: vec![dim], ..TensorProto::default() }),
                floats,
                ints,
                strings: strings.into_iter().map(String::into_bytes).collect(),
                kind: 0,
            },
        )
    }

    fn bits(floats: &[f32]) -> Vec<u32> {
        floats.iter().map(|float| float.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn it_says_what_prost_says(proto in attributes()) {
            let bytes = Bytes::from(proto.encode_to_vec());
            // The default is not written: -0 is read back as 0.
            let proto = AttributeProto::decode(bytes.clone()).unwrap();
            let attribute = Attribute(&bytes);
            prop_assert_eq!(attribute.name(), proto.name.as_bytes());
            prop_assert_eq!(attribute.float().to_bits(), proto.f.to_bits());
            prop_assert_eq!(attribute.int(), proto.i);
            prop_assert_eq!(attribute.string(), proto.s.as_slice());
            prop_assert_eq!(attribute.tensor(), proto.t);
            prop_assert_eq!(bits(&attribute.floats()), bits(&proto.floats));
            prop_assert_eq!(attribute.ints(), proto.ints.clone());
            prop_assert!(attribute.strings().eq(proto.strings.iter()));
            let unpacked = Unpacked { name: proto.name, floats: proto.floats, ints: proto.ints };
            let bytes = Bytes::from(unpacked.encode_to_vec());
            let attribute = Attribute(&bytes);
            prop_assert_eq!(bits(&attribute.floats()), bits(&unpacked.floats));
            prop_assert_eq!(attribute.ints(), unpacked.ints);
        }

        #[test]
        fn decoding_stops_at_damage(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let attribute = Attribute(&bytes);
            let most = bytes.len();
            prop_assert!(attribute.ints().len() <= most && attribute.floats().len() <= most);
            prop_assert!(attribute.strings().count() + attribute.name().len() + attribute.string().len() <= 2 * most);
            let _ = (attribute.float(), attribute.int(), attribute.tensor());
        }
    }
}
