//! Protobuf on the wire, with a message that does not decode being the caller's mistake.
//!
//! `tonic_prost`'s own codec answers `INTERNAL` to bytes that are no message; the contract says `INVALID_ARGUMENT`. prost names
//! the field that it stumbled over, and so does the answer.
//!
//! A message of 16 MiB may hold eight million empty entries of two bytes each, and prost makes a structure of each: for the
//! tensors of an inference 312 bytes, 2.6 GB in all. So entries are counted before anything is built from them.

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec as TonicCodec, DecodeBuf, Decoder as TonicDecoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Fields at the top of one message, repeated ones counted by entry; the largest sound message is the answer to a `Score` of
/// 100,000 rows of which every one failed.
const MOST_ENTRIES: usize = 1 << 17;

/// The codec of every generated service.
#[derive(Debug, Clone)]
pub struct Codec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T, U> TonicCodec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Decoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Decoder(self.0.decoder())
    }
}

/// See [`Codec`].
#[derive(Debug)]
pub struct Decoder<U>(ProstDecoder<U>);

impl<U: Message + Default> TonicDecoder for Decoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        if has_more_entries(buffer.chunk(), MOST_ENTRIES) {
            let message = format!("the message has more than {MOST_ENTRIES} entries");
            return Err(Status::invalid_argument(message));
        }
        self.0.decode(buffer).map_err(|status| {
            Status::invalid_argument(format!("the message cannot be decoded: {}", status.message()))
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Counts without reading what the entries hold; what is damaged is left to prost, which says where.
fn has_more_entries(mut message: &[u8], most: usize) -> bool {
    for _ in 0..=most {
        if message.is_empty() {
            return false;
        }
        let skipped = decode_key(&mut message)
            .and_then(|(tag, wire_type)| skip_field(wire_type, tag, &mut message, DecodeContext::default()));
        if skipped.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::proto::inference::ModelInferRequest;
    use crate::grpc::proto::inference::model_infer_request::InferInputTensor;

    #[test]
    fn entries_are_counted_before_they_are_built() {
        let request = |inputs| ModelInferRequest {
            model_name: "card".to_owned(),
            inputs: vec![InferInputTensor::default(); inputs],
            ..ModelInferRequest::default()
        };
        assert!(!has_more_entries(&request(0).encode_to_vec(), 10));
        assert!(!has_more_entries(&request(9).encode_to_vec(), 10));
        assert!(has_more_entries(&request(10).encode_to_vec(), 10));
    }

    #[test]
    fn damaged_bytes_are_left_to_prost() {
        assert!(!has_more_entries(&[0x2a, 0xff], 10));
        assert!(!has_more_entries(&[0xff; 100], 10));
    }
}
