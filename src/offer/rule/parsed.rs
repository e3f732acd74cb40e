//! Rules that were parsed lately: a new release mostly has the rules of the last one, and parsing is what costs in reading them.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use cel::common::ast::SourceInfo;
use cel::parser::ParseErrors;
use cel::{Env, IdedExpr};
use hashbrown::HashMap;

/// What the parser made of a text, and where its parts stand.
pub(super) type Parsed = Arc<(IdedExpr, SourceInfo)>;

/// Texts that are kept, in bytes together; all are forgotten when another does not fit. A tree takes some fifty times as much.
const MOST_BYTES: usize = 256 << 10;

#[derive(Default)]
struct Kept {
    trees: HashMap<Box<str>, Parsed>,
    bytes: usize,
}

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

fn kept() -> MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tree of `source`, whose length and nesting are within their limits.
///
/// # Errors
/// The first mistake: what cannot be parsed is not kept.
pub(super) fn parse(source: &str) -> Result<Parsed, ParseErrors> {
    if let Some(parsed) = kept().trees.get(source) {
        return Ok(Arc::clone(parsed));
    }
    // An environment without macros: `has` stays a call, and the others are refused by name. Without recovery the parser
    // stops at the first mistake and never hands out a tree with holes.
    let parser = Env::default().parser().error_recovery_limit(0);
    let parsed = Arc::new(parser.parse_with_source_info(source)?);
    let mut kept = kept();
    if kept.bytes + source.len() > MOST_BYTES {
        *kept = Kept::default();
    }
    if kept.trees.insert(source.into(), Arc::clone(&parsed)).is_none() {
        kept.bytes += source.len();
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parsed_once_and_memory_is_bounded() {
        let source = "customer.balance > 1.0 && context.page == \"a page of this test alone\"";
        let first = parse(source).unwrap();
        assert_eq!(parse(source).unwrap().0, first.0);
        assert!(parse("customer.balance >").is_err());
        for number in 0..MOST_BYTES / 500 {
            let long = format!("customer.name == \"{number}{}\"", "x".repeat(500));
            parse(&long).unwrap();
            let kept = kept();
            assert!(kept.bytes <= MOST_BYTES);
            assert_eq!(kept.bytes, kept.trees.keys().map(|text| text.len()).sum::<usize>());
        }
        assert_eq!(parse(source).unwrap().0, first.0, "forgotten or not");
    }
}
