//! Calls that may hold a thread for long are run aside: streams, long messages, and whatever manages models and releases.
//!
//! The threads of connections ([`super::threads`]) do what is short, each for all its connections. To read 16 MiB takes milliseconds, and
//! as long would every other caller of the thread wait. So these calls, from the decoding of their messages to the encoding of their
//! answers, are tasks of the runtime that all threads share; the connection only passes the bytes on.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
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

/// A message of more bytes is long: it holds more than some thirty rows of 32 features, or more than 370 customers, whose answer is
/// longer still. To hand one over wakes a thread, which is little beside the work that it asks for.
const LONG: usize = 4 << 10;

/// What stands before each message (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>): whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Calls of one message that are short unless the message is long.
const SHORT: [&str; 4] = [
    "/proffer.v1.DecisionService/Rank",
    "/proffer.v1.DecisionService/Score",
    "/proffer.v1.DecisionService/AssignSegments",
    "/inference.GRPCInferenceService/ModelInfer",
];

/// Whether a call of this path runs aside whatever it holds.
fn runs_aside(path: &str) -> bool {
    path.starts_with("/proffer.v1.") && !SHORT.contains(&path)
}

/// Whether the message that begins so is long. Compressed ones are: nobody knows what they hold. So is one whose head has not all
/// come.
fn is_long(beginning: &[u8]) -> bool {
    match beginning.first_chunk::<PREFIX>() {
        Some([0, length @ ..]) => u32::from_be_bytes(*length) as usize > LONG,
        _ => true,
    }
}

/// Wraps the services of a thread.
#[derive(Clone)]
pub(super) struct AsideLayer(pub Handle);

impl<S> Layer<S> for AsideLayer {
    type Service = Aside<S>;

    fn layer(&self, inner: S) -> Aside<S> {
        Aside { inner, aside: self.0.clone() }
    }
}

/// See [`AsideLayer`].
#[derive(Clone)]
pub(super) struct Aside<S> {
    inner: S,
    aside: Handle,
}

type Answered = Result<Response<Body>, Infallible>;

impl<S> Service<Request<Body>> for Aside<S>
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
        // The one that is ready answers; its copy takes its place.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let aside = self.aside.clone();
        Box::pin(async move {
            if runs_aside(request.uri().path()) {
                return run_aside(&aside, inner.call(request)).await;
            }
            let (head, mut body) = request.into_parts();
            let first = next_frame(&mut body).await;
            let long = match &first {
                Some(Ok(frame)) => frame.data_ref().is_some_and(|data| is_long(data)),
                Some(Err(_)) | None => false,
            };
            let body = match first {
                None => Body::empty(),
                first => Body::new(Begun { first, rest: body }),
            };
            let answer = inner.call(Request::from_parts(head, body));
            if long { run_aside(&aside, answer).await } else { answer.await }
        })
    }
}

/// The next frame of a body; `None` after the last.
async fn next_frame(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

/// A body whose first frame was looked at.
struct Begun {
    first: Option<Result<Frame<Bytes>, Status>>,
    rest: Body,
}

impl http_body::Body for Begun {
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

/// The frames of an answer that is written aside, one of them ahead.
struct Passed {
    frames: mpsc::Receiver<Result<Frame<Bytes>, Status>>,
    #[expect(dead_code, reason = "dropping it is its use")]
    work: Work,
}

impl http_body::Body for Passed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.frames.poll_recv(context)
    }
}

/// Work aside, which ends when nobody wants it any more.
struct Work(JoinHandle<()>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a call, and writes its answer, in the runtime of `aside`.
async fn run_aside(aside: &Handle, answer: impl Future<Output = Answered> + Send + 'static) -> Answered {
    let (head, answered) = oneshot::channel();
    let work = async move {
        let (parts, mut body) = match answer.await {
            Ok(response) => response.into_parts(),
            Err(never) => match never {},
        };
        if body.is_end_stream() {
            // A status alone, which stands in the head.
            _ = head.send((parts, None));
            return;
        }
        let (frames, passed) = mpsc::channel(1);
        if head.send((parts, Some(passed))).is_err() {
            return;
        }
        while let Some(frame) = next_frame(&mut body).await {
            if frames.send(frame).await.is_err() {
                return;
            }
        }
    };
    let mut work = Work(aside.spawn(work.in_current_span()));
    match answered.await {
        Ok((parts, None)) => Ok(Response::from_parts(parts, Body::empty())),
        Ok((parts, Some(frames))) => Ok(Response::from_parts(parts, Body::new(Passed { frames, work }))),
        Err(_) => match (&mut work.0).await {
            // Whoever admitted the call answers it (`super::admission::caught`).
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
    fn streams_and_management_run_aside_and_questions_about_the_server_do_not() {
        for path in [
            "/proffer.v1.DecisionService/ScoreStream",
            "/proffer.v1.DecisionService/RankStream",
            "/proffer.v1.ModelService/PushModelVersion",
            "/proffer.v1.ReleaseService/PromoteRelease",
        ] {
            assert!(runs_aside(path), "{path}");
        }
        for path in SHORT
            .into_iter()
            .chain(["/grpc.health.v1.Health/Check", "/inference.GRPCInferenceService/ServerLive"])
        {
            assert!(!runs_aside(path), "{path}");
        }
    }

    #[test]
    fn a_message_is_as_long_as_its_head_says() {
        assert!(!is_long(&[0, 0, 0, 0, 0]));
        assert!(!is_long(&[0, 0, 0, 0x10, 0, 1, 2]));
        assert!(is_long(&[0, 0, 0, 0x10, 1]));
        assert!(is_long(&[0, 0xff, 0xff, 0xff, 0xff]));
        assert!(is_long(&[1, 0, 0, 0, 1]), "compressed");
        assert!(is_long(&[0, 0, 0, 0]), "its length is not known yet");
    }

    /// Where a service was called, and whether its answer came whole.
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
                assert_ne!(request.uri().path(), "/proffer.v1.DecisionService/ScoreStream", "as asked");
                let mut body = request.into_body();
                let mut bytes = 0;
                while let Some(frame) = next_frame(&mut body).await {
                    bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
                }
                let text = Bytes::from(format!("{bytes} bytes by {thread}"));
                Ok(Response::new(Body::new(Begun {
                    first: Some(Ok(Frame::data(text))),
                    rest: Body::empty(),
                })))
            })
        }
    }

    /// The answer to a message of so many bytes, in two frames.
    async fn told(aside: &Handle, path: &str, length: u32) -> String {
        let [a, b, c, d] = length.to_be_bytes();
        let first = Some(Ok(Frame::data(Bytes::copy_from_slice(&[0, a, b, c, d]))));
        let rest = Some(Ok(Frame::data(Bytes::from(vec![0; length as usize]))));
        let body = Begun { first, rest: Body::new(Begun { first: rest, rest: Body::empty() }) };
        let request = Request::builder().uri(path).body(Body::new(body)).unwrap();
        let response = AsideLayer(aside.clone()).layer(Tells).call(request).await.unwrap();
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
            let told = async |path, length| told(shared.handle(), path, length).await;
            let rank = "/proffer.v1.DecisionService/Rank";
            assert_eq!(told(rank, 100).await, format!("105 bytes by {here}"));
            assert_eq!(told(rank, 20_000).await, "20005 bytes by shared");
            assert_eq!(told("/proffer.v1.ModelService/ListModels", 0).await, "5 bytes by shared");
        });
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            own.block_on(told(shared.handle(), "/proffer.v1.DecisionService/ScoreStream", 1))
        }));
        assert!(crate::model::panic_message(&*panicked.unwrap_err()).contains("as asked"));
    }
}
