//! The steps of the store at which a test kills this process or holds it up. `work::fault` has the mechanism.
//!
//! The steps, in the order in which they are reached:
//!
//! | step | state |
//! |---|---|
//! | `push.uploaded` | all bytes of a version have arrived and match the announcement |
//! | `push.staged` | a version is whole and synced in the staging directory, nothing in the store |
//! | `push.claimed` | on S3: its number is taken, none of its files is there |
//! | `push.placing` | locally as before; on S3: everything but the file that makes it a version |
//! | `push.placed` | the version exists |
//! | `push.judged` | the gates have ended, no verdict is stored |
//! | `verdict.writing`, `verdict.written` | before and after the verdict is stored |
//! | `create.checked` | a new release is sound, nothing of it is there |
//! | `release.staged` | the texts of a release: locally in staging; on S3 half a release, its number taken |
//! | `release.placing` | locally the whole release in staging; on S3 everything but `release.toml` |
//! | `release.placed` | the release exists |
//! | `promote.starting` | a server starts, and has loaded nothing yet |
//! | `promote.loading` | it is the turn of the release, and nothing of it is loaded |
//! | `promote.loaded` | the release is loaded and warm, `CURRENT` has not moved |
//! | `promote.foreseen` | as before; where a rollback from it goes is read |
//! | `promote.asked` | nothing has been read or locked yet |
//! | `promote.written` | the next `CURRENT` is written (S3: about to be), the old one holds |
//! | `promote.moved` | the next `CURRENT` holds, `promotions/` has no copy of it |
//! | `promote.copied` | it has |
//! | `promote.switched` | as before, in the server that promotes; it still serves the release before |
//! | `promote.published` | it serves the new one, and has not answered |
//! | `init.version` | `init` has placed a version and stored its verdict |
//! | `delete.marked` | a version may no longer be pinned, and is still there |
//! | `delete.hidden` | the version no longer exists, its files do |
//! | `delete.done` | they are gone |
//! | `customers.kept` | on S3: the former customers are kept, and the new ones are not there |
//! | `customers.placed` | on S3: new customers are there, and a file of the other format may be, too |
//! | `customers.made` | on S3: a file without an erased customer is made, and the former is there |

use work::fault::Steps;

const STEPS: Steps = Steps::new(&[
    "push.uploaded",
    "push.staged",
    "push.claimed",
    "push.placing",
    "push.placed",
    "push.judged",
    "verdict.writing",
    "verdict.written",
    "create.checked",
    "release.staged",
    "release.placing",
    "release.placed",
    "promote.starting",
    "promote.loading",
    "promote.loaded",
    "promote.foreseen",
    "promote.asked",
    "promote.written",
    "promote.moved",
    "promote.copied",
    "promote.switched",
    "promote.published",
    "init.version",
    "delete.marked",
    "delete.hidden",
    "delete.done",
    "customers.kept",
    "customers.placed",
    "customers.made",
]);

/// Marks a step; triggers the fault that `PROFFER_FAULT` names for it.
#[inline]
pub(crate) fn point(step: &str) {
    STEPS.point(step);
}
