//! Public data sets of card holders and bank clients, in their original form.
//!
//! The data is not part of the project: see `public_data`.

use super::tests::missing;
use super::*;
use crate::train::public_data::unpacked;

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The sum of the known values of a column.
fn sum(table: &Table, name: &str) -> f64 {
    let index = table.names.iter().position(|found| found == name).unwrap();
    table.column(index).filter(|value| !value.is_nan()).map(f64::from).sum()
}

#[test]
fn cc_general_is_read_with_its_314_missing_values() {
    let Some((_directory, path)) = unpacked("cc_general/CC_GENERAL.csv.gz") else { return };
    let options = ReadOptions { id_column: Some("CUST_ID".into()), ..ReadOptions::default() };
    let table = Table::read(&path, &options).unwrap();
    assert_eq!((table.rows(), table.names.len(), table.columns.len()), (8_950, 17, 18));
    let missing: Vec<(&str, u64)> = table
        .columns
        .iter()
        .filter(|column| column.missing > 0)
        .map(|column| (&*column.name, column.missing))
        .collect();
    assert_eq!(missing, [("CREDIT_LIMIT", 1), ("MINIMUM_PAYMENTS", 313)]);
    assert_eq!(table.ids.as_ref().unwrap().get(0), "C10001");
    eprintln!("{}", table.facts());
    // Without an id column, the message proposes one.
    let error = Table::read(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(
        error.contains("column `CUST_ID`: is text (8950 distinct values, such as \"C10001\")"),
        "{error}"
    );
    assert!(error.ends_with("use --id CUST_ID if it identifies the customers"), "{error}");
}

#[test]
fn thirty_thousand_clients_have_no_missing_value() {
    let Some((_directory, path)) = unpacked("default_credit_card/uci350_named_columns.csv.gz") else {
        return;
    };
    let options = ReadOptions { id_column: Some("ID".into()), ..ReadOptions::default() };
    let table = Table::read(&path, &options).unwrap();
    assert_eq!((table.rows(), table.names.len()), (30_000, 24));
    assert_eq!(missing(&table), [0; 24]);
    assert!((sum(&table, "class") - 6_636.0).abs() < 0.5);
}

#[test]
fn bank_marketing_is_refused_with_advice_and_read_after_following_it() {
    let Some((_directory, path)) = unpacked("bank_marketing/bank-additional-full.csv.gz") else { return };
    let error = Table::read(&path, &ReadOptions::default()).unwrap_err();
    eprintln!("{error}");
    let job = "column `job`: is text (12 distinct values, such as \"housemaid\"); leave it out with --drop job, or \
               encode it with --one-hot job";
    assert!(error.iter().any(|problem| problem.message == job), "{error}");
    let loan = "; leave it out with --drop loan, or encode it with --one-hot loan, or use --missing unknown if that \
                means a missing value";
    assert!(error.iter().any(|problem| problem.message.ends_with(loan)), "{error}");

    let texts = ["job", "marital", "education", "contact", "month", "day_of_week", "poutcome"];
    let options = ReadOptions {
        drop: owned(&["duration"]),
        one_hot: owned(&texts),
        missing: owned(&["unknown"]),
        ..ReadOptions::default()
    };
    let table = Table::read(&path, &options).unwrap();
    eprintln!("{}", table.facts());
    assert_eq!(table.rows(), 41_188);
    let encoded = |column: &str| {
        let of = |equals: &&(String, String)| equals.0 == column;
        table.equals.iter().flatten().filter(of).count()
    };
    assert_eq!(texts.map(encoded), [11, 3, 7, 2, 10, 5, 3]);
    assert!((sum(&table, "y") - 4_640.0).abs() < 0.5);
    assert!((sum(&table, "job=admin.") - 10_422.0).abs() < 0.5);
    assert!((sum(&table, "poutcome=success") - 1_373.0).abs() < 0.5);
    let job = table.columns.iter().find(|column| column.name == "job").unwrap();
    assert_eq!((job.kind, job.missing, job.distinct), (Kind::Text, 330, 11));
    let default = table.columns.iter().find(|column| column.name == "default").unwrap();
    assert_eq!((default.kind, default.missing), (Kind::YesNo, 8_597));
}
