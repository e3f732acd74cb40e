mod arms;
mod outcomes;
mod shadows;

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;
use prost_types::Timestamp;
use serde_json::Value;

use super::*;
use crate::kind::Record;
use crate::proto::{
    Candidates, DecisionRecord, EncryptedValues, FeatureValues, RecordedAssignment, RecordedError,
    RecordedFactors, RecordedNewcomer, RecordedOffer, RecordedRefusal, RecordedReservation, RecordedSegment,
    RecordedTerms, SeenHistory,
};
use crate::read::{ReadProgress, read_file};
use crate::sealed::testing::{DAY, Files, NOON, any_record, decision, decisions, frame_of, seen};
use crate::seen::{FullLimit, NamedKind, SeenName};

fn no_names(_: u64) -> Option<Arc<dyn Names>> {
    None
}

/// How many events there were, and the bytes, which are also in the file `out`.
fn exported(files: &Files, query: &Query, format: ExportFormat) -> (u64, Vec<u8>) {
    exported_of(Kind::Decision, files, query, format)
}

fn exported_of(kind: Kind, files: &Files, query: &Query, format: ExportFormat) -> (u64, Vec<u8>) {
    let out = files.logs().join("out");
    let reader = EventReader::new(files.store().clone());
    let mut bytes = Vec::new();
    let events = export(&reader, kind, query, format, (&out, &mut bytes), &no_names).unwrap();
    fs::write(&out, &bytes).unwrap();
    (events, bytes)
}

fn sealed(files: &Files) -> Vec<Entry> {
    sealed_of(Kind::Decision, files)
}

fn sealed_of(kind: Kind, files: &Files) -> Vec<Entry> {
    let mut found = Vec::new();
    let reader = EventReader::new(files.store().clone());
    reader
        .scan_entries(kind, &Query::default(), &mut |entry| {
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
        let (events, _) = exported(&files, &Query::default(), ExportFormat::Parquet);
        prop_assert_eq!(events, records.len() as u64);
        let mut found = Vec::new();
        let progress = ReadProgress::default();
        read_file(&files.logs().join("out"), Kind::Decision, &Query::default(), &progress, &mut |entry| {
            found.push(entry);
            ControlFlow::Continue(())
        }).unwrap();
        prop_assert_eq!(frames(&found), frames(&sealed(&files)));
    }

    #[test]
    fn json_lines_hold_the_whole_message(records in prop::collection::vec(any_record(), 1..16)) {
        let files = Files::new();
        files.seal("s", 1, 1, &records);
        let (events, text) = exported(&files, &Query::default(), ExportFormat::JsonLines);
        prop_assert_eq!(events, records.len() as u64);
        let lines = std::str::from_utf8(&text).unwrap().lines();
        let found: Vec<Entry> = lines.map(|line| parse(&serde_json::from_str(line).unwrap())).collect();
        let mut expected = sealed(&files);
        // JSON has one NaN.
        for entry in &mut expected {
            if let Record::Decision(record) = &mut entry.record {
                one_nan(record);
            }
        }
        prop_assert_eq!(frames(&found), frames(&expected));
    }
}

/// What a server never records is shown as it is recorded.
#[test]
fn a_history_that_makes_no_sense_is_exported_as_it_is() {
    let (files, mut record) = (Files::new(), decision(NOON));
    let history = SeenHistory {
        names: vec!["gold".to_owned()],
        events: vec![7],
        times: vec![-5],
        ..Default::default()
    };
    record.history = Some(history);
    files.seal("s", 1, 1, &[record]);
    let (_, text) = exported(&files, &Query::default(), ExportFormat::JsonLines);
    let line: Value = serde_json::from_slice(&text).unwrap();
    let expected = serde_json::json!({
        "opted_out": false, "names": ["gold"], "kinds": [], "events": [7], "times": [-5], "full": [], "frees_in": [],
    });
    assert_eq!(line["record"]["history"], expected);
}

fn one_nan(record: &mut DecisionRecord) {
    let double = |number: &mut f64| {
        if number.is_nan() {
            *number = f64::NAN;
        }
    };
    let terms = record.offers.iter_mut().filter_map(|offer| offer.terms.as_mut());
    terms.for_each(|terms| [&mut terms.cost, &mut terms.value].into_iter().for_each(double));
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
            terms: rest["offers"][at]
                .get("terms")
                .map(|terms| RecordedTerms { cost: number(&terms["cost"]), value: number(&terms["value"]) }),
            cap_total: rest["offers"][at].get("cap_total").map(reservation),
            budget: rest["offers"][at].get("budget").map(reservation),
            conditional: rest["offers"][at].get("conditional").is_some(),
            mandatory: rest["offers"][at].get("mandatory").is_some(),
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
        default_channel: rest.get("default_channel").map(text).unwrap_or_default(),
        customer: values(&rest["customer"]),
        context: values(&rest["context"]),
        unknown_customer: line["unknown_customer"].as_bool().unwrap(),
        segment,
        history: rest.get("history").and_then(|history| looked_at(history, micros(&line["decided_at"]))),
        assignments: rest.get("assignments").map(|arms| list(arms, arm)).unwrap_or_default(),
        held_out: rest.get("held_out").is_some(),
        newcomers: rest.get("newcomers").map(|offers| list(offers, newcomer)).unwrap_or_default(),
        candidates,
        offers: offers.collect(),
        degraded: list(&line["degraded"], text),
        error,
        refusals: rest.get("refusals").map(|refusals| list(refusals, refusal)).unwrap_or_default(),
        call_us: count(&line["call_us"]),
        call_customers: count(&line["call_customers"]),
        ..DecisionRecord::default()
    };
    Entry {
        position: line["position"].as_u64().unwrap(),
        recorded_at: micros(&line["recorded_at"]),
        record: record.into(),
    }
}

