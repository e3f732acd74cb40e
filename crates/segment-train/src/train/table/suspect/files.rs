//! Whole files with columns that are not features.

#![allow(clippy::format_collect)]

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::train::table::{Purpose, ReadOptions, Table};

fn options() -> ReadOptions {
    ReadOptions { purpose: Purpose::Features, ..ReadOptions::default() }
}

/// The features, and the columns that were left out.
fn read(path: &Path, options: &ReadOptions) -> Result<(Vec<String>, Vec<String>), String> {
    let table = Table::read(path, options).map_err(|problems| problems.to_string())?;
    let left_out = table.columns.iter().filter(|column| column.left_out.is_some());
    let left_out = left_out.map(|column| column.name.clone()).collect();
    assert_eq!(table.values.len() % table.names.len(), 0);
    Ok((table.names, left_out))
}

fn read_csv(text: &str, options: &ReadOptions) -> Result<(Vec<String>, Vec<String>), String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("customers.csv");
    fs::write(&path, text).unwrap();
    read(&path, options)
}

/// Writes a file as pandas does: `index` lists the columns of the index in the metadata.
fn pandas(path: &Path, columns: Vec<(&str, ArrayRef)>, index: &str) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let pandas = format!(r#"{{"index_columns": {index}, "pandas_version": "2.3.3"}}"#);
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![KeyValue::new("pandas".to_owned(), pandas)]))
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn the_index_of_pandas_is_not_a_feature() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.parquet");
    let whole = |values: [i64; 3]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let balance = || Arc::new(Float64Array::from(vec![1.5, 2.5, 0.5])) as ArrayRef;
    let names = Arc::new(StringArray::from(vec!["a", "b", "c"])) as ArrayRef;
    for (name, index) in [
        ("__index_level_0__", r#"["__index_level_0__"]"#),
        // Only the metadata identifies an index with a name of its own.
        ("rank", r#"["rank"]"#),
    ] {
        pandas(&path, vec![("balance", balance()), (name, whole([4, 1, 7]))], index);
        let (features, left_out) = read(&path, &options()).unwrap();
        assert_eq!((features, left_out), (vec!["balance".to_owned()], vec![name.to_owned()]));
        let keep = ReadOptions { keep: vec![name.to_owned()], ..options() };
        assert_eq!(read(&path, &keep).unwrap().0, ["balance", name]);
        let id = ReadOptions { id_column: Some(name.to_owned()), ..options() };
        assert_eq!(read(&path, &id).unwrap().0, ["balance"]);
    }
    // A range index has no column.
    let range = r#"[{"kind": "range", "name": null, "start": 0, "stop": 3, "step": 1}]"#;
    pandas(&path, vec![("balance", balance()), ("rank", whole([4, 1, 7]))], range);
    assert_eq!(read(&path, &options()).unwrap().0, ["balance", "rank"]);
    pandas(&path, vec![("balance", balance()), ("cust_id", whole([4, 1, 7]))], r#"["cust_id"]"#);
    assert!(read(&path, &options()).unwrap_err().contains("use --id cust_id"));
    pandas(&path, vec![("balance", balance()), ("cust", names)], r#"["cust"]"#);
    assert!(read(&path, &options()).unwrap_err().contains("use --id cust"));
}

#[test]
fn ids_that_are_equal_in_32_bits_are_detected() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.parquet");
    let ids: Vec<i64> = (0..50).map(|row| 768_805_383 + row * 7 % 53).collect();
    let balance: Vec<f64> = (0..50).map(|row| f64::from(row * 3 % 7) + 0.5).collect();
    let text: String = ids.iter().zip(&balance).map(|(id, balance)| format!("{id},{balance}\n")).collect();
    let columns = vec![
        ("CLIENTNUM", Arc::new(Int64Array::from(ids)) as ArrayRef),
        ("balance", Arc::new(Float64Array::from(balance)) as ArrayRef),
    ];
    pandas(&path, columns, "[]");
    let refused = "has distinct whole numbers and the name of an id; use --id CLIENTNUM";
    assert!(read(&path, &options()).unwrap_err().contains(refused));
    assert!(read_csv(&format!("CLIENTNUM,balance\n{text}"), &options()).unwrap_err().contains(refused));
}

#[test]
fn all_problems_of_columns_are_reported_at_once() {
    let rows: String =
        (0..30).map(|row| format!("{row},{},{},{}\n", 500 - row, row * row % 13, row % 4)).collect();
    let text = format!("Unnamed: 0,CustomerID,Annual Income (k$),zip\n{rows}");
    let problems = read_csv(&text, &options()).unwrap_err();
    for part in ["use --id CustomerID", "--drop zip", "--rename 'Annual Income (k$)=annual_income_k', or"] {
        assert!(problems.contains(part), "no {part:?} in {problems}");
    }
    assert!(!problems.contains("Unnamed"), "{problems}");
    let fixed = ReadOptions {
        id_column: Some("CustomerID".into()),
        drop: vec!["zip".into()],
        rename: [("Annual Income (k$)".to_owned(), "annual_income_k".to_owned())].into(),
        ..options()
    };
    let (features, left_out) = read_csv(&text, &fixed).unwrap();
    assert_eq!(features, ["annual_income_k"]);
    assert_eq!(left_out, ["Unnamed: 0", "zip"]);
}

#[test]
fn columns_requested_by_name_are_not_checked() {
    let text: String = (0..30).map(|row| format!("{row},{},{}\n", row % 7, row % 2)).collect();
    let text = format!("id,zip,churn\n{text}");
    let only = ReadOptions { only: Some(vec!["id".into(), "zip".into()]), ..options() };
    assert_eq!(read_csv(&text, &only).unwrap().0, ["id", "zip"]);
    // Existing segments determine their columns.
    assert_eq!(read_csv(&text, &ReadOptions::default()).unwrap().0, ["id", "zip", "churn"]);
}

#[test]
fn columns_without_a_name_are_left_out_or_named() {
    let rows: String = (0..30).map(|row| format!("{},{}.5,\n", row * 2, row % 7)).collect();
    // As R writes row names, and as a spreadsheet adds a trailing separator.
    let (features, left_out) = read_csv(&format!(",balance,\n{rows}"), &options()).unwrap();
    assert_eq!(features, ["balance"]);
    assert_eq!(left_out, ["", ""]);
    let rows: String = (0..30).map(|row| format!("{}.5,{}.5\n", row * 2, row % 7)).collect();
    let refused = read_csv(&format!(",balance\n{rows}"), &options()).unwrap_err();
    assert!(refused.contains("column 1 has no name; name it or remove it"), "{refused}");
    let refused = read_csv(&format!("Unnamed: 0,balance\n{rows}"), &options()).unwrap_err();
    assert!(refused.contains("--rename 'Unnamed: 0=NAME'"), "{refused}");
    let alone =
        read_csv("id_row,index\n1,0\n1,1\n1,2\n", &ReadOptions { drop: vec!["id_row".into()], ..options() });
    assert!(
        alone
            .unwrap_err()
            .contains("no column is left as a feature (`id_row`: left out on request; `index`: row numbers")
    );
}
