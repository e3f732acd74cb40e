//! A cache of parsed rules: a new release mostly has the rules of the previous one, and parsing dominates reading
//! them.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use cel::common::ast::SourceInfo;
use cel::parser::ParseErrors;
use cel::{Env, IdedExpr};
use hashbrown::HashMap;

/// The parsed tree with the source positions of its nodes.
pub(super) type Parsed = Arc<(IdedExpr, SourceInfo)>;

/// The most bytes of cached texts; when the next one does not fit, the cache is cleared. A tree takes about fifty
/// times its text.
const MAX_BYTES: usize = 256 << 10;

#[derive(Default)]
struct Cache {
    trees: HashMap<Box<str>, Parsed>,
    bytes: usize,
}

static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

fn cache() -> MutexGuard<'static, Cache> {
    CACHE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tree of `source`, which must be within the limits of length and nesting.
///
/// # Errors
/// The first syntax error; such a text is not cached.
pub(super) fn parse(source: &str) -> Result<Parsed, ParseErrors> {
    if let Some(parsed) = cache().trees.get(source) {
        return Ok(Arc::clone(parsed));
    }
    // Without macros, `has` stays a call and the others are refused by name. Without error recovery the parser stops
    // at the first error and never returns a tree with holes.
    let parser = Env::default().parser().error_recovery_limit(0);
    let parsed = Arc::new(parser.parse_with_source_info(source)?);
    let mut cache = cache();
    if cache.bytes + source.len() > MAX_BYTES {
        *cache = Cache::default();
    }
    if cache.trees.insert(source.into(), Arc::clone(&parsed)).is_none() {
        cache.bytes += source.len();
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
        for number in 0..MAX_BYTES / 500 {
            let long = format!("customer.name == \"{number}{}\"", "x".repeat(500));
            parse(&long).unwrap();
            let cache = cache();
            assert!(cache.bytes <= MAX_BYTES);
            assert_eq!(cache.bytes, cache.trees.keys().map(|text| text.len()).sum::<usize>());
        }
        assert_eq!(parse(source).unwrap().0, first.0, "cached or not");
    }
}
