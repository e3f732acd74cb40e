//! A connection that the table of connections ([`super::peers`]) can close.
//!
//! It also reports when the preface of HTTP/2 has arrived.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::peers::{Origin, Presence};

/// The preface of a client and the head of the SETTINGS frame that must follow it (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24 + 9;

/// A connection with its place in the table.
pub(super) struct Guarded<S> {
    stream: S,
    presence: Presence,
    /// Bytes of the preface that have not arrived.
    missing: usize,
}

impl<S> Guarded<S> {
    /// Wraps an accepted connection.
    pub(super) fn new(stream: S, presence: Presence) -> Self {
        Self { stream, presence, missing: PREFACE_BYTES }
    }

    /// Where the calls of the connection come from.
    pub(super) fn origin(&self) -> &Origin {
        self.presence.origin()
    }

    /// # Errors
    /// When the connection is to be closed.
    fn check(&self) -> io::Result<()> {
        if self.presence.origin().is_closing() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// The polled result, unless the connection is to be closed; a waiting task is woken for that, too.
    fn or_closed<T>(&self, context: &Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            self.presence.origin().wake_when_closing(context.waker());
            self.check()?;
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.missing > 0 {
            self.missing = self.missing.saturating_sub(buffer.filled().len() - before);
            if self.missing == 0 {
                self.presence.origin().has_greeted();
            }
        }
        self.or_closed(context, polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.or_closed(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.or_closed(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.or_closed(context, polled)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::grpc::peers::tests::{arrive, peers};

    const LATER: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn half_a_preface_is_closed_and_a_whole_greeting_is_not() {
        for (sent, closes) in [(0, true), (12, true), (PREFACE_BYTES - 1, true), (PREFACE_BYTES, false)] {
            let peers = peers(1, 1.0, 1.0);
            let (mut client, server) = duplex(64);
            let mut server = Guarded::new(server, arrive(&peers, "10.0.0.1:1"));
            let origin = server.origin().clone();
            let reading = tokio::spawn(async move {
                let mut bytes = [0; 1];
                // A byte at a time, as a slow client sends them.
                while server.read(&mut bytes).await? > 0 {}
                io::Result::Ok(())
            });
            client.write_all(&vec![b'P'; sent]).await.unwrap();
            // Everything sent is read, and the task waits for more.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            peers.sweep(Instant::now() + LATER);
            assert_eq!(origin.is_closing(), closes, "{sent} bytes");
            if closes {
                assert!(reading.await.unwrap().is_err());
            }
            drop(client);
        }
    }

    #[tokio::test]
    async fn a_task_that_waits_to_read_or_to_write_is_woken_and_ends() {
        let peers = peers(1, 1.0, 1.0);
        let (_client, server) = duplex(4);
        let mut reader = Guarded::new(server, arrive(&peers, "10.0.0.1:1"));
        let reading = tokio::spawn(async move { reader.read(&mut [0; 1]).await });
        let (_other, server) = duplex(4);
        let mut writer = Guarded::new(server, arrive(&peers, "10.0.0.1:2"));
        let writing = tokio::spawn(async move { writer.write_all(b"more than there is room for").await });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!reading.is_finished() && !writing.is_finished());
        peers.sweep(Instant::now() + LATER);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
