//! How a file is written: its separator and its quotes, told from its head.

use super::record::{Record, Records};
use super::{Faults, HEAD_BYTES, SEPARATORS};

/// Records of the head that are looked at.
const RECORDS: usize = 200;

/// A separator and a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) separator: u8,
    pub(super) quote: u8,
}

impl Dialect {
    /// The separator with which the header has the column `wanted`; of several, the one with which the records of the head
    /// agree best with the header, and then the one that makes more fields. Separators within quotes separate nothing.
    /// `separator` and `quote`: those to take whatever the head looks like.
    pub(super) fn detect(
        head: &[u8],
        separator: Option<u8>,
        quote: Option<u8>,
        wanted: Option<&str>,
    ) -> Self {
        let head = whole_lines(head);
        let quote = quote.unwrap_or_else(|| self::quote(head));
        if let Some(separator) = separator {
            return Self { separator, quote };
        }
        // The likelier first: where the head does not tell, the first is taken.
        let fits = SEPARATORS
            .map(|(_, separator)| Self { separator, quote })
            .map(|dialect| (dialect, dialect.fit(head, wanted)));
        let mut best = fits[0];
        for fit in &fits[1..] {
            if fit.1.is_better_than(&best.1) {
                best = *fit;
            }
        }
        best.0
    }

    fn fit(self, head: &[u8], wanted: Option<&str>) -> Fit {
        let mut records = Records::new(head.to_vec(), 0, std::io::empty(), self, Faults::Tolerated);
        let mut record = Record::default();
        let mut fit = Fit { wanted: false, width: 0, records: 0, agreeing: 0 };
        for number in 0..=RECORDS {
            if !records.read(&mut record).unwrap_or(false) {
                break;
            }
            if number == 0 {
                fit.width = record.len();
                fit.wanted = record
                    .iter()
                    .any(|name| wanted.is_some_and(|wanted| String::from_utf8_lossy(name).trim() == wanted));
            } else {
                fit.records += 1;
                fit.agreeing += usize::from(record.len() == fit.width);
            }
        }
        fit
    }
}

/// How well a separator explains the head.
#[derive(Debug, Clone, Copy)]
struct Fit {
    /// Whether the header has the column that it must have.
    wanted: bool,
    /// Fields of the header.
    width: usize,
    /// Records after the header.
    records: usize,
    /// Those of them as wide as the header.
    agreeing: usize,
}

impl Fit {
    fn is_better_than(&self, other: &Self) -> bool {
        let order = self.wanted.cmp(&other.wanted).then((self.width > 1).cmp(&(other.width > 1)));
        // Shares of different totals, multiplied out.
        let order =
            order.then((self.agreeing * other.records.max(1)).cmp(&(other.agreeing * self.records.max(1))));
        order.then(self.width.cmp(&other.width)).is_gt()
    }
}

/// Without the line that the end of the head cuts off.
fn whole_lines(head: &[u8]) -> &[u8] {
    if (head.len() as u64) < HEAD_BYTES {
        return head;
    }
    head.iter().rposition(|byte| *byte == b'\n').map_or(head, |end| &head[..=end])
}

/// The apostrophe where it begins as many fields as it ends and no quotation mark begins any, else the quotation mark.
fn quote(head: &[u8]) -> u8 {
    let borders = |byte: Option<&u8>| {
        byte.is_none_or(|byte| SEPARATORS.iter().any(|(_, known)| known == byte) || b"\r\n".contains(byte))
    };
    let (mut begins, mut ends) = (0, 0);
    for (at, byte) in head.iter().enumerate() {
        let after_border = borders(at.checked_sub(1).and_then(|before| head.get(before)));
        match byte {
            b'"' if after_border => return b'"',
            b'\'' if after_border => begins += 1,
            b'\'' if borders(head.get(at + 1)) => ends += 1,
            _ => {}
        }
    }
    if begins > 0 && begins == ends { b'\'' } else { b'"' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(head: &str) -> (char, char) {
        let dialect = Dialect::detect(head.as_bytes(), None, None, None);
        (dialect.separator.into(), dialect.quote.into())
    }

    #[test]
    fn separators_are_told_from_the_head() {
        for (head, separator) in [
            ("a,b\n1,2\n", ','),
            ("a;b\r\n1,5;2,5\r\n", ';'),
            ("a\tb\n1\t2\n", '\t'),
            ("a|b\n1|2\n", '|'),
            ("a\n1\n", ','),
            // One column of numbers with decimal commas: the comma is not what separates it.
            ("a\n1,5\n2,5\n", ';'),
            // Numbers with decimal commas in a file separated by commas: the rows are too wide, and are reported.
            ("a,b\n1,5,2,5\n", ','),
            ("name, first;age;limit\nx;1;2\ny, z;2;3\n", ';'),
            ("a,b", ','),
            ("", ','),
        ] {
            assert_eq!(detected(head).0, separator, "{head:?}");
        }
    }

    #[test]
    fn separators_within_quotes_do_not_count() {
        assert_eq!(detected("\"a;b;c\",d\n\"1;2;3\",4\n"), (',', '"'));
        assert_eq!(detected("a;b\n\"x,y\nz,w\";1\n\"u,v\";2\n"), (';', '"'));
        assert_eq!(detected("'a,b';'c'\n'1,2';'3'\n"), (';', '\''));
        assert_eq!(detected("id,name\n1,'t Hooft\n"), (',', '"'));
    }

    #[test]
    fn a_line_that_the_head_cuts_off_does_not_count() {
        let mut head = "a;b,c\n".to_owned();
        while (head.len() as u64) < HEAD_BYTES {
            head.push_str("1,5;2,5\n");
        }
        head.truncate(HEAD_BYTES as usize);
        assert_eq!(detected(&head).0, ';');
    }
}
