//! Calls that may hold a thread for long are offloaded: streams, long messages, and the management of models and
//! releases.
//!
//! The threads of connections ([`super::threads`]) do short work, each for all its connections. Reading 16 MiB takes
//! milliseconds, for which every other caller of the thread would wait. So such calls are tasks of the runtime that all
//! threads share, from decoding their messages to encoding their answers. The connection only passes the bytes on.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::{Body as _, Frame};
use prost::bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument;

use super::admission::Admitted;
use super::exchange::{Exchange, charged};
use super::messages::PREFIX;
use super::rpc::Offload;

/// A message of more bytes is long. It holds more than some thirty rows of 32 features, or more than 370 customers,
/// whose answer is longer still. Offloading one wakes a thread, which costs little beside the work that it asks for.
const LONG: usize = 4 << 10;

/// Whether the message with this beginning is long. A compressed one counts as long, because its real size is unknown;
/// so does one whose prefix has not all arrived.
fn is_long(beginning: &[u8]) -> bool {
    match beginning.first_chunk::<PREFIX>() {
        Some([0, length @ ..]) => u32::from_be_bytes(*length) as usize > LONG,
        _ => true,
    }
}

/// Wraps the services of a thread.
#[derive(Clone)]
pub(super) struct OffloadLayer(pub Handle);

impl<S> Layer<S> for OffloadLayer {
    type Service = Offloaded<S>;

    fn layer(&self, inner: S) -> Offloaded<S> {
        Offloaded { inner, runtime: self.0.clone() }
    }
}

/// See [`OffloadLayer`].
#[derive(Clone)]
pub(super) struct Offloaded<S> {
    inner: S,
    runtime: Handle,
}

type Answered = Result<Response<Body>, Infallible>;

impl<S> Service<Request<Body>> for Offloaded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answered> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The service that is ready answers; its copy replaces it.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let runtime = self.runtime.clone();
        let exchange = request.extensions().get::<Arc<Exchange>>().cloned();
        Box::pin(async move {
            // A call that did not pass admission is judged by its message.
            let offload =
                request.extensions().get::<Admitted>().map_or_else(Offload::default, |call| call.offload);
            if offload == Offload::Always {
                let answer = Exchange::within(exchange.clone(), inner.call(request));
                return run_on(&runtime, answer, exchange).await;
            }
            let (head, mut body) = request.into_parts();
            let first = next_frame(&mut body).await;
            let long = match &first {
                Some(Ok(frame)) => frame.data_ref().is_some_and(|data| is_long(data)),
                Some(Err(_)) | None => false,
            };
            let body = match first {
                None => Body::empty(),
                first => Body::new(PeekedBody { first, rest: body }),
            };
            let answer = Exchange::within(exchange.clone(), inner.call(Request::from_parts(head, body)));
            if long { run_on(&runtime, answer, exchange).await } else { answer.await }
        })
    }
}

/// The next frame of a body; `None` after the last.
async fn next_frame(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

/// A body whose first frame was read already.
struct PeekedBody {
    first: Option<Result<Frame<Bytes>, Status>>,
    rest: Body,
}

impl http_body::Body for PeekedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }
}

/// The frames of an answer that is encoded elsewhere, one frame ahead.
struct RelayedBody {
    frames: mpsc::Receiver<Result<Frame<Bytes>, Status>>,
    #[expect(dead_code, reason = "dropping it is its use")]
    work: AbortOnDrop,
}

impl http_body::Body for RelayedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.frames.poll_recv(context)
    }
}

