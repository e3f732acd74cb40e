//! How a file is written: its separator and its quotes, detected from its head.

use super::record::{Record, Records};
use super::{Faults, HEAD_BYTES, SEPARATORS};

/// Records of the head that are examined.
const RECORDS: usize = 200;

/// A separator and a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) separator: u8,
    pub(super) quote: u8,
}

impl Dialect {
    /// Prefers the separator under which the header has the column `wanted`. Next comes the one under which most
    /// records of the head are as wide as the header, then the one with more fields. Separators within quotes are
    /// ignored. `separator` and `quote` override detection.
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
        // The likelier separators come first: the first wins if the head does not decide.
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
    /// Whether the header has the required column.
    wanted: bool,
    /// Fields of the header.
    width: usize,
    /// Records after the header.
    records: usize,
    /// Those that are as wide as the header.
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

/// The head without its last line if that is cut off.
fn whole_lines(head: &[u8]) -> &[u8] {
    if (head.len() as u64) < HEAD_BYTES {
        return head;
    }
    head.iter().rposition(|byte| *byte == b'\n').map_or(head, |end| &head[..=end])
}

/// The apostrophe, if it opens as many fields as it closes and no quotation mark opens any. Otherwise the quotation
/// mark.
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
    fn separators_are_detected_from_the_head() {
        for (head, separator) in [
            ("a,b\n1,2\n", ','),
            ("a;b\r\n1,5;2,5\r\n", ';'),
            ("a\tb\n1\t2\n", '\t'),
            ("a|b\n1|2\n", '|'),
            ("a\n1\n", ','),
            // One column of numbers with decimal commas: the comma does not separate fields.
            ("a\n1,5\n2,5\n", ';'),
            // Decimal commas in a file separated by commas: the rows are too wide and are reported.
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
