//! Sealed files: Parquet in the store, one per log, kind and UTC date, a row per event.
//!
//! ```text
//! events/<kind>/date=YYYY-MM-DD/<server>-<sequence>.parquet
//! ```
//! A file never changes, unless a person in it is erased (`erasure/sealed.rs`). Its rows are in the order of the time
//! by which its kind is filed (`decided_at`, `received_at`), then in that of the log. `columns.rs` says what they have.
//! Any Parquet reader can read them; what is specific to them is in the key-value metadata
//! (`sealed/description.rs`): what the file holds, and checksums of every column chunk and of the footer. So a byte
//! that changed is an error, never another record.
//!
//! Files come from a store that others may write to. Nothing in them is believed before it was checked: sizes and
//! counts of pages (`sealed/pages.rs`) before they are unpacked, checksums (`sealed/chunks.rs`) before pages are
//! looked at. Start reading at [`SealedWriter::push`](write::SealedWriter::push) and
//! [`SealedFile::open`](open::SealedFile::open).

mod chunks;
mod description;
mod error;
mod key;
mod open;
mod pages;
mod rows;
mod statistics;
mod store;
#[cfg(test)]
mod tests;
mod write;

pub use self::description::Content;
pub use self::error::SealedError;
pub use self::key::{SealedKey, date_of};
pub use self::store::EventStore;

pub(crate) use self::description::{Contents, Description, OfLog};
pub(crate) use self::open::{LocalFile, SealedFile};
pub(crate) use self::store::{Extent, Placed};
pub(crate) use self::write::SealedWriter;
pub use crate::kind::Kind;

#[cfg(test)]
pub(crate) use self::tests::testing;

/// The most rows of a row group that this version writes: what one thread decodes at a time when files are read.
pub(crate) const GROUP_ROWS: usize = 8_192;
/// The bytes of events after which a row group ends: they are in memory while it is written.
pub(crate) const GROUP_BYTES: usize = 8 << 20;