/// Offloaded work; it is aborted when its receiver is dropped.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a call, and encodes its answer, in `runtime`.
async fn run_on(
    runtime: &Handle,
    answer: impl Future<Output = Answered> + Send + 'static,
    exchange: Option<Arc<Exchange>>,
) -> Answered {
    let (head, answered) = oneshot::channel();
    let work = async move {
        let (parts, mut body) = match answer.await {
            Ok(response) => response.into_parts(),
            Err(never) => match never {},
        };
        if body.is_end_stream() {
            // A status without a body, which is in the head.
            _ = head.send((parts, None));
            return;
        }
        let (frames, passed) = mpsc::channel(1);
        if head.send((parts, Some(passed))).is_err() {
            return;
        }
        while let Some(frame) = next_frame(&mut body).await {
            // One frame waits here, and one more in the channel.
            let frame = match &exchange {
                Some(exchange) => frame.and_then(|frame| charged(exchange, frame)),
                None => frame,
            };
            let ends = frame.as_ref().map_or(true, Frame::is_trailers);
            if frames.send(frame).await.is_err() || ends {
                return;
            }
        }
    };
    let mut work = AbortOnDrop(runtime.spawn(work.in_current_span()));
    match answered.await {
        Ok((parts, None)) => Ok(Response::from_parts(parts, Body::empty())),
        Ok((parts, Some(frames))) => Ok(Response::from_parts(parts, Body::new(RelayedBody { frames, work }))),
        Err(_) => match (&mut work.0).await {
            // Admission answers the panic (`super::admission::caught`).
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The runtime is shutting down.
            Err(_) | Ok(()) => Ok(super::status::draining().into_http()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_long_as_its_head_says() {
        assert!(!is_long(&[0, 0, 0, 0, 0]));
        assert!(!is_long(&[0, 0, 0, 0x10, 0, 1, 2]));
        assert!(is_long(&[0, 0, 0, 0x10, 1]));
        assert!(is_long(&[0, 0xff, 0xff, 0xff, 0xff]));
        assert!(is_long(&[1, 0, 0, 0, 1]), "compressed");
        assert!(is_long(&[0, 0, 0, 0]), "its length is not known yet");
    }

    /// Records where a service was called, and whether its answer came whole.
    #[derive(Clone)]
    struct Tells;

    impl Service<Request<Body>> for Tells {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Answered> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            Box::pin(async move {
                let thread = std::thread::current().name().unwrap_or_default().to_owned();
                assert_ne!(request.uri().path(), "/panics", "as asked");
                let mut body = request.into_body();
                let mut bytes = 0;
                while let Some(frame) = next_frame(&mut body).await {
                    bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
                }
                let text = Bytes::from(format!("{bytes} bytes by {thread}"));
                Ok(Response::new(Body::new(PeekedBody {
                    first: Some(Ok(Frame::data(text))),
                    rest: Body::empty(),
                })))
            })
        }
    }

    /// The answer to a message of so many bytes, in two frames.
    async fn told(runtime: &Handle, offload: Offload, path: &str, length: u32) -> String {
        let [a, b, c, d] = length.to_be_bytes();
        let first = Some(Ok(Frame::data(Bytes::copy_from_slice(&[0, a, b, c, d]))));
        let rest = Some(Ok(Frame::data(Bytes::from(vec![0; length as usize]))));
        let body = PeekedBody { first, rest: Body::new(PeekedBody { first: rest, rest: Body::empty() }) };
        let mut admitted = Admitted::default();
        admitted.offload = offload;
        let request = Request::builder().uri(path).extension(admitted).body(Body::new(body)).unwrap();
        let response = OffloadLayer(runtime.clone()).layer(Tells).call(request).await.unwrap();
        let mut body = response.into_body();
        let frame = next_frame(&mut body).await.unwrap().unwrap();
        assert!(next_frame(&mut body).await.is_none());
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn long_messages_are_read_by_other_threads() {
        let shared = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("shared")
            .build()
            .unwrap();
        let own = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let here = std::thread::current().name().unwrap().to_owned();
        own.block_on(async {
            let told = async |offload, length| told(shared.handle(), offload, "/answers", length).await;
            assert_eq!(told(Offload::IfLong, 100).await, format!("105 bytes by {here}"));
            assert_eq!(told(Offload::IfLong, 20_000).await, "20005 bytes by shared");
            assert_eq!(told(Offload::Always, 0).await, "5 bytes by shared");
        });
        let panicked =
            work::catch_panic(|| own.block_on(told(shared.handle(), Offload::Always, "/panics", 1)));
        assert!(panicked.unwrap_err().message.contains("as asked"));
    }
}
