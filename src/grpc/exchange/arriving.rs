//! The request of a call: its messages are charged as they begin, and read on once they fit the budget.
//!
//! [`super::super::arrival`], which reads from here, bounds the wait for them and decides when the call takes its
//! permit.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use http_body::{Body as _, Frame};
use prost::bytes::Bytes;
use tonic::Status;
use tonic::body::Body;

use super::super::budget::Waiting;
use super::super::messages::Messages;
use super::super::rpc::{Cardinality, Rpc};
use super::{Exchange, no_room};

/// The most that unpacking may lengthen a message: one byte of deflate yields at most 1,032.
const GZIP_RATIO: usize = 1032;

/// The most bytes of a message to a call that takes no permit: health, reflection, and the probes of the Open Inference
/// Protocol.
const PROBE_BYTES: usize = 4 << 10;

/// The body of a request: each message is charged once its length is known, and read on once it fits the budget.
pub(in crate::grpc) struct RequestBody {
    body: Body,
    rpc: &'static Rpc,
    exchange: Arc<Exchange>,
    /// Bytes of one message.
    message_bytes: usize,
    messages: Messages,
    /// Bytes that have arrived and do not fit the budget yet.
    kept: Option<(Bytes, Waiting)>,
}

impl RequestBody {
    /// The body of a call whose messages have at most `message_bytes`.
    pub(crate) fn new(body: Body, rpc: &'static Rpc, exchange: Arc<Exchange>, message_bytes: usize) -> Self {
        Self { body, rpc, exchange, message_bytes, messages: Messages::default(), kept: None }
    }

    /// How many messages the call takes.
    pub(crate) fn requests(&self) -> Cardinality {
        self.rpc.requests
    }

    /// The body's position in its messages.
    pub(crate) fn messages(&self) -> &Messages {
        &self.messages
    }

    /// Whether bytes have arrived that do not fit the budget yet.
    pub(crate) fn lacks_room(&self) -> bool {
        self.kept.is_some()
    }

    /// Takes bytes in; returns what must be charged first, if they begin a message.
    fn admit(&mut self, bytes: &Bytes) -> Result<Option<usize>, Status> {
        let (most, mut need, mut longest) = (self.message_bytes, 0_usize, 0);
        let begins = !bytes.is_empty() && !self.messages.are_within_one();
        if begins && self.rpc.requests == Cardinality::Many {
            // A reader that asks for the next message has used those before it.
            self.exchange.release_request();
        }
        self.messages.read(bytes, |compressed, length| {
            longest = longest.max(length);
            // A message that is too long is refused before anything is made of it.
            if length <= most {
                let unpacked = if compressed { length.saturating_mul(GZIP_RATIO).min(most) } else { 0 };
                need = need.saturating_add(length).saturating_add(unpacked);
            }
        });
        if self.rpc.pool.is_none() && longest > PROBE_BYTES {
            return Err(Status::out_of_range(format!(
                "{longest} bytes are more than the {PROBE_BYTES} that this call takes"
            )));
        }
        Ok(Some(need).filter(|need| *need > 0))
    }

    /// The next frame, once the message that it begins fits the budget.
    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some((_, waiting)) = &mut self.kept {
            let charge = ready!(waiting.poll_charge(context));
            self.exchange.hold(charge);
            self.exchange.turn(true);
            let bytes = self.kept.take().map(|(bytes, _)| bytes).unwrap_or_default();
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Poll::Ready(polled) = Pin::new(&mut self.body).poll_frame(context) else {
            self.exchange.turn(false);
            return Poll::Pending;
        };
        self.exchange.turn(true);
        let Some(Ok(frame)) = polled else { return Poll::Ready(polled) };
        self.exchange.account.arrived.fetch_add(1, Ordering::Relaxed);
        let bytes = match frame.into_data() {
            Ok(bytes) => bytes,
            Err(other) => return Poll::Ready(Some(Ok(other))),
        };
        let need = match self.admit(&bytes) {
            Ok(Some(need)) => need,
            Ok(None) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Err(refused) => return Poll::Ready(Some(Err(refused))),
        };
        let account = &self.exchange.account;
        match account.charge(need) {
            Ok(charge) => {
                self.exchange.hold(charge);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Err(full) if need > account.room(need) => Poll::Ready(Some(Err(no_room(need, full)))),
            Err(full) => {
                self.kept = Some((bytes, Waiting::new(account, need, full)));
                self.exchange.turn(false);
                self.poll_frame(context)
            }
        }
    }

    /// Whether nothing more comes.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.kept.is_none() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::budget::{Account, Budget};
    use super::super::super::rpc::RPCS;
    use super::*;

    const MIB: usize = 1 << 20;

    fn arriving(path: &str) -> (Arc<Budget>, RequestBody) {
        let rpc = RPCS.iter().find(|rpc| rpc.path == path).unwrap();
        let budget = Arc::new(Budget::new(8 * MIB));
        let exchange = Exchange::begin(&Arc::new(Account::new(Arc::clone(&budget), 4 * MIB)));
        (budget, RequestBody::new(Body::empty(), rpc, exchange, 3 * MIB))
    }

    fn head(compressed: bool, length: usize) -> Bytes {
        [&[u8::from(compressed)], &(length as u32).to_be_bytes()[..]].concat().into()
    }

    #[test]
    fn calls_without_a_permit_send_little() {
        for (path, most) in [
            ("/proffer.v1.DecisionService/Rank", usize::MAX),
            ("/proffer.v1.DecisionService/RankStream", usize::MAX),
            ("/inference.GRPCInferenceService/ServerLive", PROBE_BYTES),
            ("/grpc.health.v1.Health/Watch", PROBE_BYTES),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", PROBE_BYTES),
        ] {
            for length in [PROBE_BYTES, PROBE_BYTES + 1] {
                let taken = arriving(path).1.admit(&head(false, length)).map_err(|status| status.code());
                let expected = if length <= most { Ok(Some(length)) } else { Err(tonic::Code::OutOfRange) };
                assert_eq!(taken, expected, "{path}");
            }
        }
    }

    #[test]
    fn a_message_is_charged_with_what_it_unpacks_to_and_not_where_it_is_too_long() {
        let need = |head| arriving("/proffer.v1.DecisionService/Rank").1.admit(&head).unwrap();
        assert_eq!(need(head(false, 0)), None);
        assert_eq!(need(head(true, 100)), Some(100 + 100 * GZIP_RATIO));
        assert_eq!(need(head(true, MIB)), Some(MIB + 3 * MIB));
        assert_eq!(need(head(false, 3 * MIB + 1)), None);
    }

    #[test]
    fn a_message_stays_charged_until_the_next_one_of_its_stream_begins() {
        for (path, left) in
            [("/proffer.v1.DecisionService/Rank", 10), ("/proffer.v1.DecisionService/RankStream", 0)]
        {
            let (budget, mut body) = arriving(path);
            let whole = Bytes::from([&head(false, 10)[..], &[7; 10]].concat());
            let need = body.admit(&whole).unwrap().unwrap();
            body.exchange.hold(body.exchange.account.charge(need).unwrap());
            // An empty frame, which ends the caller's stream, begins no message.
            assert_eq!(body.admit(&Bytes::new()).unwrap(), None);
            assert_eq!(budget.held(), 10);
            body.admit(&whole.slice(..1)).unwrap();
            assert_eq!(budget.held(), left, "{path}");
        }
    }
}
