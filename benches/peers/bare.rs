//! What a careful engineer writes in an afternoon: tonic in front of ONNX Runtime, with a thread per core, each with
//! its own session.

use std::path::Path;

use crossbeam_channel::Sender;
use tokio::sync::oneshot;
use tonic::Status;

use crate::data::{WIDTH, scores, sessions};
use crate::plain::Answer;

/// Rows of features, flattened.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Rows {
    #[prost(float, repeated, tag = "1")]
    pub values: Vec<f32>,
}

/// A score for each row.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Scores {
    #[prost(float, repeated, tag = "1")]
    pub values: Vec<f32>,
}

type Job = (Rows, oneshot::Sender<Scores>);

/// The sender to the threads.
#[derive(Clone)]
pub(crate) struct Bare(Sender<Job>);

impl Bare {
    /// Starts a thread per core.
    pub(crate) fn new(folder: &Path) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, queue) = crossbeam_channel::unbounded::<Job>();
        for mut session in sessions(folder, threads) {
            let queue = queue.clone();
            std::thread::spawn(move || {
                for (rows, reply) in queue {
                    // The caller may have disconnected.
                    let _ = reply.send(Scores { values: scores(&mut session, &rows.values) });
                }
            });
        }
        Self(jobs)
    }
}

impl Answer for Bare {
    type Request = Rows;
    type Reply = Scores;

    async fn answer(&self, request: Rows) -> Result<Scores, Status> {
        if request.values.is_empty() || !request.values.len().is_multiple_of(WIDTH) {
            return Err(Status::invalid_argument("not whole rows"));
        }
        let (reply, scores) = oneshot::channel();
        self.0.send((request, reply)).map_err(|_| Status::internal("all threads have ended"))?;
        scores.await.map_err(|_| Status::internal("the thread failed"))
    }
}
