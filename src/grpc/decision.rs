//! `proffer.v1.DecisionService`: convert in, call one function of `decision`, convert out.

mod features;
mod rank;
mod score;
mod sizes;

pub(super) use features::write_value;
pub(super) use rank::write_result;

use std::sync::Arc;

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::Instrument;

use super::admission::{Admitted, caught};
use super::exchange::Exchange;
use super::limits::{Limits, check_answer, check_request_id};
use super::proto::proffer::v1 as wire;
use super::status;
use decision::{Asked, Decider, DecisionError, RowProblems};
use release::Registry;
use sizes::Sizes;
use work::{Call, Lane, Rejection};

/// The service, cheap to clone.
#[derive(Clone)]
pub struct DecisionService {
    decider: Decider,
    limits: Arc<Limits>,
    sizes: Arc<Sizes>,
    /// Knows what exists beside what is loaded.
    registry: Option<Registry>,
}

impl DecisionService {
    /// A service that answers from `decider`.
    #[must_use]
    pub fn new(decider: Decider, limits: Arc<Limits>) -> Self {
        Self { decider, limits, sizes: Arc::default(), registry: None }
    }

    /// The same service; it looks up names that are not loaded in `registry`.
    #[must_use]
    pub fn with_registry(self, registry: Registry) -> Self {
        Self { registry: Some(registry), ..self }
    }

    /// Distinguishes names that do not exist from those that are not loaded.
    async fn looked_up(&self, error: DecisionError) -> DecisionError {
        let (DecisionError::NotLoaded { asked, .. }, Some(registry)) = (&error, &self.registry) else {
            return error;
        };
        let (asked, registry) = (asked.clone(), registry.clone());
        let exists = move || match asked {
            Asked::Release(number) => registry.has_release(number),
            Asked::Version { model, version } => registry.has_version(&model, version),
        };
        // The store may be remote, so a blocking thread asks it.
        match tokio::task::spawn_blocking(exists).await {
            Ok(Ok(false)) => error.nonexistent(),
            _ => error,
        }
    }

    /// Answers one `Rank`: everything between the decoded request and the answer to encode.
    ///
    /// # Errors
    /// The status that the caller reads.
    pub async fn rank(
        &self,
        mut request: wire::RankRequest,
        call: &Call,
    ) -> Result<wire::RankResponse, Status> {
        let began = call.trace().message_began();
        check_request_id("request_id", &request.request_id)?;
        let request_id = request_id(std::mem::take(&mut request.request_id));
        let asked = request.explain;
        let named = |status| status::of_request(status, &request_id);
        call.check()
            .map_err(|stop| named(status::from_rejection(Rejection::Cancelled(stop), &request_id)))?;
        let request = rank::read(request, &request_id, &self.limits).map_err(named)?;
        call.trace().step("decode", began);
        let explain = request.explain;
        // A decided answer waits to be encoded, and takes its most memory while it does.
        let expected = self.sizes.expected(asked, request.customers.len());
        Exchange::reserve_answer(expected, call.deadline()).await.map_err(named)?;
        let answered = self.decider.rank(request, call).await;
        call.trace().answered();
        let (snapshot, results) = match answered {
            Ok(answered) => answered,
            Err(error) => return Err(status::from_decision(&self.looked_up(error).await, &request_id)),
        };
        Ok(rank::write(request_id, &snapshot, results, explain))
    }

    async fn score(&self, request: wire::ScoreRequest, call: &Call) -> Result<wire::ScoreResponse, Status> {
        let began = call.trace().message_began();
        call.check().map_err(|stop| status::from_rejection(Rejection::Cancelled(stop), &request_id("")))?;
        let request = score::read(request, &self.limits)?;
        call.trace().step("decode", began);
        let answered = self.decider.score(request, call).await;
        call.trace().answered();
        match answered {
            Ok(answer) => Ok(score::write(answer)),
            Err(error) => Err(status::from_decision(&self.looked_up(error).await, &request_id(""))),
        }
    }

