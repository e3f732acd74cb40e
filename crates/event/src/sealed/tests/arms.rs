//! The columns of experiments, which repeat what `record` has.

use arrow_array::cast::AsArray;
use arrow_array::new_null_array;
use arrow_array::types::Int64Type;

use super::*;
use crate::proto::RecordedAssignment;

const COLUMNS: [&str; 5] = ["held_out", "experiments", "variants", "phases", "assigned_how"];

fn arm(experiment: &str, variant: &str, how: u32, phase: u64) -> RecordedAssignment {
    RecordedAssignment { experiment: experiment.to_owned(), variant: variant.to_owned(), how, phase }
}

fn with_arms(held_out: bool, assignments: &[RecordedAssignment]) -> DecisionRecord {
    DecisionRecord { held_out, assignments: assignments.to_vec(), ..decision(NOON) }
}

/// Reads a file of a batch of which some columns are those of another.
fn replaced(
    whole: &RecordBatch,
    names: &[&str],
    column: impl Fn(usize) -> ArrayRef,
) -> Result<Vec<Entry>, String> {
    let (schema, mut columns) = (whole.schema(), whole.columns().to_vec());
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    for name in names {
        let at = schema.index_of(name).unwrap();
        columns[at] = column(at);
        fields[at] = fields[at].clone().with_nullable(true);
    }
    let (_folder, path) =
        foreign(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap(), default());
    read_any(&path).map_err(|error| error.to_string())
}

#[test]
fn the_arms_of_a_customer_are_columns_and_stay_in_the_record() {
    let record = with_arms(true, &[arm("welcome", "warm", 1, u64::MAX), arm("tone", "control", 3, 5)]);
    let batch = batch(&entries(std::slice::from_ref(&record)));
    let list = |name: &str| batch.column_by_name(name).unwrap().as_list::<i32>().value(0);
    let texts = |name: &str| {
        list(name).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>()
    };
    let wholes = |name: &str| list(name).as_primitive::<Int64Type>().values().to_vec();
    assert!(batch.column_by_name("held_out").unwrap().as_boolean().value(0));
    assert_eq!(texts("experiments"), ["welcome", "tone"]);
    assert_eq!(texts("variants"), ["warm", "control"]);
    // The bits of the phase.
    assert_eq!(wholes("phases"), [-1, 5]);
    assert_eq!(wholes("assigned_how"), [1, 3]);
    let rest = batch.column_by_name("record").unwrap().as_binary::<i32>().value(0);
    let rest = DecisionRecord::decode(rest).unwrap();
    assert_eq!((rest.held_out, &rest.assignments), (true, &record.assignments));
}

#[test]
fn columns_that_say_something_else_than_the_record_are_errors() {
    let all = [arm("welcome", "warm", 1, u64::MAX), arm("tone", "control", 3, 5)];
    let written = entries(&[with_arms(true, &all)]);
    let whole = batch(&written);
    let changed = [all[0].clone(), arm("pace", "slow", 2, 6)];
    let more = [&all[..], &[arm("pace", "slow", 1, 6)]].concat();
    for others in [&changed[..], &all[..1], &more[..], &all[..0]] {
        let other = batch(&entries(&[with_arms(false, others)]));
        for name in COLUMNS {
            let error = replaced(&whole, &[name], |at| Arc::clone(other.column(at))).unwrap_err();
            assert!(error.contains(&format!("`{name}` does not fit `record`")), "{error}");
        }
    }
    // A value that is null says nothing: libraries that read files of two versions together write that.
    let found = replaced(&whole, &COLUMNS, |at| new_null_array(whole.column(at).data_type(), 1)).unwrap();
    assert!(same(&found, &written));
}
