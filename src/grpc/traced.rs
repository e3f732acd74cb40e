//! The end of a call's trace: its span lasts until the answer is written, and records the status.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use http_body::Frame;
use prost::bytes::Bytes;
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::Span;

use telemetry::Trace;

/// Records in the trace how the call ended when it is dropped; a call without an answer was cancelled by its caller.
pub(super) struct Ending {
    trace: Trace,
    code: Code,
}

impl Ending {
    pub(super) fn of(trace: Trace) -> Self {
        Self { trace, code: Code::Cancelled }
    }

    /// The answer, whose end now ends the trace. An answer that is not sampled is left as it is.
    pub(super) fn answer(mut self, response: Response<Body>) -> Response<Body> {
        if !self.trace.is_sampled() {
            return response;
        }
        if let Some(status) = Status::from_header_map(response.headers()) {
            // A status without a body, which is in the head.
            self.code = status.code();
            return response;
        }
        response.map(|rest| Body::new(Traced { rest, ending: self, span: Span::current(), writes: true }))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.trace.finish(self.code.into());
    }
}

/// A body that is written within its call's span.
struct Traced {
    rest: Body,
    ending: Ending,
    /// Dropped after `ending`, so that the end is recorded before the span ends.
    span: Span,
    /// Whether the first message is still to be written.
    writes: bool,
}

impl http_body::Body for Traced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let _entered = this.span.enter();
        let began = this.writes.then(|| this.ending.trace.answer_began()).flatten();
        let polled = Pin::new(&mut this.rest).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            if frame.is_data() && this.writes {
                this.writes = false;
                this.ending.trace.step("encode", began);
            }
            if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                this.ending.code = status.code();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.rest.size_hint()
    }
}
