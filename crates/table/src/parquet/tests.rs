use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use ::parquet::column::writer::ColumnWriter;
use ::parquet::data_type::ByteArray;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};

use super::*;

fn written(columns: Vec<(&str, ArrayRef)>, properties: WriterProperties) -> Bytes {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

fn read(bytes: Bytes, positions: &[usize]) -> Result<usize, String> {
    read_within(bytes, positions, Limits::CUSTOMERS)
}

fn read_within(bytes: Bytes, positions: &[usize], limits: Limits) -> Result<usize, String> {
    Parquet::open(bytes, limits)?
        .read(positions, 4_096)?
        .map(|batch| batch.map(|batch| batch.num_rows()))
        .sum()
}

fn texts(rows: usize) -> ArrayRef {
    Arc::new((0..rows).map(|row| (row % 7 != 0).then(|| format!("customer {row}"))).collect::<StringArray>())
}

fn numbers(rows: usize) -> ArrayRef {
    Arc::new((0..rows).map(|row| (row % 5 != 0).then_some(row as f64)).collect::<Float64Array>())
}

#[test]
fn whole_files_of_every_kind_are_read() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for codec in codecs {
            for encoding in [
                None,
                Some(Encoding::PLAIN),
                Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
                Some(Encoding::DELTA_BYTE_ARRAY),
            ] {
                let mut properties = WriterProperties::builder()
                    .set_compression(codec)
                    .set_writer_version(version)
                    .set_data_page_row_count_limit(700)
                    .set_write_batch_size(100)
                    .set_max_row_group_row_count(Some(2_000));
                if let Some(encoding) = encoding {
                    properties = properties
                        .set_column_dictionary_enabled("text".into(), false)
                        .set_column_encoding("text".into(), encoding);
                }
                let bytes =
                    written(vec![("text", texts(5_000)), ("number", numbers(5_000))], properties.build());
                for positions in [&[0, 1][..], &[0], &[1]] {
                    let read = read(bytes.clone(), positions);
                    assert_eq!(read, Ok(5_000), "{version:?} {codec:?} {encoding:?} {positions:?}");
                }
            }
        }
    }
}

/// A column of `rows` equal values: kilobytes of runs.
fn run_of(rows: usize) -> Bytes {
    let block = vec![1.0; 1 << 20];
    one_column("message table { required double balance; }", |column| {
        let ColumnWriter::DoubleColumnWriter(column) = column else { panic!("another type") };
        for _ in 0..rows / block.len() {
            column.write_batch(&block, None, None).unwrap();
        }
    })
}

/// A file with one column in one row group: one data page and a dictionary.
fn one_column(schema: &str, write: impl FnOnce(&mut ColumnWriter<'_>)) -> Bytes {
    let properties = WriterProperties::builder()
        .set_data_page_row_count_limit(usize::MAX)
        .set_dictionary_page_size_limit(128 << 20)
        .set_statistics_enabled(EnabledStatistics::None);
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    write(column.untyped());
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap().into()
}

#[test]
fn a_run_of_millions_of_rows_in_kilobytes_is_refused_before_it_is_decoded() {
    let bytes = run_of(64 << 20);
    assert!(bytes.len() < 64 << 10, "{} bytes", bytes.len());
    let refused = read(bytes, &[0]).unwrap_err();
    assert!(refused.contains("67,108,864 rows") && refused.contains("MiB"), "{refused}");
    assert_eq!(read(run_of(1 << 20), &[0]), Ok(1 << 20));
}

#[test]
fn false_metadata_is_detected() {
    // The metadata has the number of rows twice; the pages contradict it.
    let whole = run_of(8 << 20);
    let limits = Limits { free_bytes: 1 << 20, ratio: 1, ..Limits::CUSTOMERS };
    let rows = varint(2 * (8 << 20));
    let fewer = varint(2 * ((8 << 20) / 128));
    let mut lying = whole.to_vec();
    let length = u32::from_le_bytes(whole[whole.len() - 8..whole.len() - 4].try_into().unwrap());
    let footer = whole.len() - 8 - length as usize;
    let mut lies = 0;
    while let Some(at) = lying[footer..].windows(rows.len()).rposition(|window| window == rows) {
        let at = footer + at;
        // As many bytes as before, so that all offsets stay valid: a zero at the end of a varint changes nothing.
        let mut fewer = fewer.clone();
        while fewer.len() < rows.len() {
            *fewer.last_mut().unwrap() |= 0x80;
            fewer.push(0);
        }
        lying.splice(at..at + rows.len(), fewer);
        lies += 1;
    }
    assert!(lies >= 2, "{lies}");
    let refused = read_within(lying.into(), &[0], limits).unwrap_err();
    assert!(refused.contains("contradicts itself"), "{refused}");
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[test]
fn pages_that_unpack_to_too_much_are_refused() {
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(8 << 20); 4]));
    for codec in [
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        let properties =
            WriterProperties::builder().set_compression(codec).set_dictionary_enabled(false).build();
        let bytes = written(vec![("text", Arc::clone(&long))], properties);
        assert_eq!(read(bytes.clone(), &[0]), Ok(4));
        let page = Limits { page_bytes: 4 << 20, ..Limits::CUSTOMERS };
        let refused = read_within(bytes.clone(), &[0], page).unwrap_err();
        assert!(refused.contains("a page that unpacks to"), "{refused}");
        let all = Limits { free_bytes: 4 << 20, ratio: 1, ..Limits::CUSTOMERS };
        let refused = read_within(bytes, &[0], all).unwrap_err();
        assert!(refused.contains("unpack to more than"), "{refused}");
    }
}

