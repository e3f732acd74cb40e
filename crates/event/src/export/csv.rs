//! A line of CSV per event: the flat columns.

use crate::columns::{Cells, Entry, Shown};
use crate::export::time;
use crate::kind::Kind;

/// What joins the elements of a list.
const JOINT: &str = ";";

/// What stands before a joint, or before itself, within an element.
const ESCAPE: char = '\\';

/// Where a spreadsheet takes a text for a formula.
const FORMULAS: [char; 4] = ['=', '+', '-', '@'];

/// The names of the columns.
pub(super) fn header(kind: Kind) -> String {
    let columns = kind.table().columns();
    let names = columns.iter().filter(|column| column.cells != Cells::Bytes).map(|column| column.name);
    format!("{}\n", names.collect::<Vec<_>>().join(","))
}

/// Writes the line of an event, in the order of the columns.
pub(super) fn line(entry: Entry, line: &mut Vec<u8>) {
    let Entry { position, recorded_at, mut record } = entry;
    let mut cells = Line { line };
    cells.bare(&position.to_string());
    cells.time(recorded_at);
    record.recorded_mut().show(&mut |_, shown| cells.cell(shown));
    cells.end();
}

/// The elements of a list as one text, which can be split again.
fn joined(elements: &[String]) -> String {
    let escaped = |element: &String| {
        if !element.contains(JOINT) && !element.contains(ESCAPE) {
            return element.clone();
        }
        element.replace(ESCAPE, r"\\").replace(JOINT, r"\;")
    };
    elements.iter().map(escaped).collect::<Vec<_>>().join(JOINT)
}

struct Line<'l> {
    line: &'l mut Vec<u8>,
}

impl Line<'_> {
    fn cell(&mut self, shown: Shown<'_>) {
        match shown {
            Shown::Missing => self.bare(""),
            Shown::Time(micros) => self.time(micros),
            Shown::Whole(number) => self.bare(&number.to_string()),
            Shown::Count(number) => self.bare(&number.to_string()),
            Shown::Number(number) => self.bare(&number.to_string()),
            Shown::Truth(truth) => self.bare(&truth.to_string()),
            Shown::Text(text) => self.text(text),
            Shown::Texts(texts) => self.text(&joined(&texts)),
            Shown::Numbers(numbers) => {
                let written =
                    |number: &Option<f64>| number.map_or_else(String::new, |number| number.to_string());
                self.bare(&numbers.iter().map(written).collect::<Vec<_>>().join(JOINT));
            }
            Shown::Counts(counts) => {
                self.bare(&counts.iter().map(u32::to_string).collect::<Vec<_>>().join(JOINT));
            }
            Shown::Pairs(pairs) if pairs.is_empty() => self.bare(""),
            // A map of texts can be written.
            Shown::Pairs(pairs) => self.text(&serde_json::to_string(pairs).unwrap_or_default()),
        }
    }

    fn time(&mut self, micros: i64) {
        self.bare(&time(micros).unwrap_or_else(|| micros.to_string()));
    }

    /// A cell that needs no quotes.
    fn bare(&mut self, text: &str) {
        self.line.extend_from_slice(text.as_bytes());
        self.line.push(b',');
    }

    fn text(&mut self, text: &str) {
        if !text.starts_with(FORMULAS) && !text.contains([',', '"', '\r', '\n']) {
            return self.bare(text);
        }
        self.bare(&format!("\"{}\"", text.replace('"', "\"\"")));
    }

    /// Ends the line instead of the last cell.
    fn end(&mut self) {
        self.line.pop();
        self.line.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader of CSV does with a list.
    fn split(list: &str) -> Vec<String> {
        let (mut elements, mut letters) = (vec![String::new()], list.chars());
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => elements.last_mut().unwrap().extend(letters.next()),
                ';' => elements.push(String::new()),
                other => elements.last_mut().unwrap().push(other),
            }
        }
        elements
    }

    proptest! {
        #[test]
        fn the_elements_of_a_list_can_be_told_apart(elements in prop::collection::vec("[a;\\\\]{0,4}", 1..5)) {
            prop_assert_eq!(split(&joined(&elements)), elements);
        }
    }

    #[test]
    fn only_a_joint_within_an_element_is_escaped() {
        let texts = |texts: &[&str]| joined(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(texts(&["a", "b:c"]), "a;b:c");
        assert_eq!(texts(&["a;b", r"c\"]), r"a\;b;c\\");
    }
}
