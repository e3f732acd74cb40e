//! Limits that a text must meet before it reaches the parser, which recurses without a bound.
//!
//! The scan follows the lexical grammar of CEL far enough to recognise strings and comments. It refuses unclosed
//! strings and unknown escapes, which the lexer could read differently. So no nesting goes unnoticed.

use super::RuleProblem;

/// The most bytes of a rule.
const LENGTH: usize = 4096;

/// The deepest nesting: brackets, and operators that nest without brackets (`a + b + c`), except `&&` and `||`.
///
/// A thread has 2 MB of stack by default; a test compiles and evaluates the deepest rules in half of that.
const DEPTH: usize = 64;

/// Refuses a rule that is too long, nests too deeply, or has a string that the parser could read differently.
pub(super) fn check(source: &str) -> Result<(), RuleProblem> {
    let refuse = |offset: usize, message: String| Err(RuleProblem::new(source, offset, message));
    if source.len() > LENGTH {
        return refuse(0, format!("a rule may have at most {LENGTH} bytes, not {}; split it", source.len()));
    }
    let bytes = source.as_bytes();
    let mut depth = Depth::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let rest = &bytes[at..];
        at += 1;
        match rest {
            [b'"' | b'\'', ..] => at = skip_string(source, start, false)?,
            [b'`', ..] => return refuse(start, "names in backquotes are not supported in rules".to_owned()),
            [b'/', b'/', ..] => at += rest.iter().take_while(|byte| **byte != b'\n').count() - 1,
            [b'&', b'&', ..] | [b'|', b'|', ..] => {
                at += 1;
                depth.restart_chain();
            }
            [b'(' | b'[' | b'{', ..] => depth.open(),
            [b')' | b']' | b'}', ..] => depth.close(),
            [b',', ..] => depth.restart_item(),
            [b'?', ..] => depth.branch(),
            [b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!', ..] => {
                // `<=`, `==` and the like are one operator. A run of `!` in front of a value nests only once.
                at += rest[1..].iter().take_while(|byte| matches!(byte, b'=' | b'!')).count();
                depth.chain();
            }
            [first, ..] if first.is_ascii_alphanumeric() || *first == b'_' => {
                let length =
                    rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                at = start + length;
                let word = &source[start..at];
                let raw = matches!(word, "r" | "R" | "br" | "bR" | "Br" | "BR");
                if raw && matches!(bytes.get(at), Some(b'"' | b'\'')) {
                    at = skip_string(source, at, true)?;
                } else if word == "in" {
                    depth.chain();
                }
            }
            _ => {}
        }
        if depth.total() > DEPTH {
            let message = format!("a rule may nest at most {DEPTH} levels deep; split it");
            return refuse(start, message);
        }
    }
    Ok(())
}

/// An upper bound of the depth of the parser's tree at some point.
struct Depth {
    /// Per open bracket and for the top level: the nesting operators and the branches of `? :`.
    levels: Vec<(usize, usize)>,
}

impl Depth {
    fn new() -> Self {
        Self { levels: vec![(0, 0)] }
    }

    fn chain(&mut self) {
        if let Some((chain, _)) = self.levels.last_mut() {
            *chain += 1;
        }
    }

    fn branch(&mut self) {
        if let Some((chain, branches)) = self.levels.last_mut() {
            *chain = 0;
            *branches += 1;
        }
    }

    /// `&&` and `||` do not nest: the parser balances them.
    fn restart_chain(&mut self) {
        if let Some((chain, _)) = self.levels.last_mut() {
            *chain = 0;
        }
    }

    fn restart_item(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            *level = (0, 0);
        }
    }

    fn open(&mut self) {
        self.chain();
        self.levels.push((0, 0));
    }

    fn close(&mut self) {
        if self.levels.len() > 1 {
            self.levels.pop();
        }
    }

    fn total(&self) -> usize {
        self.levels.iter().map(|(chain, branches)| chain + branches).sum()
    }
}

/// The offset behind the string whose opening quote is at `start`.
fn skip_string(source: &str, start: usize, raw: bool) -> Result<usize, RuleProblem> {
    let bytes = source.as_bytes();
    let quote = bytes[start];
    let is_triple = bytes[start..].starts_with(&[quote; 3]);
    let mut at = start + if is_triple { 3 } else { 1 };
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if !raw => {
                let Some(length) = escape_length(&bytes[at + 1..]) else {
                    let message =
                        "unknown escape in a string; write \\\\ for a backslash, or r\"…\" for a pattern";
                    return Err(RuleProblem::new(source, at, message));
                };
                at += length;
            }
            b'\n' | b'\r' if !is_triple => break,
            _ if is_triple && bytes[at..].starts_with(&[quote; 3]) => return Ok(at + 3),
            _ if !is_triple && *byte == quote => return Ok(at + 1),
            _ => {}
        }
        at += 1;
    }
    Err(RuleProblem::new(source, start, "a string is not closed; end it with the quote it begins with"))
}

/// The number of bytes of the escape behind a backslash.
fn escape_length(rest: &[u8]) -> Option<usize> {
    let hex = |count: usize| {
        let digits = rest.get(1..=count)?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(count + 1)
    };
    match rest.first()? {
        b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`' => Some(1),
        b'x' | b'X' => hex(2),
        b'u' => hex(4),
        b'U' => hex(8),
        b'0'..=b'3' => rest.get(1..3)?.iter().all(|digit| matches!(digit, b'0'..=b'7')).then_some(3),
        _ => None,
    }
}
