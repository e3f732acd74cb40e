//! `FeedbackService` for the command line.

use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::{Client, ClientError, wire};
use crate::grpc::time;
use history::feedback::ReportedOutcome;
use wire::feedback_service_client::FeedbackServiceClient;

/// What a server said of an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutcomeAnswer {
    /// It is recorded and counted.
    Accepted {
        /// Whether its decision is known.
        attributed: bool,
        /// Whether it happened after the attribution window of its type.
        late: bool,
        /// Whether it exceeds a cap or a budget.
        limit_overshoot: bool,
    },
    /// It was recorded before.
    Duplicate,
    /// It is not recorded.
    Refused {
        /// The code of the problem, such as `TOO_OLD`.
        problem: String,
        /// The field that is wrong.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Client {
    /// Records batches of at most 1,000 outcomes, and passes the answers to each batch to `told`, in order. It ends
    /// when all senders of `batches` are gone and the last batch is answered.
    ///
    /// # Errors
    /// What the server refuses as a whole. Batches that were not answered may be recorded; they can be sent again.
    pub async fn record_outcomes(
        &self,
        batches: mpsc::Receiver<Vec<ReportedOutcome>>,
        mut told: impl FnMut(Vec<OutcomeAnswer>),
    ) -> Result<(), ClientError> {
        let mut service =
            FeedbackServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let requests = ReceiverStream::new(batches).map(|batch| {
            let outcomes = batch.into_iter().map(write).collect();
            wire::RecordOutcomesStreamRequest { request: Some(wire::RecordOutcomesRequest { outcomes }) }
        });
        let mut answers = service.record_outcomes_stream(requests).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            told(answer.response.unwrap_or_default().verdicts.into_iter().map(read).collect());
        }
        Ok(())
    }
}

fn write(outcome: ReportedOutcome) -> wire::Outcome {
    wire::Outcome {
        event_id: outcome.event_id,
        decision_id: outcome.decision_id,
        offer_id: outcome.offer_id,
        customer_id: outcome.customer_id,
        r#type: outcome.outcome_type,
        value: outcome.value,
        occurred_at: outcome.occurred_at.map(time::write),
        attributes: outcome.attributes.into_iter().collect(),
    }
}

fn read(told: wire::OutcomeVerdict) -> OutcomeAnswer {
    use wire::outcome_verdict::Verdict;
    match told.verdict() {
        Verdict::Accepted => OutcomeAnswer::Accepted {
            attributed: told.attributed,
            late: told.late,
            limit_overshoot: told.limit_overshoot,
        },
        Verdict::Duplicate => OutcomeAnswer::Duplicate,
        Verdict::Refused | Verdict::Unspecified => {
            let problem = told.problem().as_str_name();
            let problem = problem.strip_prefix("OUTCOME_PROBLEM_").unwrap_or(problem).to_owned();
            OutcomeAnswer::Refused { problem, field: told.field, message: told.message }
        }
    }
}
