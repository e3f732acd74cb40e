//! Builds a [`Table`] from the rows of any format: reads blocks column by column on all threads, then stores rows.
//!
//! Problems are kept by row until the end, when the types of the columns are known.
//! Only then does the format look up the lines of the rows with problems.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::cell::MissingWords;
use super::column::{ColumnReader, ColumnType, shown};
use super::facts::{ColumnFacts, Kind};
use super::header::{Plan, Role};
use super::ids::Ids;
use super::one_hot::{self, Width};
use super::suspect::Suspect;
use super::{Purpose, ReadOptions, Table, naming};
use document::Problems;
use table::{Decimal, Marks, NOT_UTF8, SAY_DECIMAL};

/// Maximum bytes of an id, as in requests.
const ID_BYTES: usize = 256;

/// A table being read.
pub(super) struct Gather<'f> {
    file: &'f str,
    /// The line of the header, if it has one.
    header_line: Option<usize>,
    plan: Plan,
    words: MissingWords,
    columns: Vec<ColumnReader>,
    values: Vec<f32>,
    ids: Option<IdReader>,
    /// Rows read so far.
    rows: u64,
    found: Vec<Finding>,
}

/// The id column being read.
pub(super) struct IdReader {
    /// Its position in the file.
    pub(super) position: usize,
    name: String,
    ids: Ids,
    first_missing: Option<u64>,
    not_utf8: Option<u64>,
    first_long: Option<u64>,
}

/// A problem.
struct Finding {
    /// The row, counted from 0; `None` for the header.
    row: Option<u64>,
    message: String,
    /// An earlier row with the same problem.
    earlier: Option<u64>,
}

impl IdReader {
    /// Reads the id of a row, counted from 0.
    pub(super) fn read(&mut self, row: u64, field: &[u8]) {
        let Ok(text) = str::from_utf8(field).map(str::trim) else {
            self.not_utf8.get_or_insert(row);
            return self.skip();
        };
        if text.is_empty() {
            self.first_missing.get_or_insert(row);
        }
        if text.len() > ID_BYTES {
            self.first_long.get_or_insert(row);
            return self.skip();
        }
        self.ids.push(text);
    }

    /// Skips a malformed row, which is reported elsewhere.
    pub(super) fn skip(&mut self) {
        self.ids.push("");
    }

    fn finding(&self) -> Option<Finding> {
        let label = format!("column `{}`", self.name);
        if let Some(row) = self.not_utf8 {
            let message = format!("{label}: the text {NOT_UTF8}");
            return Some(Finding { row: Some(row), message, earlier: None });
        }
        if let Some(row) = self.first_long {
            let message =
                format!("{label}: the id has more than {ID_BYTES} bytes; check that this is the id column");
            return Some(Finding { row: Some(row), message, earlier: None });
        }
        if let Some(row) = self.first_missing {
            let message = format!("{label}: the id is missing; give each customer an id or remove the row");
            return Some(Finding { row: Some(row), message, earlier: None });
        }
        let (earlier, row) = self.ids.first_repeated()?;
        let id = shown(self.ids.get(row));
        let message = format!("{label}: {id:?} occurs twice; keep one row per customer");
        Some(Finding { row: Some(row as u64), message, earlier: Some(earlier as u64) })
    }

    fn facts(&self) -> ColumnFacts {
        ColumnFacts {
            name: self.name.clone(),
            kind: Kind::Id,
            missing: 0,
            distinct: self.ids.len() as u64,
            distinct_bounded: false,
            left_out: None,
            warning: None,
        }
    }
}

