//! Whole files: values are read as written, and problems are named.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int16Array, Int64Array,
    RecordBatch, StringArray, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;

use super::*;
use crate::Feature;

fn schema(features: &[(&str, FeatureType)]) -> FeatureSchema {
    let feature =
        |(name, feature_type): &(&str, FeatureType)| Feature::new(*name, *feature_type, Entity::Customer);
    FeatureSchema::from_features(features.iter().map(feature))
}

fn four() -> FeatureSchema {
    use FeatureType::{Bool, Float, Int, String};
    schema(&[("balance", Float), ("age", Int), ("city", String), ("active", Bool)])
}

fn read_csv(bytes: impl AsRef<[u8]>) -> Result<(CustomerTable, LoadReport), Problems> {
    csv_file::read(bytes.as_ref(), "customers.csv", &four(), Faults::Refused)
}

fn problems(bytes: impl AsRef<[u8]>) -> Vec<String> {
    read_csv(bytes).unwrap_err().iter().map(ToString::to_string).collect()
}

fn row<'a>(table: &'a CustomerTable, id: &str) -> Vec<ValueRef<'a>> {
    let mut values = vec![ValueRef::Missing];
    table.read_row(table.find(id).unwrap(), &mut values);
    values
}

#[test]
fn customers_are_found_by_id_with_their_features() {
    let (table, report) = read_csv(
        "\u{feff}city, age \
         ,customer_id,active,balance,note\nGdańsk,41,A1,true,12.5,x\n\n\"a,b\",,B2,0,,\"two\nlines\"\n",
    )
    .unwrap();
    assert_eq!(table.len(), 2);
    let first = [ValueRef::Float(12.5), ValueRef::Int(41), ValueRef::String("Gdańsk"), ValueRef::Bool(true)];
    assert_eq!(row(&table, "A1"), first);
    let second = [ValueRef::Missing, ValueRef::Missing, ValueRef::String("a,b"), ValueRef::Bool(false)];
    assert_eq!(row(&table, "B2"), second);
    assert_eq!(table.find("a1"), None);
    let ids: Vec<_> = table.rows().filter_map(|row| table.id(row)).collect();
    assert_eq!(ids, ["A1", "B2"]);
    assert_eq!(report.ignored_columns, ["note"]);
    assert!(table.memory_bytes() > 0);
}

#[test]
fn rows_and_columns_that_do_not_exist_are_missing() {
    let (table, report) = read_csv("customer_id,balanse\nA,1\n").unwrap();
    assert_eq!(row(&table, "A"), [ValueRef::Missing; 4]);
    assert_eq!(table.value(RowIndex(7), 0), ValueRef::Missing);
    assert_eq!(table.value(RowIndex(0), 7), ValueRef::Missing);
    assert_eq!(report.absent_features, ["balance", "age", "city", "active"]);
    assert!(
        report
            .to_string()
            .contains("`balanse` is not a customer feature and was ignored; did you mean `balance`?")
    );
    let empty = CustomerTable::empty(&four());
    assert_eq!((empty.len(), empty.find("A")), (0, None));
    assert_eq!(empty.value(RowIndex(0), 2), ValueRef::Missing);
}

#[test]
fn every_bad_cell_is_named_with_its_line() {
    let text = "customer_id,balance,age,city,active\n\
        A,\"12,5\",1,x,1\n\
        B,1,2,x\n\
        A,1,1.5,x,maybe\n\
        \n\
        ,1,1,x,1\n\
        C,inf,1,x,1\n";
    assert_eq!(
        problems(text),
        [
            "customers.csv:2: `balance` is a float: \"12,5\" is not a number; use a point",
            "customers.csv:3: 4 fields where the header has 5; a missing value is an empty field",
            "customers.csv:4: `active` is a bool: \"maybe\" is neither true nor false; write true or false, yes \
             or no, 1 or 0",
            "customers.csv:4: `age` is an int: \"1.5\" is not a whole number of 64 bits; round it, or make the \
             feature a float",
            "customers.csv:4: customer \"A\" is on line 2 already; keep one of them",
            "customers.csv:6: `customer_id` is empty; every customer needs an id",
            "customers.csv:7: `balance` is a float: \"inf\" is infinite or beyond ±3.4e38; leave it empty where \
             the value is not known",
        ]
    );
}

#[test]
fn an_unclosed_quote_is_refused_with_the_line_where_it_opened() {
    let never = problems("customer_id,balance,city\nA,1,x\nB,2,\"Bob\nC,3,y\nD,4,z\n");
    assert!(never[0].starts_with("customers.csv:3: the quote that opens here is never closed"), "{never:?}");
    let behind = problems("customer_id,balance,city\nA,1,\"Ann\nB,2,Bob\nC,3,\"Cy\nD,4,z\n");
    assert!(behind[0].starts_with("customers.csv:2: text follows the closing quote"), "{behind:?}");
}

