//! Rows of any format become a [`Table`]: blocks are read column by column, on all threads, and end in rows.
//!
//! What is wrong is kept by row until the end, for only then is it known what a column is; the format says which line a
//! row is in, and is asked only where something is wrong.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::cell::MissingWords;
use super::column::{ColumnReader, Judged, shown};
use super::facts::{ColumnFacts, Kind};
use super::header::{Plan, Role};
use super::ids::Ids;
use super::one_hot::{self, Width};
use super::suspect::Suspect;
use super::{Purpose, ReadOptions, Table, naming};
use crate::document::Problems;
use crate::table::{Decimal, Marks, NOT_UTF8, SAY_DECIMAL};

/// A table while it is read.
pub(super) struct Gather<'f> {
    file: &'f str,
    /// Of the header, where it has one.
    header_line: Option<usize>,
    plan: Plan,
    words: MissingWords,
    columns: Vec<ColumnReader>,
    values: Vec<f32>,
    ids: Option<IdReader>,
    /// Rows read so far.
    rows: u64,
    found: Vec<Found>,
}

/// The id column, while it is read.
pub(super) struct IdReader {
    /// Its position in the file.
    pub(super) position: usize,
    name: String,
    ids: Ids,
    first_missing: Option<u64>,
    not_utf8: Option<u64>,
}

/// Something wrong.
struct Found {
    /// The row, counted from 0; the header where there is none.
    row: Option<u64>,
    message: String,
    /// An earlier row that the message is about as well.
    earlier: Option<u64>,
}

impl IdReader {
    /// Takes the id of a row, counted from 0.
    pub(super) fn read(&mut self, row: u64, field: &[u8]) {
        let Ok(text) = str::from_utf8(field).map(str::trim) else {
            self.not_utf8.get_or_insert(row);
            return self.skip();
        };
        if text.is_empty() {
            self.first_missing.get_or_insert(row);
        }
        self.ids.push(text);
    }

    /// Takes a row that cannot be read and is reported elsewhere.
    pub(super) fn skip(&mut self) {
        self.ids.push("");
    }

    fn found(&self) -> Option<Found> {
        let label = format!("column `{}`", self.name);
        if let Some(row) = self.not_utf8 {
            let message = format!("{label}: the text {NOT_UTF8}");
            return Some(Found { row: Some(row), message, earlier: None });
        }
        if let Some(row) = self.first_missing {
            let message = format!("{label}: the id is missing; give each customer one or remove the row");
            return Some(Found { row: Some(row), message, earlier: None });
        }
        let (earlier, row) = self.ids.first_repeated()?;
        let id = shown(self.ids.get(row));
        let message = format!("{label}: {id:?} names two rows; keep one row per customer");
        Some(Found { row: Some(row as u64), message, earlier: Some(earlier as u64) })
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

    /// The same of a table that writes numbers with `decimal`.
    pub(super) fn with_decimal(mut self, decimal: Decimal) -> Self {
        self.words = self.words.with_decimal(decimal);
        self.columns.iter_mut().for_each(|reader| reader.marks = Marks::new(decimal));
        self
    }

    /// Columns of the file, those included that are left out.
    pub(super) fn width(&self) -> usize {
        self.plan.names.len()
    }

    /// Positions in the file of the columns that are read, ascending.
    pub(super) fn positions(&self) -> Vec<usize> {
        let read = |role: &Role| !matches!(role, Role::LeftOut(_));
        let positions = 0..self.plan.roles.len();
        positions.filter(|position| read(&self.plan.roles[*position])).collect()
    }

    /// The position in the file of the id column.
    pub(super) fn id_position(&self) -> Option<usize> {
        self.ids.as_ref().map(|reader| reader.position)
    }

    /// Rows read so far, which is the number of the next, counted from 0.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// The columns that are features, for what is known of them before any row.
    pub(super) fn columns(&self) -> &[ColumnReader] {
        &self.columns
    }

    /// Records something wrong with a row, counted from 0, or with the file.
    pub(super) fn problem(&mut self, row: Option<u64>, message: String) {
        self.found.push(Found { row, message, earlier: None });
    }

    /// Reads `rows` rows: `column` is called for each column with the number of the first row, and must put a value per
    /// row into its block; `id` likewise for the id column.
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
        // In the order of the columns, so that which of several errors is told does not depend on threads.
        done.collect::<Vec<_>>().into_iter().collect::<Result<(), E>>()?;
        self.ids.as_mut().map_or(Ok(()), |reader| id(reader, first))?;
        self.values.reserve(rows * self.columns.len());
        for row in 0..rows {
            self.values.extend(self.columns.iter().map(|reader| reader.block[row]));
        }
        self.rows += rows as u64;
        Ok(())
    }

