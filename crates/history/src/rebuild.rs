//! Building a history from events: from a checkpoint and what the log has behind it, or from all that is kept.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::History;
use super::event::Event;
use super::moment::{self, Millis};

/// Applies events to a history, each once, in any order.
///
/// The limits of the release that will serve should be resolved before, so that paced budgets go on as they did.
#[derive(Debug)]
pub struct Rebuild<'h> {
    history: &'h History,
    now: Millis,
    decisions: HashSet<Uuid>,
    /// The ids of outcomes that are too old for the history to remember.
    outcomes: HashSet<Box<str>>,
}

impl<'h> Rebuild<'h> {
    /// Begins. The decisions that were applied are remembered until it ends.
    #[must_use]
    pub fn new(history: &'h History, now: DateTime<Utc>) -> Self {
        let now = moment::millis(now);
        Self { history, now, decisions: HashSet::new(), outcomes: HashSet::new() }
    }

    /// Counts an event. Returns whether it is not a duplicate.
    pub fn apply(&mut self, event: &Event<'_>) -> bool {
        let is_new = self.is_new(event);
        if is_new {
            match event {
                Event::Decision(decision) => self.history.count_decision(decision),
                Event::Outcome(outcome) => _ = self.history.record_outcome(outcome),
            }
        }
        is_new
    }

    /// Whether an event comes for the first time.
    pub(crate) fn is_new(&mut self, event: &Event<'_>) -> bool {
        match event {
            Event::Decision(decision) => self.decisions.insert(decision.id),
            Event::Outcome(outcome) => {
                let at = moment::millis(outcome.occurred_at);
                if self.history.seen.remembers(at, self.now) {
                    self.history.seen.admit(outcome.event_id, at, self.now)
                } else {
                    self.outcomes.insert(outcome.event_id.into())
                }
            }
        }
    }
}
