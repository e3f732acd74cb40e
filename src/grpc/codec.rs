//! Protobuf on the wire, with a message that does not decode being the caller's mistake.
//!
//! `tonic_prost`'s own codec answers `INTERNAL` to bytes that are no message; the contract says `INVALID_ARGUMENT`. prost names
//! the field that it stumbled over, and so does the answer.
//! A message whose entries would take too much memory is refused before it is decoded ([`footprint`]).

use prost::bytes::Buf;
use prost::{Message, Name};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec as TonicCodec, DecodeBuf, Decoder as TonicDecoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use super::footprint;

/// What the entries of one message may take beside their content: room for 100,000 rows of twenty text features, or for the
/// answer to a `Score` of 100,000 rows of which every one failed.
const MOST_ENTRY_BYTES: usize = 64 << 20;

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
pub struct Decoder<U>(ProstDecoder<U>);

impl<U: Message + Name + Default> TonicDecoder for Decoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The buffer of one message is one piece.
        if footprint::exceeds(&U::full_name(), buffer.chunk(), MOST_ENTRY_BYTES) {
            return Err(Status::invalid_argument("the message has too many entries; send fewer at a time"));
        }
        self.0.decode(buffer).map_err(|status| {
            Status::invalid_argument(format!("the message cannot be decoded: {}", status.message()))
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
