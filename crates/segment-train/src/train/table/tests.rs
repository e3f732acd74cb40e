//! Whole files: every kind of problem, and tables that are equal in every format.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
    Int64Array, RecordBatch, StringArray, UInt8Array,
};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn by(id_column: &str) -> ReadOptions {
    ReadOptions { id_column: Some(id_column.into()), ..ReadOptions::default() }
}

fn write(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

fn read(text: &[u8], options: &ReadOptions) -> Result<Table, Problems> {
    let (_directory, path) = write("customers.csv", text);
    Table::read(&path, options)
}

/// The problems of a file without its directory.
fn lines(path: &Path, options: &ReadOptions) -> Vec<String> {
    let problems = Table::read(path, options).unwrap_err();
    let directory = format!("{}/", path.parent().unwrap().display());
    problems.iter().map(|problem| problem.to_string().replace(&directory, "")).collect()
}

fn problems(text: &[u8], options: &ReadOptions) -> Vec<String> {
    let (_directory, path) = write("customers.csv", text);
    lines(&path, options)
}

fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true)));
    let batch = batch.unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn bits(table: &Table) -> Vec<u32> {
    table.values.iter().map(|value| value.to_bits()).collect()
}

/// Compares everything except the name of the file.
fn assert_same(left: &Table, right: &Table) {
    assert_eq!(left.names, right.names);
    assert_eq!(left.equals, right.equals);
    assert_eq!(bits(left), bits(right));
    assert_eq!(left.ids, right.ids);
    assert_eq!(left.columns, right.columns);
}

/// Missing values per feature.
pub(super) fn missing(table: &Table) -> Vec<usize> {
    let columns = 0..table.names.len();
    columns.map(|index| table.column(index).filter(|value| value.is_nan()).count()).collect()
}

#[test]
fn columns_and_missing_values_are_read() {
    let text = "\u{feff}a, id ,b\r\n1.5,x,NA\r\n,\"y,z\",-2e3\r\n nan ,w, 7 \r\n";
    let table = read(text.as_bytes(), &by("id")).unwrap();
    assert_eq!(table.names, ["a", "b"]);
    assert_eq!(table.ids.as_ref().unwrap().iter().collect::<Vec<_>>(), ["x", "y,z", "w"]);
    assert_eq!(table.rows(), 3);
    assert_eq!(missing(&table), [2, 1]);
    let column: Vec<u32> = table.column(1).map(f32::to_bits).collect();
    assert_eq!(column, [f32::NAN, -2000.0, 7.0].map(f32::to_bits));
    let facts = table.facts();
    let kinds: Vec<(&str, Kind, u64)> =
        facts.columns.iter().map(|column| (&*column.name, column.kind, column.missing)).collect();
    assert_eq!(kinds, [("a", Kind::Number, 2), ("id", Kind::Id, 0), ("b", Kind::Number, 1)]);
}

#[test]
fn numbers_in_dictionaries_are_read_as_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("customers.parquet");
    let keys = || vec![Some(0), Some(1), None, Some(0)].into();
    let amounts = DictionaryArray::<Int32Type>::new(keys(), Arc::new(Float64Array::from(vec![1.5, -2.25])));
    let counts = DictionaryArray::<Int32Type>::new(keys(), Arc::new(Int64Array::from(vec![7, 40])));
    parquet(&path, vec![("amount", Arc::new(amounts)), ("count", Arc::new(counts))]);
    let table = Table::read(&path, &ReadOptions::default()).unwrap();
    assert_eq!(table.names, ["amount", "count"]);
    assert_eq!(missing(&table), [1, 1]);
    let known = |column| table.column(column).filter(|value| !value.is_nan()).collect::<Vec<_>>();
    assert_eq!((known(0), known(1)), (vec![1.5, -2.25, 1.5], vec![7.0, 40.0, 7.0]));
}

