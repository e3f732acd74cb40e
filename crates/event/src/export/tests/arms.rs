//! What exports have of experiments.

use super::*;

#[test]
fn arms_stand_in_columns_of_text_formats() {
    let files = Files::new();
    let mut record = decision(NOON);
    let arm = |experiment: &str, variant: &str, how, phase| RecordedAssignment {
        experiment: experiment.to_owned(),
        variant: variant.to_owned(),
        how,
        phase,
    };
    record.assignments = vec![arm("welcome", "warm", 1, u64::MAX), arm("tone", "a;b", 3, 5)];
    record.held_out = true;
    files.seal("s", 1, 1, &[record]);
    let (_, csv) = exported(&files, &Query::default(), ExportFormat::Csv);
    let csv = String::from_utf8(csv).unwrap();
    // Phases as in reports: readers of numbers may keep 53 bits.
    let cells = r",813,1,true,welcome;tone,warm;a\;b,ffffffffffffffff;0000000000000005,1;3";
    assert!(csv.trim_end().ends_with(cells), "{csv}");
    let (_, json) = exported(&files, &Query::default(), ExportFormat::JsonLines);
    let line: Value = serde_json::from_slice(&json).unwrap();
    let names = ["held_out", "experiments", "variants", "phases", "assigned_how"];
    let expected = serde_json::json!([
        true,
        ["welcome", "tone"],
        ["warm", "a;b"],
        ["ffffffffffffffff", "0000000000000005"],
        [1, 3],
    ]);
    assert_eq!(Value::from(names.map(|name| line[name].clone()).to_vec()), expected);
    assert_eq!(line["record"]["assignments"][0]["phase"], "ffffffffffffffff");
}
