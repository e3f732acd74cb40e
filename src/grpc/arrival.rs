//! The body of a request on its way in: how long its messages are waited for, and when the call takes its permit.
//!
//! A call takes its permit when its message has arrived, and not before. A unary message has arrived when it is whole
//! and the stream has ended; its last frame is held back until then. A second message is refused, as the gRPC
//! documentation has it (`UNIMPLEMENTED`, "request cardinality violation":
//! <https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>). Of a stream the first message counts.
//!
//! Each message has a time to arrive, which includes the wait for memory ([`super::exchange`] charges it). For a unary
//! message and the first of a stream it starts with the wait, for further ones with their first byte. Between two
//! messages a stream has a time of its own. All these times run only while the body is polled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::Frame;
use prost::bytes::Bytes;
use tokio::time::Sleep;
use tonic::Status;

use super::exchange::RequestBody;
use super::rpc::Cardinality;
use super::status;

/// How long the messages of a call are waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// A message.
    pub message: Duration,
    /// The beginning of each further one of a stream.
    pub next: Duration,
}

/// Told when the first message has arrived; takes the permit.
pub(super) trait Arrived: Send + Unpin + 'static {
    /// The message has arrived.
    ///
    /// # Errors
    /// Why the call cannot go on.
    fn arrived(&self) -> Result<(), Status>;
}

/// The timer of a wait.
struct Waiting {
    /// Whether the wait is for the beginning of a further message.
    for_next: bool,
    end: Pin<Box<Sleep>>,
}

/// See the module.
pub(super) struct Arrival<A> {
    body: RequestBody,
    timeouts: Timeouts,
    told: A,
    /// Messages that are complete with the frames received so far.
    whole: u64,
    has_arrived: bool,
    /// The last frame of a unary message, until the stream has ended.
    held: Option<Frame<Bytes>>,
    /// The trailers that came after it.
    trailers: Option<Frame<Bytes>>,
    ended: bool,
    waiting: Option<Waiting>,
}

impl<A: Arrived> Arrival<A> {
    /// Wraps the body of a call.
    pub(super) fn new(body: RequestBody, timeouts: Timeouts, told: A) -> Self {
        Self {
            body,
            timeouts,
            told,
            whole: 0,
            has_arrived: false,
            held: None,
            trailers: None,
            ended: false,
            waiting: None,
        }
    }

    /// Hands `frame` on, the first time only if the call may go on.
    fn hand_on(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Status> {
        if !self.has_arrived {
            if let Err(refused) = self.told.arrived() {
                return self.refuse(refused);
            }
            self.has_arrived = true;
        }
        Ok(frame)
    }

    /// Ends the body with this status; no more is read.
    fn refuse(&mut self, refused: Status) -> Result<Frame<Bytes>, Status> {
        self.ended = true;
        (self.held, self.trailers) = (None, None);
        Err(refused)
    }

    /// The next frame, if it comes in time.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = match self.body.poll_frame(context) {
            Poll::Ready(Some(Err(error))) => Some(self.refuse(error)),
            Poll::Ready(polled) => polled,
            Poll::Pending => {
                let late = ready!(self.poll_timeout(context));
                Some(self.refuse(late))
            }
        };
        Poll::Ready(polled)
    }

    /// Ready when the time for the current wait is over.
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        let lacks_room = self.body.lacks_room();
        let for_next = self.has_arrived && !lacks_room && !self.body.messages().are_within_one();
        let time = if for_next { self.timeouts.next } else { self.timeouts.message };
        self.waiting.take_if(|waiting| waiting.for_next != for_next);
        let waiting =
            self.waiting.get_or_insert_with(|| Waiting { for_next, end: Box::pin(tokio::time::sleep(time)) });
        ready!(waiting.end.as_mut().poll(context));
        Poll::Ready(match (lacks_room, for_next) {
            (true, _) => status::message_without_room(time),
            (false, true) => status::message_late(time),
            (false, false) => status::message_missing(time),
        })
    }

    /// Messages completed since the last call of this function.
    fn newly_whole(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.whole, self.body.messages().whole());
        self.whole - before
    }

    /// The next frame of a body that must hold one message.
    fn poll_one(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        while !self.ended {
            let frame = match ready!(self.poll_next(context)) {
                Some(Ok(frame)) => frame,
                Some(refused) => return Poll::Ready(Some(refused)),
                None => {
                    self.ended = true;
                    break;
                }
            };
            if !frame.is_data() {
                // Trailers end the stream.
                (self.trailers, self.ended) = (Some(frame), true);
                break;
            }
            let completes = self.newly_whole() > 0;
            if self.whole > 1 || self.whole == 1 && self.body.messages().are_within_one() {
                return Poll::Ready(Some(self.refuse(status::one_message_only())));
            }
            if self.whole == 0 {
                return Poll::Ready(Some(Ok(frame)));
            }
            // An empty frame after the message only ends the stream.
            if completes {
                self.held = Some(frame);
            }
            self.ended = self.body.is_end_stream();
        }
        if let Some(last) = self.held.take() {
            return Poll::Ready(Some(self.hand_on(last)));
        }
        Poll::Ready(self.trailers.take().map(Ok))
    }

    /// The next frame of a stream of messages.
    fn poll_many(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = ready!(self.poll_next(context));
        let Some(Ok(frame)) = polled else {
            self.ended = true;
            return Poll::Ready(polled);
        };
        if self.newly_whole() == 0 {
            return Poll::Ready(Some(Ok(frame)));
        }
        self.waiting = None;
        Poll::Ready(Some(self.hand_on(frame)))
    }
}

