//! Estimates the memory that a message would take, before anything is built from it.
//!
//! A message of 16 MiB may hold eight million empty entries of two bytes each. prost makes a structure of each: for the
//! tensors of an inference 312 bytes, 2.6 GB in all. So the entries are counted first, at every depth, by the message's
//! own descriptor: bytes and text are never mistaken for messages.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

use super::proto::DESCRIPTORS;

/// Bytes that an entry of a message type takes beside its content: the largest generated structure has 312.
const MESSAGE_BYTES: usize = 256;

/// Bytes that a text, a byte string or an unpacked number takes beside its content.
const VALUE_BYTES: usize = 24;

/// How deep messages may nest; prost itself stops at 100.
const DEPTH: usize = 32;

/// By full name (`.proffer.v1.Customer`): the fields that are messages themselves, by tag, with their types.
type Types = HashMap<String, HashMap<u32, String>>;

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let mut types = Types::new();
    // The descriptors are our own; if they were damaged, reflection would have failed at the start.
    for file in FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default().file {
        let package = file.package().to_owned();
        file.message_type.iter().for_each(|message| register(message, &format!(".{package}"), &mut types));
    }
    types
});

fn register(message: &DescriptorProto, scope: &str, types: &mut Types) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        register(nested, &name, types);
    }
    let fields = message.field.iter().filter(|field| field.r#type() == Type::Message);
    let fields = fields.map(|field| (field.number().unsigned_abs(), field.type_name().to_owned()));
    types.insert(name, fields.collect());
}

/// Shorter messages are not scanned: their entries take 128 KiB at most, and a scan costs as much as decoding.
const SCANNED_FROM: usize = 1 << 10;

/// The bytes that the entries of `message`, of the type called `name` (`proffer.v1.RankRequest`), take beside their
/// content. It is 0 for a short message, and `None` for more than `most`. Damaged bytes are left to prost, which says
/// where they are.
pub(super) fn of(name: &str, message: &[u8], most: usize) -> Option<usize> {
    if message.len() < SCANNED_FROM {
        return Some(0);
    }
    let mut left = most;
    spend(&format!(".{name}"), message, DEPTH, &mut left)?;
    Some(most - left)
}

/// Subtracts the cost of the entries from `left`; `None` when it does not suffice.
fn spend(name: &str, mut message: &[u8], depth: usize, left: &mut usize) -> Option<()> {
    let Some(types) = TYPES.get(name) else { return Some(()) };
    while !message.is_empty() {
        let Ok((tag, wire_type)) = decode_key(&mut message) else { return Some(()) };
        let inner = types.get(&tag).filter(|_| wire_type == WireType::LengthDelimited);
        *left = left.checked_sub(if inner.is_some() { MESSAGE_BYTES } else { VALUE_BYTES })?;
        let Some(inner) = inner.filter(|_| depth > 0) else {
            if skip_field(wire_type, tag, &mut message, DecodeContext::default()).is_err() {
                return Some(());
            }
            continue;
        };
        let length = decode_varint(&mut message).ok().and_then(|length| usize::try_from(length).ok());
        let Some((content, rest)) = length.and_then(|length| message.split_at_checked(length)) else {
            return Some(());
        };
        spend(inner, content, depth - 1, left)?;
        message = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::proto::inference::ModelInferRequest;
    use crate::grpc::proto::inference::model_infer_request::InferInputTensor;
    use crate::grpc::proto::proffer::v1 as wire;
    use proptest::prelude::*;
    use prost::Name;

    fn exceeds(name: &str, message: &[u8], most: usize) -> bool {
        spend(&format!(".{name}"), message, DEPTH, &mut most.clone()).is_none()
    }

    #[test]
    fn entries_count_at_every_depth() {
        let tensors = |count| ModelInferRequest {
            inputs: vec![InferInputTensor::default(); count],
            ..ModelInferRequest::default()
        };
        let name = ModelInferRequest::full_name();
        assert!(!exceeds(&name, &tensors(10).encode_to_vec(), 10 * MESSAGE_BYTES));
        assert!(exceeds(&name, &tensors(11).encode_to_vec(), 10 * MESSAGE_BYTES));
        let columns = vec![wire::FeatureColumn::default(); 1000];
        let features = wire::FeatureBatch { rows: 1, dense: None, columns };
        let rank = wire::RankRequest { features: Some(features), ..Default::default() };
        let stream = wire::RankStreamRequest { request: Some(rank) };
        let name = wire::RankStreamRequest::full_name();
        assert!(exceeds(&name, &stream.encode_to_vec(), 1000 * MESSAGE_BYTES));
        assert!(!exceeds(&name, &stream.encode_to_vec(), 1010 * MESSAGE_BYTES));
    }

    #[test]
    fn short_messages_are_not_looked_through() {
        let message = |customers| {
            let request = wire::RankRequest {
                customers: vec![wire::Customer::default(); customers],
                ..wire::RankRequest::default()
            };
            request.encode_to_vec()
        };
        let name = wire::RankRequest::full_name();
        assert_eq!(of(&name, &message(500), 1 << 20), Some(0));
        assert_eq!(of(&name, &message(1000), 1 << 20), Some(1000 * MESSAGE_BYTES));
        assert_eq!(of(&name, &message(5000), 1 << 20), None);
    }

    #[test]
    fn bytes_are_not_mistaken_for_messages() {
        // As a message, these bytes would be fifty thousand empty entries.
        let raw = [0x12, 0].repeat(50_000);
        let request = ModelInferRequest { raw_input_contents: vec![raw], ..ModelInferRequest::default() };
        assert!(!exceeds(&ModelInferRequest::full_name(), &request.encode_to_vec(), 10 * MESSAGE_BYTES));
    }

    #[test]
    fn fuzz_footprint() {
        let customer =
            wire::Customer { customer_id: "C000001".to_owned(), consents: vec!["email".to_owned()] };
        let features =
            wire::FeatureBatch { rows: 1, dense: None, columns: vec![wire::FeatureColumn::default(); 9] };
        let rank = wire::RankRequest {
            features: Some(features),
            customers: vec![customer; 9],
            ..Default::default()
        };
        let stream = wire::RankStreamRequest { request: Some(rank) };
        let tensors = ModelInferRequest {
            inputs: vec![InferInputTensor::default(); 9],
            raw_input_contents: vec![vec![0; 9]; 9],
            ..ModelInferRequest::default()
        };
        let seeds = vec![stream.encode_to_vec(), tensors.encode_to_vec()];
        let target = fuzz::Target { name: "footprint", seeds, words: &[], inputs: 20_000 };
        target.run(|input| {
            for name in [wire::RankStreamRequest::full_name(), ModelInferRequest::full_name()] {
                // A message that passes stays within the bound: an entry takes two bytes at least.
                assert!(!exceeds(&name, input, (input.len() / 2 + 1) * MESSAGE_BYTES));
                exceeds(&name, input, MESSAGE_BYTES);
            }
            Ok(())
        });
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_left_to_prost(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!exceeds(&wire::RankRequest::full_name(), &bytes, 200 * MESSAGE_BYTES));
        }
    }
}
