use std::net::SocketAddr;

use super::*;
use crate::grpc::peers::tests::{arrive, limits, peers};

/// How long a message may take.
const BODY_TIME: Duration = Duration::from_secs(7);

/// Waits for an answer that comes after five minutes; `change` prepares the call.
async fn late(deadline: Option<Duration>, change: impl FnOnce(&Shared)) -> Code {
    let (now, shared) = (Instant::now(), Shared::default());
    change(&shared);
    let after = |time| now.checked_add(time);
    let answer = async {
        tokio::time::sleep(Duration::from_mins(5)).await;
        Response::new(Body::empty())
    };
    let limit = after(Duration::from_secs(1));
    code_of(&in_time(limit, deadline.and_then(after), &shared, answer).await)
}

#[tokio::test(start_paused = true)]
async fn the_limit_holds_until_the_service_takes_the_time_over() {
    let taken = |shared: &Shared| shared.own_time.store(true, Ordering::Relaxed);
    assert_eq!(late(None, |_| {}).await, Code::DeadlineExceeded);
    assert_eq!(late(None, taken).await, Code::Ok);
    assert_eq!(late(Some(Duration::from_hours(1)), |_| {}).await, Code::Ok);
    assert_eq!(late(Some(Duration::from_mins(1)), taken).await, Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_not_waited_for_beyond_the_limit_whatever_the_deadline() {
    let mut server = server(Writers::Local);
    for path in [RANK, ROLL_BACK, PUSH, WATCH, "/grpc.health.v1.Health/Watch"] {
        let began = tokio::time::Instant::now();
        let response = server.ask(HERE, path, "99999999H", silence()).await;
        assert_eq!(code_of(&response), Code::DeadlineExceeded, "{path}");
        assert_eq!(began.elapsed(), BODY_TIME, "{path}");
    }
}

/// Answers once the body has ended, with the time left to the call.
#[derive(Clone)]
struct Reads;

impl Service<Request<Body>> for Reads {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            let admitted = request.extensions().get::<Admitted>().unwrap().clone();
            let mut body = request.into_body();
            while let Some(frame) =
                poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context)).await
            {
                if let Err(status) = frame {
                    return Ok(status.into_http());
                }
            }
            let left = admitted.call.deadline().map(|deadline| deadline - Instant::now());
            let mut response = Response::new(Body::empty());
            if let Some(left) = left {
                response.headers_mut().insert("left", left.as_secs().div_ceil(60).into());
            }
            Ok(response)
        })
    }
}

struct Server {
    peers: Peers,
    readiness: Readiness,
    admission: Admission<Reads>,
}

fn server(writers: Writers) -> Server {
    let server = starting(writers);
    server.readiness.ready(1);
    server
}

/// A server that has loaded no release yet.
fn starting(writers: Writers) -> Server {
    let (peers, readiness) = (peers(4, 1.0, 1.0), Readiness::new());
    let callers = limits(1.0, 1.0);
    let limits = Limits { body_time: BODY_TIME, ..Limits::default() };
    let metrics = Metrics::new();
    let layer = AdmissionLayer::new(&peers, &callers, &limits, writers, readiness.clone(), &metrics);
    Server { peers, readiness, admission: layer.layer(Reads) }
}

impl Server {
    /// The answer to a call from `peer` with the body `body`.
    async fn ask(&mut self, peer: &str, path: &str, timeout: &str, body: Body) -> Response<Body> {
        let from: SocketAddr = peer.parse().unwrap();
        let here = self.peers.arrive(from, Instant::now()).unwrap();
        let mut request = Request::post(path).header("content-type", "application/grpc");
        if !timeout.is_empty() {
            request = request.header("grpc-timeout", timeout);
        }
        let mut request = request.body(body).unwrap();
        request.extensions_mut().insert(here.origin().clone());
        self.admission.call(request).await.unwrap()
    }
}

/// A body of these bytes, or one that never sends anything.
struct Sent(Option<&'static [u8]>, bool);

impl http_body::Body for Sent {
    type Data = prost::bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Status>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(http_body::Frame::data(bytes.into())))),
            None if self.1 => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// A message without bytes, and the end of the stream.
fn message() -> Body {
    Body::new(Sent(Some(&[0; 5]), true))
}

fn silence() -> Body {
    Body::new(Sent(None, false))
}

const RANK: &str = "/proffer.v1.DecisionService/Rank";
const ROLL_BACK: &str = "/proffer.v1.ReleaseService/RollbackRelease";
const PUSH: &str = "/proffer.v1.ModelService/PushModelVersion";
const WATCH: &str = "/proffer.v1.ReleaseService/WatchReleases";
const HERE: &str = "127.0.0.1:9";
const FAR: &str = "10.0.0.1:9";

