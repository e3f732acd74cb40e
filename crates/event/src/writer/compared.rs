//! Comparisons with shadows on their way into the log: behind all else, and in slices.
//!
//! Who awaits an event waits for the group that it is in, and for the one that was being written when it came. So a
//! group has a bounded slice of comparisons, and none if an answer waits for it and the last one had some: together the
//! two have one slice. They do not count where it is decided whether a group is large.
//!
//! So they may still be in their queue when a batch is written that was queued after them. Who has the file closed,
//! such as an erasure, waits for them, too.

use std::sync::Arc;
use std::time::Instant;

use telemetry::Unrecorded;

use super::{Pending, Writer};
use crate::config::SyncPolicy;
use crate::queue::Waiting;

/// Their bytes in a group, up to the end of the last one. With 100 ms between two groups that is 2.5 MiB a second.
pub(super) const GROUP_BYTES: usize = 256 << 10;

/// The turns that it takes to fill them: each encodes for about 50 µs.
const TURNS: usize = 4;

impl Pending {
    /// The bytes of all other events in the group.
    pub(super) fn decided(&self) -> usize {
        // A part of the group may be certain and gone.
        self.group.frames.len().saturating_sub(self.compared)
    }
}

impl Writer {
    /// Moves some of the comparisons with shadows into the pending group, behind what it has.
    pub(super) fn gather_comparisons(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let has_space = self.log.files().bytes() <= self.log_with_shadows;
        shared.comparisons.open(has_space);
        if !has_space {
            shared.drop_comparisons(Unrecorded::LogSpace);
            return;
        }
        // A group that cannot be written keeps its room for decisions.
        if self.stall.is_some() || (self.had_compared && self.is_awaited()) {
            return;
        }
        let most = self.compared_bytes.min(self.pending.compared + self.compared_bytes.div_ceil(TURNS));
        while self.pending.compared < most
            && let Some(record) = shared.comparisons.next()
        {
            if let Some(bytes) = self.write_events(|emit| emit(record.into()), 1) {
                self.pending.compared += bytes;
                self.pending.counted += 1;
                self.pending.due.get_or_insert(now + self.interval);
            }
        }
    }

    /// Whether answers wait for the pending group.
    fn is_awaited(&self) -> bool {
        let is_always = self.shared.policy == SyncPolicy::Always;
        self.pending.is_urgent || (is_always && !self.pending.batches.is_empty())
    }

    /// Closes the open file, and tells those who wait for it, once no comparison is left that was queued before.
    pub(super) fn close_as_asked(&mut self) {
        // Those that are pending are in no file yet.
        if self.asked_to_close.is_empty() || self.pending.compared > 0 {
            return;
        }
        let passed = self.shared.comparisons.passed();
        let (asked, others): (Waiting, Waiting) =
            self.asked_to_close.drain(..).partition(|closing| closing.compared <= passed);
        self.asked_to_close = others;
        if !asked.is_empty() {
            self.log.close();
            for closing in asked {
                // Who does not wait any more need not hear.
                let _ = closing.tell.send(());
            }
        }
    }
}
