//! `proffer.v1.RecordService`: convert in, read what is recorded, convert out.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use prost::Message;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::decision::{write_result, write_value};
use super::limits::check_id;
use super::management::{blocking, take_on};
use super::proto::proffer::v1 as wire;
use super::status::invalid;
use super::time;
use ::decision::Explain;
use ::model::sha256_of;
use ::release::{Deployer, RegistryError, StoreError};
use event::proto::DecisionRecord;
use event::read::{Oldest, Place};
use event::{EventReader, Query, SealedError};
use replay::{Explained, NamedValue, Privacy, Releases, explain, recorded_source, why};

/// The decisions of a page that does not say how many.
const PAGE: u64 = 100;

/// The most decisions of one page.
const MAX_PAGE: u64 = 1000;

/// The letters of a digest of what a list asks for: it tells mistakes, not attacks.
const DIGEST: usize = 16;

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
    page: usize,
    /// The last decision of the page before.
    after: Option<Place>,
    /// Stands for what was asked, but for the page.
    asked: String,
}

impl List {
    fn read(
        self,
        reader: &EventReader,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<wire::ListDecisionsResponse, SealedError> {
        let Self { query, page, after, asked } = self;
        // One more tells whether there is another page.
        let oldest = Oldest { after, most: page + 1 };
        let mut found = reader.oldest(&query, &oldest, goes_on, &mut write_summary)?;
        let more = found.len() > page;
        found.truncate(page);
        let next_page_token = found.last().filter(|_| more).map(|(last, _)| write_token(last, &asked));
        let decisions = found.into_iter().map(|(_, decision)| decision).collect();
        Ok(wire::ListDecisionsResponse { decisions, next_page_token: next_page_token.unwrap_or_default() })
    }
}

fn read_list(request: wire::ListDecisionsRequest, now: DateTime<Utc>) -> Result<List, Status> {
    let asked = asked(&request);
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
        token => Some(read_token(token, &asked)?),
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
    Ok(List { query, page: page as usize, after, asked })
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

/// A short text that stands for what a list asks for, but for the page.
fn asked(request: &wire::ListDecisionsRequest) -> String {
    let filters = wire::ListDecisionsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let mut digest = sha256_of(&filters.encode_to_vec());
    digest.truncate(DIGEST);
    digest
}

fn write_token((time, id): &Place, asked: &str) -> String {
    format!("{time}:{id}:{asked}")
}

fn read_token(token: &str, asked: &str) -> Result<Place, Status> {
    let read = || {
        let (place, filters) = token.rsplit_once(':')?;
        let (time, id) = place.split_once(':')?;
        Some(((time.parse().ok()?, Uuid::try_parse(id).ok()?.to_string()), filters))
    };
    match read() {
        Some((place, filters)) if filters == asked => Ok(place),
        Some(_) => Err(invalid("page_token", "is from a list with other fields; they must stay the same")),
        None => Err(invalid("page_token", "is not from an answer of this call")),
    }
}

fn write_summary(record: DecisionRecord) -> wire::DecisionSummary {
    wire::DecisionSummary {
        decided_at: Some(time::write_micros(record.decided_at)),
        fallback: record.offers.iter().any(|offer| offer.fallback),
        offer_ids: record.offers.into_iter().map(|offer| offer.offer_id).collect(),
        error: record.error.map(|error| why(&error.field, &error.message)).unwrap_or_default(),
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
        result: Some(write_result(&snapshot, 0, result, Explain::All)),
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
pub(crate) fn unreadable(error: SealedError) -> RegistryError {
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
        assert_eq!(list.to.unwrap() - list.from.unwrap(), DAYS * 86_400_000_000);
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
    fn a_token_leads_to_where_the_page_ended_of_the_same_list_alone() {
        let place = (-5, Uuid::from_u128(7).to_string());
        let list = wire::ListDecisionsRequest { placement: "home".to_owned(), ..Default::default() };
        let token = write_token(&place, &asked(&list));
        let page = |list: &wire::ListDecisionsRequest| {
            let list = wire::ListDecisionsRequest { page_token: token.clone(), page_size: 3, ..list.clone() };
            let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
            read_list(list, now).map(|list| list.after).map_err(|status| status.message().to_owned())
        };
        assert_eq!(page(&list), Ok(Some(place)));
        let time = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 });
        for other in [
            wire::ListDecisionsRequest { placement: String::new(), ..list.clone() },
            wire::ListDecisionsRequest { customer_id: "C1".to_owned(), ..list.clone() },
            wire::ListDecisionsRequest { offer_id: "gold".to_owned(), ..list.clone() },
            wire::ListDecisionsRequest { from: time, ..list.clone() },
            wire::ListDecisionsRequest { to: time, ..list.clone() },
        ] {
            let message = page(&other).unwrap_err();
            assert!(message.starts_with("page_token: is from a list with other fields"), "{message}");
        }
        for wrong in ["5", "1:2", "1:2:3", &format!("x:{}:{}", Uuid::nil(), asked(&list))] {
            let message = read_token(wrong, &asked(&list)).unwrap_err().message().to_owned();
            assert!(message.starts_with("page_token: is not from an answer"), "{message}");
        }
        assert_eq!(time::write_micros(-5), prost_types::Timestamp { seconds: -1, nanos: 999_995_000 });
    }
}
