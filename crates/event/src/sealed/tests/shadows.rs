//! Comparisons with shadows in sealed files: as decisions, with columns of lists of whole numbers.

use arrow_array::builder::Int64Builder;

use super::testing::{any_shadow, shadow, shadows};
use super::*;
use crate::proto::{ShadowOffer, ShadowRecord};

proptest! {
    #[test]
    fn columns_and_record_are_the_whole_message(records in prop::collection::vec(any_shadow(), 0..12)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let written = entries(&records);
        let mut writer = SealedWriter::create(&path, Kind::Shadow, true).unwrap();
        for entry in &written {
            writer.push(entry.clone(), 7).unwrap();
        }
        prop_assert_eq!(writer.finish(None).unwrap().events, records.len() as u64);
        let file = SealedFile::open(LocalFile::open(&path).unwrap()).unwrap();
        prop_assert_eq!(file.kind(), Kind::Shadow);
        prop_assert!(same(&all(&file).unwrap(), &written));
    }

    #[test]
    fn a_changed_byte_is_an_error_or_changes_nothing(at in any::<prop::sample::Index>(), change in 1_u8..=255) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let written = entries(&shadows(NOON..NOON + 20));
        write(&path, &written, None);
        let mut changed = fs::read(&path).unwrap();
        let at = at.index(changed.len());
        changed[at] ^= change;
        fs::write(&path, &changed).unwrap();
        for found in [read(&path), read_any_of(Kind::Shadow, &path)].into_iter().flatten() {
            prop_assert!(same(&found, &written), "byte {at} of {}", changed.len());
        }
    }

    #[test]
    fn a_damaged_file_without_checksums_is_no_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let written = entries(&shadows(NOON..NOON + 20));
        let (_folder, path) = foreign(&batch(&written), default());
        let mut changed = fs::read(&path).unwrap();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        fs::write(&path, &changed).unwrap();
        // What comes out is not known: nothing protects it.
        let _ = read_any_of(Kind::Shadow, &path);
    }
}

#[test]
fn columns_are_named_as_in_the_proto() {
    let columns = Kind::Shadow.table().columns();
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let expected = "position recorded_at compared_at decided_at shadow decision_id server server_version release \
                    placement channel customer_id pseudonym_key segment_id offer_ids champion_scores \
                    champion_priorities champion_ranks shadow_scores shadow_priorities shadow_ranks values \
                    champion_shown shadow_shown withheld_by_champion_only withheld_by_shadow_only champion_us \
                    shadow_us error record";
    assert_eq!(names.join(" "), expected);
    // What is left of a comparison is its format, the models, and how many offers there are.
    let whole = shadow(NOON);
    let batch = batch(&entries(std::slice::from_ref(&whole)));
    let rest = batch.column_by_name("record").unwrap();
    let rest = rest.as_any().downcast_ref::<BinaryArray>().unwrap().value(0);
    let expected = ShadowRecord {
        format: 1,
        segment: Some(0),
        champion_models: whole.champion_models,
        shadow_models: whole.shadow_models,
        offers: vec![ShadowOffer::default(); 3],
        ..ShadowRecord::default()
    };
    assert_eq!(ShadowRecord::decode(rest).unwrap(), expected);
}

#[test]
fn a_list_that_does_not_fit_the_offers_is_refused_by_name() {
    let written = entries(&[shadow(NOON)]);
    let whole = batch(&written);
    let with_ranks = |ranks: &[i64]| {
        let mut lists = ListBuilder::new(Int64Builder::new());
        lists.values().append_slice(ranks);
        lists.append(true);
        let column: ArrayRef = Arc::new(lists.finish());
        // Another program may write narrower numbers.
        let narrow = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
        let column = cast(&column, &narrow).unwrap();
        let at = whole.schema().index_of("champion_ranks").unwrap();
        let mut columns = whole.columns().to_vec();
        let mut fields: Vec<Field> =
            whole.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields[at] = Field::new("champion_ranks", column.data_type().clone(), true);
        columns[at] = column;
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let (_folder, path) = foreign(&batch, default());
        read_any_of(Kind::Shadow, &path)
    };
    assert!(same(&with_ranks(&[1, 2, 3]).unwrap(), &written));
    for ranks in [&[1, 2][..], &[1, 2, 3, 4], &[]] {
        let error = with_ranks(ranks).unwrap_err().to_string();
        assert!(error.contains("`champion_ranks` does not fit `record`"), "{error}");
    }
    let error = with_ranks(&[1, -2, 3]).unwrap_err().to_string();
    assert!(error.contains("`champion_ranks` is -2, which has more than 32 bits"), "{error}");
}