impl<'f> Gather<'f> {
    pub(super) fn new(file: &'f str, header_line: Option<usize>, plan: Plan, options: &ReadOptions) -> Self {
        let named = || plan.names.iter().zip(&plan.roles).enumerate();
        let mut columns = Vec::new();
        for (position, (name, role)) in named() {
            if matches!(role, Role::Number | Role::OneHot) {
                let (one_hot, may_be_id) = (*role == Role::OneHot, options.id_column.is_none());
                let mut reader = ColumnReader::new(position, name.clone(), one_hot, may_be_id);
                reader.suspect = plan.hints[position].map(Suspect::new);
                columns.push(reader);
            }
        }
        let id = named().find(|(_, (_, role))| **role == Role::Id);
        let ids = id.map(|(position, (name, _))| IdReader {
            position,
            name: name.clone(),
            ids: Ids::default(),
            first_missing: None,
            not_utf8: None,
            first_long: None,
        });
        Self {
            file,
            header_line,
            words: MissingWords::new(&options.missing),
            columns,
            values: Vec::new(),
            ids,
            rows: 0,
            found: Vec::new(),
            plan,
        }
    }

    /// Sets the decimal separator.
    pub(super) fn with_decimal(mut self, decimal: Decimal) -> Self {
        self.words = self.words.with_decimal(decimal);
        self.columns.iter_mut().for_each(|reader| reader.marks = Marks::new(decimal));
        self
    }

    /// Columns of the file, including those left out.
    pub(super) fn width(&self) -> usize {
        self.plan.names.len()
    }

    /// Positions in the file of the columns to read, ascending.
    pub(super) fn positions(&self) -> Vec<usize> {
        let read = |role: &Role| !matches!(role, Role::LeftOut(_));
        let positions = 0..self.plan.roles.len();
        positions.filter(|position| read(&self.plan.roles[*position])).collect()
    }

    /// The position in the file of the id column.
    pub(super) fn id_position(&self) -> Option<usize> {
        self.ids.as_ref().map(|reader| reader.position)
    }

    /// Rows read so far, which is also the number of the next row.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// The columns that may be features.
    pub(super) fn columns(&self) -> &[ColumnReader] {
        &self.columns
    }

    /// Records a problem of a row, counted from 0, or of the file.
    pub(super) fn problem(&mut self, row: Option<u64>, message: String) {
        self.found.push(Finding { row, message, earlier: None });
    }