#[test]
fn a_faulty_file_that_a_store_has_already_is_tolerated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("customers.csv");
    std::fs::write(&path, "customer_id,city\nA,x\nB,\"Bob\nC,y\n").unwrap();
    assert!(CustomerTable::load(&path, &four()).is_err());
    let (table, report) = CustomerTable::load_stored(&path, &four()).unwrap();
    assert_eq!((table.len(), row(&table, "B")[2]), (2, ValueRef::String("Bob\nC,y\n")));
    assert!(report.notes[0].starts_with("line 3: the quote that opens here"), "{:?}", report.notes);
}

#[test]
fn files_of_excel_and_compressed_files_are_read() {
    let text = "\u{feff}customer_id;balance;age;active\r\nA;1.974,02;41;yes\r\nB;0,5;NA;0\r\nC;;-;\r\n";
    let (table, _) = read_csv(text).unwrap();
    let active = [ValueRef::Float(1974.02), ValueRef::Int(41), ValueRef::Missing, ValueRef::Bool(true)];
    assert_eq!(row(&table, "A"), active);
    assert_eq!(row(&table, "B")[..2], [ValueRef::Float(0.5), ValueRef::Missing]);
    assert_eq!(row(&table, "C"), [ValueRef::Missing; 4]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("customers.csv.gz");
    let mut writer =
        flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap();
    assert_eq!(CustomerTable::load(&path, &four()).unwrap().0.len(), 3);
}

#[test]
fn points_between_thousands_are_refused_or_noted() {
    let found = problems("customer_id;balance\nA;974\nB;5.891\n");
    assert!(found[0].starts_with("customers.csv:3: `balance`: \"5.891\": every point"), "{found:?}");
    let (_, report) = read_csv("customer_id;balance\nA;2.974\nB;5.891\n").unwrap();
    assert!(report.notes[0].starts_with("line 2: `balance`: \"2.974\""), "{:?}", report.notes);
    for valid in ["customer_id,balance\nA,974\nB,5.891\n", "customer_id;balance\nA;0.125\nB;5.891\nC;7\n"] {
        assert!(read_csv(valid).unwrap().1.notes.is_empty(), "{valid}");
    }
}

#[test]
fn the_line_of_a_row_counts_the_lines_within_quotes() {
    let text = "customer_id,city\n\"A\",\"1\n2\n3\"\n\n\nB,x\nB,y";
    for text in
        [text.to_owned(), format!("{text}\n\n"), text.replace('\n', "\r\n"), format!("\u{feff}{text}")]
    {
        let found = problems(text);
        assert_eq!(found, ["customers.csv:8: customer \"B\" is on line 7 already; keep one of them"]);
    }
}

#[test]
fn ids_are_limited_and_text_must_be_text() {
    let text = format!("customer_id,city\n{},x\n{},x\n", "i".repeat(256), "j".repeat(257));
    let found = problems(text);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("customers.csv:3: `customer_id` \"jjj"), "{found:?}");
    assert!(found[0].ends_with("… has 257 bytes; at most 256"), "{found:?}");
    let found = problems(b"customer_id,city\n\xff,x\nB,\xfe\n");
    assert!(
        found[0].starts_with("customers.csv:2: `customer_id`") && found[0].contains("UTF-8"),
        "{found:?}"
    );
    assert!(found[1].starts_with("customers.csv:3: `city`") && found[1].contains("UTF-8"), "{found:?}");
    let found = problems(format!("customer_id,age\nA,{}\n", i64::MIN));
    assert!(found[0].contains("the one integer"), "{found:?}");
}

#[test]
fn a_file_without_rows_is_valid_and_a_file_without_a_header_is_not() {
    let (table, report) = read_csv("customer_id,balance\n").unwrap();
    assert!(table.is_empty());
    assert_eq!(
        report.to_string().lines().next(),
        Some("customers.csv: 0 customers; the file has a header and nothing else")
    );
    assert!(problems("")[0].contains("is empty; its first line must name the columns"));
    assert!(problems("A,1\n")[0].contains("no column `customer_id`"));
    let missing = CustomerTable::load(Path::new("no/such.csv"), &four()).unwrap_err().to_string();
    assert!(missing.starts_with("no/such.csv: the file could not be opened"), "{missing}");
}

