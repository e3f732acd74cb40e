//! Closing a connection without losing what the client has not read yet.
//!
//! A socket that is closed with unread bytes in it is reset, and a reset throws away what the peer has not read. A client that
//! reads a large answer acknowledges it piece by piece, so at a shutdown the last answer of a connection could be lost. Here the end is
//! announced first, and what the client still says is read away until it closes its side.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How long a client is given to read the rest and close.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection that is closed in two steps.
pub(super) struct Lingering {
    stream: TcpStream,
    /// Set once the end was announced.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    /// Over an accepted connection.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, patience: None }
    }
}

impl Connected for Lingering {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.patience.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let patience = this.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        let mut scratch = [0; 4096];
        loop {
            let mut unread = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(context, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {}
                // The client has closed, or is gone.
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(Ok(())),
                Poll::Pending => return patience.as_mut().poll(context).map(Ok),
            }
        }
    }
}
