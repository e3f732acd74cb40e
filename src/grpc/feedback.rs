//! `proffer.v1.FeedbackService`: convert in, call one function of `history`, convert out.

use chrono::Utc;
use prost::Message;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::decision::{answer_each, call_of, request_id, respond, takes_compressed};
use super::proto::proffer::v1 as wire;
use super::{status, time};
use ::decision::Decider;
use history::feedback::{
    AcceptedOutcome, Feedback, OutcomeProblem, RefusedOutcome, ReportedOutcome, Serving, Verdict, WhenNoRoom,
};
use wire::outcome_verdict::Verdict as WireVerdict;
use work::{Call, Rejection};

/// The most outcomes of a request.
const OUTCOMES: usize = 1000;

/// The service, cheap to clone.
#[derive(Clone)]
pub(super) struct FeedbackService {
    /// Has the release that serves.
    decider: Decider,
    /// `None` if this server does not record.
    feedback: Option<Feedback>,
}

impl FeedbackService {
    pub(super) fn new(decider: Decider, feedback: Option<Feedback>) -> Self {
        Self { decider, feedback }
    }

    async fn record(
        &self,
        request: wire::RecordOutcomesRequest,
        when_no_room: WhenNoRoom,
        call: &Call,
    ) -> Result<wire::RecordOutcomesResponse, Status> {
        let began = call.trace().message_began();
        let request_id = request_id("");
        let named = |status| status::of_request(status, &request_id);
        call.check()
            .map_err(|stop| named(status::from_rejection(Rejection::Cancelled(stop), &request_id)))?;
        let outcomes = read(request).map_err(named)?;
        let feedback = self.feedback.as_ref().ok_or_else(|| {
            named(Status::failed_precondition("this server does not record outcomes (`records.record`)"))
        })?;
        let snapshot = self.decider.snapshot().map_err(|error| status::from_decision(&error, &request_id))?;
        let event_ids: Vec<String> = outcomes.iter().map(|outcome| outcome.event_id.clone()).collect();
        call.trace().step("decode", began);
        let release = &snapshot.release;
        let serving = Serving { catalog: release.catalog(), release: release.number() };
        let recorded = feedback.record(outcomes, serving, when_no_room, Utc::now()).await;
        call.trace().answered();
        let verdicts = recorded.map_err(|error| status::from_feedback(error, &request_id))?;
        let verdicts = event_ids.into_iter().zip(verdicts).map(|(id, verdict)| write(id, verdict)).collect();
        Ok(wire::RecordOutcomesResponse { verdicts })
    }
}

#[tonic::async_trait]
impl wire::feedback_service_server::FeedbackService for FeedbackService {
    async fn record_outcomes(
        &self,
        request: Request<wire::RecordOutcomesRequest>,
    ) -> Result<Response<wire::RecordOutcomesResponse>, Status> {
        let (call, compressed) = (call_of(&request), takes_compressed(&request));
        let answer = self.record(request.into_inner(), WhenNoRoom::Fails, &call).await?;
        let bytes = answer.encoded_len();
        Ok(respond(answer, bytes, compressed))
    }

    type RecordOutcomesStreamStream = ReceiverStream<Result<wire::RecordOutcomesStreamResponse, Status>>;

    async fn record_outcomes_stream(
        &self,
        request: Request<Streaming<wire::RecordOutcomesStreamRequest>>,
    ) -> Result<Response<Self::RecordOutcomesStreamStream>, Status> {
        let service = self.clone();
        Ok(answer_each(request, move |message, call| {
            let service = service.clone();
            async move {
                let request = message.request.ok_or_else(|| status::invalid("request", "is missing"))?;
                let response = service.record(request, WhenNoRoom::Waits, &call).await?;
                let answer = wire::RecordOutcomesStreamResponse { response: Some(response) };
                let bytes = answer.encoded_len();
                Ok((answer, bytes))
            }
        }))
    }
}

/// Reads a request. What is wrong with one outcome is its verdict.
fn read(request: wire::RecordOutcomesRequest) -> Result<Vec<ReportedOutcome>, Status> {
    match request.outcomes.len() {
        0 => return Err(status::invalid("outcomes", "is empty; send 1 to 1000")),
        1..=OUTCOMES => {}
        count => {
            let message = format_args!("{count} entries are more than {OUTCOMES}");
            return Err(status::invalid("outcomes", message));
        }
    }
    let read = |outcome: wire::Outcome| ReportedOutcome {
        event_id: outcome.event_id,
        decision_id: outcome.decision_id,
        offer_id: outcome.offer_id,
        customer_id: outcome.customer_id,
        outcome_type: outcome.r#type,
        value: outcome.value,
        occurred_at: outcome.occurred_at.and_then(|moment| time::read("occurred_at", moment).ok()),
        attributes: outcome.attributes.into_iter().collect(),
    };
    Ok(request.outcomes.into_iter().map(read).collect())
}

fn write(event_id: String, verdict: Verdict) -> wire::OutcomeVerdict {
    let told = |verdict: WireVerdict| wire::OutcomeVerdict {
        event_id,
        verdict: verdict.into(),
        ..wire::OutcomeVerdict::default()
    };
    match verdict {
        Verdict::Accepted(AcceptedOutcome { attributed, late, overshoot }) => wire::OutcomeVerdict {
            attributed,
            late,
            limit_overshoot: overshoot.cap_total || overshoot.budget,
            ..told(WireVerdict::Accepted)
        },
        Verdict::Duplicate => told(WireVerdict::Duplicate),
        Verdict::Refused(RefusedOutcome { problem, field, message }) => wire::OutcomeVerdict {
            problem: problem_of(problem).into(),
            field: field.to_owned(),
            message,
            ..told(WireVerdict::Refused)
        },
    }
}

fn problem_of(problem: OutcomeProblem) -> wire::OutcomeProblem {
    match problem {
        OutcomeProblem::Invalid => wire::OutcomeProblem::Invalid,
        OutcomeProblem::TooOld => wire::OutcomeProblem::TooOld,
        OutcomeProblem::FromTheFuture => wire::OutcomeProblem::FromTheFuture,
        OutcomeProblem::UnknownDecision => wire::OutcomeProblem::UnknownDecision,
        OutcomeProblem::Mismatch => wire::OutcomeProblem::Mismatch,
        OutcomeProblem::UnknownType => wire::OutcomeProblem::UnknownType,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_to_a_thousand_outcomes() {
        let request = |count| wire::RecordOutcomesRequest { outcomes: vec![wire::Outcome::default(); count] };
        assert_eq!(read(request(1)).unwrap().len(), 1);
        assert_eq!(read(request(1000)).unwrap().len(), 1000);
        for count in [0, 1001] {
            assert!(read(request(count)).unwrap_err().message().starts_with("outcomes: "));
        }
    }

    #[test]
    fn a_moment_that_no_calendar_knows_is_none() {
        let outcome = |nanos| wire::Outcome {
            occurred_at: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos }),
            ..wire::Outcome::default()
        };
        let request = wire::RecordOutcomesRequest { outcomes: vec![outcome(5), outcome(-1)] };
        let read = read(request).unwrap();
        assert_eq!(read[0].occurred_at.unwrap().timestamp_subsec_nanos(), 5);
        assert_eq!(read[1].occurred_at, None);
    }
}
