//! Reads a column and then determines its type: numbers, yes/no, an encoded text, or an error.
//!
//! The type is known only at the end, so nothing is refused before.
//! A text among numbers is an error in its line; a column of texts must be left out or encoded.

#[cfg(test)]
mod tests;

use super::cell::{Cell, MissingWords, classify};
use super::distinct::{DistinctNumbers, DistinctTexts};
use super::facts::{ColumnFacts, Kind};
use super::one_hot::MAX_VALUES;
use super::suspect::{ColumnCounts, Suspect, Verdict, no_name};
use table::{INFINITE, Marks, NOT_UTF8, advice};

/// A column that begins with this many numbers is a column of numbers, even if more texts follow.
const BEGINS_WITH_NUMBERS: u64 = 100;

/// Maximum letters of a text in a message.
const SHOWN_LETTERS: usize = 40;

/// A column being read.
#[derive(Debug)]
pub(super) struct ColumnReader {
    /// Its position in the file.
    pub(super) position: usize,
    pub(super) name: String,
    /// Whether its texts are encoded.
    pub(super) one_hot: bool,
    /// The values of the current block: numbers or codes of texts, and NaN for a missing or unusable value.
    pub(super) block: Vec<f32>,
    /// Whether there is no id column, so that this may be it.
    may_be_id: bool,
    missing: u64,
    /// Numbers, including unusable ones.
    numbers: u64,
    /// Texts, including `yes` and `no`.
    texts: u64,
    /// Occurrences of `yes`, `no`, `true` and `false`.
    truths: u64,
    numbers_before_texts: u64,
    distinct_numbers: DistinctNumbers,
    distinct_texts: DistinctTexts,
    /// The first value that is not a usable number.
    first_bad: Option<BadValue>,
    /// The first row that is not UTF-8.
    not_utf8: Option<u64>,
    /// The separators in its numbers.
    pub(super) marks: Marks,
    /// The check for columns that are not features, if it applies.
    pub(super) suspect: Option<Suspect>,
}

#[derive(Debug)]
struct BadValue {
    row: u64,
    reason: BadReason,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadReason {
    Infinite,
    Comma,
    Text,
}

/// The type of a usable column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ColumnType {
    /// Numbers, or 1 and 0 for yes and no.
    Numbers(Kind),
    /// Codes of texts; holds the texts in order with their codes.
    Texts(Vec<(String, usize)>),
    /// Not a feature, with the reason.
    LeftOut(String),
}

/// Why a column is unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnError {
    /// The first row with the problem, from 0; `None` if the whole column is the problem.
    pub(super) row: Option<u64>,
    pub(super) message: String,
}

impl ColumnReader {
    pub(super) fn new(position: usize, name: String, one_hot: bool, may_be_id: bool) -> Self {
        Self {
            position,
            name,
            one_hot,
            block: Vec::new(),
            may_be_id,
            missing: 0,
            numbers: 0,
            texts: 0,
            truths: 0,
            numbers_before_texts: 0,
            distinct_numbers: DistinctNumbers::default(),
            distinct_texts: DistinctTexts::default(),
            first_bad: None,
            not_utf8: None,
            marks: Marks::default(),
            suspect: None,
        }
    }

    /// Reads a text field of a row, counted from 0.
    pub(super) fn read_field(&mut self, row: u64, field: &[u8], words: &MissingWords) {
        let value = match classify(field, words) {
            Cell::Nothing(text) if self.one_hot => self.take_bad(row, BadReason::Text, text),
            Cell::Missing | Cell::Nothing(_) => self.take_missing(),
            Cell::NotUtf8 => {
                self.not_utf8.get_or_insert(row);
                f32::NAN
            }
            Cell::Number(_) if self.one_hot => {
                // A number among encoded texts is a text.
                self.numbers += 1;
                self.code(str::from_utf8(field).unwrap_or_default().trim())
            }
            Cell::Number(value) => {
                if self.marks.is_enabled() {
                    self.marks.observe(row, str::from_utf8(field).unwrap_or_default().trim());
                }
                if let Some(suspect) = &mut self.suspect {
                    let text = str::from_utf8(field).unwrap_or_default().trim();
                    suspect.observe(row, text.parse().unwrap_or_else(|_| f64::from(value)));
                }
                self.take_number(value)
            }
            Cell::Infinite(text) => self.take_bad(row, BadReason::Infinite, text),
            Cell::Comma(text) => self.take_bad(row, BadReason::Comma, text),
            Cell::Text(text) => self.take_bad(row, BadReason::Text, text),
            Cell::Truth(truth, text) => {
                self.truths += 1;
                let code = self.take_bad(row, BadReason::Text, text);
                if self.one_hot { code } else { f32::from(u8::from(truth)) }
            }
        };
        self.block.push(value);
    }

