//! The admin address: metrics and probes over HTTP, on a thread and a runtime of their own.
//!
//! Probes must answer while every other thread is busy with requests. So nothing here shares a thread with the path of
//! a request, and nothing here waits for it. Start reading at [`Admin::start`]; `pages.rs` has the answers,
//! `connections.rs` serves them.

mod connections;
mod pages;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use telemetry::{Metrics, Readiness};

/// The server of the admin address.
#[derive(Debug)]
pub struct Admin;

/// Stops the admin address when it is dropped.
#[must_use = "the admin address closes when its handle is dropped"]
pub struct AdminHandle {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Answers on `listener` until the handle is dropped.
    ///
    /// # Errors
    /// When the operating system refuses a thread or the listener cannot be used.
    pub fn start(
        listener: TcpListener,
        readiness: Readiness,
        metrics: Arc<Metrics>,
    ) -> io::Result<AdminHandle> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        drop(entered);
        let (stop, stopped) = oneshot::channel();
        let pages = pages::router(readiness, metrics);
        let work = move || runtime.block_on(connections::serve(listener, pages, stopped));
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(work)?;
        Ok(AdminHandle { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl AdminHandle {
    /// The address of the pages.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the address; answers that have begun are finished, within a second.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // If no thread receives it, it has already ended.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin thread panicked");
        }
    }
}

impl fmt::Debug for AdminHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminHandle").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    struct Answer {
        status: u16,
        head: String,
        body: String,
    }

    async fn request(admin: &AdminHandle, line: &str) -> Answer {
        request_with(admin, line, "x-none: 1").await
    }

    async fn request_with(admin: &AdminHandle, line: &str, header: &str) -> Answer {
        let mut stream = TcpStream::connect(admin.address()).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nhost: test\r\n{header}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn start() -> (AdminHandle, Readiness, Arc<Metrics>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (readiness, metrics) = (Readiness::new(), Arc::new(Metrics::new()));
        let admin = Admin::start(listener, readiness.clone(), Arc::clone(&metrics)).unwrap();
        (admin, readiness, metrics)
    }

    fn json(answer: &Answer) -> serde_json::Value {
        assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
        serde_json::from_str(&answer.body).unwrap()
    }

    #[tokio::test]
    async fn readiness_follows_the_state() {
        let (admin, readiness, _) = start();
        let starting = request(&admin, "GET /readyz").await;
        assert_eq!(starting.status, 503);
        let expected = serde_json::json!({
            "state": "starting", "release": null, "reason": "no release is loaded yet",
        });
        assert_eq!(json(&starting), expected);
        readiness.ready(12);
        let ready = request(&admin, "GET /readyz").await;
        assert_eq!(ready.status, 200);
        assert_eq!(json(&ready), serde_json::json!({ "state": "ready", "release": 12, "reason": null }));
        readiness.leave();
        let leaving = request(&admin, "GET /readyz").await;
        assert_eq!((leaving.status, json(&leaving)["state"].as_str()), (503, Some("leaving")));
        readiness.drain();
        let draining = request(&admin, "GET /readyz").await;
        assert_eq!((draining.status, json(&draining)["state"].as_str()), (503, Some("draining")));
    }

    #[tokio::test]
    async fn a_server_lives_whatever_its_state() {
        let (admin, readiness, _) = start();
        assert_eq!(request(&admin, "GET /livez").await.status, 200);
        readiness.drain();
        let live = request(&admin, "GET /livez").await;
        assert_eq!((live.status, live.body.as_str()), (200, "ok\n"));
        assert!(live.head.contains("cache-control: no-store"), "{}", live.head);
    }

    #[tokio::test]
    async fn metrics_are_text_or_open_metrics_as_the_reader_accepts() {
        let (admin, _, metrics) = start();
        metrics.decisions.offers_returned.inc_by(3);
        let text = request(&admin, "GET /metrics").await;
        assert!(
            text.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
            "{}",
            text.head
        );
        assert!(text.head.contains("vary: accept"), "{}", text.head);
        let described = "\n# TYPE proffer_offers_returned_total counter\nproffer_offers_returned_total 3\n";
        assert!(text.body.contains(described) && !text.body.contains("# EOF"), "{}", text.body);
        let accept =
            "accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        let answer = request_with(&admin, "GET /metrics", accept).await;
        assert_eq!(answer.status, 200);
        let media = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert!(answer.head.contains(media), "{}", answer.head);
        assert!(answer.body.contains("\nproffer_offers_returned_total 3\n"), "{}", answer.body);
        assert!(answer.body.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn the_first_page_names_the_others_and_nothing_else_is_there() {
        let (admin, _, _) = start();
        let index = request(&admin, "GET /").await;
        assert!(index.head.contains("content-type: text/html"));
        assert!(
            ["/metrics", "/livez", "/readyz"].iter().all(|path| index.body.contains(path)),
            "{}",
            index.body
        );
        assert_eq!(request(&admin, "GET /nothing").await.status, 404);
        assert_eq!(request(&admin, "POST /metrics").await.status, 405);
    }

    #[tokio::test]
    async fn probes_answer_while_this_runtime_is_blocked() {
        let (admin, _, _) = start();
        // This test's runtime has one thread, and it waits here for a blocking client.
        let address = admin.address();
        let client = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        assert!(client.join().unwrap().starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_stopped_address_is_closed_even_with_a_client_that_never_asks() {
        let (admin, _, _) = start();
        let address = admin.address();
        let silent = TcpStream::connect(address).await.unwrap();
        tokio::task::spawn_blocking(move || admin.stop()).await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
        drop(silent);
    }
}