#[test]
fn a_possibly_truncated_file_is_read_with_a_note() {
    let notes = |text: &str| {
        read(text.as_bytes(), &ReadOptions::default()).unwrap().facts().warnings().collect::<Vec<_>>()
    };
    assert!(notes("a,b\n1,2\n3,4\n").is_empty());
    let found = notes("a,b\n1,2\n3,4");
    assert!(found.len() == 1 && found[0].contains("the last line has no line end"), "{found:?}");
}

#[test]
fn each_column_reports_its_first_bad_value() {
    let text = b"a,b,c,d\n1,1,1,1\n1,x,1e39,\"1,5\"\n1,y,-inf,1\n1,1,1\n\n\xff,1,1,1\n";
    assert_eq!(
        problems(text, &ReadOptions::default()),
        [
            "customers.csv:3: column `b`: \"x\" is not a number, but 2 of 4 values are; correct it, use --missing x if \
             it means a missing value, or leave the column out with --drop b",
            "customers.csv:3: column `c`: \"1e39\" is infinite or beyond ±3.4e38; leave it empty where the value is not known",
            "customers.csv:3: column `d`: \"1,5\" is not a number; use a point",
            "customers.csv:5: 3 fields where the header has 4; a missing value is an empty field",
            "customers.csv:7: column `a`: the text is not valid UTF-8; save the file as UTF-8",
        ]
    );
}

#[test]
fn lines_are_counted_over_blank_lines_quotes_and_both_line_ends() {
    for (text, line) in [
        ("a,b\n1,1\n1,1\nx,1\n", 4),
        ("a,b\r\n1,1\r\n1,1\r\nx,1\r\n", 4),
        ("a,b\n\n\n1,1\n1,1\n\nx,1", 7),
        ("a,b\r\n\r\n1,1\r\n1,1\r\n\r\nx,1", 6),
        ("\u{feff}a,b\n\n\"1\n\",1\n1,1\nx,1\n", 6),
        ("a;b\n1;1\n1;1\nx;1\n", 4),
    ] {
        let found = read(text.as_bytes(), &ReadOptions::default()).unwrap_err();
        assert_eq!(found.iter().next().unwrap().line, Some(line), "{text:?}");
    }
}

#[test]
fn a_broken_header_names_every_problem() {
    let found = problems(b"limit,,limit\n1,2,3\n", &by("Limit"));
    assert_eq!(
        found,
        [
            "customers.csv:1: column 2 has no name; name it or remove it",
            "customers.csv:1: column 3: another column is named `limit`; rename or remove one",
            "customers.csv:1: there is no column `Limit` to identify customers by; did you mean `limit`?",
        ]
    );
    assert_eq!(
        problems(b"n\xfcm,b\n1,2\n3,4\n", &ReadOptions::default()),
        ["customers.csv:1: the name of column 1 is not valid UTF-8; save the file as UTF-8"]
    );
}

#[test]
fn rows_of_another_width_are_counted_and_explained() {
    let wide = problems(b"a,b\n1,5,2\n1,2\n3,4,5\n", &ReadOptions::default());
    assert_eq!(
        wide,
        [
            "customers.csv:2: 3 fields where the header has 2; put a field that contains the separator into quotes, and \
             write decimal points (2 rows in all)"
        ]
    );
    let open = problems(b"a,b\n1,2\n\"1,2\n3,4\n", &ReadOptions::default());
    assert_eq!(
        open,
        [
            "customers.csv:3: the quote that opens here is never closed; close it, or remove it (a quote within quotes is \
             doubled)"
        ]
    );
}

#[test]
fn tables_are_read_as_other_programs_write_them() {
    let excel = "\u{feff}id;balance;freq\r\na;1.974,02;0,46\r\nb;5891,62;0,85\r\n";
    let table = read(excel.as_bytes(), &by("id")).unwrap();
    assert_eq!(bits(&table), [1974.02_f32, 0.46, 5891.62, 0.85].map(f32::to_bits));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, excel.as_bytes()).unwrap();
    assert_same(&read(&gzip.finish().unwrap(), &by("id")).unwrap(), &table);
}

