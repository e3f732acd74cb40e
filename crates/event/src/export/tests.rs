use std::collections::BTreeSet;

use proptest::prelude::*;
use prost_types::Timestamp;
use serde_json::Value;

use super::*;
use crate::columns::COLUMNS;
use crate::proto::{
    Candidates, DecisionRecord, EncryptedValues, FeatureValues, RecordedError, RecordedFactors,
    RecordedOffer, RecordedSegment,
};
use crate::read::{ReadProgress, read_file};
use crate::sealed::testing::{DAY, Files, NOON, any_record, decision, decisions, frame_of};

fn no_names(_: u64) -> Option<Arc<dyn Names>> {
    None
}

fn exported(files: &Files, query: &Query, format: ExportFormat) -> (Exported, Vec<u8>) {
    let out = files.logs().join("out");
    let reader = EventReader::new(files.store().clone());
    let exported = export(&reader, query, format, &out, &no_names).unwrap();
    let bytes = fs::read(&out).unwrap();
    assert_eq!(exported.bytes, bytes.len() as u64);
    (exported, bytes)
}

fn sealed(files: &Files) -> Vec<Entry> {
    let mut found = Vec::new();
    let reader = EventReader::new(files.store().clone());
    reader
        .scan_entries(&Query::default(), &mut |entry| {
            found.push(entry);
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn frames(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(frame_of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parquet_is_read_back(records in prop::collection::vec(any_record(), 1..16)) {
        let files = Files::new();
        files.seal("s", 1, 1, &records);
        let (exported, _) = exported(&files, &Query::default(), ExportFormat::Parquet);
        prop_assert_eq!(exported.events, records.len() as u64);
        let mut found = Vec::new();
        read_file(&files.logs().join("out"), &Query::default(), &ReadProgress::default(), &mut |entry| {
            found.push(entry);
            ControlFlow::Continue(())
        }).unwrap();
        prop_assert_eq!(frames(&found), frames(&sealed(&files)));
    }

    #[test]
    fn json_lines_hold_the_whole_message(records in prop::collection::vec(any_record(), 1..16)) {
        let files = Files::new();
        files.seal("s", 1, 1, &records);
        let (exported, text) = exported(&files, &Query::default(), ExportFormat::JsonLines);
        prop_assert_eq!(exported.events, records.len() as u64);
        let lines = std::str::from_utf8(&text).unwrap().lines();
        let found: Vec<Entry> = lines.map(|line| parse(&serde_json::from_str(line).unwrap())).collect();
        let mut expected = sealed(&files);
        // JSON has one NaN.
        for entry in &mut expected {
            one_nan(&mut entry.record);
        }
        prop_assert_eq!(frames(&found), frames(&expected));
    }
}

fn one_nan(record: &mut DecisionRecord) {
    let double = |number: &mut f64| {
        if number.is_nan() {
            *number = f64::NAN;
        }
    };
    for offer in &mut record.offers {
        double(&mut offer.priority);
        double(&mut offer.selection_probability);
        if let Some(factors) = &mut offer.factors {
            [&mut factors.score, &mut factors.propensity, &mut factors.margin].into_iter().for_each(double);
        }
    }
    if let Some(segment) = &mut record.segment {
        [&mut segment.distance, &mut segment.margin].into_iter().for_each(double);
    }
    let candidates = record.candidates.iter_mut().flat_map(|found| &mut found.raw_scores);
    let values = record.customer.iter_mut().chain(&mut record.context).flat_map(|found| &mut found.floats);
    for number in candidates.chain(values).filter(|number| number.is_nan()) {
        *number = f32::NAN;
    }
}

/// What a reader of JSON Lines does.
fn parse(line: &Value) -> Entry {
    let rest = &line["record"];
    let shown = line["offer_ids"].as_array().unwrap().len();
    let offers = (0..shown).map(|at| {
        let factors = &rest["offers"][at]["factors"];
        RecordedOffer {
            offer_id: text(&line["offer_ids"][at]),
            priority: number(&line["priorities"][at]),
            fallback: rest["offers"][at]["fallback"].as_bool().unwrap(),
            selection_probability: number(&line["selection_probabilities"][at]),
            factors: (!factors.is_null()).then(|| RecordedFactors {
                score: number(&factors["score"]),
                propensity: number(&line["propensities"][at]),
                context_weight: number(&factors["context_weight"]),
                value: number(&factors["value"]),
                lever: number(&factors["lever"]),
                cost: number(&factors["cost"]),
                margin: number(&factors["margin"]),
                model: text(&factors["model"]),
                model_version: factors["model_version"].as_u64().unwrap(),
            }),
        }
    });
    let segment = (!rest["segment"].is_null()).then(|| RecordedSegment {
        id: line["segment_id"].as_i64().unwrap(),
        distance: number(&rest["segment"]["distance"]),
        margin: number(&rest["segment"]["margin"]),
    });
    let candidates = &rest["candidates"];
    let candidates = (!candidates.is_null()).then(|| Candidates {
        stages: list(&candidates["stages"], byte),
        reasons: list(&candidates["reasons"], byte),
        raw_scores: list(&candidates["raw_scores"], |value| number(value) as f32),
        unscored: list(&candidates["unscored"], text),
    });
    let error = (!line["error_code"].is_null()).then(|| RecordedError {
        code: count(&line["error_code"]),
        message: text(&line["error_message"]),
        field: text(&rest["error_field"]),
    });
    let record = DecisionRecord {
        format: count(&rest["format"]),
        decision_id: text(&line["decision_id"]),
        decided_at: micros(&line["decided_at"]),
        server: text(&line["server"]),
        server_version: text(&line["server_version"]),
        release: line["release"].as_u64().unwrap(),
        request_id: text(&line["request_id"]),
        placement: text(&line["placement"]),
        channel: text(&line["channel"]),
        customer_id: text(&line["customer_id"]),
        pseudonym_key: text(&line["pseudonym_key"]),
        consents: list(&rest["consents"], text),
        count: count(&line["count"]),
        explain: count(&line["explain"]),
        candidate_offer_ids: list(&rest["candidate_offer_ids"], text),
        exclude_offer_ids: list(&rest["exclude_offer_ids"], text),
        asked_release: rest["asked_release"].as_u64().unwrap(),
        as_of: stamp(&rest["as_of"]),
        ignored: list(&rest["ignored"], text),
        customer: values(&rest["customer"]),
        context: values(&rest["context"]),
        unknown_customer: line["unknown_customer"].as_bool().unwrap(),
        segment,
        candidates,
        offers: offers.collect(),
        degraded: list(&line["degraded"], text),
        error,
        call_us: count(&line["call_us"]),
        call_customers: count(&line["call_customers"]),
        ..DecisionRecord::default()
    };
    Entry {
        position: line["position"].as_u64().unwrap(),
        recorded_at: micros(&line["recorded_at"]),
        record: Box::new(record),
    }
}

fn values(value: &Value) -> Option<FeatureValues> {
    let hexadecimal = |value: &Value| -> Vec<u8> {
        let text = text(value);
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    };
    let encrypted = &value["encrypted"];
    (!value.is_null()).then(|| FeatureValues {
        sources: list(&value["sources"], byte),
        floats: list(&value["floats"], |value| number(value) as f32),
        ints: list(&value["ints"], |value| value.as_i64().unwrap()),
        bools: list(&value["bools"], byte),
        strings: list(&value["strings"], text),
        encrypted: (!encrypted.is_null()).then(|| EncryptedValues {
            key: text(&encrypted["key"]),
            nonce: hexadecimal(&encrypted["nonce"]),
            ciphertext: hexadecimal(&encrypted["ciphertext"]),
        }),
    })
}

fn list<T>(value: &Value, element: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(element).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn byte(value: &Value) -> u8 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn count(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn number(value: &Value) -> f64 {
    match value.as_str() {
        None => value.as_f64().unwrap(),
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        Some(other) => panic!("{other}"),
    }
}

fn micros(value: &Value) -> i64 {
    match value.as_str() {
        Some(text) => {
            DateTime::parse_from_rfc3339(text).map_or_else(|_| beyond(text), |time| time.timestamp_micros())
        }
        None => value.as_i64().unwrap(),
    }
}

/// A time of a year that RFC 3339 does not have, as chrono writes it.
fn beyond(text: &str) -> i64 {
    text.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_micros()
}

fn stamp(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Null => None,
        Value::String(text) => {
            let time = text.parse::<DateTime<chrono::Utc>>().unwrap();
            Some(Timestamp { seconds: time.timestamp(), nanos: time.timestamp_subsec_nanos() as i32 })
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            let both = value;
            Some(Timestamp { seconds: both[0].as_i64().unwrap(), nanos: both[1].as_i64().unwrap() as i32 })
        }
    }
}

#[test]
fn csv_has_the_flat_columns() {
    let files = Files::new();
    let mut record = decision(NOON);
    record.decision_id = "id".to_owned();
    record.customer_id = "=SUM(A1)".to_owned();
    record.request_id = "say \"hi\", twice\n".to_owned();
    record.degraded = vec!["-one".to_owned(), "two".to_owned()];
    files.seal("s", 1, 1, &[record]);
    let (_, text) = exported(&files, &Query::default(), ExportFormat::Csv);
    let text = String::from_utf8(text).unwrap();
    let (header, line) = text.split_once('\n').unwrap();
    let names: Vec<&str> =
        COLUMNS.iter().map(|column| column.name).filter(|name| *name != "record").collect();
    assert_eq!(header.split(',').collect::<Vec<_>>(), names);
    let expected = "1,2026-11-30T12:00:00.005000Z,2026-11-30T12:00:00.000000Z,id,\"say \"\"hi\"\", twice\n\",server,\
                    0.1.0,7,app_home,web,\"=SUM(A1)\",,3,1,false,4,travel_card;newsletter,10;0,0.125;,1;1,true,\
                    \"-one;two\",,,813,1\n";
    assert_eq!(line, expected);
}

#[test]
fn only_what_the_query_wants_is_exported() {
    let files = Files::new();
    files.seal("s", 1, 1, &decisions([NOON, NOON + 1, NOON + DAY]));
    let query = Query { from: Some(NOON + 1), ..Query::default() };
    for format in ["parquet", "jsonl", "csv"] {
        let (exported, _) = exported(&files, &query, format.parse().unwrap());
        assert_eq!(exported.events, 2);
    }
    assert!("xlsx".parse::<ExportFormat>().unwrap_err().contains("parquet, jsonl or csv"));
    let none = Query { customers: BTreeSet::from(["unknown".to_owned()]), ..Query::default() };
    let (exported, text) = exported(&files, &none, ExportFormat::JsonLines);
    assert_eq!((exported.events, text.len()), (0, 0));
}

#[test]
fn an_export_that_fails_leaves_the_file_as_it_was() {
    let files = Files::new();
    files.seal("s", 1, 1, &decisions([NOON]));
    files.seal("s", 2, 2, &decisions([NOON + DAY]));
    let name = files.names().remove(1);
    fs::write(files.path(&name), "damaged").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::write(&out, "before").unwrap();
    let reader = EventReader::new(files.store().clone());
    for format in ["parquet", "jsonl", "csv"] {
        let failed = export(&reader, &Query::default(), format.parse().unwrap(), &out, &no_names);
        assert!(failed.unwrap_err().to_string().contains(&name));
    }
    assert_eq!(fs::read_to_string(&out).unwrap(), "before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("absent/out");
    assert!(export(&reader, &Query::default(), ExportFormat::Csv, &nowhere, &no_names).is_err());
}

struct Known;

impl Names for Known {
    fn customer_features(&self) -> &[FeatureName] {
        static FEATURES: std::sync::OnceLock<Vec<FeatureName>> = std::sync::OnceLock::new();
        FEATURES.get_or_init(|| {
            let feature = |(name, kind, sensitive): (&str, _, _)| FeatureName {
                name: name.to_owned(),
                kind,
                sensitive,
            };
            let all = [
                ("risk", FeatureKind::Float, false),
                ("income", FeatureKind::Float, false),
                ("age", FeatureKind::Int, false),
                ("region", FeatureKind::String, false),
                ("balance", FeatureKind::Int, false),
            ];
            all.map(feature).to_vec()
        })
    }

    fn context_features(&self) -> &[FeatureName] {
        &[]
    }

    fn candidates(&self, _: &DecisionRecord) -> Option<Vec<String>> {
        Some(["travel_card", "loan", "insurance", "newsletter"].map(str::to_owned).to_vec())
    }
}

#[test]
fn names_of_the_release_stand_in_json_lines() {
    let files = Files::new();
    let mut other = decision(NOON + 1);
    other.release = 8;
    files.seal("s", 1, 1, &[decision(NOON), other]);
    let out = files.logs().join("out");
    let reader = EventReader::new(files.store().clone());
    let names = |release| (release == 7).then(|| Arc::new(Known) as Arc<dyn Names>);
    export(&reader, &Query::default(), ExportFormat::JsonLines, &out, &names).unwrap();
    let lines = fs::read_to_string(&out).unwrap();
    let [known, unknown] =
        [0, 1].map(|at| serde_json::from_str::<Value>(lines.lines().nth(at).unwrap()).unwrap());
    let features = serde_json::json!([
        {"name": "risk", "source": "store", "value": 0.1},
        {"name": "income", "source": "store", "value": 52_000.0},
        {"name": "age", "source": "default", "value": null},
        {"name": "region", "source": "missing", "value": null},
        {"name": "balance", "source": "request", "value": -3},
    ]);
    assert_eq!(known["record"]["customer"]["features"], features);
    assert_eq!(known["record"]["candidates"]["offer_ids"][1], "loan");
    assert_eq!(known["record"]["candidates"]["raw_scores"], serde_json::json!([0.25, "NaN"]));
    // As recorded.
    assert_eq!(unknown["record"]["customer"]["sources"], serde_json::json!([2, 2, 3, 0, 1]));
    assert_eq!(unknown["record"]["candidates"].get("offer_ids"), None);
}
