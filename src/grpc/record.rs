//! `proffer.v1.RecordService`: convert in, read what is recorded, convert out.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::decision::{write_result, write_value};
use super::limits::check_id;
use super::management::{blocking, take_on};
use super::proto::proffer::v1 as wire;
use super::status::invalid;
use super::time;
use ::decision::Explain;
use ::release::{Deployer, RegistryError, StoreError};
use event::proto::DecisionRecord;
use event::{EventReader, Query, SealedError};
use replay::{Explained, NamedValue, Privacy, Releases, explain, recorded_source};

/// The decisions of a page that does not say how many.
const PAGE: u64 = 100;

/// The most decisions of one page.
const MAX_PAGE: u64 = 1000;

/// How far back a list goes that does not say so.
const DAYS: i64 = 7;

/// The service, cheap to clone.
#[derive(Clone)]
pub(super) struct RecordService {
    /// `None` if this server does not record.
    reader: Option<(EventReader, Privacy)>,
    releases: Arc<Releases>,
}

impl RecordService {
    /// A service over what is recorded. Releases come from `deployer`.
    pub(super) fn new(reader: Option<(EventReader, Privacy)>, deployer: Deployer) -> Self {
        let load = move |number| deployer.release(number).map_err(|error| error.to_string());
        Self { reader, releases: Arc::new(Releases::new(load)) }
    }

    fn reader(&self) -> Result<(EventReader, Privacy), Status> {
        let reader = self.reader.clone();
        reader.ok_or_else(|| {
            Status::failed_precondition("this server does not record decisions (`records.record`)")
        })
    }
}

#[tonic::async_trait]
impl wire::record_service_server::RecordService for RecordService {
    async fn get_decision(
        &self,
        request: Request<wire::GetDecisionRequest>,
    ) -> Result<Response<wire::GetDecisionResponse>, Status> {
        let admitted = take_on(&request);
        let id = read_decision_id("decision_id", &request.into_inner().decision_id)?;
        // Sensitive values stay encrypted here: who may read them has the keys.
        let ((reader, _), releases) = (self.reader()?, Arc::clone(&self.releases));
        let found = blocking(admitted, move |call| {
            call.check()?;
            let record = reader.find(&id).map_err(unreadable)?;
            let record = record
                .ok_or_else(|| RegistryError::NotFound(format!("there is no record of decision {id}")))?;
            let explained = explain(&record, &releases);
            Ok(write_decision(record, explained))
        });
        Ok(Response::new(found.await?))
    }

    async fn list_decisions(
        &self,
        request: Request<wire::ListDecisionsRequest>,
    ) -> Result<Response<wire::ListDecisionsResponse>, Status> {
        let admitted = take_on(&request);
        let mut list = read_list(request.into_inner(), Utc::now())?;
        let (reader, privacy) = self.reader()?;
        list.query.customers = named(list.query.customers, &privacy);
        let found =
            blocking(admitted, move |call| list.read(&reader, &|| call.check().is_ok()).map_err(unreadable));
        Ok(Response::new(found.await?))
    }
}

/// Every name under which records may have these customers.
fn named(customers: BTreeSet<String>, privacy: &Privacy) -> BTreeSet<String> {
    let names = |id: String| privacy.pseudonyms.all(&id).into_iter().map(|name| name.text);
    customers.into_iter().flat_map(names).collect()
}

/// What one page of a list asks for.
struct List {
    query: Query,
    page: u64,
    /// The last decision of the page before: its time and its id.
    after: Option<(i64, String)>,
}