#[test]
fn ambiguous_points_are_refused() {
    let text = b"id;purchases\na;5.891\nb;974\nc;0\n";
    assert_eq!(
        problems(text, &by("id")),
        [
            "customers.csv:2: column `purchases`: \"5.891\": every point of the column is followed by three digits, so it may \
          separate thousands, since no number without one has more than three digits; write numbers without thousands \
          separators, or name the decimal mark: --decimal comma or --decimal point"
        ]
    );
    let with = |decimal| bits(&read(text, &ReadOptions { decimal: Some(decimal), ..by("id") }).unwrap());
    assert_eq!(with(Decimal::Comma), [5891.0_f32, 974.0, 0.0].map(f32::to_bits));
    assert_eq!(with(Decimal::Point), [5.891_f32, 974.0, 0.0].map(f32::to_bits));
    // A point before other than three digits is a decimal point.
    assert!(read(b"id;purchases\na;5.891\nb;974\nc;0.5\n", &by("id")).is_ok());
}

#[test]
fn ids_must_be_there_and_differ() {
    let twice = problems(b"id,a\nx,1\ny,2\n\nx,3\ny,4\n", &by("id"));
    assert_eq!(
        twice,
        ["customers.csv:5: column `id`: \"x\" occurs twice; keep one row per customer (the first is line 2)"]
    );
    let missing = problems(b"id,a\nx,1\n ,2\n,3\n", &by("id"));
    assert_eq!(
        missing,
        ["customers.csv:3: column `id`: the id is missing; give each customer an id or remove the row"]
    );
    let latin = problems(b"id,a\nx,1\nM\xfcller,2\n", &by("id"));
    assert_eq!(latin, ["customers.csv:3: column `id`: the text is not valid UTF-8; save the file as UTF-8"]);
}

#[test]
fn an_id_that_the_server_refuses_is_refused() {
    let text = |bytes: usize| format!("id,a\nA,1\n{},2\n", "x".repeat(bytes)).into_bytes();
    assert!(read(&text(256), &by("id")).is_ok());
    let found = problems(&text(257), &by("id"));
    assert_eq!(
        found,
        ["customers.csv:3: column `id`: the id has more than 256 bytes; check that this is the id column"]
    );
}

#[test]
fn files_that_are_not_tables_are_refused() {
    let cases: [(&str, &[u8], &str); 8] = [
        ("x.csv", b"", "x.csv: is empty; its first line must name the columns"),
        ("x.parquet", b"", "x.parquet: is empty; its first line must name the columns"),
        ("x.csv", b"\n\n", "x.csv: is empty; its first line must name the columns"),
        ("x.csv", b"a,b\n", "x.csv: has a header, but no rows"),
        ("x.csv", b"a,b\n1,2\n", "x.csv: has only one row; segments need at least 2 customers"),
        ("x.csv", b"\xff\xfea\0,\0", "x.csv: is UTF-16; save it as UTF-8"),
        (
            "x.csv",
            b"\x7fELF\0\0",
            "x.csv:1: a NUL byte; the file is damaged or is not UTF-8; save it as CSV (UTF-8)",
        ),
        (
            "x.parquet",
            b"a,b\n1,2\n",
            "x.parquet: has the extension of Parquet but is not a Parquet file; export it again",
        ),
    ];
    for (name, bytes, expected) in cases {
        let (_directory, path) = write(name, bytes);
        assert_eq!(lines(&path, &ReadOptions::default()), [expected]);
    }
    let directory = tempfile::tempdir().unwrap();
    let sub = directory.path().join("sub");
    fs::create_dir(&sub).unwrap();
    assert_eq!(lines(&sub, &ReadOptions::default()), ["sub: is a directory; name a CSV or Parquet file"]);
    let none = &lines(&directory.path().join("none.csv"), &ReadOptions::default())[0];
    assert!(none.starts_with("none.csv: cannot be read: "), "{none}");
}