    /// Reads a block of `rows` rows.
    ///
    /// Calls `column` for each column with the number of the first row; it must push a value per row to the block.
    /// Calls `id` likewise for the id column.
    pub(super) fn block<E: Send>(
        &mut self,
        rows: usize,
        column: impl Fn(&mut ColumnReader, u64, &MissingWords) -> Result<(), E> + Sync,
        id: impl Fn(&mut IdReader, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let (first, words) = (self.rows, &self.words);
        let done = self.columns.par_iter_mut().map(|reader| {
            reader.block.clear();
            column(reader, first, words)
        });
        // In the order of the columns, so that the reported error does not depend on the threads.
        done.collect::<Vec<_>>().into_iter().collect::<Result<(), E>>()?;
        self.ids.as_mut().map_or(Ok(()), |reader| id(reader, first))?;
        self.values.reserve(rows * self.columns.len());
        for row in 0..rows {
            self.values.extend(self.columns.iter().map(|reader| reader.block[row]));
        }
        self.rows += rows as u64;
        Ok(())
    }

    /// The table, or all problems.
    ///
    /// `lines`: looks up the line or number of rows, counted from 0. `unit`: `line` or `row`, for messages.
    pub(super) fn finish(
        mut self,
        unit: &str,
        lines: impl FnOnce(&BTreeSet<u64>) -> BTreeMap<u64, usize>,
    ) -> Result<Table, Problems> {
        let mut problems = Problems::new();
        match self.rows {
            0 if self.found.is_empty() => problems.push(self.file, None, "has a header, but no rows"),
            1 => {
                problems.push(self.file, None, "has only one row; segments need at least 2 customers");
            }
            _ => {}
        }
        let mut column_types = Vec::with_capacity(self.columns.len());
        let decimal_comma = self.columns.iter().any(|reader| reader.marks.decimal_comma());
        let mut features = Vec::new();
        for reader in &self.columns {
            match reader.column_type() {
                Ok(column_type) => {
                    if !matches!(column_type, ColumnType::LeftOut(_)) {
                        features.push(reader.name.as_str());
                        if let Some(found) = reader.marks.thousands(decimal_comma, SAY_DECIMAL) {
                            let message = format!("column `{}`: {}", reader.name, found.message);
                            self.found.push(Finding { row: Some(found.row), message, earlier: None });
                        }
                    }
                    column_types.push(column_type);
                }
                Err(refused) => {
                    let label = match reader.name.as_str() {
                        "" => format!("column {}", reader.position + 1),
                        name => format!("column `{name}`:"),
                    };
                    let message = format!("{label} {}", refused.message);
                    self.found.push(Finding { row: refused.row, message, earlier: None });
                }
            }
        }
        if self.plan.purpose == Purpose::Features
            && let Some(message) = naming::invalid_names(&features, &self.plan.names)
        {
            self.found.push(Finding { row: None, message, earlier: None });
        }
        self.found.extend(self.ids.as_ref().and_then(IdReader::finding));
        if problems.is_empty() && self.found.is_empty() {
            return self.table(&column_types);
        }
        let rows = self.found.iter().flat_map(|found| [found.row, found.earlier]).flatten().collect();
        let lines = lines(&rows);
        for found in self.found {
            let line = found.row.map_or(self.header_line, |row| lines.get(&row).copied());
            let earlier = found.earlier.and_then(|row| lines.get(&row));
            let earlier = earlier.map(|line| format!(" (the first is {unit} {line})")).unwrap_or_default();
            problems.push(self.file, line, found.message + &earlier);
        }
        problems.into_result(Table::default())
    }

    fn table(mut self, column_types: &[ColumnType]) -> Result<Table, Problems> {
        let (mut names, mut equals, mut widths) = (Vec::new(), Vec::new(), Vec::new());
        for (reader, column_type) in self.columns.iter().zip(column_types) {
            let column = &reader.name;
            match column_type {
                ColumnType::Numbers(_) => {
                    names.push(column.clone());
                    equals.push(None);
                    widths.push(Width::One);
                }
                ColumnType::Texts(texts) => {
                    names.extend(texts.iter().map(|(text, _)| format!("{column}={text}")));
                    equals.extend(texts.iter().map(|(text, _)| Some((column.clone(), text.clone()))));
                    let mut positions = vec![0; texts.len()];
                    texts.iter().enumerate().for_each(|(position, (_, code))| positions[*code] = position);
                    widths.push(Width::Many(positions));
                }
                ColumnType::LeftOut(_) => widths.push(Width::None),
            }
        }
        if names.is_empty() {
            let reasons =
                self.facts(column_types).into_iter().filter_map(|facts| Some((facts.name, facts.left_out?)));
            let reasons: Vec<String> = reasons.map(|(name, why)| format!("`{name}`: {why}")).collect();
            let message = format!("no column is left as a feature ({})", reasons.join("; "));
            return Err(Problems::one(self.file, self.header_line, message));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
            let message = format!("column `{twice}` has the name of an encoded text; rename it");
            return Err(Problems::one(self.file, self.header_line, message));
        }
        one_hot::widen(&mut self.values, &widths);
        self.values.shrink_to_fit();
        let columns = self.facts(column_types);
        let ids = self.ids.map(|reader| reader.ids);
        Ok(Table {
            file: self.file.to_owned(),
            names,
            equals,
            values: self.values,
            ids,
            columns,
            notes: Vec::new(),
        })
    }

    fn facts(&self, column_types: &[ColumnType]) -> Vec<ColumnFacts> {
        let mut features = self.columns.iter().zip(column_types);
        let columns = self.plan.names.iter().zip(&self.plan.roles);
        let facts = columns.filter_map(|(name, role)| match role {
            Role::Id => self.ids.as_ref().map(IdReader::facts),
            Role::Number | Role::OneHot => {
                features.next().map(|(reader, column_type)| reader.facts(column_type))
            }
            Role::LeftOut(reason) => Some(ColumnFacts {
                name: name.clone(),
                kind: Kind::NotRead,
                missing: 0,
                distinct: 0,
                distinct_bounded: false,
                left_out: Some((*reason).to_owned()),
                warning: None,
            }),
        });
        facts.collect()
    }
}