    /// Observes a stored number of a row, counted from 0, before it is rounded to 32 bits.
    pub(super) fn observe(&mut self, row: u64, number: f64, words: &MissingWords) {
        if let Some(suspect) = &mut self.suspect
            && number.is_finite()
            && !words.has_number(number as f32)
        {
            suspect.observe(row, number);
        }
    }

    /// Reads a stored number of a row, counted from 0.
    pub(super) fn read_number(&mut self, row: u64, number: f64, words: &MissingWords) {
        let value = number as f32;
        let value = if value.is_nan() || words.has_number(value) {
            self.take_missing()
        } else if value.is_finite() {
            self.take_number(value)
        } else {
            self.take_bad(row, BadReason::Infinite, &number.to_string())
        };
        self.block.push(value);
    }

    /// Reads a stored boolean.
    pub(super) fn read_truth(&mut self, row: u64, truth: bool) {
        self.read_field(row, if truth { b"true" } else { b"false" }, &MissingWords::default());
    }

    /// Reads a row without a value.
    pub(super) fn read_missing(&mut self) {
        let value = self.take_missing();
        self.block.push(value);
    }

    /// Skips a malformed row, which is reported elsewhere.
    pub(super) fn skip(&mut self) {
        self.block.push(f32::NAN);
    }

    fn take_missing(&mut self) -> f32 {
        self.missing += 1;
        f32::NAN
    }

    fn take_number(&mut self, value: f32) -> f32 {
        self.numbers += 1;
        self.distinct_numbers.add(value);
        value
    }

    fn take_bad(&mut self, row: u64, reason: BadReason, text: &str) -> f32 {
        if self.first_bad.is_none() {
            self.first_bad = Some(BadValue { row, reason, text: text.to_owned() });
        }
        if reason != BadReason::Text && !self.one_hot {
            self.numbers += 1;
            return f32::NAN;
        }
        if self.texts == 0 {
            self.numbers_before_texts = self.numbers;
        }
        self.texts += 1;
        self.code(text)
    }

    fn code(&mut self, text: &str) -> f32 {
        self.distinct_texts.add(text).map_or(f32::NAN, |code| code as f32)
    }

    /// The type of the column, after all rows are read.
    pub(super) fn column_type(&self) -> Result<ColumnType, ColumnError> {
        let refused = |row, message: String| Err(ColumnError { row, message });
        if self.not_utf8.is_some() {
            return refused(self.not_utf8, format!("the text {NOT_UTF8}"));
        }
        if self.one_hot {
            return self.text_type().map_err(|message| ColumnError { row: None, message });
        }
        let known = self.numbers + self.texts;
        match &self.first_bad {
            None => self.number_type().map_err(|message| ColumnError { row: None, message }),
            Some(_) if self.name.is_empty() => refused(None, no_name(&self.name)),
            Some(_) if self.truths == known => Ok(ColumnType::Numbers(Kind::YesNo)),
            Some(bad) if self.texts > self.numbers && self.numbers_before_texts < BEGINS_WITH_NUMBERS => {
                refused(None, self.advice(bad))
            }
            Some(bad) => refused(Some(bad.row), self.bad_value(bad, known)),
        }
    }

    fn number_type(&self) -> Result<ColumnType, String> {
        let verdict = self.suspect.as_ref().map(|suspect| suspect.verdict(&self.name, self.known()));
        match verdict.unwrap_or(Verdict::Fine) {
            Verdict::Fine | Verdict::Warned(_) => Ok(ColumnType::Numbers(Kind::Number)),
            Verdict::LeftOut(why) => Ok(ColumnType::LeftOut(why)),
            Verdict::Refused(message) => Err(message),
        }
    }

    fn known(&self) -> ColumnCounts {
        let (numbers, missing, may_be_id) = (self.numbers, self.missing, self.may_be_id);
        ColumnCounts { numbers, missing, distinct: self.distinct_numbers.len(), may_be_id }
    }

    /// The reason to leave out a column that is used.
    fn warning(&self, column_type: &ColumnType) -> Option<String> {
        let suspect = self.suspect.as_ref()?;
        let verdict = match column_type {
            ColumnType::Numbers(Kind::YesNo) => suspect.label(&self.name, self.truths_seen()),
            ColumnType::Numbers(_) => suspect.verdict(&self.name, self.known()),
            ColumnType::Texts(texts) => suspect.label(&self.name, texts.len()),
            ColumnType::LeftOut(_) => Verdict::Fine,
        };
        match verdict {
            Verdict::Warned(why) => Some(why),
            Verdict::Fine | Verdict::LeftOut(_) | Verdict::Refused(_) => None,
        }
    }

