//! Whole files are read as written, and a malformed file is never read as a shorter table.

#![allow(clippy::needless_for_each)]

use std::io::{self, Write as _};

use proptest::prelude::*;

use super::*;

/// The contents of a file: names, records, notes.
#[derive(Debug, PartialEq)]
struct Whole {
    names: Vec<String>,
    records: Vec<Vec<Vec<u8>>>,
    lines: Vec<usize>,
    notes: Vec<String>,
}

fn read_with(input: impl io::Read + Send, options: Options<'_>) -> Result<Whole, Fault> {
    let mut reader = Reader::open(input, options)?;
    let (mut records, mut lines, mut record) = (Vec::new(), Vec::new(), Record::default());
    while reader.read(&mut record)? {
        records.push(record.iter().map(<[u8]>::to_vec).collect());
        lines.push(record.line());
    }
    Ok(Whole { names: reader.names().to_vec(), records, lines, notes: reader.notes() })
}

fn read(text: impl AsRef<[u8]>) -> Result<Whole, Fault> {
    read_with(text.as_ref(), Options::default())
}

fn fault(text: impl AsRef<[u8]>) -> String {
    let fault = read(text).unwrap_err();
    format!("{}: {}", fault.line.unwrap_or_default(), fault.message)
}

/// Yields one byte at a time.
struct Drops<'b>(&'b [u8]);

impl io::Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let one = self.0.len().min(1).min(buffer.len());
        io::Read::read(&mut self.0, &mut buffer[..one])
    }
}

#[test]
fn a_quote_that_is_never_closed_is_named_by_the_line_where_it_opened() {
    assert!(
        fault("id,f0,name\na,1,Ann\nb,2,\"Bob\nc,3,Cy\nd,4,Di\n").starts_with("3: the quote that opens here")
    );
    // The next quote closes it, and the text behind that quote reveals the fault.
    let two = "id,f0,name\na,1,\"Ann\nb,2,Bob\nc,3,\"Cy\nd,4,Di\n";
    assert!(fault(two).starts_with("2: text follows the closing quote"));
    assert!(fault("id,name,f0\na,Ann,1\nb,\"Bob,2\nc,Cy,3\nd,Di,4\n").starts_with("3: the quote that opens"));
    assert!(fault("id,\"name\na,b\n").starts_with("1: the quote that opens"));
    assert!(fault("id,n\na,\"x\" \"y\"\n").starts_with("2: text follows"));
    // A quote that closes nothing hides nothing.
    assert_eq!(read("id,n\na,5\" disc\nb,x\n").unwrap().records.len(), 2);
    assert_eq!(read("id,n\na,\"x\"  \nb,\"y\"\t\n").unwrap().records[1][1], b"y");
}

#[test]
fn a_stored_file_that_is_not_whole_is_read_as_it_was_and_noted() {
    let options = Options { faults: Faults::Tolerated, ..Options::default() };
    let never = read_with(&b"id,n\na,Ann\nb,\"Bob\nc,Cy\n"[..], options).unwrap();
    assert_eq!(never.records.len(), 2);
    assert!(
        never.notes[0].starts_with("line 3: the quote that opens here is never closed"),
        "{:?}",
        never.notes
    );
    let behind = read_with(&b"id,n\na,\"An\"n\nb,Bo\n"[..], options).unwrap();
    assert_eq!(behind.records[0][1], b"Ann");
    assert!(behind.notes[0].starts_with("line 2: text follows"), "{:?}", behind.notes);
}

#[test]
fn rows_that_two_quotes_may_have_joined_are_noted() {
    let joined = read("id,n,x\na,\"Ann,1\nb,Bob,2\nc,Cy\",3\n").unwrap();
    assert_eq!(joined.records.len(), 1);
    assert_eq!(
        joined.notes,
        ["line 2: a quoted field spans several lines that may be rows; is a quote missing?"]
    );
    assert!(read("id,n,x\na,\"two\nlines\",3\n").unwrap().notes.is_empty());
}

