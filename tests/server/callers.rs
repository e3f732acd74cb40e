//! What the server demands of a call before any work: a known gRPC method, one message, a valid deadline, and a permit
//! within its share.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

use super::bad_models::good;
use super::harness::{Copy, Server, frame, rank_request, wire};
use super::management::Management;

const RANK: &str = "/proffer.v1.DecisionService/Rank";
const ROLL_BACK: &str = "/proffer.v1.ReleaseService/RollbackRelease";
const LIST: &str = "/proffer.v1.ReleaseService/ListReleases";

/// A connection from a loopback address; all of 127.0.0.0/8 are addresses of this machine.
async fn connect_from(server: &Server, address: &str) -> SendRequest<Bytes> {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    let stream = socket.connect(server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

/// The status of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    http: u16,
    allow: Option<String>,
    grpc: Option<i32>,
}

impl Answer {
    fn of_grpc(code: Code) -> Self {
        Self { http: 200, allow: None, grpc: Some(code.into()) }
    }

    fn of_http(status: u16) -> Self {
        Self { http: status, allow: (status == 405).then(|| "POST".to_owned()), grpc: None }
    }
}

async fn ask(
    client: &mut SendRequest<Bytes>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let head = http::Request::builder().method(method).uri(format!("http://server{path}"));
    let head = headers.iter().fold(head, |head, (name, value)| head.header(*name, *value));
    let (answer, mut sending) = client.send_request(head.body(()).unwrap(), false).unwrap();
    // The server may already have answered and reset the stream.
    _ = sending.send_data(body.into(), true);
    let (head, mut body) = answer.await.unwrap().into_parts();
    let text = |headers: &http::HeaderMap, name: &str| {
        headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    while let Some(Ok(some)) = body.data().await {
        _ = body.flow_control().release_capacity(some.len());
    }
    let trailers = body.trailers().await.ok().flatten().unwrap_or_default();
    let grpc = text(&head.headers, "grpc-status").or_else(|| text(&trailers, "grpc-status"));
    Answer {
        http: head.status.as_u16(),
        allow: text(&head.headers, "allow"),
        grpc: grpc.map(|code| code.parse().unwrap()),
    }
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test]
async fn a_web_page_cannot_roll_back_a_release() {
    let server = Server::start(Copy::new().path(), &[]);
    let mut management = Management::over(server.channel().await);
    let release = management.create(&[]).await.unwrap();
    management.promote(release).await.unwrap();
    let mut client = connect_from(&server, "127.0.0.1").await;
    let order = || frame(&wire::RollbackReleaseRequest::default());
    let origin = ("origin", "http://elsewhere.example");
    for media_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/grpc-web"]
    {
        let headers = [("content-type", media_type), origin];
        let answer = ask(&mut client, "POST", ROLL_BACK, &headers, order()).await;
        assert_eq!(answer, Answer::of_http(415), "{media_type}");
    }
    assert_eq!(ask(&mut client, "POST", ROLL_BACK, &[origin], order()).await, Answer::of_http(415));
    for method in ["GET", "PUT", "OPTIONS", "DELETE"] {
        let answer = ask(&mut client, method, ROLL_BACK, &[GRPC, origin], order()).await;
        assert_eq!(answer, Answer::of_http(405), "{method}");
    }
    assert_eq!(management.list().await.serving.unwrap().release, release);
    let answer = ask(&mut client, "POST", ROLL_BACK, &[GRPC], order()).await;
    assert_eq!(answer, Answer::of_grpc(Code::Ok));
    assert_ne!(management.list().await.serving.unwrap().release, release);
}

#[tokio::test]
async fn a_call_takes_one_message_and_a_numeric_deadline() {
    let server = Server::sample();
    let mut client = connect_from(server, "127.0.0.1").await;
    let rank = || frame(&rank_request("app_home", &["C000001"]));
    let mut code = async |headers: &[(&str, &str)], path: &str, body: Vec<u8>| {
        ask(&mut client, "POST", path, &[&[GRPC][..], headers].concat(), body).await
    };
    assert_eq!(code(&[], RANK, rank()).await, Answer::of_grpc(Code::Ok));
    let twice = [rank(), rank()].concat();
    assert_eq!(code(&[], RANK, twice).await, Answer::of_grpc(Code::Unimplemented));
    let list = frame(&wire::ListReleasesRequest::default());
    assert_eq!(code(&[], LIST, list.repeat(2)).await, Answer::of_grpc(Code::Unimplemented));
    for (timeout, expected) in [
        ("5S", Code::Ok),
        ("99999999H", Code::Ok),
        ("+5S", Code::InvalidArgument),
        ("", Code::InvalidArgument),
    ] {
        let answer = code(&[("grpc-timeout", timeout)], RANK, rank()).await;
        assert_eq!(answer, Answer::of_grpc(expected), "{timeout:?}");
    }
    for path in ["/made/up", &format!("/{}", "x".repeat(1000)), "/proffer.v1.DecisionService/Rank/x"] {
        assert_eq!(code(&[], path, rank()).await, Answer::of_grpc(Code::Unimplemented), "{path}");
    }
}

#[tokio::test]
async fn one_connection_and_one_peer_leave_a_share_for_others() {
    let settings =
        [("limits.concurrent_calls", "8"), ("limits.connection_share", "0.5"), ("limits.peer_share", "0.75")];
    let server = Server::start(Copy::new().path(), &settings);
    let message = frame(&wire::RankStreamRequest { request: Some(rank_request("app_home", &["C000001"])) });
    let mut streams = Vec::new();
    // Open streams, each with its first message answered.
    let mut open = async |client: &mut SendRequest<Bytes>| {
        let head = http::Request::post("http://server/proffer.v1.DecisionService/RankStream")
            .header(GRPC.0, GRPC.1)
            .body(())
            .unwrap();
        let (answer, mut sending) = client.send_request(head, false).unwrap();
        sending.send_data(message.clone().into(), false).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let first = body.data().await;
        let taken = first.is_some();
        streams.push((sending, body));
        taken
    };
    let mut count = async |client: &mut SendRequest<Bytes>| {
        let mut taken = 0;
        while open(client).await {
            taken += 1;
        }
        taken
    };
    let mut one = connect_from(&server, "127.0.0.66").await;
    let mut two = connect_from(&server, "127.0.0.66").await;
    let mut victim = connect_from(&server, "127.0.0.1").await;
    assert_eq!((count(&mut one).await, count(&mut two).await), (4, 2));
    let rank = frame(&rank_request("app_home", &["C000001"]));
    let answer = ask(&mut victim, "POST", RANK, &[GRPC], rank.clone()).await;
    assert_eq!(answer, Answer::of_grpc(Code::Ok));
    let refused = ask(&mut one, "POST", RANK, &[GRPC], rank.clone()).await;
    assert_eq!(refused, Answer::of_grpc(Code::ResourceExhausted));
    drop(streams);
    // The permits of the streams are released when they are reset.
    let again = async {
        while ask(&mut one, "POST", RANK, &[GRPC], rank.clone()).await != Answer::of_grpc(Code::Ok) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.unwrap();
}

#[tokio::test]
async fn a_file_name_that_no_disk_would_take_is_rejected() {
    let server = Server::sample();
    let mut management = Management::over(server.channel().await);
    let directory = tempfile::tempdir().unwrap();
    good(directory.path(), 1);
    for bytes in [256, 300, 5000] {
        let mut parts = super::management::parts_of("long_path", 1, directory.path());
        let Some(wire::push_model_version_request::Part::Header(header)) = &mut parts[0].part else {
            panic!("a push begins with its header")
        };
        header.files[0].name = "x".repeat(bytes);
        let refused = management.models.push_model_version(tokio_stream::iter(parts)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().starts_with("header.files[0].name: "), "{refused:?}");
    }
}

/// A client that is notified in time makes its next call on a new connection; one whose connection is closed loses a
/// call.
#[tokio::test]
async fn an_idle_connection_gets_a_goaway_before_it_is_closed() {
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GO_AWAY: u8 = 7;
    const ACK: u8 = 1;
    let server = Server::start(Copy::new().path(), &[("server.idle", "1s")]);
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await.unwrap();
    let mut received = Vec::new();
    // Frames, each with a header of nine bytes and a payload (RFC 9113, section 4.1), until the server closes.
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        match head[3] {
            PING if head[4] & ACK == 0 => {
                head[4] = ACK;
                stream.write_all(&[&head[..], &payload].concat()).await.unwrap();
            }
            GO_AWAY => received.push(u32::from_be_bytes(payload[4..8].try_into().unwrap())),
            _ => {}
        }
    }
    assert!(!received.is_empty() && received.iter().all(|error| *error == 0), "{received:?}");
}
