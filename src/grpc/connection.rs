//! A connection: an answer leaves in one system call, and the client loses nothing unread at the end.
//!
//! **Writing.** Bytes are held until they are flushed. Sending is the most expensive thing that a short call asks of
//! the operating system, on both sides. `h2` would send the trailers of every answer of more than 256 bytes after the
//! answer. Vectored writes are not offered, so it copies frames of less than 1 KiB into one piece. Before the trailers
//! of a longer frame it flushes, which shows in two writes before the flush. That flush is postponed until the next
//! one, which comes with the trailers. Where no trailers follow yet, it comes at once, because the task is woken.
//!
//! **Closing.** A socket that is closed with unread bytes in it is reset, and a reset discards what the peer has not
//! read. A client that reads a large answer acknowledges it piece by piece, so at a shutdown the last answer of a
//! connection could be lost. Here the end is announced first; then the client's bytes are read and dropped until it
//! closes its side.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prost::bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::threads::Seat;

/// How long a client may take to read the rest and close.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Capacity of the write buffer in bytes: the longest frame of HTTP/2 and the headers around it.
const HELD: usize = (16 << 10) + 1024;

/// A connection that sends an answer and its trailers together, and is closed in two steps.
pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes written and not yet sent.
    held: BytesMut,
    /// Writes since the last flush.
    writes: usize,
    /// Whether a flush was postponed.
    put_off: bool,
    /// Set once the end was announced.
    close_timer: Option<Pin<Box<Sleep>>>,
    #[expect(dead_code, reason = "dropping it is its use")]
    seat: Seat,
}

impl Connection {
    /// Wraps an accepted connection, which takes a seat of its thread until it is dropped.
    pub(super) fn new(stream: TcpStream, seat: Seat) -> Self {
        Self { stream, held: BytesMut::new(), writes: 0, put_off: false, close_timer: None, seat }
    }

    /// Sends all held bytes.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.held.len() + bytes.len() > HELD {
            ready!(self.poll_send(context))?;
        }
        if bytes.len() > HELD {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        self.held.extend_from_slice(bytes);
        self.writes += 1;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let writes = std::mem::take(&mut self.writes);
        if writes > 1 && !self.put_off {
            self.put_off = true;
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        self.put_off = false;
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.close_timer.is_none() {
            ready!(this.poll_send(context))?;
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let close_timer = this.close_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_GRACE)));
        let mut scratch = [0; 4096];
        loop {
            let mut unread = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(context, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {}
                // The client has closed or is gone.
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(Ok(())),
                Poll::Pending => return close_timer.as_mut().poll(context).map(Ok),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends.
    async fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Connection::new(accepted.unwrap().0, Seat::default()), client.unwrap())
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The bytes that have arrived, without waiting.
    fn arrived(client: &TcpStream) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let count = client.try_read(&mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }

    #[tokio::test]
    async fn one_write_leaves_with_its_flush() {
        let (mut connection, mut client) = connected().await;
        connection.write_all(b"headers, answer, trailers").await.unwrap();
        assert_eq!(arrived(&client), b"");
        connection.flush().await.unwrap();
        let mut received = [0; 25];
        client.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"headers, answer, trailers");
    }

    #[tokio::test]
    async fn the_trailers_of_a_long_answer_leave_with_it() {
        let (mut connection, mut client) = connected().await;
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        connection.write_all(b"head ").await.unwrap();
        connection.write_all(&[b'a'; 5000]).await.unwrap();
        // Postponed, and the task is woken to come back.
        assert!(Pin::new(&mut connection).poll_flush(&mut context).is_ready());
        assert_eq!((connection.held.len(), wakes.0.load(Ordering::Relaxed)), (5005, 1));
        connection.write_all(b" trailers").await.unwrap();
        assert!(Pin::new(&mut connection).poll_flush(&mut context).is_ready());
        assert_eq!((connection.held.len(), wakes.0.load(Ordering::Relaxed)), (0, 1));
        let mut received = vec![0; 5014];
        client.read_exact(&mut received).await.unwrap();
        assert!(received.starts_with(b"head a") && received.ends_with(b"a trailers"));
        // Where nothing follows, the next flush sends.
        connection.write_all(b"head ").await.unwrap();
        connection.write_all(b"message").await.unwrap();
        for _ in 0..2 {
            assert!(Pin::new(&mut connection).poll_flush(&mut context).is_ready());
        }
        assert_eq!(connection.held.len(), 0);
    }

    /// A client that does not read stops the writer, and gets every byte in order.
    #[tokio::test]
    async fn a_slow_reader_gets_everything_in_order() {
        let (mut connection, mut client) = connected().await;
        let sent: Vec<u8> = (0..8 << 20).map(|index: u32| (index % 251) as u8).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            let sizes = [1, 9, 1024, 16 << 10, HELD, HELD + 1, 100_000];
            let (mut rest, mut turn) = (&sent[..], 0);
            while !rest.is_empty() {
                let size = sizes[turn % sizes.len()].min(rest.len());
                connection.write_all(&rest[..size]).await.unwrap();
                assert!(connection.held.len() <= HELD);
                rest = &rest[size..];
                turn += 1;
                if turn % 3 == 0 {
                    connection.flush().await.unwrap();
                }
            }
            poll_fn(|context| Pin::new(&mut connection).poll_shutdown(context)).await.unwrap();
        });
        let mut received = Vec::new();
        let mut piece = vec![0; 64 << 10];
        loop {
            tokio::task::yield_now().await;
            match client.read(&mut piece).await.unwrap() {
                0 => break,
                count => received.extend_from_slice(&piece[..count]),
            }
        }
        drop(client);
        assert!(received == expected);
        writing.await.unwrap();
    }
}
