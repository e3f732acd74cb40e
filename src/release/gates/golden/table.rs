//! `golden.csv` as rows; everything that is wrong with it is reported with its line.

use std::collections::BTreeSet;

use crate::document::{Problems, suggestion};
use crate::feature::store::read_cell;
use crate::feature::{Entity, Feature, FeatureSchema, FeatureType, Value, ValueRef};
use crate::model::{Layout, Model};
use crate::release::load::Segmenter;
use crate::table::{Decimal, Marks, Options, Reader, Record, advice, is_missing};

/// The most bytes that a compressed file is unpacked to: rows are kept whole, beside what serves.
const MOST_UNPACKED: u64 = 64 << 20;

/// A row of the table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::release::gates) struct GoldenRow {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// The values of features that the file has a column for, missing ones left out.
    given: Vec<((Entity, usize), Value)>,
    pub segment: Option<i64>,
    /// Column of the model and the answer that it must give.
    pub expected: Vec<(usize, f64)>,
    /// The same before calibration.
    pub raw: Vec<(usize, f64)>,
    pub tolerance: Option<f64>,
}

impl GoldenRow {
    /// The value of a feature as the file has it.
    pub fn value(&self, entity: Entity, index: usize) -> ValueRef<'_> {
        let found = self.given.iter().find(|(place, _)| *place == (entity, index));
        found.map_or(ValueRef::Missing, |(_, value)| value.as_ref())
    }

    /// Every value of an entity in the order of the schema, each as `resolve` makes it of what the file has.
    pub fn values<'r>(
        &'r self,
        schema: &'r FeatureSchema,
        entity: Entity,
        resolve: impl Fn(ValueRef<'r>, &'r Feature) -> ValueRef<'r>,
    ) -> Vec<ValueRef<'r>> {
        let features = schema.of(entity).iter().enumerate();
        features.map(|(index, feature)| resolve(self.value(entity, index), feature)).collect()
    }
}

/// What the columns of a file mean to a version.
pub(in crate::release::gates) struct Reading<'a> {
    file: &'a str,
    schema: &'a FeatureSchema,
    /// The features that the version takes.
    features: Vec<&'a str>,
    answers: Answers<'a>,
}

/// What a version answers to a row.
enum Answers<'a> {
    /// One score.
    Score,
    /// A score for each of these offers.
    Offers(&'a [String]),
    /// The id of one of so many segments.
    Segment(usize),
}

/// The meaning of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Feature(Entity, usize),
    Segment,
    Expected(usize),
    Raw(usize),
    Tolerance,
}

impl<'a> Reading<'a> {
    pub fn of_model(file: &'a str, schema: &'a FeatureSchema, model: &'a Model) -> Self {
        let answers = match model.manifest().layout {
            Some(Layout::MultiOffer | Layout::PerOffer) => Answers::Offers(model.columns()),
            Some(Layout::Pairwise) | None => Answers::Score,
        };
        Self { file, schema, features: model.features().collect(), answers }
    }

    pub fn of_segmentation(file: &'a str, schema: &'a FeatureSchema, segmenter: &'a Segmenter) -> Self {
        let answers = Answers::Segment(segmenter.names().len());
        Self { file, schema, features: segmenter.features().collect(), answers }
    }

