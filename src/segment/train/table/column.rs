//! A column while it is read, and the judgement at its end: numbers, yes/no, an encoded text, or why it cannot be used.
//!
//! What a column is shows only at its end, so nothing is refused before: a text where numbers were is an error in its
//! line, a column of texts is a column to leave out or to encode.

#[cfg(test)]
mod tests;

use super::cell::{Cell, MissingWords, classify};
use super::distinct::{DistinctNumbers, DistinctTexts};
use super::facts::{ColumnFacts, Kind};
use super::one_hot::MOST_VALUES;
use super::suspect::{Known, Suspect, Verdict, no_name};
use crate::table::{INFINITE, Marks, NOT_UTF8, advice};

/// A column that begins with so many numbers is one of numbers, however many texts follow.
const BEGINS_WITH_NUMBERS: u64 = 100;

/// Letters of a text that a message shows.
const SHOWN_LETTERS: usize = 40;

/// A column that takes part, while it is read.
#[derive(Debug)]
pub(super) struct ColumnReader {
    /// Its position in the file.
    pub(super) position: usize,
    pub(super) name: String,
    /// Whether its texts are encoded.
    pub(super) one_hot: bool,
    /// The values of the rows read last: numbers, codes of texts, NaN where the value is missing or cannot be used.
    pub(super) block: Vec<f32>,
    /// Whether customers have no id column yet, so that this may be it.
    may_be_id: bool,
    missing: u64,
    /// Numbers, those included that cannot be used.
    numbers: u64,
    /// Texts, `yes` and `no` included.
    texts: u64,
    /// `yes`, `no`, `true`, `false`.
    truths: u64,
    numbers_before_texts: u64,
    distinct_numbers: DistinctNumbers,
    distinct_texts: DistinctTexts,
    /// The first value that is no usable number.
    first_bad: Option<Bad>,
    /// The first row that is not UTF-8.
    not_utf8: Option<u64>,
    /// How its numbers are written.
    pub(super) marks: Marks,
    /// Where it may be no feature at all.
    pub(super) suspect: Option<Suspect>,
}

#[derive(Debug)]
struct Bad {
    row: u64,
    why: Why,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Infinite,
    Comma,
    Text,
}

/// What a sound column is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    /// Its values are numbers, or 1 and 0 for yes and no.
    Numbers(Kind),
    /// Its values are codes: the texts in order, each with its code.
    Texts(Vec<(String, usize)>),
    /// It is no feature; why.
    LeftOut(String),
}

