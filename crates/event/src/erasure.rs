//! Erasing a person from what servers remember: from memory, logs and sealed files.
//!
//! ```text
//! erasures/<id>.toml            who is to be erased: salted hashes, no name
//! erasures/<id>/<server>.ack    a server has no record of them left
//! erasures/lease.toml           in a bucket: who rewrites sealed files, or was the last to
//! erased/<id>.toml              what is kept of a complete erasure: who has asked, and when
//! servers/<server>.toml         the heartbeat of a server
//! ```
//!
//! The command (`erasure/command.rs`) writes the marker. Each server sees it at its next poll (`erasure/server.rs`):
//! it forgets the person in memory, closes its log, blanks their records in it, and acknowledges. Sealing waits
//! meanwhile, so that all sealed files with records of the person are in the store by then. Once all servers have
//! acknowledged, the command replaces these files (`erasure/sealed.rs`), and removes the marker.
//!
//! A record is blanked, not removed: its position and its time stay, and its length (`erasure/blank.rs`). So neither
//! positions nor files have gaps, and blanking can be repeated at any step: the same record gives the same bytes. A
//! log and its sealed file agree again once both are blanked.
//!
//! A sealed file is replaced under its own name, at one moment. Other programs read all files of a folder, and would
//! count a second one twice. Two that rewrite files at once would lose what the other did, so they take turns
//! (`erasure/lease.rs`). What a person does after their erasure is recorded again, as of anybody else.
//!
//! The customers of the store come before the marker: a server that acknowledges has read them again since. They are
//! files of another crate, so they are erased before.

mod blank;
mod command;
mod error;
mod heartbeat;
mod lease;
mod log;
mod marker;
mod sealed;
mod server;
mod store;
#[cfg(test)]
mod tests;

use work::fault::Steps;

pub use self::blank::is_erased;
pub use self::command::{Awaited, Eraser, Marked, Outcome, Patience};
pub use self::error::ErasureError;
pub use self::heartbeat::{ALIVE_FOR, BEAT_EVERY, Heartbeat, Heartbeats};
pub use self::log::{LiveLog, ServerLog};
pub use self::marker::{Acknowledgement, Completed, Erased, Erasures, Marker};
pub use self::server::{Polled, ServerErasures};
pub use self::store::ErasureStore;

/// Where a person may be that no erasure reaches; printed by the command.
pub const NOT_COVERED: [&str; 5] = [
    "topics of Kafka that decisions and outcomes were forwarded to",
    "backups, snapshots and former versions of objects",
    "text logs, traces, exports and reports",
    "data directories of servers that do not run: their history is built anew when they start",
    "files that customers were loaded from, and mirrors of servers that do not run",
];

/// The steps of erasing at which a test kills this process or holds it up, in the order in which they are reached:
///
/// | step | state |
/// |---|---|
/// | `erase.marked` | the marker is in the store |
/// | `erase.forgotten` | a server has forgotten the person in memory |
/// | `erase.closed` | it has closed its log, and blanked nothing yet |
/// | `erase.blanked` | it has blanked a log file |
/// | `erase.acknowledged` | it has acknowledged |
/// | `erase.staged` | the command has made a new sealed file, and the former is there |
/// | `erase.replaced` | the new file is there |
/// | `erase.settling` | all files are replaced, and the marker has its hashes |
const STEPS: Steps = Steps::new(&[
    "erase.marked",
    "erase.forgotten",
    "erase.closed",
    "erase.blanked",
    "erase.acknowledged",
    "erase.staged",
    "erase.replaced",
    "erase.settling",
]);

/// Marks a step.
fn point(step: &str) {
    STEPS.point(step);
}
