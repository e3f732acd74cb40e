//! The table that segments are trained on, read from CSV with every problem named.

mod facts;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::str;

use csv::{ByteRecord, Reader, ReaderBuilder};

pub use self::facts::{ColumnFacts, Kind};

use crate::document::{Problems, suggestion};

/// Customers × features.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// The file, for messages.
    pub(super) file: String,
    /// One per feature, unique, in the order of the columns.
    pub(super) names: Vec<String>,
    /// For each feature that encodes a text: the column and the value for which it is 1.
    pub(super) equals: Vec<Option<(String, String)>>,
    /// Rows × features, row-major; finite, or NaN where the value is missing.
    pub(super) values: Vec<f32>,
    /// The id column, one per row.
    pub(super) customers: Option<Vec<String>>,
    /// Every column of the file, in its order.
    pub(super) columns: Vec<ColumnFacts>,
}

impl Table {
    /// A table of columns that are numbers, for tests.
    #[cfg(test)]
    pub(super) fn of_numbers(columns: &[(&str, &[f32])]) -> Self {
        let rows = columns[0].1.len();
        Self {
            file: "customers.csv".into(),
            names: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            equals: vec![None; columns.len()],
            values: (0..rows).flat_map(|row| columns.iter().map(move |(_, column)| column[row])).collect(),
            ..Self::default()
        }
    }

    /// The number of rows.
    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.names.len()
    }

    /// The values of a feature, one per row.
    pub(super) fn column(&self, index: usize) -> impl Iterator<Item = f32> {
        self.values.iter().skip(index).step_by(self.names.len()).copied()
    }

    /// Missing values per feature.
    pub(super) fn missing(&self) -> Vec<usize> {
        let columns = 0..self.names.len();
        columns.map(|index| self.column(index).filter(|value| value.is_nan()).count()).collect()
    }

    /// Reads a CSV file: a header, then one row per customer; every column but `id_column` is numeric.
    ///
    /// # Errors
    /// Every problem of the header; then, for each column, the first value in it that cannot be used, and the first row
    /// whose length is not that of the header.
    pub(super) fn read(path: &Path, id_column: Option<&str>) -> Result<Self, Problems> {
        let file = path.display().to_string();
        // Lengths are checked here, so that a short row does not end the search for problems.
        let mut reader =
            ReaderBuilder::new().flexible(true).from_path(path).map_err(|error| unreadable(&file, &error))?;
        let columns = Columns::read(&file, &mut reader, id_column)?;
        let mut rows = Rows::new(path, &file, &columns);
        let mut record = ByteRecord::new();
        loop {
            match reader.read_byte_record(&mut record) {
                Ok(true) => rows.add(&record),
                Ok(false) => break,
                Err(error) => {
                    rows.problems.extend(unreadable(&file, &error));
                    break;
                }
            }
        }
        rows.finish()
    }
}

fn unreadable(file: &str, error: &csv::Error) -> Problems {
    let line = error.position().map(|position| position.line() as usize);
    Problems::one(file, line, format!("cannot be read: {error}"))
}

/// The header: what each column is.
struct Columns {
    /// As written, in order, the id column included.
    names: Vec<String>,
    /// Where the id column is.
    id: Option<usize>,
}

impl Columns {
    fn read<R: Read>(file: &str, reader: &mut Reader<R>, id_column: Option<&str>) -> Result<Self, Problems> {
        let header = reader.byte_headers().map_err(|error| unreadable(file, &error))?;
        if header.is_empty() {
            return Err(Problems::one(file, None, "is empty; a header and one row per customer are needed"));
        }
        let mut problems = Problems::new();
        let mut problem = |message: String| problems.push(file, Some(1), message);
        let mut names: Vec<String> = Vec::with_capacity(header.len());
        let mut seen = BTreeSet::new();
        for (number, name) in (1..).zip(header) {
            let Ok(name) = str::from_utf8(name).map(str::trim) else {
                problem(format!("the name of column {number} is not UTF-8; convert the file to UTF-8"));
                continue;
            };
            if name.is_empty() {
                problem(format!("column {number} has no name; name it or remove it"));
            } else if !seen.insert(name.to_owned()) {
                problem(format!("column {number}: another column is named `{name}`; rename or remove one"));
            }
            names.push(name.to_owned());
        }
        if let [name] = &names[..]
            && name.contains([';', '\t'])
        {
            problem("fields must be separated by commas, but this header has none".to_owned());
        }
        let id = id_column.and_then(|wanted| names.iter().position(|name| name == wanted));
        if let (Some(wanted), None) = (id_column, id) {
            let hint = suggestion(wanted, names.iter().map(String::as_str));
            problem(format!("there is no column `{wanted}` to identify customers by{hint}"));
        }
        if names.len() == usize::from(id.is_some()) {
            problem("there is no column beside the id column; at least one feature is needed".to_owned());
        }
        problems.into_result(Self { names, id })
    }
}

