//! The one way to catch a panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The error of work that panicked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it panicked: {message}")]
pub struct Panicked {
    /// The panic's message.
    pub message: String,
}

impl From<Box<dyn Any + Send>> for Panicked {
    fn from(panic: Box<dyn Any + Send>) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self { message: text.unwrap_or("no message").to_owned() }
    }
}

/// Runs `work` and turns a panic into an error. State that the work shares must be consistent whenever the work
/// panics. So the work owns what it changes, or changes it in one step.
///
/// # Errors
/// When the work panics.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(Panicked::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        assert_eq!(catch_panic(|| 7), Ok(7));
        let caught = catch_panic(|| -> u8 { panic!("row {}", 3) });
        assert_eq!(caught, Err(Panicked { message: "row 3".to_owned() }));
        let caught = catch_panic(|| -> u8 { std::panic::panic_any(5_u64) });
        assert_eq!(caught.unwrap_err().message, "no message");
    }
}
