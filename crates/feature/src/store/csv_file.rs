//! Customers from CSV; crate `table` reads the records.

use std::io::Read;

use super::build::TableBuilder;
use super::columns::{Columns, ID_COLUMN};
use super::findings::Findings;
use super::{CustomerTable, LoadReport, cell};
use crate::{Entity, Feature, FeatureSchema, FeatureType};
use document::Problems;
use table::{Fault, Faults, Marks, Options, Reader, Record};

/// The remedy for numbers with three decimals. The server reads the file again without any options.
const THREE_DECIMALS: &str = " (three decimals: separate the fields with commas)";

/// Reads a whole file. Problems carry `file` as the file's name.
pub(super) fn read(
    input: impl Read + Send,
    file: &str,
    schema: &FeatureSchema,
    faults: Faults,
) -> Result<(CustomerTable, LoadReport), Problems> {
    let features = schema.of(Entity::Customer);
    let mut findings = Findings::new(file);
    // The quote is always the quotation mark, as in the files that stores have already.
    let options = Options { quote: Some(b'"'), column: Some(ID_COLUMN), faults, ..Options::default() };
    let mut reader = Reader::open(input, options).map_err(|fault| fault.of(file))?;
    let Some(columns) = Columns::resolve(reader.names(), Some(reader.header_line()), schema, &mut findings)
    else {
        return Err(findings.into_result(()).err().unwrap_or_default());
    };
    let decimal = reader.decimal();
    let mut marks = vec![Marks::new(decimal); columns.features.len()];
    let mut builder = TableBuilder::new(features, &columns, findings, "line");
    let mut record = Record::default();
    loop {
        match reader.read(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(Fault { line, message }) => {
                builder.problem(line, message);
                break;
            }
        }
        let line = record.line();
        if let Some(message) = reader.width_fault(&record) {
            builder.problem(line, message);
            continue;
        }
        let row = builder.begin(line, record.get(columns.id).unwrap_or_default());
        for ((position, feature), marks) in columns.features.iter().zip(&mut marks) {
            let (feature, field) = (*feature, record.get(*position).unwrap_or_default());
            match cell::from_text(&features[feature], field, decimal) {
                Ok(value) => {
                    if marks.is_enabled() && is_number(&features[feature]) {
                        marks.observe(line as u64, str::from_utf8(field).unwrap_or_default().trim());
                    }
                    builder.put(row, line, feature, value);
                }
                Err(message) => builder.problem(line, message),
            }
        }
    }
    let (mut notes, may_be_truncated) = (reader.notes(), reader.may_be_truncated());
    let decimal_comma = marks.iter().any(Marks::decimal_comma);
    for ((_, feature), marks) in columns.features.iter().zip(&marks) {
        if let Some(found) = marks.thousands(decimal_comma, THREE_DECIMALS) {
            let message = format!("`{}`: {}", features[*feature].name, found.message);
            if found.certain {
                builder.problem(found.row as usize, message);
            } else {
                notes.push(format!("line {}: {message}", found.row));
            }
        }
    }
    let (table, mut report) = builder.finish(file, columns)?;
    report.notes = notes;
    report.may_be_truncated = may_be_truncated;
    Ok((table, report))
}

fn is_number(feature: &Feature) -> bool {
    matches!(feature.feature_type, FeatureType::Float | FeatureType::Int)
}
