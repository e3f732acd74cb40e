//! The connections of the admin address: HTTP/1 only, one request each, within a time limit, and only a few at once.
//!
//! A client of metrics or probes asks once and reads at once. So a connection has a time for its request and one for
//! everything. At the cap the oldest connection is closed: idle connections cannot block a probe.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Connections at once.
const CONNECTIONS: usize = 32;

/// How long the head of a request may take after the connection is accepted.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// How long a connection may take in all; it suffices for metrics of some megabytes over a slow line.
const ALL_WITHIN: Duration = Duration::from_secs(30);

/// Bytes of the head of a request: the least that hyper requires.
const HEAD_BYTES: usize = 8 << 10;

/// How long the answers that have begun may take when the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// Pause after a failed accept.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers with `pages` until `stopped` resolves.
pub(super) async fn serve(listener: TcpListener, pages: Router, mut stopped: oneshot::Receiver<()>) {
    // The oldest first.
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::with_capacity(CONNECTIONS);
    loop {
        let accepted = tokio::select! {
            // An error means that the handle is dropped, which also means stop.
            _ = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to the admin address cannot be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        open.retain(|one| !one.is_finished());
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(answer(stream, pages.clone())));
    }
    drop(listener);
    let end = tokio::time::Instant::now() + STOP_WITHIN;
    for one in open {
        if tokio::time::timeout_at(end, one).await.is_err() {
            return;
        }
    }
}

/// Answers one request.
async fn answer(stream: TcpStream, pages: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    match tokio::time::timeout(ALL_WITHIN, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the admin address ended"),
        Err(_) => tracing::debug!("a connection to the admin address took too long"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The address of test pages, and what stops them.
    async fn start() -> (std::net::SocketAddr, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Router::new().route("/", axum::routing::get(|| async { "here" }));
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(serve(listener, pages, stopped));
        (address, stop)
    }

    /// Sends these bytes and reads to the end. A closed connection ends the reading, too.
    async fn exchange(address: std::net::SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut text = Vec::new();
        _ = stream.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    #[tokio::test]
    async fn a_connection_answers_one_request_and_is_closed() {
        let (address, _stop) = start().await;
        let told = exchange(address, &[ASK, ASK].concat()).await;
        assert!(told.starts_with("HTTP/1.1 200") && told.ends_with("here"), "{told}");
        assert_eq!(told.matches("200 OK").count(), 1, "{told}");
    }

    #[tokio::test]
    async fn http_2_is_not_spoken() {
        let (address, _stop) = start().await;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let told = exchange(address, preface).await;
        assert!(
            told.is_empty() || told.starts_with("HTTP/1.1 4") || told.starts_with("HTTP/1.1 5"),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_refused() {
        let (address, _stop) = start().await;
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(HEAD_BYTES * 4));
        let told = exchange(address, long.as_bytes()).await;
        assert!(!told.starts_with("HTTP/1.1 200"), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_request_is_closed_after_its_time() {
        let (address, _stop) = start().await;
        for half in [&b""[..], b"GET", b"GET / HTTP/1.1\r\nhost"] {
            assert!(!exchange(address, half).await.contains("200"), "{half:?}");
        }
    }

    #[tokio::test]
    async fn who_holds_connections_keeps_nobody_out() {
        let (address, _stop) = start().await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS * 4 {
            let mut silent = TcpStream::connect(address).await.unwrap();
            silent.write_all(b"GET / HT").await.unwrap();
            held.push(silent);
        }
        assert!(exchange(address, ASK).await.ends_with("here"));
        // The first ones were closed for the last.
        let mut end = [0; 1];
        assert!(matches!(held[0].read(&mut end).await, Ok(0) | Err(_)));
    }
}