    /// The bytes of an answer, unless they are too many; `less` says what to ask for instead.
    fn measure(&self, answer: &impl Message, less: &str) -> Result<usize, Status> {
        let bytes = answer.encoded_len();
        check_answer(bytes, &self.limits, less)?;
        Ok(bytes)
    }

    /// The bytes of an answer to `Rank`, unless they are too many; later estimates learn from it.
    fn measure_rank(&self, answer: &impl Message, explain: i32, customers: usize) -> Result<usize, Status> {
        let measured = self.measure(answer, FEWER_CUSTOMERS);
        self.sizes.learn(explain, customers, measured.as_ref().map_or(0, |bytes| *bytes));
        measured
    }
}

/// How to shorten an answer to `Rank`.
const FEWER_CUSTOMERS: &str = "ask for fewer customers at a time, or for `explain` = WINNERS or NONE";

/// How to shorten an answer of rows.
const FEWER_ROWS: &str = "send fewer rows at a time, or name fewer offers";

#[tonic::async_trait]
impl wire::decision_service_server::DecisionService for DecisionService {
    async fn rank(
        &self,
        request: Request<wire::RankRequest>,
    ) -> Result<Response<wire::RankResponse>, Status> {
        let (call, compressed) = (call_of(&request), takes_compressed(&request));
        let explain = request.get_ref().explain;
        let answer = self.rank(request.into_inner(), &call).await?;
        let measured = self.measure_rank(&answer, explain, answer.results.len());
        let bytes = measured.map_err(|status| status::of_request(status, &answer.request_id))?;
        Ok(respond(answer, bytes, compressed))
    }

    type RankStreamStream = ReceiverStream<Result<wire::RankStreamResponse, Status>>;

    async fn rank_stream(
        &self,
        request: Request<Streaming<wire::RankStreamRequest>>,
    ) -> Result<Response<Self::RankStreamStream>, Status> {
        let service = self.clone();
        Ok(answer_each(request, move |message, call| {
            let service = service.clone();
            async move {
                let request = message.request.ok_or_else(|| status::invalid("request", "is missing"))?;
                let explain = request.explain;
                let response = service.rank(request, &call).await?;
                let customers = response.results.len();
                let answer = wire::RankStreamResponse { response: Some(response) };
                let bytes = service.measure_rank(&answer, explain, customers).map_err(|status| {
                    let named = answer.response.as_ref().map_or("", |response| response.request_id.as_str());
                    status::of_request(status, named)
                })?;
                Ok((answer, bytes))
            }
        }))
    }

    async fn score(
        &self,
        request: Request<wire::ScoreRequest>,
    ) -> Result<Response<wire::ScoreResponse>, Status> {
        let (call, compressed) = (call_of(&request), takes_compressed(&request));
        let answer = self.score(request.into_inner(), &call).await?;
        let bytes = self.measure(&answer, FEWER_ROWS)?;
        Ok(respond(answer, bytes, compressed))
    }

    type ScoreStreamStream = ReceiverStream<Result<wire::ScoreStreamResponse, Status>>;

    async fn score_stream(
        &self,
        request: Request<Streaming<wire::ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        let service = self.clone();
        Ok(answer_each(request, move |message, call| {
            let service = service.clone();
            async move {
                let request = message.request.ok_or_else(|| status::invalid("request", "is missing"))?;
                let response = service.score(request, &call).await?;
                let answer = wire::ScoreStreamResponse { response: Some(response) };
                let bytes = service.measure(&answer, FEWER_ROWS)?;
                Ok((answer, bytes))
            }
        }))
    }

    async fn assign_segments(
        &self,
        request: Request<wire::AssignSegmentsRequest>,
    ) -> Result<Response<wire::AssignSegmentsResponse>, Status> {
        let (call, compressed) = (call_of(&request), takes_compressed(&request));
        let began = call.trace().message_began();
        let message = request.into_inner();
        let batch = message.features.ok_or_else(|| status::invalid("features", "is missing"))?;
        let mut unreadable = RowProblems::new();
        let batch = features::read_batch(batch, self.limits.rows, &self.limits, &mut unreadable)?;
        call.trace().step("decode", began);
        let answered = self.decider.assign_segments(batch, unreadable, &call).await;
        call.trace().answered();
        let answer =
            answered.map_err(|error: DecisionError| status::from_decision(&error, &request_id("")))?;
        let answer = wire::AssignSegmentsResponse {
            release: answer.release,
            segments: answer.segments.iter().map(rank::write_segment).collect(),
            errors: score::write_errors(answer.errors),
            degraded: answer.degraded,
        };
        let bytes = self.measure(&answer, "send fewer rows at a time")?;
        Ok(respond(answer, bytes, compressed))
    }
}

