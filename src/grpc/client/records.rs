//! `RecordService` for the command line.

use uuid::Uuid;

use super::decisions::withheld;
use super::{Client, ClientError, wire};
use crate::grpc::time::write_micros;
use event::Query;
use event::proto::DecisionRecord;
use replay::{DecisionView, ListedDecision, ViewedSegment, ViewedValue, rfc3339, shortest};
use wire::record_service_client::RecordServiceClient;

/// The most decisions of one page.
const PAGE: u32 = 1000;

impl Client {
    /// One decision, explained.
    ///
    /// # Errors
    /// When the server refuses or the decision is not recorded.
    pub async fn recorded_decision(&self, id: Uuid) -> Result<DecisionView, ClientError> {
        let request = wire::GetDecisionRequest { decision_id: id.to_string() };
        let answer = self.records().get_decision(request).await?.into_inner();
        Ok(view(answer))
    }

    /// The decisions that a query wants, oldest first.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn recorded_decisions(&self, query: &Query) -> Result<Vec<ListedDecision>, ClientError> {
        let most = query.limit.unwrap_or(u64::MAX);
        let (mut found, mut token) = (Vec::new(), String::new());
        // The server takes one customer at a time.
        let customer = query.customers.first().cloned().unwrap_or_default();
        if query.customers.len() > 1 {
            return Err(ClientError::Internal(
                "a server lists the decisions of one customer at a time".to_owned(),
            ));
        }
        loop {
            let left = most - found.len() as u64;
            let request = wire::ListDecisionsRequest {
                customer_id: customer.clone(),
                placement: query.placement.clone().unwrap_or_default(),
                offer_id: query.offer.clone().unwrap_or_default(),
                from: query.from.map(write_micros),
                to: query.to.map(write_micros),
                page_size: left.min(u64::from(PAGE)) as u32,
                page_token: token,
            };
            let page = self.records().list_decisions(request).await?.into_inner();
            found.extend(page.decisions.into_iter().map(listed));
            token = page.next_page_token;
            if token.is_empty() || found.len() as u64 >= most {
                return Ok(found);
            }
        }
    }

    fn records(&self) -> RecordServiceClient<tonic::transport::Channel> {
        RecordServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }
}

fn view(answer: wire::GetDecisionResponse) -> DecisionView {
    let record: DecisionRecord = answer.record.unwrap_or_default();
    let mut view = DecisionView::of_record(&record);
    view.unexplained = answer.unexplained;
    if !view.unexplained.is_empty() {
        return view;
    }
    view.replayed = Some(answer.replayed);
    view.features = answer.features.into_iter().map(value).collect();
    view.context = answer.context.into_iter().map(value).collect();
    let Some(result) = answer.result else { return view };
    view.segment = result.segment.map(|segment| ViewedSegment { id: segment.id, name: segment.name });
    view.withheld = result.rejected.into_iter().map(withheld).collect();
    view
}

fn value(value: wire::RecordedValue) -> ViewedValue {
    use wire::feature_value::Kind;
    let source = value.source().word();
    let shown = match value.value.and_then(|value| value.kind) {
        None => serde_json::Value::Null,
        Some(Kind::FloatValue(number)) => shortest(number as f32),
        Some(Kind::Int64Value(number)) => number.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::BoolValue(truth)) => truth.into(),
    };
    ViewedValue { name: value.name, value: shown, source }
}

fn listed(summary: wire::DecisionSummary) -> ListedDecision {
    let micros = summary.decided_at.map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1000);
    ListedDecision {
        decided_at: rfc3339(micros),
        decision_id: summary.decision_id,
        customer_id: summary.customer_id,
        placement: summary.placement,
        channel: summary.channel,
        release: summary.release,
        offer_ids: summary.offer_ids,
        fallback: summary.fallback,
        error: summary.error,
    }
}
