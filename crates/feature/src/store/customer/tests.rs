use std::fs;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::file::metadata::KeyValue;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Float32Array, Int64Array, ListArray, StringArray};
use proptest::prelude::*;

use super::*;

/// A file without a customer: how many rows went, and what is left.
fn cut(bytes: &[u8], id: &str) -> Result<(u64, Vec<u8>), String> {
    let root = tempfile::tempdir().unwrap();
    let (file, made) = (root.path().join("customers.csv"), root.path().join("made"));
    fs::write(&file, bytes).unwrap();
    let rows = without(&file, "customers.csv", id, &made).map_err(|error| error.to_string())?;
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert_eq!(made.exists(), rows > 0);
    Ok((rows, if rows > 0 { fs::read(&made).unwrap() } else { bytes.to_vec() }))
}

#[test]
fn a_row_goes_and_every_other_byte_stays() {
    for (text, expected) in [
        ("customer_id,x\nA,1\nB,2\nC,3\n", "customer_id,x\nA,1\nC,3\n"),
        // A byte order mark, decimal commas, line ends of Windows, the last row without one.
        ("\u{feff}x;customer_id\r\n1,5;A\r\n2,5;B", "\u{feff}x;customer_id\r\n1,5;A\r\n"),
        ("customer_id\rA\rB\rC\r", "customer_id\rA\rC\r"),
        // Quotes, a line break within them, a line that spreadsheets write, an empty line.
        ("sep=;\ncustomer_id;x\n\"B\";\"1\n2\"\n\nA;\"B\"\n", "sep=;\ncustomer_id;x\n\nA;\"B\"\n"),
        ("customer_id,x\nB,2\n", "customer_id,x\n"),
    ] {
        let (rows, left) = cut(text.as_bytes(), "B").unwrap();
        assert_eq!((rows, String::from_utf8(left).unwrap().as_str()), (1, expected), "{text:?}");
        assert_eq!(cut(expected.as_bytes(), "B").unwrap().0, 0);
    }
    // Ids are compared as the server compares them.
    assert_eq!(cut(b"customer_id,x\n B,1\nb,2\nBB,3\n", "B").unwrap().0, 0);
}

/// What a file has of a customer, as text.
fn values(bytes: &[u8], id: &str) -> Vec<Values> {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("customers.csv");
    fs::write(&file, bytes).unwrap();
    rows_of(&file, id).unwrap()
}

#[test]
fn all_columns_of_a_customer_are_found_as_they_stand() {
    let value =
        |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()).filter(|value| !value.is_empty()));
    let text = "name;customer_id;x\n\"A;a\";1;\n\"B \"\"b\"\"\";2;1,50\n".as_bytes();
    let expected = [value("name", "B \"b\""), value(ID_COLUMN, "2"), value("x", "1,50")];
    for bytes in [text.to_vec(), zstd::encode_all(text, 1).unwrap()] {
        assert_eq!(values(&bytes, "2"), std::slice::from_ref(&expected));
    }
    assert_eq!(values(text, "1")[0][2].1, None);
    assert!(values(text, "3").is_empty());
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![7, 8]));
    let found = values(&parquet(ids, true), "8");
    assert_eq!(found, [[value("x", "1.0"), value(ID_COLUMN, "8"), value("lists", "[1, ]")]]);
}

#[test]
fn compressed_files_stay_compressed() {
    let text = b"customer_id,x\nA,1\nB,2\nC,3\n";
    let gzip = |text: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    };
    let (rows, left) = cut(&gzip(text), "B").unwrap();
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&*left).read_to_string(&mut unpacked).unwrap();
    assert_eq!((rows, unpacked.as_str()), (1, "customer_id,x\nA,1\nC,3\n"));
    let (rows, left) = cut(&zstd::encode_all(&text[..], 1).unwrap(), "B").unwrap();
    assert_eq!((rows, zstd::decode_all(&*left).unwrap()), (1, b"customer_id,x\nA,1\nC,3\n".to_vec()));
    assert_eq!(cut(&gzip(text), "D").unwrap().0, 0);
    assert!(cut(&gzip(&gzip(text)), "B").unwrap_err().contains("compressed twice"));
    // One that is cut off is an error, not a shorter file.
    let cut_off = gzip(text);
    assert!(cut(&cut_off[..cut_off.len() - 9], "C").unwrap_err().contains("customers.csv"));
}

#[test]
fn what_is_no_customer_file_is_refused_by_name() {
    let refused = cut(b"id,x\nA,1\n", "A").unwrap_err();
    assert!(refused.contains("customers.csv: no column `customer_id`"), "{refused}");
    assert!(cut(b"", "A").is_err());
    assert!(cut(b"PAR1 and nothing else", "A").unwrap_err().contains("customers.csv"));
}

