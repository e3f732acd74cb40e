//! Problems found in a file, in bounded memory: the first are kept, the others are counted.

use std::fmt;

use super::words::grouped;

/// The most problems that one reading keeps. A text of megabytes can have millions of them, and no reader needs more.
pub const MAX_PROBLEMS: usize = 1_000;

/// The most bytes of a message. A message that quotes a longer name or value is cut here.
const MESSAGE_BYTES: usize = 2_000;

/// The most bytes of a name for which another is suggested. The comparison takes memory of both lengths multiplied.
const COMPARED_BYTES: usize = 128;

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, by the name its editor knows it by (`offers.toml`).
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

/// The problems of one reading in the order of files and lines. At most [`MAX_PROBLEMS`] are kept; the others are
/// counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    /// Problems that were counted and not kept.
    others: u64,
}

impl Problems {
    /// No problems yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A single problem, for a caller that stops at the first.
    #[must_use]
    pub fn one(file: impl Into<String>, line: Option<usize>, message: impl Into<String>) -> Self {
        let mut problems = Self::new();
        problems.push(file, line, message);
        problems
    }

    /// Records one problem.
    pub fn push(&mut self, file: impl Into<String>, line: Option<usize>, message: impl Into<String>) {
        if self.kept.len() < MAX_PROBLEMS {
            self.kept.push(Problem { file: file.into(), line, message: bounded(message.into()) });
        } else {
            self.others += 1;
        }
    }

    /// Records one problem. Its message is made only if the problem is kept.
    pub fn push_with(&mut self, file: &str, line: Option<usize>, message: impl FnOnce() -> String) {
        if self.kept.len() < MAX_PROBLEMS {
            self.push(file, line, message());
        } else {
            self.others += 1;
        }
    }

    /// Adds the problems of another part.
    pub fn extend(&mut self, other: Problems) {
        let room = MAX_PROBLEMS.saturating_sub(self.kept.len());
        self.others += other.others + other.kept.len().saturating_sub(room) as u64;
        self.kept.extend(other.kept.into_iter().take(room));
    }

    /// Whether no problem was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.others == 0
    }

    /// The number of problems, including those that are not kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len() + usize::try_from(self.others).unwrap_or(usize::MAX - MAX_PROBLEMS)
    }

    /// The kept problems, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.kept.iter()
    }

    /// `value` if no problem was found, else the problems, sorted by file and line.
    ///
    /// # Errors
    /// All problems that were recorded.
    pub fn into_result<T>(self, value: T) -> Result<T, Problems> {
        if self.is_empty() {
            return Ok(value);
        }
        Err(self.sorted())
    }

    /// The problems in the order of files and lines, each once.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.kept.sort();
        self.kept.dedup();
        self
    }

    /// The value of a part that was read well; the problems of any other are added here.
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
        for (index, problem) in self.kept.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        match self.others {
            0 => Ok(()),
            1 => f.write_str("\nand 1 more problem"),
            others => write!(f, "\nand {} more problems", grouped(&others.to_string())),
        }
    }
}

impl std::error::Error for Problems {}

/// The message, cut at [`MESSAGE_BYTES`].
fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
        message.push('…');
        message.shrink_to_fit();
    }
    message
}

/// The candidate that a mistyped `name` most likely means, if one is close enough.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > COMPARED_BYTES {
        return None;
    }
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= COMPARED_BYTES)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn many(count: usize) -> Problems {
        let mut problems = Problems::new();
        for line in 1..=count {
            problems.push("x.toml", Some(line), "is wrong");
        }
        problems
    }

    #[test]
    fn a_thousand_problems_are_kept_and_the_others_are_counted() {
        assert_eq!(many(MAX_PROBLEMS).len(), MAX_PROBLEMS);
        let problems = many(MAX_PROBLEMS + 2_345);
        assert_eq!((problems.len(), problems.iter().count()), (MAX_PROBLEMS + 2_345, MAX_PROBLEMS));
        assert!(problems.to_string().ends_with("\nx.toml:1000: is wrong\nand 2,345 more problems"));
        let mut both = many(MAX_PROBLEMS - 1);
        both.extend(problems);
        assert_eq!((both.len(), both.iter().count()), (2 * MAX_PROBLEMS + 2_344, MAX_PROBLEMS));
        assert!(both.into_result(()).is_err());
    }

    #[test]
    fn messages_that_are_not_kept_are_not_made() {
        let (mut problems, mut made) = (many(MAX_PROBLEMS - 1), 0);
        for _ in 0..3 {
            problems.push_with("x.toml", None, || {
                made += 1;
                String::new()
            });
        }
        assert_eq!((made, problems.len()), (1, MAX_PROBLEMS + 2));
    }

    #[test]
    fn a_message_is_cut_where_it_is_endless() {
        let problems = Problems::one("x", None, "é".repeat(1_000_000));
        let message = &problems.iter().next().unwrap().message;
        assert!(message.ends_with("é…") && message.len() <= MESSAGE_BYTES + '…'.len_utf8());
    }

    #[test]
    fn a_name_of_megabytes_is_compared_with_nothing() {
        assert_eq!(closest(&"a".repeat(1 << 20), ["aa"]), None);
        assert_eq!(closest("aa", [&*"a".repeat(1 << 20), "ab"]), Some("ab"));
    }
}
