//! The memory that a TOML text will take, estimated before it is parsed.
//!
//! A table of one key takes a kilobyte, and `a.a.a = 1` makes one table per dot. A text of megabytes could therefore
//! ask for gigabytes. The lexer's tokens are counted without keeping any. A text that would take too much memory is
//! refused.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::grouped;

/// Bytes of a token while the text is parsed: the token and its event, in lists that double as they grow.
const TOKEN_BYTES: u64 = 100;

/// Bytes of a value in a list that doubles as it grows.
const VALUE_BYTES: u64 = 180;

/// Bytes of a table: a B-tree node has space for eleven entries.
const TABLE_BYTES: u64 = 1_300;

/// Bytes that any text may take.
const FREE: u64 = 32 << 20;

/// Bytes allowed beyond [`FREE`] for each byte of text. No file written by a person is as dense as a series of tables
/// of one short key.
const PER_BYTE: u64 = 128;

/// The most bytes that any text may take: enough for two hundred thousand tables.
const MOST: u64 = 256 << 20;

/// The most bytes that the values of `text` may take while it is parsed.
pub(super) fn allowed(bytes: usize) -> u64 {
    (FREE + PER_BYTE * bytes as u64).min(MOST)
}

/// Refuses a text that would take more memory than allowed.
pub(super) fn check(text: &str) -> Result<(), String> {
    let (taken, tables, allowed) = estimate(text, allowed(text.len()));
    if taken <= allowed {
        return Ok(());
    }
    Err(format!(
        "takes more than {} MiB of memory, which is the most for a text of {} bytes ({} tables up to there); write it \
         with fewer tables and values",
        allowed >> 20,
        grouped(&text.len().to_string()),
        grouped(&tables.to_string()),
    ))
}

/// What a pair of brackets encloses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    List,
    Table,
}

/// Returns the bytes that the values take at least, the tables that the text opens, and `allowed`. Counting stops
/// once the bytes pass `allowed`.
fn estimate(text: &str, allowed: u64) -> (u64, u64, u64) {
    let (mut taken, mut tables) = (0, 0);
    // The parser refuses deeper nesting, so brackets below this depth create nothing.
    let mut nested: Vec<Within> = Vec::with_capacity(DEEPEST);
    // Whether the lexer is in a key or a value. A dot in a key creates a table; in a value it is a decimal point.
    let mut in_key = true;
    // Dots since the start of what may turn out to be a key.
    let mut dots = 0;
    let mut after_bracket = false;
    for token in Source::new(text).lex() {
        taken += TOKEN_BYTES;
        let mut opened = 0;
        let bracket = token.kind() == TokenKind::LeftSquareBracket;
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::LeftCurlyBracket => {
                (in_key, dots, opened) = (true, 0, 1);
                nested.push(Within::Table);
            }
            // At the start of a line a bracket opens a table header. The second of `[[` belongs to the first.
            TokenKind::LeftSquareBracket if in_key && nested.is_empty() => {
                (dots, opened) = (0, u64::from(!after_bracket));
            }
            TokenKind::LeftSquareBracket => {
                dots = 0;
                taken += VALUE_BYTES;
                nested.push(Within::List);
            }
            TokenKind::RightSquareBracket if in_key => (opened, dots) = (dots, 0),
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                (in_key, dots) = (false, 0);
                nested.pop();
            }
            // The tokens before it were a key.
            TokenKind::Equals => {
                (in_key, opened, dots) = (false, dots, 0);
                taken += VALUE_BYTES;
            }
            TokenKind::Comma => {
                (in_key, dots) = (nested.last() == Some(&Within::Table), 0);
                taken += VALUE_BYTES;
            }
            TokenKind::Newline => (in_key, dots) = (in_key || nested.is_empty(), 0),
            TokenKind::Whitespace
            | TokenKind::Comment
            | TokenKind::LiteralString
            | TokenKind::BasicString
            | TokenKind::MlLiteralString
            | TokenKind::MlBasicString
            | TokenKind::Atom
            | TokenKind::Eof => {}
        }
        nested.truncate(DEEPEST);
        after_bracket = bracket;
        tables += opened;
        taken += opened * TABLE_BYTES;
        if taken > allowed {
            break;
        }
    }
    (taken, tables, allowed)
}

/// The nesting depth that is tracked; the parser refuses more than 80 levels.
const DEEPEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_people_write_are_taken() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for path in
            ["models/features.toml", "models/offers.toml", "models/policy.toml", "deploy/proffer.toml"]
        {
            let text = std::fs::read_to_string(root.join(path)).unwrap();
            check(&text).unwrap();
            let (taken, _, _) = estimate(&text, u64::MAX);
            assert!(taken < PER_BYTE * text.len() as u64, "{path} takes {taken} for {}", text.len());
        }
    }

    #[test]
    fn decimals_are_no_tables_and_dotted_keys_are() {
        let tables = |text: &str| estimate(text, u64::MAX).1;
        assert_eq!(tables("a = 1.5\nb = [1.5, 2.5]\nc = 'x.y.z'\n"), 0);
        assert_eq!(tables("a.b.c = 1.5\n[d.e]\n[[f]]\ng = { h.i = 2.5, j = 3.5 }\n"), 2 + 2 + 1 + 2);
        assert_eq!(tables("a = [{ b = 1 }, { c.d = 1 }]"), 3);
    }

    #[test]
    fn what_would_take_gigabytes_is_refused_at_once() {
        for (unit, times) in [
            ("[[offer]]\nid = 3\n", 1 << 20),
            ("[a]\n", 1 << 20),
            ("a.b.c.d.e.f = 1\n", 1 << 18),
            ("x={a=1}\n", 1 << 20),
        ] {
            let refused = check(&unit.repeat(times)).unwrap_err();
            assert!(refused.contains("MiB of memory") && refused.contains("tables"), "{refused}");
        }
        let list = format!("a = [{}]", "1,".repeat(4 << 20));
        assert!(check(&list).unwrap_err().contains("fewer"));
    }
}