    /// The rows of the file.
    ///
    /// # Errors
    /// Every column that means nothing, every cell that cannot be read, a file without rows.
    pub fn read(&self, bytes: &[u8]) -> Result<Vec<GoldenRow>, Problems> {
        let options = Options { most_unpacked: Some(MOST_UNPACKED), ..Options::default() };
        let mut reader = Reader::open(bytes, options).map_err(|fault| fault.of(self.file))?;
        let names = reader.names().to_vec();
        let columns = self.columns(&names, reader.header_line())?;
        let decimal = reader.decimal();
        let mut marks = vec![Marks::new(decimal); names.len()];
        let (mut problems, mut rows, mut record) = (Problems::new(), Vec::new(), Record::default());
        loop {
            match reader.read(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    problems.push(self.file, fault.line, fault.message);
                    break;
                }
            }
            let line = record.line();
            if let Some(message) = reader.width_fault(&record) {
                problems.push(self.file, Some(line), message);
                continue;
            }
            let mut row = GoldenRow { line, ..GoldenRow::default() };
            for (((column, name), cell), marks) in
                columns.iter().zip(&names).zip(record.iter()).zip(&mut marks)
            {
                if let Err(message) = self.cell(*column, name, cell, decimal, &mut row) {
                    problems.push(self.file, Some(line), message);
                } else if self.is_number(*column) {
                    marks.look(line as u64, str::from_utf8(cell).unwrap_or_default().trim());
                }
            }
            rows.push(row);
        }
        let decimal_comma = marks.iter().any(Marks::decimal_comma);
        for (name, marks) in names.iter().zip(&marks) {
            if let Some(found) = marks.thousands(decimal_comma, "").filter(|found| found.certain) {
                problems.push(
                    self.file,
                    Some(found.row as usize),
                    format!("column `{name}`: {}", found.message),
                );
            }
        }
        if rows.is_empty() && problems.is_empty() {
            problems.push(self.file, None, "has no row below the header");
        }
        problems.into_result(rows)
    }

    /// What each column means.
    fn columns(&self, names: &[String], line: usize) -> Result<Vec<Column>, Problems> {
        let mut problems = Problems::new();
        let mut report = |message: String| problems.push(self.file, Some(line), message);
        let (mut columns, mut seen) = (Vec::with_capacity(names.len()), BTreeSet::new());
        for name in names {
            match self.column(name) {
                Ok(column) if seen.insert(column) => columns.push(column),
                Ok(_) => report(format!("column `{name}` comes twice")),
                Err(message) => report(message),
            }
        }
        if !seen.iter().any(|column| matches!(column, Column::Expected(_) | Column::Raw(_))) {
            report(match self.answers {
                Answers::Score | Answers::Segment(_) => {
                    "no column `expected` says what the answer must be".to_owned()
                }
                Answers::Offers(_) => {
                    "no column `expected:<offer id>` says what the answer for an offer must be".to_owned()
                }
            });
        }
        problems.into_result(columns)
    }

    fn column(&self, name: &str) -> Result<Column, String> {
        match (name, &self.answers) {
            ("expected", Answers::Score | Answers::Segment(_)) => return Ok(Column::Expected(0)),
            ("expected", Answers::Offers(_)) => {
                return Err(
                    "column `expected`: this model has a score per offer; write `expected:<offer id>`"
                        .to_owned(),
                );
            }
            ("raw", Answers::Score) => return Ok(Column::Raw(0)),
            ("tolerance", Answers::Score | Answers::Offers(_)) => return Ok(Column::Tolerance),
            _ => {}
        }
        if let (Some(offer), Answers::Offers(offers)) = (name.strip_prefix("expected:"), &self.answers) {
            let found = offers.iter().position(|id| id == offer).map(Column::Expected);
            let hint = || suggestion(offer, offers.iter().map(String::as_str));
            return found
                .ok_or_else(|| format!("column `{name}`: the model has no offer `{offer}`{}", hint()));
        }
        if let (Some(offer), Answers::Offers(offers)) = (name.strip_prefix("raw:"), &self.answers) {
            let found = offers.iter().position(|id| id == offer).map(Column::Raw);
            let hint = || suggestion(offer, offers.iter().map(String::as_str));
            return found
                .ok_or_else(|| format!("column `{name}`: the model has no offer `{offer}`{}", hint()));
        }
        if !self.features.contains(&name) {
            let hint = suggestion(name, self.features.iter().copied());
            return Err(format!("column `{name}`: the version takes no such feature{hint}"));
        }
        match self.schema.find(name) {
            Some((entity, index)) => Ok(Column::Feature(entity, index)),
            // What a version takes and the schema lacks is the segment.
            None => Ok(Column::Segment),
        }
    }

    /// Whether a column holds numbers.
    fn is_number(&self, column: Column) -> bool {
        match column {
            Column::Feature(entity, index) => {
                matches!(self.schema.of(entity)[index].feature_type, FeatureType::Float | FeatureType::Int)
            }
            Column::Segment | Column::Expected(_) | Column::Raw(_) | Column::Tolerance => true,
        }
    }

    fn cell(
        &self,
        column: Column,
        name: &str,
        cell: &[u8],
        decimal: Decimal,
        row: &mut GoldenRow,
    ) -> Result<(), String> {
        match column {
            Column::Feature(entity, index) => {
                let value = read_cell(&self.schema.of(entity)[index], cell, decimal)?.to_value();
                row.given.extend(value.map(|value| ((entity, index), value)));
            }
            Column::Segment => row.segment = number(name, cell, decimal)?.map(|id| id as i64),
            Column::Tolerance => {
                row.tolerance = number(name, cell, decimal)?;
                if row.tolerance.is_some_and(|tolerance| tolerance < 0.0) {
                    return Err(format!("column `{name}`: must not be negative"));
                }
            }
            Column::Raw(at) => match (&self.answers, number(name, cell, decimal)?) {
                (Answers::Score, None) => return Err(format!("column `{name}`: is empty")),
                (_, raw) => row.raw.extend(raw.map(|raw| (at, raw))),
            },
            Column::Expected(at) => {
                let expected = number(name, cell, decimal)?;
                match (&self.answers, expected) {
                    (Answers::Segment(segments), Some(id))
                        if id.fract() != 0.0 || !(0.0..*segments as f64).contains(&id) =>
                    {
                        return Err(format!(
                            "column `{name}`: {id} is none of the segments 0 to {}",
                            segments - 1
                        ));
                    }
                    (Answers::Score | Answers::Segment(_), None) => {
                        return Err(format!("column `{name}`: is empty"));
                    }
                    _ => row.expected.extend(expected.map(|expected| (at, expected))),
                }
            }
        }
        Ok(())
    }
}

/// A finite number; `None` of an empty cell.
fn number(name: &str, cell: &[u8], decimal: Decimal) -> Result<Option<f64>, String> {
    let text = String::from_utf8_lossy(cell);
    let word = text.trim();
    if let Some(number) = decimal.number(word).filter(|number: &f64| number.is_finite()) {
        return Ok(Some(number));
    }
    if is_missing(word) {
        return Ok(None);
    }
    Err(format!("column `{name}`: {word:?} is not a finite number; {}", advice(word)))
}