#[test]
fn the_table_is_the_same_after_twenty_thousand_rows_of_ten_features() {
    let names: Vec<String> = (0..10).map(|column| format!("f{column}")).collect();
    let types = [FeatureType::Float, FeatureType::Int, FeatureType::String];
    let features: Vec<(&str, FeatureType)> =
        names.iter().enumerate().map(|(column, name)| (name.as_str(), types[column % 3])).collect();
    let cell = |row: usize, column: usize| row * (column + 1);
    let mut text = format!("customer_id,{}\n", names.join(",")).into_bytes();
    for row in 0..20_000 {
        let cells: Vec<String> = (0..10).map(|column| cell(row, column).to_string()).collect();
        writeln!(text, "C{row},{}", cells.join(",")).unwrap();
    }
    let (table, report) = csv_file::read(&text[..], "c.csv", &schema(&features), Faults::Refused).unwrap();
    assert_eq!(report.customers, 20_000);
    for row in (0..20_000).step_by(7) {
        let found = table.find(&format!("C{row}")).unwrap();
        for column in 0..10 {
            let number = cell(row, column);
            let text = number.to_string();
            let expected = match types[column % 3] {
                FeatureType::Float => ValueRef::Float(number as f32),
                FeatureType::Int => ValueRef::Int(number as i64),
                FeatureType::String | FeatureType::Bool => ValueRef::String(&text),
            };
            assert_eq!(table.value(found, column), expected);
        }
    }
    assert_eq!(table.find("C20000"), None);
}

fn parquet_bytes(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn read_parquet(bytes: &[u8]) -> Result<(CustomerTable, LoadReport), Problems> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    parquet_file::read(file, "customers.parquet", &four())
}

fn typed_parquet() -> Vec<u8> {
    let cities: DictionaryArray<Int32Type> = [Some("Oslo"), None, Some("")].into_iter().collect();
    let balances =
        Decimal128Array::from(vec![Some(1250), None, Some(-3)]).with_precision_and_scale(9, 2).unwrap();
    parquet_bytes(vec![
        ("customer_id", Arc::new(Int64Array::from(vec![7, -8, 9])) as ArrayRef),
        ("balance", Arc::new(balances)),
        ("age", Arc::new(Float64Array::from(vec![Some(41.0), Some(f64::NAN), None]))),
        ("city", Arc::new(cities)),
        ("active", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("note", Arc::new(StringArray::from(vec!["x", "y", "z"]))),
    ])
}

#[test]
fn parquet_columns_are_converted_where_nothing_is_lost() {
    let (table, report) = read_parquet(&typed_parquet()).unwrap();
    assert_eq!(report.ignored_columns, ["note"]);
    let first = [ValueRef::Float(12.5), ValueRef::Int(41), ValueRef::String("Oslo"), ValueRef::Bool(true)];
    assert_eq!(row(&table, "7"), first);
    assert_eq!(row(&table, "-8"), [ValueRef::Missing; 4]);
    assert_eq!(row(&table, "9")[0], ValueRef::Float(-0.03));
    assert_eq!(row(&table, "9")[2..], [ValueRef::Missing, ValueRef::Bool(false)]);
}

#[test]
fn dictionaries_of_numbers_and_brotli_are_read() {
    let ages = DictionaryArray::<Int32Type>::new(
        vec![Some(1), Some(0), None].into(),
        Arc::new(Int64Array::from(vec![41, 42])),
    );
    let balances =
        DictionaryArray::<Int32Type>::new(vec![0, 0, 1].into(), Arc::new(Float64Array::from(vec![1.5, 2.5])));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("customer_id", Arc::new(StringArray::from(vec!["A", "B", "C"])) as ArrayRef, true),
        ("age", Arc::new(ages), true),
        ("balance", Arc::new(balances), true),
    ])
    .unwrap();
    let level = parquet::basic::BrotliLevel::try_new(1).unwrap();
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_compression(parquet::basic::Compression::BROTLI(level))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let (table, _) = read_parquet(&bytes).unwrap();
    assert_eq!(row(&table, "A")[..2], [ValueRef::Float(1.5), ValueRef::Int(42)]);
    assert_eq!(row(&table, "C")[..2], [ValueRef::Float(2.5), ValueRef::Missing]);
}

#[test]
fn bad_cells_of_parquet_are_named_with_their_row() {
    let bytes = parquet_bytes(vec![
        ("customer_id", Arc::new(StringArray::from(vec![Some("A"), None, Some("A")])) as ArrayRef),
        ("balance", Arc::new(Float64Array::from(vec![1.0, 1e300, f64::INFINITY]))),
        ("age", Arc::new(UInt64Array::from(vec![1, 2, u64::MAX]))),
        ("active", Arc::new(Int16Array::from(vec![0, 1, 2]))),
    ]);
    let found: Vec<String> = read_parquet(&bytes).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 6, "{found:?}");
    assert!(found[0].starts_with("customers.parquet:2: `balance` is a float"), "{found:?}");
    assert_eq!(found[1], "customers.parquet:2: `customer_id` is empty; every customer needs an id");
    assert!(found[2].starts_with("customers.parquet:3: `active` is a bool: \"2\""), "{found:?}");
    assert!(found[3].starts_with("customers.parquet:3: `age` is an int"), "{found:?}");
    assert_eq!(found[5], "customers.parquet:3: customer \"A\" is on row 1 already; keep one of them");
}