/// Shorter answers are never compressed: compression costs more time than it saves on any network.
const COMPRESSED_FROM: usize = 16 << 10;

/// Whether the caller takes compressed answers.
pub(super) fn takes_compressed<T>(request: &Request<T>) -> bool {
    request.metadata().contains_key("grpc-accept-encoding")
}

/// The answer of so many bytes, compressed if the caller accepts that and it is large.
pub(super) fn respond<T>(answer: T, bytes: usize, compressed: bool) -> Response<T> {
    let mut response = Response::new(answer);
    if compressed && bytes < COMPRESSED_FROM {
        response.disable_compression();
    }
    response
}

/// What admission decided for this call: its deadline, and whether the caller still waits.
pub(super) fn call_of<T>(request: &Request<T>) -> Call {
    Admitted::of(request).call
}

/// The caller's request id, or a new one; it is recorded on the span of the call.
pub(super) fn request_id(given: impl Into<String>) -> String {
    let mut id = given.into();
    if id.is_empty() {
        id = telemetry::ids::new_id().to_string();
    }
    tracing::Span::current().record("request_id", tracing::field::display(&id));
    id
}

/// Answers the messages of a stream one by one, in order. It stops when the stream ends, one fails, the deadline
/// passes, the server drains, or the caller goes. At most one answer waits for the caller, so no work is done for a
/// caller that does not read. The status of a drain says how many messages were answered, so that the caller knows
/// where to continue. `answer` returns each answer with its size in bytes.
pub(super) fn answer_each<Q, A, F, W>(
    request: Request<Streaming<Q>>,
    answer: F,
) -> Response<ReceiverStream<Result<A, Status>>>
where
    Q: Send + 'static,
    A: Send + 'static,
    F: Fn(Q, Call) -> W + Send + Sync + 'static,
    W: Future<Output = Result<(A, usize), Status>> + Send,
{
    // Held to the end, because the permit belongs to it.
    let admitted = Admitted::of(&request);
    let counted = admitted.take_count();
    let mut messages = request.into_inner();
    let (answers, taken) = mpsc::channel(1);
    let work = async move {
        let call = &admitted.call;
        let mut code = Code::Ok;
        let mut told: u64 = 0;
        loop {
            // No work is done before the caller has taken the previous answer.
            let Ok(slot) = answers.reserve().await else {
                code = Code::Cancelled;
                break;
            };
            let message = tokio::select! {
                // A drain ends the stream between two messages, also if more have arrived.
                biased;
                ended = admitted.ended() => Some(Err(status::after_messages(ended, told))),
                message = messages.next() => message,
                // The work ends when the caller goes.
                () = answers.closed() => {
                    code = Code::Cancelled;
                    break;
                }
            };
            let Some(message) = message else { break };
            let answered = async {
                let message = message.map_err(status::corrected)?;
                let (answer, bytes) = tokio::select! {
                    answered = caught(answer(message, call.clone().in_lane(Lane::Bulk))) => answered??,
                    () = answers.closed() => return Err(Status::cancelled("the caller has gone")),
                };
                Exchange::charge_answer(bytes)?;
                Ok(answer)
            };
            // A message without a request id of its own gets the id on the span of the stream.
            let answered = answered.await.map_err(|status| status::complete(status, || request_id("")));
            let failed = answered.as_ref().err().map(Status::code);
            slot.send(answered);
            if let Some(end) = failed {
                code = end;
                break;
            }
            told += 1;
        }
        if let Some(counted) = counted {
            counted.finish(code.into());
        }
    };
    tokio::spawn(Exchange::within(Exchange::current(), work).in_current_span());
    Response::new(ReceiverStream::new(taken))
}