async fn code(server: &mut Server, peer: &str, path: &str, body: Body) -> Code {
    code_of(&server.ask(peer, path, "", body).await)
}

#[tokio::test]
async fn a_path_that_nobody_serves_and_a_peer_that_may_not_write_are_refused_before_the_body() {
    let mut server = server(Writers::Local);
    for path in ["/made/up", "/proffer.v1.DecisionService/Rank/", "/", &format!("/{}", "x".repeat(300))] {
        assert_eq!(code(&mut server, HERE, path, silence()).await, Code::Unimplemented, "{path}");
    }
    for path in [ROLL_BACK, PUSH] {
        let refused = server.ask(FAR, path, "", silence()).await;
        let refused = Status::from_header_map(refused.headers()).unwrap();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("--allow-remote-admin"), "{refused}");
    }
    for peer in [HERE, "127.1.2.3:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
        assert_eq!(code(&mut server, peer, ROLL_BACK, message()).await, Code::Ok, "{peer}");
    }
    for peer in [FAR, "[::ffff:10.0.0.1]:9", "[fe80::1]:9"] {
        assert_eq!(code(&mut server, peer, ROLL_BACK, message()).await, Code::PermissionDenied, "{peer}");
        assert_eq!(code(&mut server, peer, RANK, message()).await, Code::Ok, "{peer}");
    }
    let mut open = self::server(Writers::Everyone);
    assert_eq!(code(&mut open, FAR, ROLL_BACK, message()).await, Code::Ok);
}

#[test]
fn a_call_without_its_message_takes_no_permit() {
    for path in [RANK, ROLL_BACK, WATCH, PUSH] {
        // Each has its own clock.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let mut server = server(Writers::Local);
            let here = arrive(&server.peers, HERE);
            let silent: Vec<_> = (0..1000)
                .map(|_| {
                    let request = Request::post(path)
                        .header("content-type", "application/grpc")
                        .header("grpc-timeout", "99999999H");
                    let mut request = request.body(silence()).unwrap();
                    request.extensions_mut().insert(here.origin().clone());
                    tokio::spawn(server.admission.call(request))
                })
                .collect();
            tokio::task::yield_now().await;
            assert_eq!(code(&mut server, HERE, path, message()).await, Code::Ok, "{path}");
            assert!(silent.iter().all(|call| !call.is_finished()));
            for call in silent {
                let response = call.await.unwrap().unwrap();
                assert_eq!(code_of(&response), Code::DeadlineExceeded);
            }
        });
    }
}

#[tokio::test]
async fn a_deadline_is_cut_to_the_longest_but_for_streams() {
    let mut server = server(Writers::Local);
    let mut minutes = async |path, timeout| {
        let response = server.ask(HERE, path, timeout, message()).await;
        response.headers().get("left").map(|left| left.to_str().unwrap().to_owned())
    };
    assert_eq!(minutes(RANK, "99999999H").await.as_deref(), Some("10"));
    assert_eq!(minutes(RANK, "5M").await.as_deref(), Some("5"));
    assert_eq!(minutes(RANK, "").await, None);
    for stream in [PUSH, WATCH, "/proffer.v1.DecisionService/RankStream"] {
        assert_eq!(minutes(stream, "2H").await.as_deref(), Some("120"), "{stream}");
    }
}

#[tokio::test]
async fn what_is_no_grpc_is_refused_by_http() {
    let mut server = server(Writers::Local);
    for (method, media_type, expected) in
        [("GET", "application/grpc", 405), ("POST", "text/plain", 415), ("POST", "application/grpc", 200)]
    {
        let request = Request::builder().method(method).uri(RANK).header("content-type", media_type);
        let response = server.admission.call(request.body(message()).unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{method} {media_type}");
    }
}

#[tokio::test]
async fn before_a_release_is_loaded_only_stops_are_taken_and_taken_back() {
    let mut server = starting(Writers::Local);
    for path in [RANK, ROLL_BACK, "/proffer.v1.ExperimentService/StartExperiment"] {
        assert_eq!(code(&mut server, HERE, path, silence()).await, Code::Unavailable, "{path}");
    }
    for method in ["StopExperiment", "WithdrawStop"] {
        let path = format!("/proffer.v1.ExperimentService/{method}");
        assert_eq!(code(&mut server, HERE, &path, message()).await, Code::Ok, "{path}");
        assert_eq!(code(&mut server, FAR, &path, message()).await, Code::PermissionDenied, "{path}");
    }
}

#[tokio::test]
async fn who_drains_refuses_calls_and_answers_probes() {
    let mut server = server(Writers::Local);
    server.readiness.drain();
    assert_eq!(code(&mut server, HERE, RANK, silence()).await, Code::Unavailable);
    let live = "/inference.GRPCInferenceService/ServerLive";
    assert_eq!(code(&mut server, HERE, live, message()).await, Code::Ok);
}
