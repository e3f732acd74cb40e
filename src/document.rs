//! TOML files that people edit: read so that every problem is reported at once, each with file, line and what to do.
//!
//! `serde` stops at the first mistake; someone who edits forty offers wants all of them. A [`Document`] is parsed
//! once, its [`Table`]s are asked for typed values, and whatever is wrong (a missing key, another type, an unknown
//! key) is collected in [`Problems`]. A reader asks for everything, then looks at the problems: a value that was wrong
//! is replaced by its type's default in the meantime, and never leaves the reader.
//!
//! This module knows no other module. Start reading at [`Document::parse`].

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as the person who edits it knows it (`offers.toml`).
    pub file: String,
    /// The line, counted from 1, where one can be named.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{}: {}", self.file, line, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// Everything that is wrong, in the order of files and lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// No problems yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A single problem, for callers whose work stops at the first.
    #[must_use]
    pub fn one(file: impl Into<String>, line: Option<usize>, message: impl Into<String>) -> Self {
        let mut problems = Self::new();
        problems.push(file, line, message);
        problems
    }

    /// Records one problem.
    pub fn push(&mut self, file: impl Into<String>, line: Option<usize>, message: impl Into<String>) {
        self.0.push(Problem { file: file.into(), line, message: message.into() });
    }

    /// Takes over the problems of another part.
    pub fn extend(&mut self, other: Problems) {
        self.0.extend(other.0);
    }

    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of problems.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The problems in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// `value` if nothing was wrong, else the problems, sorted by file and line.
    ///
    /// # Errors
    /// All problems that were recorded.
    pub fn into_result<T>(self, value: T) -> Result<T, Problems> {
        if self.0.is_empty() {
            return Ok(value);
        }
        Err(self.sorted())
    }

    /// The problems in the order of files and lines, each once.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.0.sort();
        self.0.dedup();
        self
    }

    /// Keeps the value of a part that was read well; takes over the problems of one that was not.
    pub fn absorb<T>(&mut self, part: Result<T, Problems>) -> Option<T> {
        match part {
            Ok(value) => Some(value),
            Err(problems) => {
                self.extend(problems);
                None
            }
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The candidate that a mistyped `name` most likely meant, if any is close enough to suggest.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `"; did you mean `x`?"` for the closest candidate, or nothing.
#[must_use]
pub fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(name, candidates).map(|found| format!("; did you mean `{found}`?")).unwrap_or_default()
}

/// Digits in groups of three, as messages and reports show numbers: `12,345`.
#[must_use]
pub fn grouped(digits: &str) -> String {
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A parsed TOML file with the problems found in it so far.
pub struct Document<'i> {
    file: String,
    line_starts: Vec<usize>,
    root: Spanned<DeTable<'i>>,
    problems: RefCell<Problems>,
}

impl<'i> Document<'i> {
    /// Parses `text`; `file` is the name that problems will carry.
    ///
    /// # Errors
    /// Every syntax error, with its line.
    pub fn parse(file: &str, text: &'i str) -> Result<Self, Problems> {
        let line_starts: Vec<usize> =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Self { file: file.to_owned(), line_starts, root, problems: RefCell::default() };
        for error in &errors {
            let line = error.span().map(|span| document.line_at(span.start));
            document.report(line, error.message().to_owned());
        }
        if errors.is_empty() { Ok(document) } else { Err(document.problems.into_inner()) }
    }

    /// The outermost table.
    pub fn root(&self) -> Table<'_, 'i> {
        Table::new(self, self.root.get_ref(), 0..0, String::new())
    }

    /// Records a problem of the whole file, or of the line that is named.
    pub fn report(&self, line: Option<usize>, message: String) {
        self.problems.borrow_mut().push(self.file.clone(), line, message);
    }

    /// `value` if the file was sound.
    ///
    /// # Errors
    /// All problems found while reading.
    pub fn finish<T>(self, value: T) -> Result<T, Problems> {
        self.problems.into_inner().into_result(value)
    }

    /// Whether nothing was wrong so far.
    pub fn is_sound(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    fn line_at(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }
}

/// A table of a [`Document`]: asks for values by key and remembers which keys were asked for.
pub struct Table<'d, 'i> {
    document: &'d Document<'i>,
    entries: &'d DeTable<'i>,
    span: Range<usize>,
    /// What a person would call this table (``offer `travel_gold` ``); begins each message.
    label: RefCell<String>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'d, 'i> Table<'d, 'i> {
    fn new(document: &'d Document<'i>, entries: &'d DeTable<'i>, span: Range<usize>, label: String) -> Self {
        Self { document, entries, span, label: RefCell::new(label), asked: RefCell::default() }
    }

    /// Names the table in all later messages.
    pub fn label(&self, label: impl Into<String>) {
        *self.label.borrow_mut() = label.into();
    }

    /// The value of `key`; a missing key is a problem, and the type's default stands in for it.
    pub fn required<T: FromToml + Default>(&self, key: &str) -> T {
        if self.raw(key).is_none() {
            self.asked.borrow_mut().insert(key.to_owned());
            self.problem(format!("`{key}` is missing; give it {}", T::EXPECTED));
            return T::default();
        }
        self.optional(key).unwrap_or_default()
    }

    /// The value of `key`, if it is there and of the right type.
    pub fn optional<T: FromToml>(&self, key: &str) -> Option<T> {
        self.asked.borrow_mut().insert(key.to_owned());
        let value = self.raw(key)?;
        let read = T::from_toml(value.get_ref());
        if read.is_none() {
            let found = describe(value.get_ref());
            self.problem_at(key, format!("`{key}` must be {}, not {found}", T::EXPECTED));
        }
        read
    }

    /// The value of `key`, or `default` where it is absent.
    pub fn or<T: FromToml>(&self, key: &str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// One of a fixed set of words, or a problem that lists them; `None` where the key is absent.
    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let word = self.optional::<String>(key)?;
        let found = choices.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let hint = suggestion(&word, names.iter().copied());
            self.problem_at(key, format!("`{key}` must be one of {}, not {word:?}{hint}", names.join(", ")));
        }
        found
    }

    /// The table under `key`.
    pub fn table(&self, key: &str) -> Option<Table<'d, 'i>> {
        self.asked.borrow_mut().insert(key.to_owned());
        let value = self.raw(key)?;
        let DeValue::Table(entries) = value.get_ref() else {
            self.problem_at(key, format!("`{key}` must be a table ([{key}])"));
            return None;
        };
        let label = self.nested_label(key);
        Some(Table::new(self.document, entries, value.span(), label))
    }

    /// The array of tables under `key` (`[[key]]`), empty where it is absent.
    pub fn tables(&self, key: &str) -> Vec<Table<'d, 'i>> {
        self.asked.borrow_mut().insert(key.to_owned());
        let Some(value) = self.raw(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.problem_at(key, format!("`{key}` must be an array of tables ([[{key}]])"));
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref() {
                DeValue::Table(entries) => {
                    let label = self.nested_label(key);
                    tables.push(Table::new(self.document, entries, item.span(), label));
                }
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => {
                    self.problem_at(key, format!("`{key}` must be an array of tables ([[{key}]])"));
                }
            }
        }
        tables
    }

    /// The keys of the table in alphabetical order, for tables whose keys are data; none of them is unknown then.
    pub fn keys(&self) -> Vec<String> {
        let keys: Vec<String> = self.entries.iter().map(|(key, _)| key.get_ref().to_string()).collect();
        self.asked.borrow_mut().extend(keys.iter().cloned());
        keys
    }

    /// Whether `key` is there; it counts as asked for.
    pub fn has(&self, key: &str) -> bool {
        self.asked.borrow_mut().insert(key.to_owned());
        self.raw(key).is_some()
    }

    /// The line of `key`'s value, or of the table where the key is absent.
    pub fn line(&self, key: &str) -> usize {
        self.document.line_at(self.raw(key).map_or(self.span.start, |value| value.span().start))
    }

    /// The line where the table begins.
    pub fn first_line(&self) -> usize {
        self.document.line_at(self.span.start)
    }

    /// Records a problem with `key`, on its line.
    pub fn problem_at(&self, key: &str, message: impl fmt::Display) {
        self.document.report(Some(self.line(key)), self.labelled(&message));
    }

    /// Records a problem with the table as a whole.
    pub fn problem(&self, message: impl fmt::Display) {
        self.document.report(Some(self.first_line()), self.labelled(&message));
    }

    /// Reports every key that nobody asked for. Call it last.
    pub fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, value) in self.entries.iter().filter(|(key, _)| !asked.contains(key.get_ref().as_ref())) {
            let name = key.get_ref();
            let hint = suggestion(name, asked.iter().map(String::as_str));
            let known: Vec<&str> = asked.iter().map(String::as_str).collect();
            let hint = if hint.is_empty() { format!("; known here: {}", known.join(", ")) } else { hint };
            let line = self.document.line_at(value.span().start.min(key.span().start));
            self.document.report(Some(line), self.labelled(&format!("unknown key `{name}`{hint}")));
        }
    }

    fn raw(&self, key: &str) -> Option<&'d Spanned<DeValue<'i>>> {
        self.entries.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn nested_label(&self, key: &str) -> String {
        let label = self.label.borrow();
        if label.is_empty() { format!("[{key}]") } else { format!("{label} [{key}]") }
    }

    fn labelled(&self, message: &dyn fmt::Display) -> String {
        let label = self.label.borrow();
        if label.is_empty() { message.to_string() } else { format!("{label}: {message}") }
    }
}

/// A type that a TOML value can be read as.
pub trait FromToml: Sized {
    /// What a message says was expected, with its article.
    const EXPECTED: &'static str;
    /// The value, or `None` when it is of another type or out of range.
    fn from_toml(value: &DeValue<'_>) -> Option<Self>;
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let DeValue::Integer(number) = value else { return None };
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

impl FromToml for String {
    const EXPECTED: &'static str = "a string";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl FromToml for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
}

impl FromToml for i64 {
    const EXPECTED: &'static str = "a whole number";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        integer(value)
    }
}

impl FromToml for u32 {
    const EXPECTED: &'static str = "a whole number of at least 0";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        integer(value).and_then(|number| u32::try_from(number).ok())
    }
}

impl FromToml for u64 {
    const EXPECTED: &'static str = "a whole number of at least 0";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        integer(value).and_then(|number| u64::try_from(number).ok())
    }
}

