//! The facts about each column of the file: those of reading joined with those of learning.

use super::column::LearnedColumn;
use crate::train::study::Column;
use crate::train::table::{ColumnFacts, Kind, Table};
use segment::artefact::DroppedFeature;

/// The columns that were not read, with the reason.
pub(super) fn not_read(table: &Table) -> Vec<DroppedFeature> {
    // The artefact identifies columns by name, so it omits those without one.
    let columns =
        table.columns.iter().filter(|column| column.kind == Kind::NotRead && !column.name.is_empty());
    let reasons = columns.filter_map(|column| column.left_out.clone().map(|reason| (column, reason)));
    reasons.map(|(column, reason)| DroppedFeature { feature: column.name.clone(), reason }).collect()
}

/// The columns in the order of the file; the learned columns if the table has no file.
///
/// A text column has no statistics, since its features have them. It is left out if all of its features are.
pub(super) fn of_file(table: &Table, learned: Vec<LearnedColumn>) -> Vec<Column> {
    if table.columns.is_empty() {
        return learned.into_iter().map(|column| column.facts).collect();
    }
    table.columns.iter().map(|facts| of_column(facts, &learned)).collect()
}

fn of_column(facts: &ColumnFacts, learned: &[LearnedColumn]) -> Column {
    let mut of_name = learned.iter().filter(|column| column.feature.name == facts.name);
    let found = of_name.next();
    let read = Column {
        name: facts.name.clone(),
        kind: facts.kind.as_str(),
        missing: facts.missing,
        distinct: facts.distinct,
        distinct_bounded: facts.distinct_bounded,
        range: None,
        mean: None,
        skewness: None,
        impute: None,
        winsor: None,
        log1p: false,
        left_out: facts.left_out.clone(),
        out_of_range: None,
        warning: facts.warning.clone(),
    };
    match found {
        None => read,
        Some(column) if column.feature.equals.is_none() => Column {
            kind: read.kind,
            warning: read.warning,
            // Learning counts all distinct values, reading only up to a bound.
            ..column.facts.clone()
        },
        Some(column) => {
            let whole = of_name.all(|other| other.facts.left_out.is_some());
            let left_out = column.facts.left_out.clone().filter(|_| whole);
            Column { left_out: read.left_out.clone().or(left_out), ..read }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::learn::learn;
    use crate::train::settings::PrepareSettings;

    /// A file with an id, a number, a text of two values, a yes/no column and a column that was not read.
    fn table() -> Table {
        let job = |text: &str| Some(("job".to_owned(), text.to_owned()));
        let facts = |name: &str, kind, left_out: Option<&str>| ColumnFacts {
            name: name.into(),
            kind,
            missing: 0,
            distinct: 2,
            distinct_bounded: false,
            left_out: left_out.map(str::to_owned),
            warning: None,
        };
        Table {
            names: ["balance", "job=admin.", "job=retired", "loan"].map(str::to_owned).to_vec(),
            equals: vec![None, job("admin."), job("retired"), None],
            columns: vec![
                facts("id", Kind::Id, None),
                facts("balance", Kind::Number, None),
                facts("job", Kind::Text, None),
                facts("duration", Kind::NotRead, Some("left out on request")),
                facts("loan", Kind::YesNo, None),
            ],
            ..Table::of_numbers(&[
                ("a", &[4.0, 1.0, 3.0, 9.0]),
                ("b", &[1.0, 0.0, 1.0, 0.0]),
                ("c", &[0.0, 1.0, 0.0, 1.0]),
                ("d", &[0.0, 0.0, 1.0, f32::NAN]),
            ])
        }
    }

    #[test]
    fn every_column_of_the_file_is_listed() {
        let learned = learn(&table(), &PrepareSettings::default()).unwrap();
        let kinds: Vec<(&str, &str)> =
            learned.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
        let expected = [
            ("id", "id"),
            ("balance", "number"),
            ("job", "text"),
            ("duration", "not read"),
            ("loan", "yes/no"),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(learned.columns[1].range, Some([1.0, 9.0]));
        assert_eq!((learned.columns[2].range, learned.columns[2].left_out.as_deref()), (None, None));
        assert_eq!((learned.columns[4].missing, learned.columns[4].impute), (1, Some(0.0)));
        assert_eq!(learned.columns[3].left_out.as_deref(), Some("left out on request"));
        let labels: Vec<_> = learned.preparation.features.iter().map(|feature| feature.label()).collect();
        assert_eq!(labels, ["balance", "job=admin.", "job=retired", "loan"]);
        assert_eq!(learned.dropped.len(), 1);
        assert_eq!(learned.dropped[0].feature, "duration");
    }

    #[test]
    fn a_text_is_used_if_one_of_its_values_is() {
        // Everyone who is not retired is an administrator, so one of the two features is redundant.
        let settings = PrepareSettings { correlation_limit: Some(0.9), ..PrepareSettings::default() };
        let learned = learn(&table(), &settings).unwrap();
        assert_eq!(learned.kept, [0, 1, 3]);
        assert_eq!(learned.columns[2].left_out, None);
        let dropped: Vec<&str> = learned.dropped.iter().map(|dropped| dropped.feature.as_str()).collect();
        assert_eq!(dropped, ["duration", "job=retired"]);
    }
}