#[test]
fn the_longest_text_of_a_dictionary_fits_as_often_as_a_batch_has_rows() {
    // 4,096 times a MiB would be 4 GiB.
    let bytes = one_column("message table { required binary text (UTF8); }", |column| {
        let ColumnWriter::ByteArrayColumnWriter(column) = column else { panic!("another type") };
        column.write_batch(&vec![ByteArray::from(vec![b'x'; 1 << 20]); 300], None, None).unwrap();
    });
    assert!(bytes.len() < 4 << 20, "{} bytes", bytes.len());
    let batches = Parquet::open(bytes, Limits::CUSTOMERS).unwrap().read(&[0], 4_096).unwrap();
    let rows: Vec<usize> = batches.map(|batch| batch.unwrap().num_rows()).collect();
    assert!(rows.iter().all(|rows| *rows <= 256) && rows.iter().sum::<usize>() == 300, "{rows:?}");
}

#[test]
fn dictionaries_of_numbers_and_of_short_texts_leave_batches_as_they_are() {
    // Each row has values of its own, so that dictionaries are as large as they may be.
    let rows = 20_000;
    let mut columns = vec![("text", texts(rows))];
    columns.extend(["a", "b", "c", "d"].map(|name| (name, numbers(rows))));
    let properties = WriterProperties::builder().set_dictionary_page_size_limit(8 << 20).build();
    let parquet = Parquet::open(written(columns, properties), Limits::CUSTOMERS).unwrap();
    let found =
        pages::check(&parquet.input.0, parquet.metadata.metadata(), &[0, 1, 2, 3, 4], &parquet.limits);
    let found = found.unwrap();
    assert_eq!(found.longest_texts, "customer 19999".len() as u64);
    assert!(found.bytes > 4 * 8 * rows as u64 / 2, "{found:?}");
    let batches = parquet.read(&[0, 1, 2, 3, 4], 4_096).unwrap();
    let sizes: Vec<usize> = batches.map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(sizes, [4_096, 4_096, 4_096, 4_096, 3_616]);
}

#[test]
fn dictionaries_that_are_larger_than_any_batch_may_be_are_refused() {
    let bytes = one_column("message table { required binary text (UTF8); }", |column| {
        let ColumnWriter::ByteArrayColumnWriter(column) = column else { panic!("another type") };
        let texts: Vec<ByteArray> =
            (b'0'..b'0' + 65).map(|letter| ByteArray::from(vec![letter; 1 << 20])).collect();
        column.write_batch(&texts, None, None).unwrap();
    });
    let refused = read(bytes, &[0]).unwrap_err();
    assert!(refused.contains("has dictionaries of 65 MiB in one row group; at most 64"), "{refused}");
}

#[test]
fn columns_row_groups_and_metadata_are_bounded() {
    let columns: Vec<(String, ArrayRef)> = (0..100).map(|at| (format!("c{at}"), numbers(10))).collect();
    let columns = columns.iter().map(|(name, column)| (name.as_str(), Arc::clone(column))).collect();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1)).build();
    let bytes = written(columns, properties);
    assert_eq!(read(bytes.clone(), &[0, 99]), Ok(10));
    for (limits, message) in [
        (Limits { columns: 99, ..Limits::CUSTOMERS }, "has 100 columns; at most 99"),
        (Limits { row_groups: 9, ..Limits::CUSTOMERS }, "has 10 row groups; at most 9"),
        (Limits { footer_bytes: 1 << 10, ..Limits::CUSTOMERS }, "MiB of metadata"),
        (Limits { rows: 9, ..Limits::CUSTOMERS }, "more than 9 rows"),
        (Limits { cells: 19, ..Limits::CUSTOMERS }, "more than 19 cells in 2 columns"),
    ] {
        let refused = read_within(bytes.clone(), &[0, 99], limits).unwrap_err();
        assert!(refused.contains(message), "{refused}");
    }
}

#[test]
fn a_page_of_texts_that_claims_billions_is_refused() {
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .build();
    let column: ArrayRef = Arc::new(StringArray::from(vec!["abc"; 1_000]));
    let whole = written(vec![("text", column)], properties);
    assert_eq!(read(whole.clone(), &[0]), Ok(1_000));
    // Block of 128, four parts, a thousand values.
    let head = [&varint(128)[..], &varint(4), &varint(1_000)].concat();
    let at = whole.windows(head.len()).position(|window| window == head).unwrap();
    let mut lying = whole.to_vec();
    // As many bytes, and thirteen million values.
    let lie = [&varint(128)[..], &varint(4), &varint((127 << 7) | 127)].concat();
    assert_eq!(lie.len(), head.len());
    lying.splice(at..at + head.len(), lie);
    let refused = read(lying.into(), &[0]).unwrap_err();
    assert!(refused.contains("contradicts itself"), "{refused}");
}