/// The rows, while they are read.
struct Rows<'c> {
    path: &'c Path,
    file: &'c str,
    columns: &'c Columns,
    values: Vec<f32>,
    customers: Vec<String>,
    problems: Problems,
    /// Columns with a problem already; one is enough to know what to repair.
    reported: Vec<bool>,
    /// Whether a row of another length was reported.
    ragged: bool,
}

impl<'c> Rows<'c> {
    fn new(path: &'c Path, file: &'c str, columns: &'c Columns) -> Self {
        Self {
            path,
            file,
            columns,
            values: Vec::new(),
            customers: Vec::new(),
            problems: Problems::new(),
            reported: vec![false; columns.names.len()],
            ragged: false,
        }
    }

    fn add(&mut self, record: &ByteRecord) {
        let width = self.columns.names.len();
        if record.len() != width {
            if !self.ragged {
                let message = format!("{} fields, but the header has {width}", record.len());
                self.problems.push(self.file, line_of(self.path, record), message);
            }
            self.ragged = true;
            return;
        }
        for (index, field) in record.iter().enumerate() {
            let read = str::from_utf8(field)
                .map_err(|_| "the text is not UTF-8; convert the file to UTF-8".to_owned())
                .and_then(|text| self.field(index, text.trim()));
            if let Err(message) = read
                && !self.reported[index]
            {
                self.reported[index] = true;
                let message = format!("column `{}`: {message}", self.columns.names[index]);
                self.problems.push(self.file, line_of(self.path, record), message);
            }
        }
    }

    fn field(&mut self, index: usize, text: &str) -> Result<(), String> {
        if self.columns.id == Some(index) {
            self.customers.push(text.to_owned());
            return Ok(());
        }
        self.values.push(number(text)?);
        Ok(())
    }

    fn finish(mut self) -> Result<Table, Problems> {
        if self.values.is_empty() && self.problems.is_empty() {
            self.problems.push(self.file, None, "has a header, but no rows");
        }
        let names = self.columns.names.iter().enumerate();
        let features = names.filter(|(index, _)| self.columns.id != Some(*index));
        let names: Vec<String> = features.map(|(_, name)| name.clone()).collect();
        let table = Table {
            file: self.file.to_owned(),
            equals: vec![None; names.len()],
            columns: Vec::new(),
            names,
            values: self.values,
            customers: self.columns.id.map(|_| self.customers),
        };
        self.problems.into_result(table)
    }
}

/// The line where a record begins. The reader counts the blank lines before a record as part of it, so they are looked
/// up in the file: only once somebody is to be told.
fn line_of(path: &Path, record: &ByteRecord) -> Option<usize> {
    let start = record.position()?;
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(start.byte())).ok()?;
    let before = BufReader::new(file).bytes().map_while(Result::ok);
    let ends = before.take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n');
    Some(start.line() as usize + ends.count())
}

