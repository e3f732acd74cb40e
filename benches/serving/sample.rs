//! The requests: visits of the sample's customers, with order and context drawn with a fixed seed.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use decision::{ContextValue, Customer, Explain, RankRequest, ScoreRequest};
use feature::store::CustomerTable;
use feature::{Entity, FeatureBatch, Value, ValueRef};
use model::Inputs;
use proffer::grpc::proto::proffer::v1 as wire;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use release::Snapshot;

const SEED: u64 = 20_261_014;

/// A time at which most offers of the sample are valid.
const AS_OF: i64 = 1_792_000_000;

const PAGES: [&str; 5] = ["home", "statement", "travel", "card", "support"];

/// A customer who visits a page.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub customer: String,
    pub month: i64,
    pub page: &'static str,
}

/// One visit of each customer, shuffled.
pub(crate) fn visits(customers: &CustomerTable) -> Vec<Visit> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let mut below = |limit: usize| (random.next_u64() % limit as u64) as usize;
    let mut visits: Vec<Visit> = customers
        .rows()
        .filter_map(|row| customers.id(row))
        .map(|customer| Visit {
            customer: customer.to_owned(),
            month: 1 + below(12) as i64,
            page: PAGES[below(PAGES.len())],
        })
        .collect();
    for last in (1..visits.len()).rev() {
        visits.swap(last, below(last + 1));
    }
    visits
}

impl Visit {
    /// `Rank` for this visit.
    pub(crate) fn request(&self, placement: &str, explain: Explain) -> RankRequest {
        RankRequest {
            placement: placement.to_owned(),
            customers: vec![Customer { id: self.customer.clone(), consents: Vec::new() }],
            context: vec![
                ("month".to_owned(), Some(ContextValue::Int(self.month))),
                ("page".to_owned(), Some(ContextValue::String(self.page.into()))),
            ],
            explain,
            as_of: DateTime::<Utc>::from_timestamp(AS_OF, 0),
            ..RankRequest::default()
        }
    }

    /// The same as a message, with explanations of the winners.
    pub(crate) fn message(&self, placement: &str) -> wire::RankRequest {
        use wire::feature_value::Kind;
        let value = |kind| wire::FeatureValue { kind: Some(kind) };
        wire::RankRequest {
            placement: placement.to_owned(),
            customers: vec![wire::Customer { customer_id: self.customer.clone(), consents: Vec::new() }],
            context: HashMap::from([
                ("month".to_owned(), value(Kind::Int64Value(self.month))),
                ("page".to_owned(), value(Kind::StringValue(self.page.to_owned()))),
            ]),
            explain: wire::Explain::Winners.into(),
            as_of: Some(prost_types::Timestamp { seconds: AS_OF, nanos: 0 }),
            ..wire::RankRequest::default()
        }
    }

    /// The context features in the order of the release's schema.
    pub(crate) fn context(&self, snapshot: &Snapshot) -> Vec<Option<Value>> {
        let features = snapshot.release.schema().of(Entity::Context).iter();
        features
            .map(|feature| match feature.name.as_str() {
                "month" => Some(Value::Int(self.month)),
                "page" => Some(Value::String(self.page.into())),
                _ => feature.default.clone(),
            })
            .collect()
    }
}

/// One `Rank` for the customers of all `visits`, with the context of the first.
pub(crate) fn batch(visits: &[Visit], placement: &str) -> (RankRequest, wire::RankRequest) {
    let mut request = visits[0].request(placement, Explain::Winners);
    let mut message = visits[0].message(placement);
    for visit in &visits[1..] {
        request.customers.push(Customer { id: visit.customer.clone(), consents: Vec::new() });
        message.customers.push(wire::Customer { customer_id: visit.customer.clone(), consents: Vec::new() });
    }
    (request, message)
}

/// One `Score` of `rows` rows for `model`, dense and in the order of the model's inputs: customers and offers of the
/// sample, paired at random. Also returns the width.
pub(crate) fn rows(snapshot: &Snapshot, visits: &[Visit], model: &str, rows: usize) -> (ScoreRequest, usize) {
    let release = &snapshot.release;
    let model = release.models().iter().find(|known| known.name() == model).unwrap();
    let (Inputs::Dense(names) | Inputs::PerFeature(names)) = &model.manifest().inputs;
    let places: Vec<(Entity, usize)> =
        names.iter().map(|name| release.schema().find(name).unwrap()).collect();
    let offers = release.catalog().library.offers();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED + 1);
    let mut values = Vec::with_capacity(rows * names.len());
    for row in 0..rows {
        let visit = &visits[row % visits.len()];
        let customer = snapshot.customers.find(&visit.customer).unwrap();
        let context = visit.context(snapshot);
        let offer = &offers[(random.next_u64() % offers.len() as u64) as usize];
        values.extend(places.iter().map(|(entity, index)| {
            let value = match entity {
                Entity::Customer => snapshot.customers.value(customer, *index),
                Entity::Context => ValueRef::from(&context[*index]),
                Entity::Offer => ValueRef::from(&offer.features[*index]),
            };
            value.as_f64().unwrap() as f32
        }));
    }
    assert!(
        model.takes_dense(names.iter().map(String::as_str), &values),
        "the rows do not have the form of the model's inputs"
    );
    let features =
        FeatureBatch { rows, dense_names: names.iter().collect(), dense_values: values, columns: Vec::new() };
    let request = ScoreRequest { model: model.name().to_owned(), features, ..ScoreRequest::default() };
    (request, names.len())
}

/// The same as a message.
pub(crate) fn rows_message(request: &ScoreRequest) -> wire::ScoreRequest {
    let features = &request.features;
    wire::ScoreRequest {
        model: Some(wire::ModelRef { name: request.model.clone(), version: 0 }),
        features: Some(wire::FeatureBatch {
            rows: features.rows as u32,
            dense: Some(wire::DenseFeatures {
                names: features.dense_names.clone(),
                values: features.dense_values.clone(),
            }),
            columns: Vec::new(),
        }),
        offer_ids: Vec::new(),
    }
}

/// A request for each visit.
pub(crate) fn for_each<T>(visits: &[Visit], request: impl Fn(&Visit) -> T) -> Arc<[T]> {
    visits.iter().map(request).collect()
}
