//! The problems of a customer file: the first are shown, the others are counted.

use document::Problems;

/// The most problems shown: a file with one mistake per line is understood after a hundred.
const SHOWN: usize = 100;

/// Characters of a cell that a message repeats; an unclosed quote can turn the whole file into one cell.
const CELL_SHOWN: usize = 40;

/// Collects the problems of one file.
#[derive(Debug)]
pub(super) struct Findings {
    file: String,
    problems: Problems,
    omitted: usize,
    last_line: Option<usize>,
}

impl Findings {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), problems: Problems::new(), omitted: 0, last_line: None }
    }

    /// Records a problem. `line` is the row number, from 1, in a format without lines.
    pub(super) fn push(&mut self, line: impl Into<Option<usize>>, message: impl Into<String>) {
        let line = line.into();
        self.last_line = self.last_line.max(line);
        if self.problems.len() < SHOWN {
            self.problems.push(self.file.clone(), line, message);
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// `value` if no problem was found.
    pub(super) fn into_result<T>(mut self, value: T) -> Result<T, Problems> {
        if self.omitted > 0 {
            let message = format!("and {} more problems up to here", self.omitted);
            self.problems.push(self.file, self.last_line, message);
        }
        self.problems.into_result(value)
    }
}

/// A cell for a message: quoted, printable and short.
pub(super) fn shown(cell: &[u8]) -> String {
    // A character has at most four bytes, so the cut never splits one that is shown.
    let head = String::from_utf8_lossy(&cell[..cell.len().min(CELL_SHOWN * 4)]);
    let start: String = head.chars().take(CELL_SHOWN).collect();
    if start.len() < cell.len() && start.chars().count() == CELL_SHOWN {
        format!("{start:?}…")
    } else {
        format!("{start:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_problems_are_shown_and_the_rest_is_counted() {
        let mut findings = Findings::new("customers.csv");
        for line in 2..=251 {
            findings.push(line, "bad");
        }
        let problems = findings.into_result(()).unwrap_err();
        assert_eq!(problems.len(), 101);
        let last = problems.iter().last().unwrap().to_string();
        assert_eq!(last, "customers.csv:251: and 150 more problems up to here");
    }

    #[test]
    fn a_long_cell_is_cut_and_a_broken_one_is_printable() {
        assert_eq!(shown(b"12,5"), "\"12,5\"");
        assert_eq!(shown(b"a\xff\n"), "\"a\u{fffd}\\n\"");
        assert_eq!(shown("é".repeat(100_000).as_bytes()), format!("\"{}\"…", "é".repeat(40)));
    }
}