/// The value of a field, NaN where it is missing.
fn number(text: &str) -> Result<f32, String> {
    if text.is_empty() || text.eq_ignore_ascii_case("na") || text.eq_ignore_ascii_case("nan") {
        return Ok(f32::NAN);
    }
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(format!("{text} is infinite or beyond 32-bit floats; leave a missing value empty")),
        Err(_) if text.contains(',') => {
            Err(format!("{text:?} has a comma; write a decimal point and no thousands separators"))
        }
        Err(_) => Err(format!(
            "{text:?} is not a number; leave a missing value empty, and remove a column of text or make it the id column"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &[u8], id_column: Option<&str>) -> Result<Table, Problems> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("customers.csv");
        fs::write(&path, text).unwrap();
        Table::read(&path, id_column)
    }

    fn problems(text: &[u8], id_column: Option<&str>) -> Vec<String> {
        let problems = read(text, id_column).unwrap_err();
        let text = |problem: &crate::document::Problem| problem.to_string();
        problems.iter().map(text).map(|line| line.rsplit_once('/').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn columns_and_missing_values_are_read() {
        let text = "\u{feff}a, id ,b\r\n1.5,x,NA\r\n,\"y,z\",-2e3\r\n nan ,w, 7 \r\n";
        let table = read(text.as_bytes(), Some("id")).unwrap();
        assert_eq!(table.names, ["a", "b"]);
        assert_eq!(table.customers.as_deref().unwrap(), ["x", "y,z", "w"]);
        assert_eq!(table.rows(), 3);
        assert_eq!(table.missing(), [2, 1]);
        let bits: Vec<u32> = table.column(1).map(f32::to_bits).collect();
        assert_eq!(bits, [f32::NAN, -2000.0, 7.0].map(f32::to_bits));
    }

    #[test]
    fn each_column_reports_its_first_bad_value() {
        let text = b"a,b,c,d\n1,1,1,1\n1,x,1e39,\"1,5\"\n1,y,-inf,1\n1,1,1\n\n\xff,1,1,1\n";
        assert_eq!(
            problems(text, None),
            [
                "customers.csv:3: column `b`: \"x\" is not a number; leave a missing value empty, and remove a column \
                 of text or make it the id column",
                "customers.csv:3: column `c`: 1e39 is infinite or beyond 32-bit floats; leave a missing value empty",
                "customers.csv:3: column `d`: \"1,5\" has a comma; write a decimal point and no thousands separators",
                "customers.csv:5: 3 fields, but the header has 4",
                "customers.csv:7: column `a`: the text is not UTF-8; convert the file to UTF-8",
            ]
        );
    }

    #[test]
    fn lines_are_counted_over_blank_lines_quotes_and_both_line_ends() {
        for (text, line) in [
            ("a,b\n1,1\nx,1\n", 3),
            ("a,b\r\n1,1\r\nx,1\r\n", 3),
            ("a,b\n\n\n1,1\n\nx,1", 6),
            ("a,b\r\n\r\n1,1\r\n\r\nx,1", 5),
            ("\u{feff}a,b\n\n\"1\n\",1\nx,1\n", 5),
        ] {
            let found = read(text.as_bytes(), None).unwrap_err();
            assert_eq!(found.iter().next().unwrap().line, Some(line), "{text:?}");
        }
    }

    #[test]
    fn a_broken_header_names_every_problem() {
        let found = problems(b"limit,,limit\n1,2,3\n", Some("Limit"));
        assert_eq!(
            found,
            [
                "customers.csv:1: column 2 has no name; name it or remove it",
                "customers.csv:1: column 3: another column is named `limit`; rename or remove one",
                "customers.csv:1: there is no column `Limit` to identify customers by; did you mean `limit`?",
            ]
        );
        assert_eq!(
            problems(b"id\nx\n", Some("id")),
            ["customers.csv:1: there is no column beside the id column; at least one feature is needed"]
        );
        let separated = problems(b"a;b\n1;2\n", None);
        assert_eq!(
            separated,
            ["customers.csv:1: fields must be separated by commas, but this header has none"]
        );
        assert_eq!(problems(b"a\xff\n1\n", None).len(), 2);
    }

    #[test]
    fn a_file_without_rows_or_without_anything_is_refused() {
        assert_eq!(problems(b"a,b\n", None), ["customers.csv: has a header, but no rows"]);
        let empty = problems(b"", None);
        assert_eq!(empty, ["customers.csv: is empty; a header and one row per customer are needed"]);
    }

    #[test]
    fn a_missing_file_and_a_directory_are_named() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().join("none.csv"), directory.path().to_path_buf()] {
            let error = Table::read(&path, None).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: cannot be read: ", path.display())), "{error}");
        }
    }
}