impl<A: Arrived> http_body::Body for Arrival<A> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.body.requests() {
            Cardinality::One => self.poll_one(context),
            Cardinality::Many => self.poll_many(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.trailers.is_none() && (self.ended || self.body.is_end_stream())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body::Body as _;
    use proptest::prelude::*;
    use tokio::sync::mpsc;
    use tonic::Code;
    use tonic::body::Body;

    use super::super::budget::{Account, Budget};
    use super::super::exchange::Exchange;
    use super::super::messages::PREFIX;
    use super::super::rpc::RPCS;
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts { message: Duration::from_mins(1), next: Duration::from_mins(10) };

    /// Counts arrivals, and refuses the call if told to.
    #[derive(Clone, Default)]
    struct Counter {
        arrivals: Arc<AtomicUsize>,
        full: bool,
    }

    impl Arrived for Counter {
        fn arrived(&self) -> Result<(), Status> {
            self.arrivals.fetch_add(1, Ordering::Relaxed);
            if self.full { Err(Status::resource_exhausted("full")) } else { Ok(()) }
        }
    }

    impl Counter {
        fn count(&self) -> usize {
            self.arrivals.load(Ordering::Relaxed)
        }
    }

    /// A body of frames that come one by one.
    struct Frames {
        coming: mpsc::UnboundedReceiver<Frame<Bytes>>,
        /// Whether the last frame carries the end of the stream.
        ends: bool,
    }

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.coming.poll_recv(context).map(|frame| frame.map(Ok))
        }

