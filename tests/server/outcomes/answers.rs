//! What a server says of its history: which offers its limits withhold from whom, and until when.

use serde_json::{Value, json};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::harness::wire;
use wire::decision_service_client::DecisionServiceClient;

/// The answers to a dry run for these customers, with every offer that is withheld; and when the server decided, in
/// milliseconds since 1970.
pub(super) async fn ask(
    channel: Channel,
    placement: &str,
    medium: &str,
    customers: impl IntoIterator<Item = &str>,
) -> (Vec<Value>, u64) {
    let customers = customers
        .into_iter()
        .map(|id| wire::Customer { customer_id: id.to_owned(), consents: vec!["news".to_owned()] });
    let request = wire::RankRequest {
        placement: placement.to_owned(),
        channel: medium.to_owned(),
        customers: customers.collect(),
        explain: wire::Explain::All.into(),
        dry_run: true,
        ..wire::RankRequest::default()
    };
    let mut client = DecisionServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let results = client.rank(request).await.unwrap().into_inner().results;
    // The first 48 bits of a UUIDv7 are its time.
    let now = Uuid::parse_str(&results[0].decision_id).unwrap().as_u128() >> 80;
    (results.iter().map(answer).collect(), u64::try_from(now).unwrap())
}

fn answer(result: &wire::RankResult) -> Value {
    assert!(result.error.is_none(), "{result:?}");
    let rejected = result.rejected.iter().map(|one| {
        let stage = one.withheld_stage().as_str_name().trim_start_matches("WITHHELD_STAGE_").to_lowercase();
        let reason = one.withheld_reason().as_str_name().trim_start_matches("WITHHELD_REASON_");
        json!({ "offer": one.offer_id, "stage": stage, "reason": reason, "detail": one.detail })
    });
    json!({
        "id": result.customer_id,
        "opted_out": result.degraded.iter().any(|line| line == "opted_out"),
        "rejected": rejected.collect::<Vec<_>>(),
    })
}