#[test]
fn a_text_from_row_9000_on_is_found_in_its_line() {
    let mut text = "a;b\r\n".to_owned();
    (0..12_000).for_each(|row| text.push_str(if row < 8_999 { "1;2\r\n" } else { "1;x/a\r\n" }));
    let found = problems(text.as_bytes(), &ReadOptions::default());
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("customers.csv:9001: column `b`: \"x/a\" is not a number, but 8999 of 12000")
    );
    let options = ReadOptions { missing: owned(&["X/A"]), ..ReadOptions::default() };
    assert_eq!(missing(&read(text.as_bytes(), &options).unwrap()), [0, 3_001]);
}

#[test]
fn texts_are_encoded_on_request_and_columns_left_out_are_not_checked() {
    let text =
        b"age;job;when;loan;pdays\n30;\"admin.\";2024-01-01;yes;999\n40;services;\xff;no;3\n;;x;unknown;4\n";
    let options = ReadOptions {
        drop: owned(&["when"]),
        one_hot: owned(&["job"]),
        missing: owned(&["unknown", "999"]),
        ..ReadOptions::default()
    };
    let table = read(text, &options).unwrap();
    assert_eq!(table.names, ["age", "job=admin.", "job=services", "loan", "pdays"]);
    assert_eq!(table.equals[2], Some(("job".to_owned(), "services".to_owned())));
    assert_eq!(table.equals[3], None);
    let nan = f32::NAN;
    let expected = [30.0, 1.0, 0.0, 1.0, nan, 40.0, 0.0, 1.0, 0.0, 3.0, nan, 0.0, 0.0, nan, 4.0];
    assert_eq!(bits(&table), expected.map(f32::to_bits));
    let kinds: Vec<&str> = table.columns.iter().map(|column| column.kind.as_str()).collect();
    assert_eq!(kinds, ["number", "text", "not read", "yes/no", "number"]);
    assert_eq!(table.columns[2].left_out.as_deref(), Some("left out on request"));
    assert_eq!(table.columns[1].missing, 1);
    let only = ReadOptions { only: Some(owned(&["pdays"])), ..ReadOptions::default() };
    assert_eq!(read(text, &only).unwrap().names, ["pdays"]);
}

#[test]
fn an_encoded_text_must_not_have_the_name_of_a_column() {
    let options = ReadOptions { one_hot: owned(&["job"]), ..ReadOptions::default() };
    assert_eq!(
        problems(b"job,job=a\na,1\nb,2\n", &options),
        ["customers.csv:1: column `job=a` has the name of an encoded text; rename it"]
    );
}

#[test]
fn every_number_and_text_type_of_parquet_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("customers.data");
    let decimals =
        Decimal128Array::from(vec![Some(150), None, Some(-25)]).with_precision_and_scale(10, 2).unwrap();
    parquet(
        &path,
        vec![
            ("id", Arc::new(Int64Array::from(vec![7, 8, 9])) as ArrayRef),
            ("double", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN), None]))),
            ("whole", Arc::new(Int64Array::from(vec![16_777_217, -1, 0]))),
            ("small", Arc::new(UInt8Array::from(vec![1, 2, 255]))),
            ("money", Arc::new(decimals)),
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
            ("texts", Arc::new(StringArray::from(vec![Some("1.5"), Some("NA"), None]))),
            ("when", Arc::new(Date32Array::from(vec![1, 2, 3]))),
        ],
    );
    let options = ReadOptions { drop: owned(&["when"]), ..by("id") };
    let table = Table::read(&path, &options).unwrap();
    assert_eq!(table.names, ["double", "whole", "small", "money", "flag", "texts"]);
    assert_eq!(table.ids.as_ref().unwrap().iter().collect::<Vec<_>>(), ["7", "8", "9"]);
    let nan = f32::NAN;
    let expected = [
        [0.1, 16_777_216.0, 1.0, 1.5, 1.0, 1.5],
        [nan, -1.0, 2.0, nan, 0.0, nan],
        [nan, 0.0, 255.0, -0.25, nan, nan],
    ];
    assert_eq!(bits(&table), expected.as_flattened().iter().map(|value| value.to_bits()).collect::<Vec<_>>());
    let kinds: Vec<&str> = table.columns.iter().map(|column| column.kind.as_str()).collect();
    assert_eq!(kinds, ["id", "number", "number", "number", "number", "yes/no", "number", "not read"]);

    assert_eq!(
        lines(&path, &ReadOptions { one_hot: owned(&["small"]), ..by("double") }),
        [
            "customers.data: column `double`: is Float64; ids must be texts or whole numbers",
            "customers.data: column `small`: is UInt8, which needs no encoding; do not encode it",
            "customers.data: column `when`: is Date32; leave it out with --drop when, or convert it to a number (a \
             date: days)",
        ]
    );
}

