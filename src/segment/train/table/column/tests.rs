//! What columns are judged to be, and what is said of those that cannot be used.

use super::*;

fn read(fields: &[&str], one_hot: bool) -> ColumnReader {
    let mut column = ColumnReader::new(0, "job".into(), one_hot, true);
    let words = MissingWords::new(&[]);
    (0..).zip(fields).for_each(|(row, field)| column.read_field(row, field.as_bytes(), &words));
    column
}

fn refused(fields: &[&str], one_hot: bool) -> (Option<u64>, String) {
    let refused = read(fields, one_hot).judge().unwrap_err();
    (refused.row, refused.message)
}

#[test]
fn yes_and_no_are_numbers_however_they_are_written() {
    let column = read(&["yes", "No", "", "TRUE", "false"], false);
    let judged = column.judge().unwrap();
    assert_eq!(judged, Judged::Numbers(Kind::YesNo));
    let bits: Vec<u32> = column.block.iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [1.0, 0.0, f32::NAN, 1.0, 0.0].map(f32::to_bits));
    let facts = column.facts(&judged);
    assert_eq!((facts.missing, facts.distinct, facts.distinct_bounded), (1, 2, false));
}

#[test]
fn a_column_of_text_is_refused_with_what_to_do() {
    assert_eq!(
        refused(&["admin.", "services", "admin.", "7"], false),
        (
            None,
            "is text (3 different values, such as \"admin.\"); leave it out with --drop job, or encode it with \
             --one-hot job"
                .to_owned()
        )
    );
    let (_, names) = refused(&["C1", "C2", "C3"], false);
    assert!(names.ends_with("--one-hot job, or say --id job if it names the customers"), "{names}");
    let (_, unknown) = refused(&["yes", "no", "unknown", "yes", "unknown"], false);
    assert!(unknown.ends_with(", or say --missing unknown if that stands for a missing value"), "{unknown}");
    let many: Vec<String> = (0..10_500).map(|value| format!("v{value}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (_, many) = refused(&many, false);
    assert_eq!(
        many,
        "is text (more than 10000 different values, such as \"v0\"); leave it out with --drop job, or say --id job \
         if it names the customers"
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
        "\"x/a\" is not a number, but 9000 of 30000 values are; correct it, say --missing 'x/a' if it stands for a \
         missing value, or leave the column out with --drop job"
    );
    let long = "x".repeat(1_000);
    let (_, message) = refused(&["1", "2", &long], false);
    assert!(message.starts_with(&format!("\"{}…\" is not", "x".repeat(40))), "{message}");
}

#[test]
fn the_first_of_several_kinds_of_bad_numbers_is_told() {
    let (row, message) = refused(&["1", "2,5", "x", "inf"], false);
    assert_eq!((row, &message[..]), (Some(1), "\"2,5\" is not a number; use a point"));
    let (row, message) = refused(&["1", "1e39", "2,5"], false);
    assert_eq!((row, &message[..18]), (Some(1), "\"1e39\" is infinite"));
    // A column of decimal commas is one of numbers.
    assert_eq!(refused(&["2,5", "3,5"], false).0, Some(0));
}

#[test]
fn encoded_texts_come_in_their_order() {
    let column = read(&["b", "a", "", "b", "7"], true);
    let texts = [("7".to_owned(), 2), ("a".to_owned(), 1), ("b".to_owned(), 0)];
    assert_eq!(column.judge().unwrap(), Judged::Texts(texts.to_vec()));
    let bits: Vec<u32> = column.block.iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [0.0, 1.0, f32::NAN, 0.0, 2.0].map(f32::to_bits));
    assert_eq!(column.facts(&column.judge().unwrap()).distinct, 3);
}

#[test]
fn what_cannot_be_encoded_is_refused() {
    assert_eq!(
        refused(&["1", "2"], true).1,
        "holds only numbers, which take part as they are; do not encode it"
    );
    assert_eq!(refused(&["", "na"], true).1, "no row has a value; leave it out with --drop job");
    let many: Vec<String> = (0..51).map(|value| format!("v{value}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        refused(&many, true).1,
        "51 different values, but at most 50 can be encoded; leave it out with --drop job, or group its values"
    );
    assert!(read(&many[..50], true).judge().is_ok());
}

#[test]
fn numbers_that_are_stored_as_such_are_rounded_and_checked() {
    let mut column = ColumnReader::new(0, "a".into(), false, false);
    let words = MissingWords::new(&["-1".into()]);
    for (row, number) in (0..).zip([0.1, f64::NAN, -1.0]) {
        column.read_number(row, number, &words);
    }
    let bits: Vec<u32> = column.block.iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [0.1, f32::NAN, f32::NAN].map(f32::to_bits));
    column.read_number(3, 1e39, &words);
    assert_eq!(column.judge().unwrap_err().row, Some(3));
}