#[test]
fn a_line_that_declares_the_separator_is_not_a_header() {
    let declared = read("sep=;\r\na;b\r\n1,5;2\r\n").unwrap();
    assert_eq!(declared.names, ["a", "b"]);
    assert_eq!(declared.records, [[b"1,5".to_vec(), b"2".to_vec()]]);
    assert_eq!(declared.lines, [3]);
    assert_eq!(read("sep=|\na|b,c\n1|2\n").unwrap().names, ["a", "b,c"]);
    // Any other line is a header.
    assert_eq!(read("sep=x,b\n1,2\n").unwrap().names, ["sep=x", "b"]);
    assert_eq!(read("sep=,b\n1,2\n").unwrap().names, ["sep=", "b"]);
}

#[test]
fn lines_are_counted_as_people_count_them() {
    let text = "\n\nid,n\n\na,\"1\n2\"\n\n\nb,x\nc,y\n";
    for text in [text.to_owned(), text.replace('\n', "\r\n"), text.replace('\n', "\r")] {
        let mut reader = Reader::open(text.as_bytes(), Options::default()).unwrap();
        assert_eq!(reader.header_line(), 3, "{text:?}");
        let (mut lines, mut record) = (Vec::new(), Record::default());
        while reader.read(&mut record).unwrap() {
            lines.push(record.line());
        }
        assert_eq!(lines, [5, 9, 10], "{text:?}");
    }
}