#[test]
fn problems_of_parquet_carry_the_row() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.parquet");
    parquet(
        &path,
        vec![
            ("id", Arc::new(StringArray::from(vec!["a", "b", "a"])) as ArrayRef),
            ("a", Arc::new(Float64Array::from(vec![1.0, 2.0, f64::INFINITY]))),
            ("b", Arc::new(StringArray::from(vec!["x", "y", "y"]))),
        ],
    );
    assert_eq!(
        lines(&path, &by("id")),
        [
            "x.parquet: column `b`: is text (2 distinct values, such as \"x\"); leave it out with --drop b, or encode \
             it with --one-hot b",
            "x.parquet:3: column `a`: \"inf\" is infinite or beyond ±3.4e38; leave it empty where the value is not known",
            "x.parquet:3: column `id`: \"a\" occurs twice; keep one row per customer (the first is row 1)",
        ]
    );
    assert_eq!(
        lines(&path, &by("idd")),
        ["x.parquet: there is no column `idd` to identify customers by; did you mean `id`?"]
    );
}

#[test]
fn a_damaged_parquet_file_is_an_error_wherever_it_is_cut_or_changed() {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("x.parquet");
    let numbers: Vec<f32> = (0..2_000).map(|row| row as f32).collect();
    parquet(&whole, vec![("a", Arc::new(Float32Array::from(numbers)) as ArrayRef)]);
    let bytes = fs::read(&whole).unwrap();
    for length in [4, 8, 100, bytes.len() / 2, bytes.len() - 9, bytes.len() - 1] {
        let cut = directory.path().join("cut.parquet");
        fs::write(&cut, &bytes[..length]).unwrap();
        let found = lines(&cut, &ReadOptions::default());
        assert!(found[0].starts_with("cut.parquet: not a whole Parquet file, write it again: "), "{found:?}");
    }
    let changed = directory.path().join("changed.parquet");
    for at in (4..bytes.len()).step_by(97) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0xff;
        fs::write(&changed, &bytes).unwrap();
        // A changed value may go unnoticed, but nothing may panic.
        let _ = Table::read(&changed, &ReadOptions::default());
    }
}

#[test]
fn progress_is_reported_and_can_stop_the_reading() {
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Watch(AtomicU64, AtomicU64, bool);
    impl Progress for Watch {
        fn begin(&self, _step: &str, units: u64) {
            self.0.store(units, Ordering::Relaxed);
        }
        fn advance(&self, units: u64) {
            self.1.fetch_add(units, Ordering::Relaxed);
        }
        fn stopped(&self) -> bool {
            self.2
        }
    }
    let text = format!("a,b\n{}", "1,2\n".repeat(10_000));
    let (_directory, path) = write("x.csv", text.as_bytes());
    let watch = Watch(AtomicU64::new(0), AtomicU64::new(0), false);
    Table::read_watched(&path, &ReadOptions::default(), &watch).unwrap();
    assert_eq!(watch.0.load(Ordering::Relaxed), text.len() as u64);
    assert_eq!(watch.1.load(Ordering::Relaxed), text.len() as u64 - 4);
    let impatient = Watch(AtomicU64::new(0), AtomicU64::new(0), true);
    let error = Table::read_watched(&path, &ReadOptions::default(), &impatient).unwrap_err().to_string();
    assert!(error.ends_with("x.csv: stopped while reading; nothing was written"), "{error}");
}

