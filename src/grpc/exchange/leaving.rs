//! The answer of a call: charged when it is encoded, handed to `h2` in pieces.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use http_body::Frame;
use prost::bytes::Bytes;
use tonic::Status;
use tonic::body::Body;

use super::super::budget::{Charge, Full, SMALL};
use super::super::status;
use super::{Exchange, no_room};
use telemetry::ids::new_id;

/// The most bytes of an answer that are handed to `h2` at once. It reports progress piece by piece.
const PIECE: usize = SMALL;

/// The least bytes that an answer takes: the buffer that it is encoded into.
const BUFFER: usize = 8 << 10;

/// An answer, or a part of it, charged as long as any of its bytes is in memory.
struct Charged {
    bytes: Bytes,
    #[expect(dead_code, reason = "dropping it is its use")]
    charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A piece of an answer, as `h2` holds it.
struct Piece {
    bytes: Bytes,
    exchange: Arc<Exchange>,
    /// The charge of a piece that is a whole answer.
    #[expect(dead_code, reason = "dropping it is its use")]
    charge: Option<Charge>,
}

impl Piece {
    fn of(exchange: &Arc<Exchange>, bytes: Bytes, charge: Option<Charge>) -> Bytes {
        exchange.handed.fetch_add(1, Ordering::Relaxed);
        exchange.account.handed.fetch_add(1, Ordering::Relaxed);
        exchange.turn(false);
        Bytes::from_owner(Self { bytes, exchange: Arc::clone(exchange), charge })
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.exchange.account.gone.fetch_add(1, Ordering::Relaxed);
        self.exchange.gone.fetch_add(1, Ordering::Release);
        self.exchange.left.wake();
    }
}

/// Charges encoded bytes.
fn charge(exchange: &Arc<Exchange>, bytes: &Bytes) -> Result<Charge, Full> {
    exchange.release_answer();
    exchange.account.charge(bytes.len().max(BUFFER))
}

/// The status that ends an answer which does not fit the budget.
fn refusal(exchange: &Exchange, bytes: &Bytes, full: Full) -> Result<Frame<Bytes>, Status> {
    let request_id = new_id().to_string();
    let (unread, length) = (exchange.account.unread(), bytes.len());
    tracing::debug!(request_id, length, ?full, unread, "an answer is dropped: others wait to be read");
    let mut trailers = http::HeaderMap::new();
    status::of_request(no_room(length, full), &request_id).add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

/// Charges a frame of an answer that is encoded elsewhere and waits to be handed over; [`ResponseBody`] does not charge
/// it again. If it does not fit the budget, the returned frame ends the answer instead.
pub(in crate::grpc) fn charged(
    exchange: &Arc<Exchange>,
    frame: Frame<Bytes>,
) -> Result<Frame<Bytes>, Status> {
    let bytes = match frame.into_data() {
        Ok(bytes) => bytes,
        Err(other) => return Ok(other),
    };
    exchange.charged_before.store(true, Ordering::Relaxed);
    match charge(exchange, &bytes) {
        Ok(charge) => Ok(Frame::data(Bytes::from_owner(Charged { bytes, charge }))),
        Err(full) => refusal(exchange, &bytes, full),
    }
}

/// The body of an answer. Its bytes are charged when they are encoded. A long answer is handed over in pieces, each
/// once the one before was sent. Until then the stream is held and can be reset.
pub(in crate::grpc) struct ResponseBody {
    body: Body,
    exchange: Arc<Exchange>,
    /// The part of a long answer that is not handed over yet.
    rest: Bytes,
    /// Whether a long answer was handed over and may not all have been sent.
    long: bool,
    ended: bool,
}

impl ResponseBody {
    /// The body of the answer to a call.
    pub(crate) fn new(body: Body, exchange: Arc<Exchange>) -> Self {
        Self { body, exchange, rest: Bytes::new(), long: false, ended: false }
    }

    /// The next piece of the current answer.
    fn next_piece(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            return None;
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        Some(Piece::of(&self.exchange, piece, None))
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some(piece) = this.next_piece() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if this.long && this.exchange.unread().is_some() {
            this.exchange.left.register(context.waker());
            if this.exchange.unread().is_some() {
                return Poll::Pending;
            }
        }
        this.long = false;
        if this.ended {
            return Poll::Ready(None);
        }
        let polled = ready!(Pin::new(&mut this.body).poll_frame(context));
        let Some(Ok(frame)) = polled else { return Poll::Ready(polled) };
        let bytes = match frame.into_data() {
            Ok(bytes) => bytes,
            Err(other) => return Poll::Ready(Some(Ok(other))),
        };
        let charge = if this.exchange.charged_before.load(Ordering::Relaxed) {
            None
        } else {
            match charge(&this.exchange, &bytes) {
                Ok(charge) => Some(charge),
                Err(full) => {
                    this.ended = true;
                    this.body = Body::empty();
                    return Poll::Ready(Some(refusal(&this.exchange, &bytes, full)));
                }
            }
        };
        if bytes.len() <= PIECE {
            let piece = Piece::of(&this.exchange, bytes, charge);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        this.long = true;
        this.rest = match charge {
            Some(charge) => Bytes::from_owner(Charged { bytes, charge }),
            None => bytes,
        };
        Poll::Ready(this.next_piece().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && !self.long && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use http_body::Body as _;

    use super::super::super::budget::{Account, Budget};
    use super::*;

    /// A body of these frames of data.
    struct Frames(VecDeque<Bytes>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    fn leaving(frames: &[usize], most: usize) -> (Arc<Budget>, Arc<Exchange>, ResponseBody) {
        let budget = Arc::new(Budget::new(most));
        let exchange = Exchange::begin(&Arc::new(Account::new(Arc::clone(&budget), most)));
        let frames = frames.iter().map(|length| Bytes::from(vec![7; *length])).collect();
        let body = ResponseBody::new(Body::new(Frames(frames)), Arc::clone(&exchange));
        (budget, exchange, body)
    }

    async fn next(body: &mut ResponseBody) -> Option<Frame<Bytes>> {
        poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await.map(Result::unwrap)
    }

    async fn waits(body: &mut ResponseBody) -> bool {
        poll_fn(|context| Poll::Ready(Pin::new(&mut *body).poll_frame(context).is_pending())).await
    }

    #[tokio::test]
    async fn an_answer_is_charged_until_its_last_piece_is_gone() {
        let (budget, exchange, mut body) = leaving(&[PIECE * 2 + 100, 10], 4 << 20);
        let mut pieces = Vec::new();
        for expected in [PIECE, PIECE, 100] {
            let piece = next(&mut body).await.unwrap().into_data().unwrap();
            assert_eq!(piece.len(), expected);
            pieces.push(piece);
        }
        // The frame after them waits.
        assert!(waits(&mut body).await);
        pieces.truncate(1);
        assert!(waits(&mut body).await);
        assert_eq!((budget.held(), exchange.unread()), (PIECE * 2 + 100, Some(2)));
        let rest = tokio::spawn(async move {
            let last = next(&mut body).await.unwrap().into_data().unwrap();
            (last, next(&mut body).await.is_none())
        });
        tokio::task::yield_now().await;
        drop(pieces);
        let (last, ended) = rest.await.unwrap();
        assert_eq!((last.len(), ended, budget.held()), (10, true, BUFFER));
        drop(last);
        assert_eq!((budget.held(), exchange.unread()), (0, None));
    }

    #[tokio::test]
    async fn an_answer_without_room_is_dropped_and_says_so() {
        let (budget, _exchange, mut body) = leaving(&[1 << 20, 10], 1 << 20);
        let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(status::retry_delay(&status).is_some());
        assert!(next(&mut body).await.is_none());
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_permit_is_held_until_the_answer_is_gone() {
        let (_, exchange, body) = leaving(&[], 1);
        let permit = Arc::new(());
        exchange.keep(Arc::<()>::clone(&permit));
        let charge = exchange.account.charge(0).unwrap();
        let piece = Piece::of(&exchange, Bytes::from_static(b"answer"), Some(charge));
        drop((exchange, body));
        let rest = piece.slice(3..);
        drop(piece);
        assert_eq!(Arc::strong_count(&permit), 2);
        assert_eq!(&rest[..], b"wer");
        drop(rest);
        assert_eq!(Arc::strong_count(&permit), 1);
    }
}