#[test]
fn encodings_and_other_kinds_of_file_are_named() {
    assert_eq!(read("\u{feff}id,n\na,1\n").unwrap().names, ["id", "n"]);
    let utf16 = |text: &str, mark: bool| -> Vec<u8> {
        let mark = if mark { "\u{feff}" } else { "" };
        format!("{mark}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    assert_eq!(fault(utf16("id\tn\r\na\t1\r\n", true)), "0: is UTF-16; save it as UTF-8");
    assert_eq!(fault(utf16("id\tn\r\na\t1\r\n", false)), "0: is UTF-16; save it as UTF-8");
    assert_eq!(fault(b"\xff\xfe\0\0i\0\0\0"), "0: is UTF-32; save it as UTF-8");
    assert!(fault(b"PK\x03\x04").contains("workbook"));
    assert_eq!(fault(""), format!("0: {EMPTY}"));
    assert_eq!(fault("\r\n\n"), format!("0: {EMPTY}"));
    assert_eq!(
        fault(b"id,n\na,1\nb,\0\n"),
        format!("3: {}", "a NUL byte; the file is damaged or is not UTF-8; save it as CSV (UTF-8)")
    );
    assert_eq!(fault(b"id,n\xfc\na,1\n"), format!("1: the name of column 2 {NOT_UTF8}"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

#[test]
fn compressed_files_are_detected_from_their_content() {
    let text = format!("id,n\n{}", "a,1\n".repeat(50_000));
    let plain = read(&text).unwrap();
    let (gzipped, zipped) = (gzip(text.as_bytes()), zstd::encode_all(text.as_bytes(), 1).unwrap());
    assert_eq!(read(&gzipped).unwrap(), plain);
    assert_eq!(read(&zipped).unwrap(), plain);
    // Two members one after the other, as `cat a.gz b.gz` makes them.
    let both = [gzip(b"id,n\na,1\n"), gzip(b"b,2\n")].concat();
    assert_eq!(read(both).unwrap().records.len(), 2);
    for cut in [&gzipped[..gzipped.len() - 1], &gzipped[..gzipped.len() / 2], &zipped[..zipped.len() - 1]] {
        let found = fault(cut);
        assert!(found.contains("the compressed file is damaged or cut off"), "{found}");
    }
    let limits = Limits { unpacked_bytes: 100_000, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let found = read_with(&gzipped[..], options).unwrap_err().message;
    assert!(found.contains("unpacks to more than 0 MiB"), "{found}");
}

#[test]
fn the_number_of_fields_is_checked_against_the_header() {
    let record = |text: &str| {
        let mut reader = Reader::open(text.as_bytes(), Options::default()).unwrap();
        let mut record = Record::default();
        reader.read(&mut record).unwrap();
        reader.width_fault(&record)
    };
    assert_eq!(record("a,b\n1,2\n"), None);
    assert_eq!(
        record("a,b\n1\n").unwrap(),
        "1 fields where the header has 2; a missing value is an empty field"
    );
    assert!(record("a,b\n1,2,3\n").unwrap().contains("put a field that contains the separator into quotes"));
    assert!(record("a,b\n\"1\n2\"\n").unwrap().contains("a quote may be missing or too many"));
}

#[test]
fn a_quote_does_not_take_a_whole_file_into_memory() {
    let long = format!("a,b\n1,\"{}", "x\n".repeat(9 << 20));
    assert_eq!(fault(long), "2: the quote that opens here is not closed within 16 MiB; close it");
    let long = format!("a,b\n1,{}\n", "x".repeat(17 << 20));
    assert_eq!(fault(long), "2: the row is longer than 16 MiB; is this a table?");
}

/// Fields with every character that requires quotes.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c0-9 .]{0,6}",
        "[a-c,;|\t\"'\r\n]{0,6}",
        Just(String::new()),
        Just("Zoë \u{1f600}".to_owned()),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Vec<String>>> {
    (2..5_usize)
        .prop_flat_map(|width| proptest::collection::vec(proptest::collection::vec(field(), width), 0..12))
}

/// The CSV file that another implementation writes for these rows, below a header.
fn written(rows: &[Vec<String>], separator: u8, crlf: bool, always: bool) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(separator)
        .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
        .quote_style(if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary })
        .from_writer(Vec::new());
    let width = rows.first().map_or(2, Vec::len);
    writer.write_record((0..width).map(|column| format!("column {column}"))).unwrap();
    rows.iter().for_each(|row| writer.write_record(row).unwrap());
    writer.into_inner().unwrap()
}

fn bytes_of(rows: &[Vec<String>]) -> Vec<Vec<Vec<u8>>> {
    rows.iter().map(|row| row.iter().map(|field| field.clone().into_bytes()).collect()).collect()
}

proptest! {
    #[test]
    fn what_another_implementation_writes_is_read_again(
        rows in rows(),
        separator in prop::sample::select(vec![b',', b';', b'\t', b'|']),
        crlf in any::<bool>(),
        always in any::<bool>(),
    ) {
        let text = written(&rows, separator, crlf, always);
        let options = Options { separator: Some(separator), quote: Some(b'"'), ..Options::default() };
        let whole = read_with(&text[..], options).unwrap();
        prop_assert_eq!(&whole.records, &bytes_of(&rows));
        prop_assert_eq!(&read_with(Drops(&text), options).unwrap(), &whole);
        prop_assert_eq!(read_with(&gzip(&text)[..], options).unwrap(), whole);
    }

    #[test]
    fn what_is_written_here_another_implementation_reads(rows in rows()) {
        let mut writer = Writer::default();
        rows.iter().for_each(|row| writer.write(row));
        let bytes = writer.into_bytes();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&bytes[..]);
        let found: Vec<Vec<Vec<u8>>> = reader
            .byte_records()
            .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
            .collect();
        prop_assert_eq!(found, bytes_of(&rows));
    }

    // A truncated file is refused, or it yields all rows that were whole before the cut. The row that was cut may be
    // shorter; a note then reports the missing line end.
    #[test]
    fn a_file_cut_at_any_byte_is_refused_or_whole_up_to_there(
        rows in rows(), at in any::<prop::sample::Index>(), crlf in any::<bool>(), always in any::<bool>(),
    ) {
        let text = written(&rows, b',', crlf, always);
        let cut = &text[..at.index(text.len())];
        let options = Options { separator: Some(b','), quote: Some(b'"'), ..Options::default() };
        let all = bytes_of(&rows);
        // Where each record ends in the whole file.
        let mut ends = Vec::new();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&text[..]);
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).unwrap() {
            ends.push(reader.position().byte() as usize);
        }
        let complete = ends.iter().filter(|end| **end <= cut.len()).count().saturating_sub(1);
        if let Ok(found) = read_with(cut, options) {
            prop_assert!(found.records.len() >= complete && found.records.len() <= complete + 1);
            prop_assert_eq!(&found.records[..complete], &all[..complete]);
            if found.records.get(complete).is_some_and(|last| *last != all[complete]) {
                prop_assert!(found.notes.iter().any(|note| note.contains("no line end")), "{:?}", found.notes);
            }
        }
    }

    #[test]
    fn one_quote_too_many_is_refused_or_takes_no_row_away(
        rows in proptest::collection::vec(proptest::collection::vec("[a-c]{0,3}", 3), 1..8),
        at in any::<prop::sample::Index>(),
    ) {
        let text = written(&rows, b',', false, false);
        let first_row = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let mut with_quote = text.clone();
        with_quote.insert(first_row + at.index(text.len() - first_row), b'"');
        let options = Options { separator: Some(b','), ..Options::default() };
        if let Ok(found) = read_with(&with_quote[..], options) {
            prop_assert_eq!(found.records.len(), rows.len());
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in any::<Vec<u8>>(), alphabet in any::<bool>()) {
        let bytes: Vec<u8> = if alphabet {
            bytes.iter().map(|byte| b"a1,;\"'\n\r.|\t "[usize::from(*byte) % 12]).collect()
        } else {
            bytes
        };
        for faults in [Faults::Refused, Faults::Tolerated] {
            let options = Options { faults, ..Options::default() };
            let whole = read_with(&bytes[..], options);
            prop_assert_eq!(read_with(Drops(&bytes), options), whole);
        }
    }
}

#[test]
fn a_table_of_a_million_columns_is_refused_at_its_header() {
    for quoted in ["", "\""] {
        let names: Vec<String> = (0..1_000_000).map(|number| format!("{quoted}c{number}{quoted}")).collect();
        let found = fault(format!("{}\n", names.join(",")));
        assert_eq!(
            found,
            "1: more than 16,384 columns, the most a table may have; leave out those that are not features"
        );
    }
    let wide = |columns: usize| format!("a,b\n{}\n", ",".repeat(columns - 1));
    assert!(read(wide(16_384)).is_ok());
    assert!(fault(wide(16_386)).starts_with("2: more than 16,384 columns"));
}

#[test]
fn rows_and_cells_are_bounded() {
    let refused = |limits: Limits| {
        let options = Options { limits, ..Options::default() };
        read_with("a,b\n1,2\n3,4\n5,6\n".as_bytes(), options).map_err(|fault| (fault.line, fault.message))
    };
    let limits = Limits::CUSTOMERS;
    assert!(refused(Limits { rows: 3, cells: 6, ..limits }).is_ok());
    let (line, message) = refused(Limits { rows: 2, ..limits }).unwrap_err();
    assert_eq!((line, &*message), (Some(4), "has more than 2 rows; split it, or take a sample"));
    let (line, message) = refused(Limits { cells: 5, ..limits }).unwrap_err();
    assert_eq!(line, Some(4));
    assert!(message.starts_with("has more than 5 cells in 2 columns"), "{message}");
}

#[test]
fn what_unpacks_to_far_more_than_it_is_is_refused() {
    let text = format!("id,n\n{}", "a,1\n".repeat(1 << 18));
    let limits = Limits { free_bytes: 16 << 10, ratio: 20, ..Limits::default() };
    for packed in [gzip(text.as_bytes()), zstd::encode_all(text.as_bytes(), 1).unwrap()] {
        assert!(read(&packed).is_ok());
        let options = Options { limits, ..Options::default() };
        let found = read_with(&packed[..], options).unwrap_err().message;
        assert!(found.contains("more than 20 times its length; unpack it first"), "{found}");
    }
}
