//! The types of columns, and the messages for unusable ones.

use super::*;

fn read(fields: &[&str], one_hot: bool) -> ColumnReader {
    let mut column = ColumnReader::new(0, "job".into(), one_hot, true);
    let words = MissingWords::new(&[]);
    (0..).zip(fields).for_each(|(row, field)| column.read_field(row, field.as_bytes(), &words));
    column
}

fn refused(fields: &[&str], one_hot: bool) -> (Option<u64>, String) {
    let refused = read(fields, one_hot).column_type().unwrap_err();
    (refused.row, refused.message)
}

#[test]
fn yes_and_no_are_numbers_in_any_spelling() {
    let column = read(&["yes", "No", "", "TRUE", "false"], false);
    let column_type = column.column_type().unwrap();
    assert_eq!(column_type, ColumnType::Numbers(Kind::YesNo));
    let bits: Vec<u32> = column.block.iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [1.0, 0.0, f32::NAN, 1.0, 0.0].map(f32::to_bits));
    let facts = column.facts(&column_type);
    assert_eq!((facts.missing, facts.distinct, facts.distinct_bounded), (1, 2, false));
}

#[test]
fn a_column_of_text_is_refused_with_advice() {
    assert_eq!(
        refused(&["admin.", "services", "admin.", "7"], false),
        (
            None,
            "is text (3 distinct values, such as \"admin.\"); leave it out with --drop job, or encode it with \
             --one-hot job"
                .to_owned()
        )
    );
    let (_, names) = refused(&["C1", "C2", "C3"], false);
    assert!(names.ends_with("--one-hot job, or use --id job if it identifies the customers"), "{names}");
    let (_, unknown) = refused(&["yes", "no", "unknown", "yes", "unknown"], false);
    assert!(unknown.ends_with(", or use --missing unknown if that means a missing value"), "{unknown}");
    let many: Vec<String> = (0..10_500).map(|value| format!("v{value}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (_, many) = refused(&many, false);
    assert_eq!(
        many,
        "is text (more than 10000 distinct values, such as \"v0\"); leave it out with --drop job, or use --id job \
         if it identifies the customers"
    );
}

#[test]
fn a_text_among_numbers_is_an_error_in_its_row_even_if_many_follow() {
    let mut fields = vec!["1.5"; 9_000];
    fields.extend(vec!["x/a"; 21_000]);
    let (row, message) = refused(&fields, false);
    assert_eq!(row, Some(9_000));
    assert_eq!(
        message,
        "\"x/a\" is not a number, but 9000 of 30000 values are; correct it, use --missing 'x/a' if it means a missing \
         value, or leave the column out with --drop job"
    );
    let long = "x".repeat(1_000);
    let (_, message) = refused(&["1", "2", &long], false);
    assert!(message.starts_with(&format!("\"{}…\" is not", "x".repeat(40))), "{message}");
}

#[test]
fn the_first_of_several_kinds_of_bad_numbers_is_reported() {
    let (row, message) = refused(&["1", "2,5", "x", "inf"], false);
    assert_eq!((row, &message[..]), (Some(1), "\"2,5\" is not a number; use a point"));
    let (row, message) = refused(&["1", "1e39", "2,5"], false);
    assert_eq!((row, &message[..18]), (Some(1), "\"1e39\" is infinite"));
    // A column with decimal commas is a column of numbers.
    assert_eq!(refused(&["2,5", "3,5"], false).0, Some(0));
}

#[test]
fn encoded_texts_are_in_order() {
    let column = read(&["b", "a", "", "b", "7"], true);
    let texts = [("7".to_owned(), 2), ("a".to_owned(), 1), ("b".to_owned(), 0)];
    assert_eq!(column.column_type().unwrap(), ColumnType::Texts(texts.to_vec()));
    let bits: Vec<u32> = column.block.iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [0.0, 1.0, f32::NAN, 0.0, 2.0].map(f32::to_bits));
    assert_eq!(column.facts(&column.column_type().unwrap()).distinct, 3);
}

#[test]
fn columns_that_cannot_be_encoded_are_refused() {
    assert_eq!(refused(&["1", "2"], true).1, "has only numbers, which need no encoding; do not encode it");
    assert_eq!(refused(&["", "na"], true).1, "no row has a value; leave it out with --drop job");
    let many: Vec<String> = (0..51).map(|value| format!("v{value}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        refused(&many, true).1,
        "has 51 distinct values, but at most 50 can be encoded; leave it out with --drop job, or group its values"
    );
    assert!(read(&many[..50], true).column_type().is_ok());
}

#[test]
fn stored_numbers_are_rounded_and_checked() {
    let mut column = ColumnReader::new(0, "a".into(), false, false);
    let words = MissingWords::new(&["-1".into()]);
    for (row, number) in (0..).zip([0.1, f64::NAN, -1.0]) {
        column.read_number(row, number, &words);
    }
    let bits: Vec<u32> = column.block.iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [0.1, f32::NAN, f32::NAN].map(f32::to_bits));
    column.read_number(3, 1e39, &words);
    assert_eq!(column.column_type().unwrap_err().row, Some(3));
}