impl FromToml for usize {
    const EXPECTED: &'static str = "a whole number of at least 0";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        integer(value).and_then(|number| usize::try_from(number).ok())
    }
}

impl FromToml for f64 {
    const EXPECTED: &'static str = "a finite number";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let number: f64 = match value {
            DeValue::Float(number) => number.as_str().replace('_', "").parse().ok()?,
            DeValue::Integer(_) => integer(value)? as f64,
            DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => return None,
        };
        number.is_finite().then_some(number)
    }
}

impl<T: FromToml> FromToml for Vec<T> {
    const EXPECTED: &'static str = "a list, each item of the right type";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_array()?.iter().map(|item| T::from_toml(item.get_ref())).collect()
    }
}

/// A date or a date and time as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenTime {
    /// With an offset: one moment everywhere.
    Moment(DateTime<Utc>),
    /// Without: which moment it is, a time zone says. A date is its midnight.
    Local(NaiveDateTime),
}

impl FromToml for WrittenTime {
    const EXPECTED: &'static str = "a date or a date and time (2026-01-31 or 2026-01-31T08:00:00Z)";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let DeValue::Datetime(written) = value else { return None };
        let date = written.date?;
        let date = NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())?;
        let time = match written.time {
            Some(time) => NaiveTime::from_hms_nano_opt(
                time.hour.into(),
                time.minute.into(),
                time.second.unwrap_or(0).into(),
                time.nanosecond.unwrap_or(0),
            )?,
            None => NaiveTime::MIN,
        };
        let local = NaiveDateTime::new(date, time);
        let seconds = match written.offset {
            Some(toml::value::Offset::Custom { minutes }) => i32::from(minutes) * 60,
            Some(toml::value::Offset::Z) => 0,
            None => return Some(Self::Local(local)),
        };
        let moment = local.and_local_timezone(FixedOffset::east_opt(seconds)?).single()?;
        Some(Self::Moment(moment.with_timezone(&Utc)))
    }
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {text:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(truth) => format!("{truth}"),
        DeValue::Datetime(moment) => format!("the date {moment}"),
        DeValue::Array(_) => "such a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, f64, Option<i64>), Problems> {
        let document = Document::parse("x.toml", text)?;
        let root = document.root();
        let value = (root.required("id"), root.or("value", 1.5), root.optional("count"));
        root.finish();
        document.finish(value)
    }

    #[test]
    fn a_sound_file_is_read() {
        assert_eq!(read("id = 'a'\nvalue = 2\ncount = 3").unwrap(), ("a".to_owned(), 2.0, Some(3)));
        assert_eq!(read("id = 'a'").unwrap(), ("a".to_owned(), 1.5, None));
    }

    #[test]
    fn every_problem_is_reported_with_its_line() {
        let problems = read("value = 'x'\n\nconut = 3\ncount = 1.5").unwrap_err();
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(
            lines,
            [
                "x.toml:1: `id` is missing; give it a string",
                "x.toml:1: `value` must be a finite number, not the string \"x\"",
                "x.toml:3: unknown key `conut`; did you mean `count`?",
                "x.toml:4: `count` must be a whole number, not the number 1.5",
            ]
        );
    }

    #[test]
    fn syntax_errors_name_their_lines() {
        let problems = read("id = 'a'\nvalue = = 3\n").unwrap_err();
        assert_eq!(problems.iter().next().unwrap().line, Some(2));
    }

    #[test]
    fn a_date_is_a_local_midnight_and_an_offset_makes_a_moment() {
        let document = Document::parse("x.toml", "a = 2026-01-31\nb = 2026-01-31T08:00:00+01:00").unwrap();
        let root = document.root();
        let WrittenTime::Local(local) = root.optional("a").unwrap() else { panic!("an offset") };
        assert_eq!(local.to_string(), "2026-01-31 00:00:00");
        let WrittenTime::Moment(moment) = root.optional("b").unwrap() else { panic!("no offset") };
        assert_eq!(moment.to_rfc3339(), "2026-01-31T07:00:00+00:00");
    }

    #[test]
    fn infinity_is_not_a_number_a_person_means() {
        let problems = read("id = 'a'\nvalue = inf").unwrap_err();
        assert!(problems.to_string().contains("finite"), "{problems}");
    }
}
