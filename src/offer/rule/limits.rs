//! What a text must not exceed before it reaches the parser, which recurses without asking.
//!
//! The scan follows the lexical grammar of CEL just far enough to know what lies inside strings and comments, and refuses
//! what could make the lexer see it otherwise (an open string, an unknown escape), so that nothing nests unseen.

use super::RuleProblem;

/// The greatest length of a rule, in bytes.
const LENGTH: usize = 4096;

/// The greatest nesting: brackets, and operators that nest without brackets (`a + b + c`), except `&&` and `||`.
///
/// A thread has 2 MB of stack unless told otherwise; a test compiles and evaluates the deepest rules in half of that.
const DEPTH: usize = 64;

/// Refuses a rule that is too long, nests too deeply or has a string that the parser would not see as one.
pub(super) fn check(source: &str) -> Result<(), RuleProblem> {
    let refuse = |offset: usize, message: String| Err(RuleProblem::new(source, offset, message));
    if source.len() > LENGTH {
        return refuse(0, format!("a rule may have {LENGTH} bytes, not {}; split it", source.len()));
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
                // `<=`, `==` and the like are one operator, and `!` in front of a value nests once however often.
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
            let message = format!("a rule may nest {DEPTH} levels deep, and this one nests deeper; split it");
            return refuse(start, message);
        }
    }
    Ok(())
}

/// How deeply the parser's tree may nest at some point: an upper bound.
struct Depth {
    /// Of each open bracket and of the text outside all: operators that nest, and branches of `? :`.
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