    /// The table, or everything that is wrong. `lines`: the line of each of some rows, counted from 0; `unit`: what it
    /// counts.
    pub(super) fn finish(
        mut self,
        unit: &str,
        lines: impl FnOnce(&BTreeSet<u64>) -> BTreeMap<u64, usize>,
    ) -> Result<Table, Problems> {
        let mut problems = Problems::new();
        match self.rows {
            0 if self.found.is_empty() => problems.push(self.file, None, "has a header, but no rows"),
            1 => {
                problems.push(self.file, None, "has one row only; segments are made of at least 2 customers");
            }
            _ => {}
        }
        let mut judged = Vec::with_capacity(self.columns.len());
        let decimal_comma = self.columns.iter().any(|reader| reader.marks.decimal_comma());
        let mut features = Vec::new();
        for reader in &self.columns {
            match reader.judge() {
                Ok(sound) => {
                    if !matches!(sound, Judged::LeftOut(_)) {
                        features.push(reader.name.as_str());
                        if let Some(found) = reader.marks.thousands(decimal_comma, SAY_DECIMAL) {
                            let message = format!("column `{}`: {}", reader.name, found.message);
                            self.found.push(Found { row: Some(found.row), message, earlier: None });
                        }
                    }
                    judged.push(sound);
                }
                Err(refused) => {
                    let label = match reader.name.as_str() {
                        "" => format!("column {}", reader.position + 1),
                        name => format!("column `{name}`:"),
                    };
                    let message = format!("{label} {}", refused.message);
                    self.found.push(Found { row: refused.row, message, earlier: None });
                }
            }
        }
        if self.plan.purpose == Purpose::Features
            && let Some(message) = naming::unservable(&features, &self.plan.names)
        {
            self.found.push(Found { row: None, message, earlier: None });
        }
        self.found.extend(self.ids.as_ref().and_then(IdReader::found));
        if problems.is_empty() && self.found.is_empty() {
            return self.table(&judged);
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

    fn table(mut self, judged: &[Judged]) -> Result<Table, Problems> {
        let (mut names, mut equals, mut widths) = (Vec::new(), Vec::new(), Vec::new());
        for (reader, judged) in self.columns.iter().zip(judged) {
            let column = &reader.name;
            match judged {
                Judged::Numbers(_) => {
                    names.push(column.clone());
                    equals.push(None);
                    widths.push(Width::One);
                }
                Judged::Texts(texts) => {
                    names.extend(texts.iter().map(|(text, _)| format!("{column}={text}")));
                    equals.extend(texts.iter().map(|(text, _)| Some((column.clone(), text.clone()))));
                    let mut positions = vec![0; texts.len()];
                    texts.iter().enumerate().for_each(|(position, (_, code))| positions[*code] = position);
                    widths.push(Width::Many(positions));
                }
                Judged::LeftOut(_) => widths.push(Width::None),
            }
        }
        if names.is_empty() {
            let reasons =
                self.facts(judged).into_iter().filter_map(|facts| Some((facts.name, facts.left_out?)));
            let reasons: Vec<String> = reasons.map(|(name, why)| format!("`{name}`: {why}")).collect();
            let message = format!("no column is left to be a feature ({})", reasons.join("; "));
            return Err(Problems::one(self.file, self.header_line, message));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
            let message = format!("column `{twice}` has the name of an encoded text; rename it");
            return Err(Problems::one(self.file, self.header_line, message));
        }
        one_hot::widen(&mut self.values, &widths);
        self.values.shrink_to_fit();
        let columns = self.facts(judged);
        let ids = self.ids.map(|reader| reader.ids);
        Ok(Table { file: self.file.to_owned(), names, equals, values: self.values, ids, columns })
    }

    fn facts(&self, judged: &[Judged]) -> Vec<ColumnFacts> {
        let mut features = self.columns.iter().zip(judged);
        let columns = self.plan.names.iter().zip(&self.plan.roles);
        let facts = columns.filter_map(|(name, role)| match role {
            Role::Id => self.ids.as_ref().map(IdReader::facts),
            Role::Number | Role::OneHot => features.next().map(|(reader, judged)| reader.facts(judged)),
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
