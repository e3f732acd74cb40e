//! Every decoder of foreign bytes, on mutated inputs. None panics, and none takes more memory than a multiple of its
//! input.
//!
//! Each test is a [`Target`]. Decoders that are private to their crate are targets in its unit tests, with the same
//! driver. Start reading at the crate `fuzz`.

#![expect(clippy::unwrap_used, reason = "a test that fails should stop")]

mod memory;
mod messages;
mod tables;
mod texts;

use std::path::Path;
use std::sync::PoisonError;

use fuzz::Target;

/// The memory that any decoder may take, regardless of its input. Files are read in blocks, and lists start with
/// capacity.
const FREE: usize = 48 << 20;

/// Runs a target alone. Fails if `decode` takes more memory than [`FREE`] and `bytes_per_byte` for each byte of input.
fn run(target: Target<'_>, bytes_per_byte: usize, decode: impl Fn(&[u8])) {
    run_within(target, FREE, bytes_per_byte, decode);
}

/// Does the same with another limit in place of [`FREE`].
fn run_within(target: Target<'_>, free: usize, bytes_per_byte: usize, decode: impl Fn(&[u8])) {
    let _alone = memory::ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    target.run(|input| {
        let ((), peak) = memory::peak(|| decode(input));
        let most = free + bytes_per_byte * input.len();
        if peak > most {
            return Err(format!("it took {peak} bytes for an input of {}, more than {most}", input.len()));
        }
        Ok(())
    });
}

/// The bytes of a file of the project.
fn file(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The text of a file of the project.
fn text(path: &str) -> String {
    String::from_utf8(file(path)).unwrap()
}
