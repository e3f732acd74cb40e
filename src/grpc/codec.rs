//! Protobuf on the wire, where a message that does not decode is the caller's mistake.
//!
//! `tonic_prost`'s own codec answers `INTERNAL` to malformed bytes; the contract says `INVALID_ARGUMENT`. prost names
//! the field at which it failed, and so does the answer. The memory that the entries of a message will take is
//! estimated before it is decoded ([`footprint`]) and charged to the call. A message that needs too much is refused.

use prost::bytes::Buf;
use prost::{Message, Name};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec as TonicCodec, DecodeBuf, Decoder as TonicDecoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use super::exchange::Exchange;
use super::footprint;

/// What the entries of one message may take beside their content. It suffices for 100,000 rows of twenty text features,
/// or for a `Score` answer of 100,000 rows that all failed.
const MAX_ENTRY_BYTES: usize = 64 << 20;

/// The codec of every generated service.
#[derive(Debug, Clone)]
pub(super) struct Codec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T, U> TonicCodec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
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
pub(super) struct Decoder<U>(ProstDecoder<U>);

impl<U: Message + Name + Default> TonicDecoder for Decoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The buffer of one message is contiguous.
        match footprint::of(&U::full_name(), buffer.chunk(), MAX_ENTRY_BYTES) {
            Some(bytes) => Exchange::charge_entries(bytes)?,
            None => {
                return Err(Status::invalid_argument(
                    "the message has too many entries; send fewer at a time",
                ));
            }
        }
        self.0.decode(buffer).map_err(|status| {
            Status::invalid_argument(format!("the message cannot be decoded: {}", status.message()))
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
