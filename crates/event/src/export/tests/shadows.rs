//! Comparisons with shadows as Parquet, JSON Lines and CSV.

use super::*;
use crate::proto::{RecordedModel, ShadowOffer, ShadowRecord};
use crate::sealed::testing::{any_shadow, of_all_kinds, shadow};

fn models(value: &Value) -> Vec<RecordedModel> {
    list(value, |model| RecordedModel {
        name: text(&model["name"]),
        version: model["version"].as_u64().unwrap(),
    })
}

/// What a reader of JSON Lines does.
fn parse_shadow(line: &Value) -> Entry {
    let ranked = line["offer_ids"].as_array().unwrap().len();
    let offers = (0..ranked).map(|at| ShadowOffer {
        offer_id: text(&line["offer_ids"][at]),
        champion_score: number(&line["champion_scores"][at]),
        champion_priority: number(&line["champion_priorities"][at]),
        champion_rank: count(&line["champion_ranks"][at]),
        shadow_score: number(&line["shadow_scores"][at]),
        shadow_priority: number(&line["shadow_priorities"][at]),
        shadow_rank: count(&line["shadow_ranks"][at]),
        value: number(&line["values"][at]),
    });
    let record = ShadowRecord {
        format: count(&line["record"]["format"]),
        compared_at: micros(&line["compared_at"]),
        server: text(&line["server"]),
        server_version: text(&line["server_version"]),
        release: line["release"].as_u64().unwrap(),
        decision_id: text(&line["decision_id"]),
        placement: text(&line["placement"]),
        channel: text(&line["channel"]),
        customer_id: text(&line["customer_id"]),
        pseudonym_key: text(&line["pseudonym_key"]),
        shadow: text(&line["shadow"]),
        segment: line["segment_id"].as_i64(),
        decided_at: micros(&line["decided_at"]),
        champion_models: models(&line["record"]["champion_models"]),
        shadow_models: models(&line["record"]["shadow_models"]),
        offers: offers.collect(),
        champion_shown: list(&line["champion_shown"], text),
        shadow_shown: list(&line["shadow_shown"], text),
        withheld_by_champion_only: list(&line["withheld_by_champion_only"], text),
        withheld_by_shadow_only: list(&line["withheld_by_shadow_only"], text),
        champion_us: count(&line["champion_us"]),
        shadow_us: count(&line["shadow_us"]),
        error: text(&line["error"]),
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
    fn comparisons_are_read_back(records in prop::collection::vec(any_shadow(), 1..16)) {
        let files = Files::new();
        files.seal("s", 1, 1, &records);
        let all = Query::default();
        let (events, _) = exported_of(Kind::Shadow, &files, &all, ExportFormat::Parquet);
        prop_assert_eq!(events, records.len() as u64);
        let mut found = Vec::new();
        read_file(&files.logs().join("out"), Kind::Shadow, &all, &ReadProgress::default(), &mut |entry| {
            found.push(entry);
            ControlFlow::Continue(())
        }).unwrap();
        prop_assert_eq!(frames(&found), frames(&sealed_of(Kind::Shadow, &files)));
        let (_, text) = exported_of(Kind::Shadow, &files, &all, ExportFormat::JsonLines);
        let lines = std::str::from_utf8(&text).unwrap().lines();
        let found: Vec<Entry> = lines.map(|line| parse_shadow(&serde_json::from_str(line).unwrap())).collect();
        let mut expected = sealed_of(Kind::Shadow, &files);
        // JSON has one NaN.
        for entry in &mut expected {
            if let Record::Shadow(record) = &mut entry.record {
                for offer in &mut record.offers {
                    let of_champion = [&mut offer.champion_score, &mut offer.champion_priority];
                    let of_shadow = [&mut offer.shadow_score, &mut offer.shadow_priority, &mut offer.value];
                    let numbers = of_champion.into_iter().chain(of_shadow);
                    numbers.filter(|number| number.is_nan()).for_each(|number| *number = f64::NAN);
                }
            }
        }
        prop_assert_eq!(frames(&found), frames(&expected));
    }
}

#[test]
fn csv_of_comparisons_has_a_list_for_each_number_of_an_offer() {
    let files = Files::new();
    let mut first = shadow(NOON);
    first.decision_id = "d".to_owned();
    // It failed: there is nothing to compare, and no segment.
    let second = ShadowRecord {
        segment: None,
        offers: Vec::new(),
        champion_shown: Vec::new(),
        shadow_shown: Vec::new(),
        withheld_by_shadow_only: Vec::new(),
        error: "the model failed, twice".to_owned(),
        ..first.clone()
    };
    files.seal("s", 1, 1, &[first, second]);
    let (events, text) = exported_of(Kind::Shadow, &files, &Query::default(), ExportFormat::Csv);
    assert_eq!(events, 2);
    let expected = "\
position,recorded_at,compared_at,decided_at,shadow,decision_id,server,server_version,release,placement,channel,\
customer_id,pseudonym_key,segment_id,offer_ids,champion_scores,champion_priorities,champion_ranks,shadow_scores,\
shadow_priorities,shadow_ranks,values,champion_shown,shadow_shown,withheld_by_champion_only,withheld_by_shadow_only,\
champion_us,shadow_us,error
1,2026-11-30T12:00:00.005000Z,2026-11-30T12:00:00.000000Z,2026-11-30T11:59:59.000000Z,propensity_v8,d,server,0.1.0,7,\
app_home,web,C3,,4,travel_card;loan;gold,0.25;0.125;0.0625,20;8;2,1;2;3,0.125;0.25;0,10;16;0,2;1;0,80;64;32,\
travel_card;loan,loan;travel_card,,gold,41,43,
2,2026-11-30T12:00:00.005000Z,2026-11-30T12:00:00.000000Z,2026-11-30T11:59:59.000000Z,propensity_v8,d,server,0.1.0,7,\
app_home,web,C3,,,,,,,,,,,,,,,41,43,\"the model failed, twice\"
";
    assert_eq!(String::from_utf8(text).unwrap(), expected.replace("C3", &format!("C{}", NOON % 97)));
}

#[test]
fn all_kinds_of_a_log_are_exported_by_themselves() {
    let files = Files::new();
    files.seal("s", 1, 1, &of_all_kinds(NOON..NOON + 7));
    for format in ["parquet", "jsonl", "csv"] {
        let events =
            Kind::ALL.map(|kind| exported_of(kind, &files, &Query::default(), format.parse().unwrap()).0);
        assert_eq!(events, [3, 2, 2]);
    }
}