#[test]
fn a_parquet_column_of_another_type_is_one_problem() {
    let bytes = parquet_bytes(vec![
        ("customer_id", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef),
        ("balance", Arc::new(StringArray::from(vec!["1"]))),
    ]);
    let found = read_parquet(&bytes).unwrap_err().to_string();
    assert!(found.contains("`customer_id` is Float64; ids are strings or integers"), "{found}");
    assert!(
        found.contains("`balance` is float in the schema and Utf8 in the file; convert the column"),
        "{found}"
    );
}

#[test]
fn a_truncated_parquet_file_is_refused() {
    let whole = typed_parquet();
    for length in [0, 4, 8, whole.len() / 2, whole.len() - 1] {
        let found = read_parquet(&whole[..length]).unwrap_err().to_string();
        assert!(found.starts_with("customers.parquet: not a whole Parquet file"), "{length}: {found}");
    }
}

/// A cell of each feature of [`four`], or nothing.
type Cells = (Option<f32>, Option<i64>, Option<String>, Option<bool>);

fn customers() -> impl Strategy<Value = Vec<(String, Cells)>> {
    let float = any::<f32>().prop_filter("finite", |number| number.is_finite());
    let int = prop_oneof![-300_i64..300, i64::MIN + 1..];
    let cells = (
        proptest::option::of(float),
        proptest::option::of(int),
        proptest::option::of(r"[^\x00]{1,12}"),
        proptest::option::of(any::<bool>()),
    );
    proptest::collection::vec((r"[^\x00]{1,20}", cells), 0..40).prop_map(|mut customers| {
        let mut seen = HashSet::new();
        customers.retain(|(id, _)| seen.insert(id.clone()));
        customers
    })
}

fn text<T: ToString>(cell: Option<&T>) -> String {
    cell.map(ToString::to_string).unwrap_or_default()
}

proptest! {
    #[test]
    fn what_is_written_as_csv_is_read_again(customers in customers()) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["active", "city", "customer_id", "age", "balance"]).unwrap();
        for (id, (balance, age, city, active)) in &customers {
            let (active, city) = (text(active.as_ref()), text(city.as_ref()));
            let cells = [active, city, id.clone(), text(age.as_ref()), text(balance.as_ref())];
            writer.write_record(&cells).unwrap();
        }
        let (table, _) = read_csv(writer.into_inner().unwrap()).unwrap();
        prop_assert_eq!(table.len(), customers.len());
        for (id, (balance, age, city, active)) in &customers {
            let expected = [
                balance.map_or(ValueRef::Missing, ValueRef::Float),
                age.map_or(ValueRef::Missing, ValueRef::Int),
                city.as_deref().map_or(ValueRef::Missing, ValueRef::String),
                active.map_or(ValueRef::Missing, ValueRef::Bool),
            ];
            prop_assert_eq!(row(&table, id), expected);
        }
    }

    #[test]
    fn arbitrary_bytes_as_csv_never_panic(bytes in any::<Vec<u8>>()) {
        let mut with_header = b"customer_id,balance,age,city,active\n".to_vec();
        with_header.extend(&bytes);
        for input in [&bytes, &with_header] {
            if let Ok((table, report)) = read_csv(input) {
                prop_assert_eq!(table.len(), report.customers);
            }
        }
    }

    #[test]
    fn almost_csv_never_panics(lines in proptest::collection::vec("[A-C\",\r\n .0-9eE+-]{0,30}", 0..20)) {
        let text = format!("customer_id,balance,age\n{}", lines.join("\n"));
        if let Ok((table, report)) = read_csv(text) {
            prop_assert_eq!(table.len(), report.customers);
        }
    }

    #[test]
    fn damaged_parquet_never_panics(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = typed_parquet();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok((table, report)) = read_parquet(&bytes) {
            prop_assert_eq!(table.len(), report.customers);
        }
    }

    #[test]
    fn arbitrary_bytes_as_parquet_are_refused(bytes in any::<Vec<u8>>()) {
        let mut framed = b"PAR1".to_vec();
        framed.extend(&bytes);
        framed.extend((bytes.len() as u32).to_le_bytes());
        framed.extend(b"PAR1");
        prop_assert!(read_parquet(&bytes).is_err());
        prop_assert!(read_parquet(&framed).is_err());
    }
}