/// A Parquet file of several row groups.
fn parquet(ids: ArrayRef, has_lists: bool) -> Vec<u8> {
    let rows = ids.len();
    let numbers: ArrayRef = Arc::new(Float32Array::from((0..rows).map(|row| row as f32).collect::<Vec<_>>()));
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..rows).map(|row| Some(vec![Some(row as i32), None])),
    ));
    let mut columns = vec![("x", numbers), (ID_COLUMN, ids)];
    columns.extend(has_lists.then_some(("lists", lists)));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(3)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.append_key_value_metadata(KeyValue::new("pandas".to_owned(), "{}".to_owned()));
    writer.into_inner().unwrap()
}

/// The schema and the rows of a Parquet file as text, and its metadata of pandas.
fn rows(bytes: &[u8]) -> (Vec<String>, Option<String>) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes)).unwrap();
    let pairs = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let pandas = pairs.into_iter().find(|pair| pair.key == "pandas").and_then(|pair| pair.value);
    let mut rows = vec![format!("{:?}", builder.schema())];
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        // Of a dictionary, the values and not their numbers.
        let columns: Vec<ArrayRef> = batch
            .columns()
            .iter()
            .map(|column| {
                let DataType::Dictionary(_, values) = column.data_type() else { return Arc::clone(column) };
                cast(column, values).unwrap()
            })
            .collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            let cells = columns.iter().map(|column| column.slice(row, 1));
            format!("{:?}", cells.collect::<Vec<_>>())
        }));
    }
    (rows, pandas)
}

#[test]
fn a_row_of_parquet_goes_and_types_and_metadata_stay() {
    let names = ["id-A", "id-B", "id-C", "id-D", "id-E", "id-F", "id-G"];
    let dictionary: DictionaryArray<Int32Type> = names.into_iter().collect();
    let cases: [(ArrayRef, &str); 3] = [
        (Arc::new(StringArray::from(names.to_vec())), "id-D"),
        (Arc::new(Int64Array::from(vec![1, 22, 333, 4444, 5, 6, 7])), "4444"),
        (Arc::new(dictionary), "id-D"),
    ];
    for ((ids, id), has_lists) in cases.into_iter().flat_map(|case| [(case.clone(), false), (case, true)]) {
        let bytes = parquet(ids, has_lists);
        let (mut expected, pandas) = rows(&bytes);
        let gone = expected.remove(4);
        assert!(gone.contains(id), "{gone}");
        let (count, left) = cut(&bytes, id).unwrap();
        assert_eq!((count, rows(&left)), (1, (expected, pandas)));
        // Not in a dictionary either.
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(left.clone())).unwrap();
        assert!(builder.build().unwrap().all(|batch| !format!("{:?}", batch.unwrap()).contains(id)));
        assert_eq!(cut(&left, id).unwrap().0, 0);
    }
    // The only customer.
    let one = parquet(Arc::new(StringArray::from(vec!["A"])), false);
    assert_eq!(rows(&cut(&one, "A").unwrap().1).0.len(), 1);
}

proptest! {
    #[test]
    fn only_rows_of_the_customer_go(
        table in prop::collection::vec(("[ABC]{1,2}", "[a-z,\"\r\n; ]{0,6}"), 0..12),
        at in 0_usize..2,
        end in prop::sample::select(vec!["\n", "\r\n"]),
        is_open in any::<bool>(),
    ) {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let line = |id: &str, text: &str| {
            let mut fields = [quoted(text), id.to_owned()];
            fields.rotate_left(at);
            fields.join(",")
        };
        let file = |rows: &[&(String, String)]| {
            let mut text = [line("customer_id", "x"), String::new()].join(end);
            for (id, value) in rows {
                text += &line(id, value);
                text += end;
            }
            text
        };
        let all: Vec<_> = table.iter().collect();
        let kept: Vec<_> = table.iter().filter(|(id, _)| id != "A").collect();
        let (mut before, mut expected) = (file(&all), file(&kept));
        // A file that ends without a line end keeps that, unless its last row goes.
        if is_open && !table.is_empty() {
            before.truncate(before.len() - end.len());
            if table.last().is_some_and(|(id, _)| id != "A") {
                expected.truncate(expected.len() - end.len());
            }
        }
        let (rows, left) = cut(before.as_bytes(), "A").unwrap();
        prop_assert_eq!(rows as usize, all.len() - kept.len());
        prop_assert_eq!(String::from_utf8(left).unwrap(), expected);
    }
}
