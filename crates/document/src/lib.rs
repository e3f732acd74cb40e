//! Reads TOML files that people edit, and reports every problem at once, each with file, line and remedy.
//!
//! `serde` stops at the first mistake, which is too slow for an editor of forty offers. A [`Document`] is parsed
//! once, and its [`Table`]s are asked for typed values. [`Problems`] collects every missing key, wrong type and
//! unknown key. A reader asks for all values first and looks at the problems afterwards. A type's default replaces an
//! invalid value until then, and never leaves the reader.
//!
//! Memory is bounded for any input. `document/size.rs` estimates it before parsing, and `document/problems.rs` keeps
//! only the first problems.
//!
//! This crate depends on no other crate of the workspace. Start reading at [`Document::parse`].

mod lines;
mod problems;
pub mod settings;
mod size;
#[cfg(test)]
mod tests;
mod words;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use self::problems::{MAX_PROBLEMS, Problem, Problems, closest, suggestion};
pub use self::words::{agreeing, grouped, noun, plural};

use self::lines::Lines;

/// Texts up to this length report every syntax error, longer ones only the first: a pending error takes some hundred
/// bytes.
const RECOVERED_BYTES: usize = 256 << 10;

/// A parsed TOML file with the problems found in it so far.
pub struct Document<'i> {
    file: String,
    lines: Lines<'i>,
    root: Spanned<DeTable<'i>>,
    problems: RefCell<Problems>,
}

impl<'i> Document<'i> {
    /// Parses `text`. Problems carry `file` as the file's name.
    ///
    /// # Errors
    /// Returns a problem if the text would take too much memory. Otherwise it returns every syntax error with its
    /// line, or only the first if the text is longer than [`RECOVERED_BYTES`].
    pub fn parse(file: &str, text: &'i str) -> Result<Self, Problems> {
        size::check(text).map_err(|message| Problems::one(file, None, message))?;
        let lines = Lines::of(text);
        let (root, errors) = if text.len() <= RECOVERED_BYTES {
            DeTable::parse_recoverable(text)
        } else {
            match DeTable::parse(text) {
                Ok(root) => (root, Vec::new()),
                Err(error) => (Spanned::new(0..0, DeTable::new()), vec![error]),
            }
        };
        let document = Self { file: file.to_owned(), lines, root, problems: RefCell::default() };
        for error in &errors {
            let line = error.span().map(|span| document.line_at(span.start));
            document.report(line, || error.message().to_owned());
        }
        if errors.is_empty() { Ok(document) } else { Err(document.problems.into_inner()) }
    }

    /// The root table.
    pub fn root(&self) -> Table<'_, 'i> {
        Table::new(self, self.root.get_ref(), 0..0, String::new())
    }

    /// Records a problem of `line`, or of the whole file. The message is made only if the problem is kept.
    pub fn report(&self, line: Option<usize>, message: impl FnOnce() -> String) {
        self.problems.borrow_mut().push_with(&self.file, line, message);
    }

    /// `value` if no problem was found.
    ///
    /// # Errors
    /// All problems found while reading.
    pub fn finish<T>(self, value: T) -> Result<T, Problems> {
        self.problems.into_inner().into_result(value)
    }

    /// Whether no problem was found so far.
    pub fn is_valid(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    fn line_at(&self, offset: usize) -> usize {
        self.lines.number_at(offset)
    }
}

/// A table of a [`Document`]: asks for values by key and remembers which keys were asked for.
pub struct Table<'d, 'i> {
    document: &'d Document<'i>,
    entries: &'d DeTable<'i>,
    span: Range<usize>,
    /// The table's name in messages, in the editor's words (``offer `travel_gold` ``). Each message begins with it.
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

    /// The value of `key`. A missing key is a problem, and the type's default replaces it.
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

    /// The value of `key`, or `default` if the key is absent.
    pub fn or<T: FromToml>(&self, key: &str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// One word of a fixed set, or a problem that lists them. `None` if the key is absent.
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

    /// The array of tables under `key` (`[[key]]`), empty if the key is absent.
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

    /// The keys in alphabetical order, for a table whose keys are data. All of them count as known.
    pub fn keys(&self) -> Vec<String> {
        let keys: Vec<String> = self.entries.iter().map(|(key, _)| key.get_ref().to_string()).collect();
        self.asked.borrow_mut().extend(keys.iter().cloned());
        keys
    }

    /// Whether `key` is present. The key counts as known.
    pub fn has(&self, key: &str) -> bool {
        self.asked.borrow_mut().insert(key.to_owned());
        self.raw(key).is_some()
    }

    /// Whether there is a table under `key`.
    pub(crate) fn has_table(&self, key: &str) -> bool {
        self.raw(key).is_some_and(|value| matches!(value.get_ref(), DeValue::Table(_)))
    }

    /// The line of the value of `key`, or of the table if the key is absent.
    pub fn line(&self, key: &str) -> usize {
        self.document.line_at(self.raw(key).map_or(self.span.start, |value| value.span().start))
    }

    /// The line where the table begins.
    pub fn first_line(&self) -> usize {
        self.document.line_at(self.span.start)
    }

    /// Records a problem with `key`, on its line.
    pub fn problem_at(&self, key: &str, message: impl fmt::Display) {
        self.document.report(Some(self.line(key)), || self.labelled(&message));
    }

    /// Records a problem with the table as a whole.
    pub fn problem(&self, message: impl fmt::Display) {
        self.document.report(Some(self.first_line()), || self.labelled(&message));
    }

    /// Reports every key that was not asked for. Call it last.
    pub fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, value) in self.entries.iter().filter(|(key, _)| !asked.contains(key.get_ref().as_ref())) {
            let line = self.document.line_at(value.span().start.min(key.span().start));
            self.document.report(Some(line), || {
                let name = key.get_ref();
                let hint = suggestion(name, asked.iter().map(String::as_str));
                let known: Vec<&str> = asked.iter().map(String::as_str).collect();
                let hint = if hint.is_empty() { format!("; known here: {}", known.join(", ")) } else { hint };
                self.labelled(&format!("unknown key `{name}`{hint}"))
            });
        }
    }

    fn raw(&self, key: &str) -> Option<&'d Spanned<DeValue<'i>>> {
        self.entries.get(key)
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
    /// The description of the type in messages, with its article.
    const EXPECTED: &'static str;
    /// The value, or `None` if it has another type or is out of range.
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

/// For values such as two quantiles.
impl FromToml for [f64; 2] {
    const EXPECTED: &'static str = "two finite numbers";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Vec::from_toml(value)?.try_into().ok()
    }
}

/// A date, or a date and time, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenTime {
    /// With an offset: one moment in every time zone.
    Moment(DateTime<Utc>),
    /// Without an offset: the time zone of the reader decides the moment. A date means its midnight.
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
