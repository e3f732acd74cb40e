//! Rankings over the whole path, compared with those of an independent Python script (`tests/golden/rank.py`).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::harness::{Server, limited_workspace, wire};

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// The request of a case, as sent to the server.
fn request(case: &Value) -> wire::RankRequest {
    let as_of: DateTime<Utc> = text(&case["as_of"]).parse().unwrap();
    let features = case["features"].as_object().map(|features| wire::FeatureBatch {
        rows: 1,
        dense: None,
        columns: features.iter().map(|(name, value)| column(name, value)).collect(),
    });
    let context = case["context"].as_object().into_iter().flatten().map(|(name, value)| {
        use wire::feature_value::Kind;
        let kind = match value {
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Bool(truth) => Kind::BoolValue(*truth),
            Value::Number(number) if number.is_i64() => Kind::Int64Value(number.as_i64().unwrap()),
            Value::Number(number) => Kind::FloatValue(number.as_f64().unwrap()),
            Value::Null | Value::Array(_) | Value::Object(_) => panic!("{name}: {value}"),
        };
        (name.clone(), wire::FeatureValue { kind: Some(kind) })
    });
    wire::RankRequest {
        placement: text(&case["placement"]),
        channel: case["channel"].as_str().unwrap_or_default().to_owned(),
        customers: vec![wire::Customer {
            customer_id: text(&case["customer_id"]),
            consents: texts(&case["consents"]),
        }],
        features,
        context: context.collect(),
        candidate_offer_ids: texts(&case["candidate_offer_ids"]),
        exclude_offer_ids: texts(&case["exclude_offer_ids"]),
        count: case["count"].as_u64().unwrap_or_default() as u32,
        explain: wire::Explain::All.into(),
        as_of: Some(prost_types::Timestamp { seconds: as_of.timestamp(), nanos: 0 }),
        ..Default::default()
    }
}

/// A column of the feature's type in the sample's schema; null becomes a null row.
fn column(name: &str, value: &Value) -> wire::FeatureColumn {
    use feature::{FeatureSchema, FeatureType};
    use wire::feature_column::Values;
    let schema = std::fs::read_to_string(limited_workspace().join("features.toml")).unwrap();
    let schema = FeatureSchema::parse("features.toml", &schema).unwrap();
    let values = match schema.get(name).unwrap().feature_type {
        FeatureType::Float => {
            Values::Floats(wire::FloatValues { values: vec![value.as_f64().unwrap_or(0.0) as f32] })
        }
        FeatureType::Int => Values::Int64s(wire::Int64Values { values: vec![value.as_i64().unwrap_or(0)] }),
        FeatureType::String => {
            Values::Strings(wire::StringValues { values: vec![value.as_str().unwrap_or("").to_owned()] })
        }
        FeatureType::Bool => {
            Values::Bools(wire::BoolValues { values: vec![value.as_bool().unwrap_or(false)] })
        }
    };
    let null_rows = if value.is_null() { vec![0] } else { Vec::new() };
    wire::FeatureColumn { name: name.to_owned(), values: Some(values), null_rows }
}

fn assert_near(found: f64, expected: &Value, tolerance: f64, what: &str) {
    assert_near_on_scale(found, expected, expected.as_f64().unwrap(), tolerance, what);
}

/// Compares numbers that come from others of the size `scale`, and so are as uncertain as those.
fn assert_near_on_scale(found: f64, expected: &Value, scale: f64, tolerance: f64, what: &str) {
    let expected = expected.as_f64().unwrap();
    let near = (found - expected).abs() <= tolerance * scale.abs().max(1.0);
    assert!(near, "{what}: {found} instead of {expected}");
}

fn check(context: &str, result: &wire::RankResult, expected: &Value, tolerance: f64) {
    assert_eq!(result.error, None, "{context}");
    let found: Vec<&str> = result.offers.iter().map(|offer| offer.offer_id.as_str()).collect();
    let offers = expected["offers"].as_array().unwrap();
    let wanted: Vec<&str> = offers.iter().map(|offer| offer["offer_id"].as_str().unwrap()).collect();
    assert_eq!(found, wanted, "{context}: order");
    for (offer, wanted) in result.offers.iter().zip(offers) {
        let context = format!("{context}: {}", offer.offer_id);
        assert_eq!(offer.fallback, wanted["fallback"].as_bool().unwrap_or(false), "{context}: fallback");
        let Some(factors) = &offer.factors else {
            assert!(offer.fallback, "{context}: no factors");
            continue;
        };
        let numbers = [
            ("priority", offer.priority),
            ("score", factors.score),
            ("propensity", factors.propensity),
            ("context_weight", factors.context_weight),
            ("value", factors.value),
            ("lever", factors.lever),
        ];
        for (name, found) in numbers {
            assert_near(found, &wanted[name], tolerance, &format!("{context}: {name}"));
        }
        // A small difference of two amounts.
        let earned = factors.propensity * factors.value;
        let what = format!("{context}: margin");
        assert_near_on_scale(factors.margin, &wanted["margin"], earned, tolerance, &what);
    }
    let mut rejected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for offer in &result.rejected {
        let key = format!("{}:{}", offer.stage, offer.reason);
        rejected.entry(key).or_default().insert(offer.offer_id.clone());
    }
    let wanted: BTreeMap<String, BTreeSet<String>> = expected["rejected"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, offers)| (key.clone(), texts(offers).into_iter().collect()))
        .collect();
    assert_eq!(rejected, wanted, "{context}: withheld");
    let variants: BTreeMap<&str, &str> =
        result.assignments.iter().map(|one| (one.experiment.as_str(), one.variant.as_str())).collect();
    let wanted = expected["variants"].as_object().unwrap();
    let wanted = wanted.iter().map(|(experiment, variant)| (experiment.as_str(), variant.as_str().unwrap()));
    assert_eq!(variants, wanted.collect(), "{context}: variants");
    let segment = result.segment.as_ref().unwrap();
    assert_eq!(segment.id, expected["segment"]["id"].as_i64().unwrap(), "{context}: segment");
    assert_near(segment.distance, &expected["segment"]["distance"], tolerance, context);
    assert_near(segment.margin, &expected["segment"]["margin"], tolerance, context);
}

#[tokio::test]
async fn rankings_match_the_independent_script() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rankings.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for (file, expected) in golden["files"].as_object().unwrap() {
        let bytes = std::fs::read(limited_workspace().join(file)).unwrap();
        let found = model::sha256_of(&bytes);
        assert_eq!(
            found,
            text(expected),
            "{file} has changed since rankings.json was written; run tests/golden/rank.py again"
        );
    }
    let tolerance = golden["tolerance"].as_f64().unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 300, "only {} cases", cases.len());
    // Every case is the first decision for its customer at its placement, so that no limit is reached yet.
    let server = Server::start(&limited_workspace(), &[]);
    let mut client = server.client().await;
    for (number, case) in cases.iter().enumerate() {
        let response = client.rank(request(&case["request"])).await.unwrap().into_inner();
        let context = format!("case {number} {}", case["request"]);
        check(&context, &response.results[0], &case["expected"], tolerance);
    }
}