/// Why a column cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// The first row to blame, counted from 0; the header where it is the column as such.
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

    /// Reads a field of text of a row, counted from 0.
    pub(super) fn read_field(&mut self, row: u64, field: &[u8], words: &MissingWords) {
        let value = match classify(field, words) {
            Cell::Nothing(text) if self.one_hot => self.take_bad(row, Why::Text, text),
            Cell::Missing | Cell::Nothing(_) => self.take_missing(),
            Cell::NotUtf8 => {
                self.not_utf8.get_or_insert(row);
                f32::NAN
            }
            Cell::Number(_) if self.one_hot => {
                // Among texts it is one: as it is written.
                self.numbers += 1;
                self.code(str::from_utf8(field).unwrap_or_default().trim())
            }
            Cell::Number(value) => {
                if self.marks.is_on() {
                    self.marks.look(row, str::from_utf8(field).unwrap_or_default().trim());
                }
                if let Some(suspect) = &mut self.suspect {
                    let text = str::from_utf8(field).unwrap_or_default().trim();
                    suspect.look(row, text.parse().unwrap_or_else(|_| f64::from(value)));
                }
                self.take_number(value)
            }
            Cell::Infinite(text) => self.take_bad(row, Why::Infinite, text),
            Cell::Comma(text) => self.take_bad(row, Why::Comma, text),
            Cell::Text(text) => self.take_bad(row, Why::Text, text),
            Cell::Truth(truth, text) => {
                self.truths += 1;
                let code = self.take_bad(row, Why::Text, text);
                if self.one_hot { code } else { f32::from(u8::from(truth)) }
            }
        };
        self.block.push(value);
    }

    /// Looks at a number of a row, counted from 0, that is stored as such, before it is rounded to 32 bits.
    pub(super) fn look(&mut self, row: u64, number: f64, words: &MissingWords) {
        if let Some(suspect) = &mut self.suspect
            && number.is_finite()
            && !words.has_number(number as f32)
        {
            suspect.look(row, number);
        }
    }

    /// Takes a number of a row, counted from 0, that is stored as such.
    pub(super) fn read_number(&mut self, row: u64, number: f64, words: &MissingWords) {
        let value = number as f32;
        let value = if value.is_nan() || words.has_number(value) {
            self.take_missing()
        } else if value.is_finite() {
            self.take_number(value)
        } else {
            self.take_bad(row, Why::Infinite, &number.to_string())
        };
        self.block.push(value);
    }

    /// Takes a yes or no that is stored as such.
    pub(super) fn read_truth(&mut self, row: u64, truth: bool) {
        self.read_field(row, if truth { b"true" } else { b"false" }, &MissingWords::default());
    }

    /// Takes a row without a value.
    pub(super) fn read_missing(&mut self) {
        let value = self.take_missing();
        self.block.push(value);
    }

    /// Takes a row that cannot be read and is reported elsewhere.
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

    fn take_bad(&mut self, row: u64, why: Why, text: &str) -> f32 {
        if self.first_bad.is_none() {
            self.first_bad = Some(Bad { row, why, text: text.to_owned() });
        }
        if why != Why::Text && !self.one_hot {
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

    /// What the column is, once all rows are read.
    pub(super) fn judge(&self) -> Result<Judged, Refused> {
        let refused = |row, message: String| Err(Refused { row, message });
        if self.not_utf8.is_some() {
            return refused(self.not_utf8, format!("the text {NOT_UTF8}"));
        }
        if self.one_hot {
            return self.judge_texts().map_err(|message| Refused { row: None, message });
        }
        let known = self.numbers + self.texts;
        match &self.first_bad {
            None => self.judge_numbers().map_err(|message| Refused { row: None, message }),
            Some(_) if self.name.is_empty() => refused(None, no_name(&self.name)),
            Some(_) if self.truths == known => Ok(Judged::Numbers(Kind::YesNo)),
            Some(bad) if self.texts > self.numbers && self.numbers_before_texts < BEGINS_WITH_NUMBERS => {
                refused(None, self.advice(bad))
            }
            Some(bad) => refused(Some(bad.row), self.bad_value(bad, known)),
        }
    }

    fn judge_numbers(&self) -> Result<Judged, String> {
        let verdict = self.suspect.as_ref().map(|suspect| suspect.verdict(&self.name, self.known()));
        match verdict.unwrap_or(Verdict::Fine) {
            Verdict::Fine | Verdict::Warned(_) => Ok(Judged::Numbers(Kind::Number)),
            Verdict::LeftOut(why) => Ok(Judged::LeftOut(why)),
            Verdict::Refused(message) => Err(message),
        }
    }

    fn known(&self) -> Known {
        let (numbers, missing, may_be_id) = (self.numbers, self.missing, self.may_be_id);
        Known { numbers, missing, distinct: self.distinct_numbers.len(), may_be_id }
    }

    /// What speaks against it, although it takes part.
    fn warning(&self, judged: &Judged) -> Option<String> {
        let suspect = self.suspect.as_ref()?;
        let verdict = match judged {
            Judged::Numbers(Kind::YesNo) => suspect.label(&self.name, self.truths_seen()),
            Judged::Numbers(_) => suspect.verdict(&self.name, self.known()),
            Judged::Texts(texts) => suspect.label(&self.name, texts.len()),
            Judged::LeftOut(_) => Verdict::Fine,
        };
        match verdict {
            Verdict::Warned(why) => Some(why),
            Verdict::Fine | Verdict::LeftOut(_) | Verdict::Refused(_) => None,
        }
    }

    fn judge_texts(&self) -> Result<Judged, String> {
        let drop = format!("leave it out with --drop {}", argument(&self.name));
        if self.numbers + self.texts == 0 {
            return Err(format!("no row has a value; {drop}"));
        }
        if self.texts == 0 {
            return Err("holds only numbers, which take part as they are; do not encode it".to_owned());
        }
        if self.distinct_texts.len() > MOST_VALUES {
            let distinct = self.distinct();
            return Err(format!(
                "{distinct} different values, but at most {MOST_VALUES} can be encoded; {drop}, or group its values"
            ));
        }
        let sorted = self.distinct_texts.sorted();
        Ok(Judged::Texts(sorted.into_iter().map(|(text, code)| (text.to_owned(), code)).collect()))
    }

    /// What to do about a column of texts.
    fn advice(&self, first: &Bad) -> String {
        let (name, distinct) = (argument(&self.name), self.distinct());
        let mut message = format!(
            "is text ({distinct} different values, such as {:?}); leave it out with --drop {name}",
            shown(&first.text)
        );
        if self.distinct_texts.len() + self.distinct_numbers.len() <= MOST_VALUES {
            message.extend([", or encode it with --one-hot ", &name]);
        }
        let all_differ = self.distinct_texts.beyond() || self.distinct_texts.len() as u64 == self.texts;
        if self.may_be_id && all_differ && self.texts > 1 {
            message.extend([", or say --id ", &name, " if it names the customers"]);
        }
        if let Some(word) = self.only_word_beside_yes_and_no() {
            message.extend([", or say --missing ", &argument(word), " if that stands for a missing value"]);
        }
        message
    }

    /// Where a column is yes/no but for one word, that word: often it says that the answer is not known.
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

    fn bad_value(&self, bad: &Bad, known: u64) -> String {
        let text = shown(&bad.text);
        match bad.why {
            Why::Infinite => {
                format!("{text:?} {INFINITE}")
            }
            Why::Comma => format!("{text:?} is not a number; {}", advice(&bad.text)),
            Why::Text => format!(
                "{text:?} is not a number, but {} of {known} values are; correct it, say --missing {} if it stands for \
                 a missing value, or leave the column out with --drop {}",
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

    /// What the first table shows of a sound column.
    pub(super) fn facts(&self, judged: &Judged) -> ColumnFacts {
        let numbers = (self.distinct_numbers.len(), self.distinct_numbers.beyond());
        let texts = (self.distinct_texts.len(), self.distinct_texts.beyond());
        let (kind, (distinct, distinct_bounded)) = match judged {
            Judged::Numbers(kind) => {
                (*kind, if *kind == Kind::YesNo { (self.truths_seen(), false) } else { numbers })
            }
            Judged::Texts(_) => (Kind::Text, texts),
            Judged::LeftOut(_) => (Kind::NotRead, (0, false)),
        };
        let left_out = match judged {
            Judged::LeftOut(why) => Some(why.clone()),
            Judged::Numbers(_) | Judged::Texts(_) => None,
        };
        ColumnFacts {
            name: self.name.clone(),
            kind,
            missing: self.missing,
            distinct: distinct as u64,
            distinct_bounded,
            left_out,
            warning: self.warning(judged),
        }
    }

    /// How many of yes and no occur, however they are written.
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

/// The text as an argument of a command.
pub(super) fn argument(text: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "_-.=".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    // A shell knows no quote within quotes.
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The beginning of a text.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
