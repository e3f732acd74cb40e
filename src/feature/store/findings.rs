//! What is wrong with a file of customers: a hundred problems are shown, the rest is counted.

use crate::document::Problems;

/// A file with one mistake per line is understood after the first hundred.
const SHOWN: usize = 100;

/// How much of a cell a message repeats, in characters: an unclosed quote can make one of the whole file.
const CELL_SHOWN: usize = 40;

/// Collects the problems of one file.
#[derive(Debug)]
pub(super) struct Findings {
    file: String,
    problems: Problems,
    unshown: usize,
    last_line: Option<usize>,
}

impl Findings {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), problems: Problems::new(), unshown: 0, last_line: None }
    }

    /// Records a problem; `line` is the number of the row, from 1, in a file that has no lines.
    pub(super) fn push(&mut self, line: impl Into<Option<usize>>, message: impl Into<String>) {
        let line = line.into();
        self.last_line = self.last_line.max(line);
        if self.problems.len() < SHOWN {
            self.problems.push(self.file.clone(), line, message);
        } else {
            self.unshown += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// `value` if nothing was wrong.
    pub(super) fn into_result<T>(mut self, value: T) -> Result<T, Problems> {
        if self.unshown > 0 {
            let message = format!("and {} more problems up to here", self.unshown);
            self.problems.push(self.file, self.last_line, message);
        }
        self.problems.into_result(value)
    }
}

/// A cell as a message repeats it: quoted, printable, and not longer than a glance.
pub(super) fn shown(cell: &[u8]) -> String {
    // Four bytes are the longest character, so that the cut never splits one that is shown.
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
