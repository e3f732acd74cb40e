//! `golden.csv` as rows; every mistake in it is reported with its line.

use std::collections::BTreeSet;

use crate::load::Segmenter;
use document::{Problems, suggestion};
use feature::store::read_cell;
use feature::{Entity, Feature, FeatureSchema, FeatureType, Value, ValueRef};
use model::{Layout, Model};
use table::{Decimal, Limits, Marks, Options, Reader, Record, advice, is_missing};

/// A row of the table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::gates) struct GoldenRow {
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// The values of the features with a column, without missing ones.
    given: Vec<((Entity, usize), Value)>,
    pub segment: Option<i64>,
    /// Column of the model → expected answer.
    pub expected: Vec<(usize, f64)>,
    /// Column of the model → expected score before calibration.
    pub raw: Vec<(usize, f64)>,
    pub tolerance: Option<f64>,
}

impl GoldenRow {
    /// The value of a feature as the file has it.
    pub(super) fn value(&self, entity: Entity, index: usize) -> ValueRef<'_> {
        let found = self.given.iter().find(|(place, _)| *place == (entity, index));
        found.map_or(ValueRef::Missing, |(_, value)| value.as_ref())
    }

    /// Every value of an entity in the order of the schema, as `resolve` maps it.
    pub(super) fn values<'r>(
        &'r self,
        schema: &'r FeatureSchema,
        entity: Entity,
        resolve: impl Fn(ValueRef<'r>, &'r Feature) -> ValueRef<'r>,
    ) -> Vec<ValueRef<'r>> {
        let features = schema.of(entity).iter().enumerate();
        features.map(|(index, feature)| resolve(self.value(entity, index), feature)).collect()
    }
}

/// The meaning of a file's columns for a version.
pub(in crate::gates) struct Reading<'a> {
    file: &'a str,
    schema: &'a FeatureSchema,
    /// The features that the version takes.
    features: Vec<&'a str>,
    answers: Answers<'a>,
}

/// The kind of answer that a version gives to a row.
enum Answers<'a> {
    /// One score.
    Score,
    /// A score for each of these offers.
    Offers(&'a [String]),
    /// The id of a segment; the number of segments.
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
    pub(super) fn of_model(file: &'a str, schema: &'a FeatureSchema, model: &'a Model) -> Self {
        let answers = match model.manifest().layout {
            Some(Layout::MultiOffer | Layout::PerOffer) => Answers::Offers(model.columns()),
            Some(Layout::Pairwise) | None => Answers::Score,
        };
        Self { file, schema, features: model.features().collect(), answers }
    }

    pub(super) fn of_segmentation(
        file: &'a str,
        schema: &'a FeatureSchema,
        segmenter: &'a Segmenter,
    ) -> Self {
        let answers = Answers::Segment(segmenter.names().len());
        Self { file, schema, features: segmenter.features().collect(), answers }
    }

    /// Reads the rows of the file.
    ///
    /// # Errors
    /// Every unknown column, every cell that cannot be read, a file without rows.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<Vec<GoldenRow>, Problems> {
        let options = Options { limits: Limits::GOLDEN, ..Options::default() };
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
                    marks.observe(line as u64, str::from_utf8(cell).unwrap_or_default().trim());
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

    /// The meaning of each column.
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
            // An input that the schema lacks is the segment.
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

/// A finite number; `None` for an empty cell.
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

#[cfg(test)]
mod tests {
    use super::*;
    use fuzz::Target;

    #[test]
    fn fuzz_golden() {
        let schema = "[[feature]]\nname = 'balance'\ntype = 'float'\nentity = 'customer'\n\
                      [[feature]]\nname = 'city'\ntype = 'string'\nentity = 'customer'\n\
                      [[feature]]\nname = 'visits'\ntype = 'int'\nentity = 'customer'\n";
        let schema = FeatureSchema::parse("features.toml", schema).unwrap();
        let offers = ["gold".to_owned(), "blue".to_owned()];
        let seeds = vec![
            b"balance,city,visits,expected,raw,tolerance\n1.5,Wien,3,0.5,0.1,1e-6\n,,,0.25,-2,\n".to_vec(),
            b"visits;expected:gold;expected:blue;raw:gold\n1;0,5;0,25;\n".to_vec(),
            b"balance,segment,expected\n\"1,000\",0,1\n2,,0\n".to_vec(),
        ];
        let words = [
            "expected",
            "expected:gold",
            "tolerance",
            "segment",
            ",",
            ";",
            "\"",
            "\n",
            "1e999",
            "NaN",
            "-1",
            "1.5",
        ];
        let target = Target { name: "golden", seeds, words: &words, inputs: 5_000 };
        target.run(|input| {
            for answers in [Answers::Score, Answers::Offers(&offers), Answers::Segment(2)] {
                let features = vec!["balance", "city", "visits"];
                let reading = Reading { file: "golden.csv", schema: &schema, features, answers };
                if let Ok(rows) = reading.read(input) {
                    assert!(!rows.is_empty() && rows.len() <= Limits::GOLDEN.rows as usize);
                }
            }
            Ok(())
        });
    }
}