    fn text_type(&self) -> Result<ColumnType, String> {
        let drop = format!("leave it out with --drop {}", argument(&self.name));
        if self.numbers + self.texts == 0 {
            return Err(format!("no row has a value; {drop}"));
        }
        if self.texts == 0 {
            return Err("has only numbers, which need no encoding; do not encode it".to_owned());
        }
        if self.distinct_texts.len() > MAX_VALUES {
            let distinct = self.distinct();
            return Err(format!(
                "has {distinct} distinct values, but at most {MAX_VALUES} can be encoded; {drop}, or group its values"
            ));
        }
        let sorted = self.distinct_texts.sorted();
        Ok(ColumnType::Texts(sorted.into_iter().map(|(text, code)| (text.to_owned(), code)).collect()))
    }

    /// The advice for a column of texts.
    fn advice(&self, first: &BadValue) -> String {
        let (name, distinct) = (argument(&self.name), self.distinct());
        let mut message = format!(
            "is text ({distinct} distinct values, such as {:?}); leave it out with --drop {name}",
            shown(&first.text)
        );
        if self.distinct_texts.len() + self.distinct_numbers.len() <= MAX_VALUES {
            message.extend([", or encode it with --one-hot ", &name]);
        }
        let all_differ = self.distinct_texts.beyond() || self.distinct_texts.len() as u64 == self.texts;
        if self.may_be_id && all_differ && self.texts > 1 {
            message.extend([", or use --id ", &name, " if it identifies the customers"]);
        }
        if let Some(word) = self.only_word_beside_yes_and_no() {
            message.extend([", or use --missing ", &argument(word), " if that means a missing value"]);
        }
        message
    }

    /// The only word of a yes/no column that is neither yes nor no: it often means a missing value.
    fn only_word_beside_yes_and_no(&self) -> Option<&str> {
        if self.truths == 0 || self.numbers > 0 || self.distinct_texts.len() > 5 {
            return None;
        }
        let words = self.distinct_texts.sorted().into_iter().map(|(word, _)| word);
        let is_truth =
            |word: &str| matches!(classify(word.as_bytes(), &MissingWords::default()), Cell::Truth(_, _));
        let mut others = words.filter(|word| !is_truth(word));
        others.next().filter(|_| others.next().is_none())
    }

    fn bad_value(&self, bad: &BadValue, known: u64) -> String {
        let text = shown(&bad.text);
        match bad.reason {
            BadReason::Infinite => {
                format!("{text:?} {INFINITE}")
            }
            BadReason::Comma => format!("{text:?} is not a number; {}", advice(&bad.text)),
            BadReason::Text => format!(
                "{text:?} is not a number, but {} of {known} values are; correct it, use --missing {} if it means a \
                 missing value, or leave the column out with --drop {}",
                self.numbers,
                argument(&text),
                argument(&self.name)
            ),
        }
    }

    fn distinct(&self) -> String {
        let beyond = self.distinct_numbers.beyond() || self.distinct_texts.beyond();
        let count = self.distinct_texts.len() + self.distinct_numbers.len();
        format!("{}{count}", if beyond { "more than " } else { "" })
    }

    /// The facts about a usable column.
    pub(super) fn facts(&self, column_type: &ColumnType) -> ColumnFacts {
        let numbers = (self.distinct_numbers.len(), self.distinct_numbers.beyond());
        let texts = (self.distinct_texts.len(), self.distinct_texts.beyond());
        let (kind, (distinct, distinct_bounded)) = match column_type {
            ColumnType::Numbers(kind) => {
                (*kind, if *kind == Kind::YesNo { (self.truths_seen(), false) } else { numbers })
            }
            ColumnType::Texts(_) => (Kind::Text, texts),
            ColumnType::LeftOut(_) => (Kind::NotRead, (0, false)),
        };
        let left_out = match column_type {
            ColumnType::LeftOut(why) => Some(why.clone()),
            ColumnType::Numbers(_) | ColumnType::Texts(_) => None,
        };
        ColumnFacts {
            name: self.name.clone(),
            kind,
            missing: self.missing,
            distinct: distinct as u64,
            distinct_bounded,
            left_out,
            warning: self.warning(column_type),
        }
    }

    /// How many of yes and no occur, in any spelling.
    fn truths_seen(&self) -> usize {
        let words = self.distinct_texts.sorted();
        let seen = |wanted: bool| {
            let words = words.iter().map(|(word, _)| classify(word.as_bytes(), &MissingWords::default()));
            usize::from(
                words.into_iter().any(|cell| matches!(cell, Cell::Truth(truth, _) if truth == wanted)),
            )
        };
        seen(true) + seen(false)
    }
}

/// The text as a shell argument.
pub(super) fn argument(text: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "_-.=".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    // A shell has no escape for a quote within single quotes.
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The text for a message, shortened if it is long.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