/// Two numbers, a text and a yes/no.
type Row = (Option<f32>, Option<i32>, Option<u8>, Option<bool>);

/// Texts with every character that needs quotes.
const TEXTS: [&str; 5] = ["admin.", "a,b;c", "tab\tand | bar", "say \"it's\"", "zwei\nZeilen"];

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let number = prop_oneof![-1e6_f32..1e6, any::<f32>().prop_filter("finite", |value| value.is_finite())];
    let row = (
        prop::option::weighted(0.9, number),
        prop::option::weighted(0.9, any::<i32>()),
        prop::option::weighted(0.9, 0..TEXTS.len() as u8),
        prop::option::weighted(0.9, any::<bool>()),
    );
    prop::collection::vec(row, 2..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_table_is_the_same_in_any_dialect_of_csv_and_in_parquet(
        mut rows in rows(),
        separator in prop::sample::select(vec![b',', b';', b'\t', b'|']),
        crlf in any::<bool>(),
        bom in any::<bool>(),
        quotes in prop::sample::select(vec![(b'"', false), (b'"', true), (b'\'', true)]),
    ) {
        // A column without any text is refused.
        rows[0].2 = Some(0);
        let directory = tempfile::tempdir().unwrap();
        let (by_csv, by_parquet) = (directory.path().join("x.csv"), directory.path().join("x.parquet"));
        let ids: Vec<String> = (0..rows.len()).map(|row| format!("Kündin {row}")).collect();
        let mut bytes = if bom { "\u{feff}".as_bytes().to_vec() } else { Vec::new() };
        let (quote, always_quoted) = quotes;
        let mut writer = csv::WriterBuilder::new()
            .delimiter(separator)
            .quote(quote)
            .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
            .quote_style(if always_quoted { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary })
            .from_writer(&mut bytes);
        writer.write_record(["balance", "count", "id", "job, or so", "loan"]).unwrap();
        for (id, row) in ids.iter().zip(&rows) {
            let text = |value: Option<String>| value.unwrap_or_default();
            writer.write_record([
                text(row.0.map(|value| value.to_string())),
                text(row.1.map(|value| value.to_string())),
                id.clone(),
                text(row.2.map(|value| TEXTS[usize::from(value)].to_owned())),
                text(row.3.map(|value| if value { "yes" } else { "no" }.to_owned())),
            ]).unwrap();
        }
        drop(writer);
        fs::write(&by_csv, bytes).unwrap();
        let texts = rows.iter().map(|row| row.2.map(|value| TEXTS[usize::from(value)]));
        parquet(&by_parquet, vec![
            ("balance", Arc::new(rows.iter().map(|row| row.0).collect::<Float32Array>()) as ArrayRef),
            ("count", Arc::new(rows.iter().map(|row| row.1.map(i64::from)).collect::<Int64Array>())),
            ("id", Arc::new(StringArray::from_iter_values(&ids))),
            ("job, or so", Arc::new(texts.collect::<StringArray>())),
            ("loan", Arc::new(rows.iter().map(|row| row.3).collect::<BooleanArray>())),
        ]);
        let options = ReadOptions { one_hot: owned(&["job, or so"]), ..by("id") };
        let (from_csv, from_parquet) = (Table::read(&by_csv, &options), Table::read(&by_parquet, &options));
        assert_same(&from_csv.unwrap(), &from_parquet.unwrap());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes, &ReadOptions::default());
        let text: Vec<u8> = bytes.iter().map(|byte| b"a1,;\"'\n\r.|\t "[usize::from(*byte) % 12]).collect();
        let _ = read(&text, &ReadOptions { one_hot: owned(&["a"]), ..by("a1") });
    }
}