        fn is_end_stream(&self) -> bool {
            self.ends && self.coming.is_closed() && self.coming.is_empty()
        }
    }

    type Sending = mpsc::UnboundedSender<Frame<Bytes>>;

    fn arrival(requests: Cardinality, ends: bool, counter: &Counter) -> (Option<Sending>, Arrival<Counter>) {
        charged_to(&Account::unbounded(), requests, ends, counter)
    }

    fn charged_to(
        account: &Arc<Account>,
        requests: Cardinality,
        ends: bool,
        counter: &Counter,
    ) -> (Option<Sending>, Arrival<Counter>) {
        let (send, coming) = mpsc::unbounded_channel();
        let rpc = RPCS.iter().find(|rpc| rpc.requests == requests && rpc.pool.is_some()).unwrap();
        let body = Body::new(Frames { coming, ends });
        let body = RequestBody::new(body, rpc, Exchange::begin(account), 1 << 20);
        (Some(send), Arrival::new(body, TIMEOUTS, counter.clone()))
    }

    fn message(bytes: usize) -> Vec<u8> {
        [&[0], &(bytes as u32).to_be_bytes()[..], &vec![7; bytes]].concat()
    }

    fn send(to: Option<&Sending>, bytes: &[u8]) {
        to.unwrap().send(Frame::data(Bytes::copy_from_slice(bytes))).unwrap();
    }

    async fn next(body: &mut Arrival<Counter>) -> Option<Result<Vec<u8>, Code>> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        Some(
            frame
                .map_err(|status| status.code())
                .map(|frame| frame.into_data().map_or_else(|_| b"trailers".to_vec(), |data| data.to_vec())),
        )
    }

    /// Whether the body has nothing yet.
    async fn waits(body: &mut Arrival<Counter>) -> bool {
        poll_fn(|context| Poll::Ready(Pin::new(&mut *body).poll_frame(context).is_pending())).await
    }

    #[tokio::test]
    async fn one_message_is_there_when_it_is_whole_and_the_stream_has_ended() {
        let counter = Counter::default();
        let (mut sending, mut body) = arrival(Cardinality::One, true, &counter);
        assert!(waits(&mut body).await);
        let whole = message(10);
        send(sending.as_ref(), &whole[..3]);
        assert_eq!(next(&mut body).await, Some(Ok(whole[..3].to_vec())));
        send(sending.as_ref(), &whole[3..]);
        assert!(waits(&mut body).await, "the stream may go on");
        assert_eq!((counter.count(), body.is_end_stream()), (0, false));
        send(sending.as_ref(), b"");
        sending.take();
        assert_eq!(next(&mut body).await, Some(Ok(whole[3..].to_vec())));
        assert_eq!((counter.count(), body.is_end_stream()), (1, true));
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test]
    async fn trailers_end_the_stream_and_come_last() {
        let counter = Counter::default();
        let (sending, mut body) = arrival(Cardinality::One, false, &counter);
        send(sending.as_ref(), &message(1));
        sending.as_ref().unwrap().send(Frame::trailers(http::HeaderMap::new())).unwrap();
        assert_eq!(next(&mut body).await, Some(Ok(message(1))));
        assert!(!body.is_end_stream());
        assert_eq!(next(&mut body).await, Some(Ok(b"trailers".to_vec())));
        assert_eq!((next(&mut body).await, counter.count()), (None, 1));
    }

    #[tokio::test]
    async fn a_second_message_is_refused_and_no_permit_is_taken() {
        for (first, second) in [(message(4), message(0)), (message(4), vec![0]), (message(0), message(3))] {
            for together in [true, false] {
                let counter = Counter::default();
                let (sending, mut body) = arrival(Cardinality::One, true, &counter);
                if together {
                    send(sending.as_ref(), &[&first[..], &second[..]].concat());
                } else {
                    send(sending.as_ref(), &first);
                    send(sending.as_ref(), &second);
                }
                drop(sending);
                assert_eq!(next(&mut body).await, Some(Err(Code::Unimplemented)), "{second:?} {together}");
                assert_eq!((next(&mut body).await, counter.count()), (None, 0));
            }
        }
    }

    #[tokio::test]
    async fn who_gets_no_permit_reads_why() {
        for sends in [Cardinality::One, Cardinality::Many] {
            let counter = Counter { full: true, ..Counter::default() };
            let (sending, mut body) = arrival(sends, true, &counter);
            send(sending.as_ref(), &message(4));
            drop(sending);
            assert_eq!(next(&mut body).await, Some(Err(Code::ResourceExhausted)));
            assert_eq!(next(&mut body).await, None);
        }
    }

    #[tokio::test]
    async fn what_breaks_off_takes_no_permit() {
        for bytes in [&b""[..], &[0, 0], &message(9)[..10]] {
            for sends in [Cardinality::One, Cardinality::Many] {
                let counter = Counter::default();
                let (sending, mut body) = arrival(sends, true, &counter);
                send(sending.as_ref(), bytes);
                drop(sending);
                while next(&mut body).await.is_some() {}
                assert_eq!(counter.count(), 0);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_waited_for_with_patience_and_not_for_ever() {
        let counter = Counter::default();
        let (_silent, mut body) = arrival(Cardinality::Many, true, &counter);
        let began = tokio::time::Instant::now();
        assert_eq!(next(&mut body).await, Some(Err(Code::DeadlineExceeded)));
        assert_eq!((began.elapsed(), next(&mut body).await), (TIMEOUTS.message, None));

        let (sending, mut body) = arrival(Cardinality::Many, true, &counter);
        send(sending.as_ref(), &message(3));
        assert!(next(&mut body).await.unwrap().is_ok());
        // The time runs while the body is polled. A message that has begun has the time of a message, and further bytes
        // do not extend it.
        tokio::time::sleep(TIMEOUTS.next * 2).await;
        let began = tokio::time::Instant::now();
        assert!(waits(&mut body).await);
        tokio::time::sleep(TIMEOUTS.next / 2).await;
        send(sending.as_ref(), &[0]);
        assert!(next(&mut body).await.unwrap().is_ok());
        assert!(waits(&mut body).await);
        tokio::time::sleep(TIMEOUTS.message / 2).await;
        send(sending.as_ref(), &[0]);
        assert!(next(&mut body).await.unwrap().is_ok());
        assert_eq!(next(&mut body).await, Some(Err(Code::DeadlineExceeded)));
        assert_eq!((began.elapsed(), counter.count()), (TIMEOUTS.next / 2 + TIMEOUTS.message, 1));
        // While no message begins, the time between messages applies.
        let (sending, mut body) = arrival(Cardinality::Many, true, &counter);
        send(sending.as_ref(), &message(3));
        assert!(next(&mut body).await.unwrap().is_ok());
        let began = tokio::time::Instant::now();
        assert_eq!(next(&mut body).await, Some(Err(Code::DeadlineExceeded)));
        assert_eq!(began.elapsed(), TIMEOUTS.next);
    }

    #[tokio::test(start_paused = true)]
    async fn one_message_has_its_time_however_it_drips() {
        let counter = Counter::default();
        let (sending, mut body) = arrival(Cardinality::One, true, &counter);
        let began = tokio::time::Instant::now();
        for byte in message(9) {
            assert!(waits(&mut body).await);
            tokio::time::sleep(TIMEOUTS.message / 20).await;
            send(sending.as_ref(), &[byte]);
            // All but the last frame are handed on.
            _ = waits(&mut body).await;
        }
        // The message is whole, but its stream does not end.
        assert_eq!(next(&mut body).await, Some(Err(Code::DeadlineExceeded)));
        assert_eq!((began.elapsed(), counter.count()), (TIMEOUTS.message, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_room_as_long_as_it_may_take_and_takes_no_permit_before() {
        for requests in [Cardinality::One, Cardinality::Many] {
            let counter = Counter::default();
            let budget = Arc::new(Budget::new(1 << 20));
            let account = Arc::new(Account::new(Arc::clone(&budget), 1 << 20));
            let all = account.charge(700_000).unwrap();
            let (sending, mut body) = charged_to(&account, requests, true, &counter);
            let began = tokio::time::Instant::now();
            send(sending.as_ref(), &message(100_000));
            drop(sending);
            assert_eq!(next(&mut body).await, Some(Err(Code::ResourceExhausted)));
            assert_eq!((began.elapsed(), counter.count()), (TIMEOUTS.message, 0));
            drop(body);

            let (sending, mut body) = charged_to(&account, requests, true, &counter);
            send(sending.as_ref(), &message(100_000));
            drop(sending);
            assert!(waits(&mut body).await);
            drop(all);
            assert_eq!(next(&mut body).await.unwrap().unwrap().len(), PREFIX + 100_000);
            assert_eq!((counter.count(), budget.held()), (1, 100_000));
            drop(body);
            assert_eq!(budget.held(), 0);
        }
    }

    proptest! {
        /// However a stream of messages is cut, all its bytes arrive in order, and the frame that completes the first
        /// message takes the permit.
        #[test]
        fn no_cut_of_the_frames_changes_what_arrives(
            sizes in prop::collection::vec(0_usize..40, 1..5), cuts in prop::collection::vec(0_usize..30, 1..40), many: bool,
        ) {
            let sizes = if many { sizes } else { sizes[..1].to_vec() };
            let sent: Vec<u8> = sizes.iter().flat_map(|size| message(*size)).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let counter = Counter::default();
                let sends = if many { Cardinality::Many } else { Cardinality::One };
                let (sending, mut body) = arrival(sends, true, &counter);
                let (mut rest, mut cuts) = (&sent[..], cuts.iter().cycle());
                let mut turns = 0;
                while !rest.is_empty() && turns < 10_000 {
                    let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                    send(sending.as_ref(), now);
                    rest = later;
                    turns += 1;
                }
                send(sending.as_ref(), rest);
                drop(sending);
                let mut received = Vec::new();
                while let Some(frame) = next(&mut body).await {
                    received.extend(frame.unwrap());
                    let whole = received.len() >= PREFIX + sizes[0];
                    assert_eq!(counter.count(), usize::from(whole));
                }
                assert_eq!(received, sent);
            });
        }
    }
}
