//! Outcomes as Parquet, JSON Lines and CSV.

use super::*;
use crate::proto::OutcomeRecord;
use crate::sealed::testing::{any_outcome, mixed, outcome};

/// What a reader of JSON Lines does.
fn parse_outcome(line: &Value) -> Entry {
    let attributes = line["attributes"].as_object().unwrap();
    let record = OutcomeRecord {
        format: count(&line["record"]["format"]),
        event_id: text(&line["event_id"]),
        received_at: micros(&line["received_at"]),
        server: text(&line["server"]),
        server_version: text(&line["server_version"]),
        release: line["release"].as_u64().unwrap(),
        decision_id: text(&line["decision_id"]),
        placement: text(&line["placement"]),
        channel: text(&line["channel"]),
        customer_id: text(&line["customer_id"]),
        pseudonym_key: text(&line["pseudonym_key"]),
        offer_id: text(&line["offer_id"]),
        r#type: text(&line["type"]),
        value: number(&line["value"]),
        occurred_at: micros(&line["occurred_at"]),
        attributes: attributes.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        attributed: line["attributed"].as_bool().unwrap(),
        late: line["late"].as_bool().unwrap(),
        decided_at: if line["decided_at"].is_null() { 0 } else { micros(&line["decided_at"]) },
        cost: number(&line["cost"]),
        offer_value: number(&line["offer_value"]),
        erased: Vec::new(),
    };
    Entry {
        position: line["position"].as_u64().unwrap(),
        recorded_at: micros(&line["recorded_at"]),
        record: record.into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn outcomes_are_read_back(records in prop::collection::vec(any_outcome(), 1..16)) {
        let files = Files::new();
        files.seal("s", 1, 1, &records);
        let all = Query::default();
        let (events, _) = exported_of(Kind::Outcome, &files, &all, ExportFormat::Parquet);
        prop_assert_eq!(events, records.len() as u64);
        let mut found = Vec::new();
        read_file(&files.logs().join("out"), Kind::Outcome, &all, &ReadProgress::default(), &mut |entry| {
            found.push(entry);
            ControlFlow::Continue(())
        }).unwrap();
        prop_assert_eq!(frames(&found), frames(&sealed_of(Kind::Outcome, &files)));
        let (_, text) = exported_of(Kind::Outcome, &files, &all, ExportFormat::JsonLines);
        let lines = std::str::from_utf8(&text).unwrap().lines();
        let found: Vec<Entry> = lines.map(|line| parse_outcome(&serde_json::from_str(line).unwrap())).collect();
        let mut expected = sealed_of(Kind::Outcome, &files);
        // JSON has one NaN.
        for entry in &mut expected {
            if let Record::Outcome(record) = &mut entry.record {
                let numbers = [&mut record.value, &mut record.cost, &mut record.offer_value];
                numbers.into_iter().filter(|number| number.is_nan()).for_each(|number| *number = f64::NAN);
            }
        }
        prop_assert_eq!(frames(&found), frames(&expected));
    }
}

#[test]
fn csv_of_outcomes_has_attributes_as_json() {
    let files = Files::new();
    let mut first = outcome(NOON);
    (first.event_id, first.decision_id) = ("e".to_owned(), "d".to_owned());
    let mut second = OutcomeRecord { attributes: [].into(), ..first.clone() };
    (second.decided_at, second.late) = (0, true);
    files.seal("s", 1, 1, &[first, second]);
    let (events, text) = exported_of(Kind::Outcome, &files, &Query::default(), ExportFormat::Csv);
    assert_eq!(events, 2);
    let expected = "\
position,recorded_at,received_at,occurred_at,event_id,type,decision_id,offer_id,customer_id,pseudonym_key,value,\
attributes,attributed,late,placement,channel,decided_at,cost,offer_value,server,server_version,release
1,2026-11-30T12:00:00.005000Z,2026-11-30T12:00:00.000000Z,2026-11-30T11:59:58.000000Z,e,click,d,travel_card,C3,,2.5,\
\"{\"\"button\"\":\"\"more\"\",\"\"page\"\":\"\"home\"\"}\",true,false,app_home,web,2026-11-30T11:00:00.000000Z,0.25,80,\
server,0.1.0,7
2,2026-11-30T12:00:00.005000Z,2026-11-30T12:00:00.000000Z,2026-11-30T11:59:58.000000Z,e,click,d,travel_card,C3,,2.5,\
,true,true,app_home,web,,0.25,80,server,0.1.0,7
";
    assert_eq!(String::from_utf8(text).unwrap(), expected.replace("C3", &format!("C{}", NOON % 97)));
}

#[test]
fn each_kind_is_exported_by_itself() {
    let files = Files::new();
    files.seal("s", 1, 1, &mixed(NOON..NOON + 5));
    for format in ["parquet", "jsonl", "csv"] {
        let events =
            Kind::ALL.map(|kind| exported_of(kind, &files, &Query::default(), format.parse().unwrap()).0);
        assert_eq!(events, [3, 2, 0]);
    }
    // The last one is no Parquet file; that before it is not what is asked for.
    exported_of(Kind::Outcome, &files, &Query::default(), ExportFormat::Parquet);
    let out = files.logs().join("out");
    let (query, progress) = (Query::default(), ReadProgress::default());
    let other = read_file(&out, Kind::Decision, &query, &progress, &mut |entry| panic!("{entry:?}"));
    assert!(other.unwrap_err().to_string().contains("of kind `outcome`, not `decision`"));
}