fn reservation(value: &Value) -> RecordedReservation {
    RecordedReservation { outcome: text(&value["outcome"]), lapses_in: value["lapses_in"].as_u64().unwrap() }
}

fn arm(value: &Value) -> RecordedAssignment {
    RecordedAssignment {
        experiment: text(&value["experiment"]),
        variant: text(&value["variant"]),
        how: count(&value["how"]),
        phase: u64::from_str_radix(value["phase"].as_str().unwrap(), 16).unwrap(),
    }
}

fn newcomer(value: &Value) -> RecordedNewcomer {
    RecordedNewcomer {
        offer_id: text(&value["offer_id"]),
        impressions: value["impressions"].as_u64().unwrap(),
    }
}

fn refusal(value: &Value) -> RecordedRefusal {
    RecordedRefusal {
        round: count(&value["round"]),
        fallback: value["fallback"].as_bool().unwrap(),
        offer_id: text(&value["offer_id"]),
        reason: count(&value["reason"]),
        limit: text(&value["limit"]),
        frees_in: value["frees_in"].as_i64().unwrap(),
    }
}

fn looked_at(value: &Value, decided_at: i64) -> Option<SeenHistory> {
    let events: Vec<_> = value["events"].as_array().unwrap().iter().map(seen_event).collect();
    let full: Vec<_> = value["full"].as_array().unwrap().iter().map(full_limit).collect();
    seen(decided_at, value["opted_out"].as_bool().unwrap(), &events, &full)
}

fn seen_event(event: &Value) -> (NamedKind<'_>, i64, bool) {
    let kind = NamedKind {
        offer: seen_name(&event["offer"]),
        placement: seen_name(&event["placement"]),
        channel: seen_name(&event["channel"]),
        event_type: seen_name(&event["type"]),
        many: event["many"].as_bool().unwrap(),
    };
    (kind, millis(&event["at"]), event["same_decision"].as_bool().unwrap())
}

fn full_limit(limit: &Value) -> FullLimit<'_> {
    FullLimit {
        offer: seen_name(&limit["offer"]),
        is_budget: limit["limit"] == "budget",
        frees_at: (!limit["frees_at"].is_null()).then(|| millis(&limit["frees_at"])),
    }
}

fn seen_name(value: &Value) -> SeenName<'_> {
    match value.as_str() {
        None => SeenName::Nothing,
        Some("(other)") => SeenName::Any,
        Some(name) => SeenName::Is(name),
    }
}

fn millis(value: &Value) -> i64 {
    micros(value).div_euclid(1_000)
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
    let columns = Kind::Decision.table().columns();
    let names: Vec<&str> =
        columns.iter().map(|column| column.name).filter(|name| *name != "record").collect();
    assert_eq!(header.split(',').collect::<Vec<_>>(), names);
    let expected = "1,2026-11-30T12:00:00.005000Z,2026-11-30T12:00:00.000000Z,id,\"say \"\"hi\"\", twice\n\",server,\
                    0.1.0,7,app_home,web,\"=SUM(A1)\",,3,1,false,4,travel_card;newsletter,10;0,0.125;,1;1,true,\
                    \"-one;two\",,,813,1,false,,,,\n";
    assert_eq!(line, expected);
}

#[test]
fn only_what_the_query_wants_is_exported() {
    let files = Files::new();
    files.seal("s", 1, 1, &decisions([NOON, NOON + 1, NOON + DAY]));
    let query = Query { from: Some(NOON + 1), ..Query::default() };
    for format in ["parquet", "jsonl", "csv"] {
        let (events, _) = exported(&files, &query, format.parse().unwrap());
        assert_eq!(events, 2);
    }
    assert!("xlsx".parse::<ExportFormat>().unwrap_err().contains("parquet, jsonl or csv"));
    let none = Query { customers: BTreeSet::from(["unknown".to_owned()]), ..Query::default() };
    let (events, text) = exported(&files, &none, ExportFormat::JsonLines);
    assert_eq!((events, text.len()), (0, 0));
}

#[test]
fn an_export_that_fails_names_the_file_that_is_damaged_or_takes_no_more() {
    let files = Files::new();
    files.seal("s", 1, 1, &decisions([NOON]));
    files.seal("s", 2, 2, &decisions([NOON + DAY]));
    let name = files.names().remove(1);
    fs::write(files.path(&name), "damaged").unwrap();
    let reader = EventReader::new(files.store().clone());
    let fails = |query: &Query, format: &str, out: &mut dyn Write| {
        let format = format.parse().unwrap();
        let failed = export(&reader, Kind::Decision, query, format, (Path::new("the file"), out), &no_names);
        failed.unwrap_err().to_string()
    };
    for format in ["parquet", "jsonl", "csv"] {
        let damaged = fails(&Query::default(), format, &mut Vec::new());
        assert!(damaged.contains(&name), "{damaged}");
        let first = Query { to: Some(NOON + 1), ..Query::default() };
        let full = fails(&first, format, &mut &mut [0_u8; 16][..]);
        assert!(full.starts_with("the file: "), "{full}");
    }
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
    let reader = EventReader::new(files.store().clone());
    let names = |release| (release == 7).then(|| Arc::new(Known) as Arc<dyn Names>);
    let (all, mut lines) = (Query::default(), Vec::new());
    let out = (Path::new("out"), &mut lines as &mut dyn Write);
    export(&reader, Kind::Decision, &all, ExportFormat::JsonLines, out, &names).unwrap();
    let lines = String::from_utf8(lines).unwrap();
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