impl List {
    fn read(
        mut self,
        reader: &EventReader,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<wire::ListDecisionsResponse, SealedError> {
        if let Some((time, _)) = &self.after {
            self.query.from = Some(*time);
        }
        // Servers come one after another within a day, so that a page is only known when all of the day were seen.
        let mut found: Vec<DecisionRecord> = Vec::new();
        let most = self.page as usize + 1;
        let key = |record: &DecisionRecord| (record.decided_at, record.decision_id.clone());
        reader.scan(&self.query, &mut |record| {
            if self.after.as_ref().is_some_and(|after| key(&record) <= *after) {
                return ControlFlow::Continue(());
            }
            let day_ended = found.len() >= most
                && found.last().is_some_and(|last| day(last.decided_at) < day(record.decided_at));
            if day_ended || !goes_on() {
                return ControlFlow::Break(());
            }
            let at = found.partition_point(|earlier| key(earlier) < key(&record));
            if at < most {
                found.insert(at, record);
                found.truncate(most);
            }
            ControlFlow::Continue(())
        })?;
        let more = found.len() == most;
        found.truncate(self.page as usize);
        let next_page_token = found.last().filter(|_| more).map(write_token).unwrap_or_default();
        let decisions = found.into_iter().map(write_summary).collect();
        Ok(wire::ListDecisionsResponse { decisions, next_page_token })
    }
}

const MICROS_PER_DAY: i64 = 86_400_000_000;

fn day(micros: i64) -> i64 {
    micros.div_euclid(MICROS_PER_DAY)
}

fn read_list(request: wire::ListDecisionsRequest, now: DateTime<Utc>) -> Result<List, Status> {
    let wire::ListDecisionsRequest { customer_id, placement, offer_id, from, to, page_size, page_token } =
        request;
    for (field, id) in [("customer_id", &customer_id), ("placement", &placement), ("offer_id", &offer_id)] {
        check_id(field, id)?;
    }
    let to = to.map_or(Ok(now), |time| time::read("to", time))?;
    let week_before = to.checked_sub_signed(TimeDelta::days(DAYS)).unwrap_or(DateTime::<Utc>::MIN_UTC);
    let from = from.map_or(Ok(week_before), |time| time::read("from", time))?;
    if from >= to {
        return Err(invalid("from", "must be before `to`"));
    }
    let page = match u64::from(page_size) {
        0 => PAGE,
        size if size <= MAX_PAGE => size,
        size => return Err(invalid("page_size", format_args!("{size} is more than {MAX_PAGE}"))),
    };
    let after = match page_token.as_str() {
        "" => None,
        token => Some(
            read_token(token).ok_or_else(|| invalid("page_token", "is not from an answer of this call"))?,
        ),
    };
    let named = |text: String| (!text.is_empty()).then_some(text);
    let query = Query {
        from: Some(from.timestamp_micros()),
        to: Some(to.timestamp_micros()),
        customers: named(customer_id).into_iter().collect::<BTreeSet<_>>(),
        placement: named(placement),
        offer: named(offer_id),
        ..Query::default()
    };
    Ok(List { query, page, after })
}

/// The id of a decision, as it is recorded.
fn read_decision_id(field: &str, id: &str) -> Result<String, Status> {
    if id.is_empty() {
        return Err(invalid(field, "is missing"));
    }
    check_id(field, id)?;
    let id =
        Uuid::try_parse(id).map_err(|_| invalid(field, "is not a UUID as in `RankResult.decision_id`"))?;
    Ok(id.to_string())
}

fn write_token(record: &DecisionRecord) -> String {
    format!("{}:{}", record.decided_at, record.decision_id)
}

fn read_token(token: &str) -> Option<(i64, String)> {
    let (time, id) = token.split_once(':')?;
    Some((time.parse().ok()?, Uuid::try_parse(id).ok()?.to_string()))
}

fn write_summary(record: DecisionRecord) -> wire::DecisionSummary {
    wire::DecisionSummary {
        decided_at: Some(time::write_micros(record.decided_at)),
        fallback: record.offers.iter().any(|offer| offer.fallback),
        offer_ids: record.offers.into_iter().map(|offer| offer.offer_id).collect(),
        error: record.error.map(|error| error.message).unwrap_or_default(),
        decision_id: record.decision_id,
        customer_id: record.customer_id,
        placement: record.placement,
        channel: record.channel,
        release: record.release,
    }
}

fn write_decision(record: DecisionRecord, explained: Result<Explained, String>) -> wire::GetDecisionResponse {
    let explained = match explained {
        Ok(explained) => explained,
        Err(unexplained) => {
            return wire::GetDecisionResponse { record: Some(record), unexplained, ..Default::default() };
        }
    };
    let Explained { snapshot, features, context, result, differences } = explained;
    wire::GetDecisionResponse {
        record: Some(record),
        replayed: differences.is_empty(),
        unexplained: String::new(),
        features: features.into_iter().map(write_named).collect(),
        context: context.into_iter().map(write_named).collect(),
        result: result.map(|result| write_result(&snapshot, 0, result, Explain::All)),
    }
}

fn write_named(value: NamedValue) -> wire::RecordedValue {
    wire::RecordedValue {
        name: value.name,
        value: value.value.as_ref().map(|value| write_value(value.as_ref())),
        source: recorded_source(value.source).into(),
    }
}

/// Why records cannot be read, as a caller is told.
pub(super) fn unreadable(error: SealedError) -> RegistryError {
    match error {
        SealedError::Objects(error) => StoreError::from(error).into(),
        SealedError::Damaged { .. }
        | SealedError::Log { .. }
        | SealedError::Newer { .. }
        | SealedError::Differs { .. } => RegistryError::Damaged(error.to_string()),
        SealedError::Events(_) | SealedError::Io { .. } => RegistryError::Internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_asks_for_is_checked_by_field() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let read = |request| {
            read_list(request, now).map(|list| list.query).map_err(|status| status.message().to_owned())
        };
        let list = read(wire::ListDecisionsRequest::default()).unwrap();
        assert_eq!(list.to.unwrap() - list.from.unwrap(), DAYS * MICROS_PER_DAY);
        let time = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
        let list = wire::ListDecisionsRequest::default;
        let cases = [
            ("from: ", wire::ListDecisionsRequest { from: time(1_900_000_000, 0), ..list() }),
            ("from: ", wire::ListDecisionsRequest { from: time(i64::MIN, 0), ..list() }),
            ("to: ", wire::ListDecisionsRequest { to: time(0, -1), ..list() }),
            ("page_size: ", wire::ListDecisionsRequest { page_size: 1001, ..list() }),
            ("page_token: ", wire::ListDecisionsRequest { page_token: "1:2".to_owned(), ..list() }),
            ("customer_id: ", wire::ListDecisionsRequest { customer_id: "x".repeat(257), ..list() }),
        ];
        for (field, request) in cases {
            let message = read(request.clone()).unwrap_err();
            assert!(message.starts_with(field), "{message} for {request:?}");
        }
        for id in ["", "no-uuid", "0190"] {
            assert!(read_decision_id("decision_id", id).unwrap_err().message().starts_with("decision_id: "));
        }
    }

    #[test]
    fn a_token_leads_to_where_the_page_ended() {
        let id = Uuid::from_u128(7).to_string();
        let record = DecisionRecord { decided_at: -5, decision_id: id.clone(), ..DecisionRecord::default() };
        assert_eq!(read_token(&write_token(&record)), Some((-5, id)));
        assert_eq!(read_token("5"), None);
        assert_eq!(time::write_micros(-5), prost_types::Timestamp { seconds: -1, nanos: 999_995_000 });
    }
}
