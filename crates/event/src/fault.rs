//! The steps of the event log at which a test kills this process or holds it up. `work::fault` has the mechanism.
//!
//! The steps, in the order in which they are reached:
//!
//! | step | state |
//! |---|---|
//! | `record.created` | a new log file exists and is empty |
//! | `record.append` | events are written and not synced |
//! | `record.synced` | they are synced, and no receipt says so yet |
//! | `record.rotate` | a log file is closed, and no other is open |
//! | `record.noting` | the end of a log file that is to go is written, and does not count yet |
//! | `record.deleting` | it counts, and the file is still there |
//! | `record.deleted` | the file is gone, and there is no room for the next note |

use work::fault::Steps;

pub(crate) const STEPS: Steps = Steps::new(&[
    "record.created",
    "record.append",
    "record.synced",
    "record.rotate",
    "record.noting",
    "record.deleting",
    "record.deleted",
]);

/// Marks a step; triggers the fault that `PROFFER_FAULT` names for it.
#[inline]
pub(crate) fn point(step: &str) {
    STEPS.point(step);
}
