//! The writer: the one thread that encodes events, writes them and tells when they are durable.
//!
//! It takes what is queued, encodes it into a group, and commits the group: one write, one sync, then all who wait are
//! told. While it syncs, the next group gathers in the queue. Comparisons with shadows are taken behind all else
//! (`writer/compared.rs`). A group stays in memory until it is certain, so that it can be written again. One that is
//! larger than a log file is written and synced in parts. [`Writer::turn`] is all of that without a thread; it looks at
//! the clock and never sleeps.

mod compared;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use work::catch_panic;

use crate::clock::Clock;
use crate::config::{EventConfig, SyncPolicy, WhenFull};
use crate::frame::{self, MAX_EVENT_BYTES};
use crate::kind::Record;
use crate::log::{Group, Log, Trouble};
use crate::proto::Event;
use crate::queue::{Batch, Bell, Queued, Shared, Waiting};
use crate::recorder::Urgency;

/// The most bytes of a group; a batch that is larger is a group of its own.
const GROUP_BYTES: usize = 4 << 20;

/// The longest time between two turns while a group gathers. Encoding a little often delays calls less than much
/// at once.
const LONGEST_TICK: Duration = Duration::from_millis(10);

/// The shortest: each turn wakes the thread.
const SHORTEST_TICK: Duration = Duration::from_millis(1);

/// The bytes of events that a turn should find. Calls hand over several times as much memory, which is free again
/// after the turn. It should fit into the cache of a core: with 10 ms under load, calls took about 3 µs longer.
const TICK_BYTES: usize = 8 << 10;

/// The time between two syncs for urgent events is a multiple of what the last one took, within bounds. Under load they
/// share one: each costs as much CPU time as several calls, and more the slower the disk is.
const BETWEEN_URGENT: u32 = 4;
const SHORTEST_BETWEEN_URGENT: Duration = Duration::from_millis(2);
const LONGEST_BETWEEN_URGENT: Duration = Duration::from_millis(5);

/// The time until a log that cannot be written is tried again: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_millis(10);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

/// What the log's thread does until the next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing.
    Turn,
    /// Sleeps until there is work, at most for the time.
    Sleep(Option<Duration>),
    /// Lets a group gather for the time.
    Gather(Duration),
    /// Sleeps for this time, even if events are queued.
    Rest(Duration),
    /// Ends: the log is closed.
    End,
}

/// A group that is not certain yet.
#[derive(Debug, Default)]
struct Pending {
    group: Group,
    /// The numbers of its batches.
    batches: Vec<u64>,
    /// Their events, as they were counted when they were queued.
    counted: u64,
    /// The bytes that are reserved for them.
    reserved: usize,
    /// The bytes of comparisons with shadows in the group.
    compared: usize,
    /// When it is to be committed.
    due: Option<Instant>,
    /// Whether it is to be written and synced at once, under any policy.
    is_urgent: bool,
}

impl Pending {
    /// Whether nothing waits to be written, or to hear that it is.
    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.group.events == 0
    }
}

/// A log that cannot be written.
#[derive(Debug)]
struct Stall {
    retry: Instant,
    wait: Duration,
    /// Whether the log's limit is the cause.
    is_full: bool,
}

/// The state of the writer.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: Receiver<Queued>,
    log: Log,
    clock: Arc<dyn Clock>,
    version: String,
    interval: Duration,
    group_bytes: usize,
    next_position: u64,
    pending: Pending,
    /// The time between two turns while a group gathers.
    tick: Duration,
    stall: Option<Stall>,
    /// When the last group was committed.
    committed: Option<Instant>,
    /// The least time from then to a sync for urgent events.
    between_urgent: Duration,
    /// Set where a log that is full is worth another try.
    freed: Arc<AtomicBool>,
    /// The bytes of log files beyond which comparisons with shadows are not recorded.
    log_with_shadows: u64,
    /// The bytes of comparisons in a group.
    compared_bytes: usize,
    /// Whether the last group had some.
    had_compared: bool,
    /// Who waits until a file is closed, and whose batch is certain. Comparisons may be left that were queued before.
    asked_to_close: Waiting,
}

impl Writer {
    pub(crate) fn new(
        config: &EventConfig,
        shared: Arc<Shared>,
        queue: Receiver<Queued>,
        (log, next_position): (Log, u64),
        clock: Arc<dyn Clock>,
        version: &str,
    ) -> Self {
        let freed = Arc::new(AtomicBool::new(false));
        let (rings, sets) = (Arc::downgrade(&shared), Arc::clone(&freed));
        log.files().when_freed(move || {
            sets.store(true, Ordering::SeqCst);
            if let Some(shared) = rings.upgrade() {
                shared.bell.ring();
            }
        });
        shared.metrics.events.log_writable.set(1);
        let group_bytes = GROUP_BYTES.min(config.queue / 4).min(config.log_file as usize).max(1);
        Self {
            shared,
            queue,
            log,
            clock,
            version: version.to_owned(),
            interval: config.interval,
            group_bytes,
            next_position,
            pending: Pending::default(),
            tick: LONGEST_TICK,
            stall: None,
            committed: None,
            between_urgent: SHORTEST_BETWEEN_URGENT,
            freed,
            log_with_shadows: config.log_limit / 2,
            compared_bytes: compared::GROUP_BYTES.min(group_bytes),
            had_compared: false,
            asked_to_close: Waiting::new(),
        }
    }

    /// Works until the log is closed.
    pub(crate) fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        shared.bell.attend();
        loop {
            let is_closing = || shared.closing.get().is_some();
            match self.turn() {
                Next::Turn => {}
                Next::Sleep(limit) => shared.bell.sleep(limit, || is_closing() || self.has_queued()),
                Next::Gather(time) => {
                    let is_urgent = self.pending.is_urgent;
                    let has_work = || shared.is_half_full() || (!is_urgent && shared.has_urgent_work());
                    shared.bell.gather(time, || is_closing() || has_work());
                }
                Next::Rest(time) => Bell::rest(time),
                Next::End => return,
            }
        }
    }

    /// Encodes what is queued, commits what is due, closes a file that is old.
    pub(crate) fn turn(&mut self) -> Next {
        let now = self.clock.now();
        if self.freed.swap(false, Ordering::SeqCst)
            && let Some(stall) = self.stall.as_mut().filter(|stall| stall.is_full)
        {
            (stall.retry, stall.wait) = (now, FIRST_RETRY);
        }
        self.gather(now);
        self.gather_comparisons(now);
        if self.is_due(now) {
            self.commit(now);
        }
        self.close_as_asked();
        self.log.close_if_due(now);
        if let Some(deadline) = self.shared.closing.get().copied() {
            let is_done = self.pending.is_empty() && !self.has_queued();
            if is_done || now >= deadline {
                self.end();
                return Next::End;
            }
        }
        self.next(now)
    }

    fn next(&self, now: Instant) -> Next {
        let until = |time: Instant| time.saturating_duration_since(now);
        let closing = self.shared.closing.get().copied();
        if let Some(stall) = &self.stall {
            let retry = until(stall.retry);
            return Next::Rest(closing.map_or(retry, |deadline| retry.min(until(deadline))));
        }
        match self.pending.due {
            Some(_) if self.is_due(now) => Next::Turn,
            Some(due) => Next::Gather(until(due).min(self.tick)),
            None if self.has_queued() => Next::Turn,
            None => Next::Sleep(self.log.closes_in(now)),
        }
    }

    /// Moves what is queued into the pending group, up to the bytes of a group.
    fn gather(&mut self, now: Instant) {
        // It is set behind a batch, which is taken now or at the next turn. While an urgent one is pending, others need
        // not wake the thread.
        if !self.pending.is_urgent {
            self.shared.urgent.store(false, Ordering::SeqCst);
        }
        let (before, was_gathering) = (self.pending.group.frames.len(), self.pending.due.is_some());
        let mut unused = 0;
        while self.pending.decided() < self.group_bytes {
            let Ok(queued) = self.queue.try_recv() else { break };
            let Some(batch) = queued.take() else { continue };
            unused += self.encode(batch);
            self.pending.due.get_or_insert(now + self.interval);
        }
        if self.pending.is_urgent {
            self.shared.urgent.store(true, Ordering::SeqCst);
            let at = self.committed.map_or(now, |committed| committed + self.between_urgent);
            self.pending.due = self.pending.due.map(|due| due.min(at));
        }
        // At once: calls take room on other cores meanwhile.
        self.shared.give_back(unused);
        if was_gathering {
            self.tick = tick_after(self.tick, self.pending.group.frames.len() - before);
        }
    }

    /// Whether anything is queued.
    fn has_queued(&self) -> bool {
        !self.queue.is_empty() || !self.shared.comparisons.is_empty()
    }

    /// Encodes a batch. Returns the bytes that were reserved for it and are not needed.
    fn encode(&mut self, batch: Batch) -> usize {
        let Batch { number, events, urgency, reserved, content } = batch;
        let Some(needed) = self.write_events(|emit| content.events(emit), events) else {
            self.shared.progress.failed(number);
            return reserved.into_bytes();
        };
        self.pending.batches.push(number);
        self.pending.is_urgent |= urgency == Urgency::AtOnce;
        self.pending.counted += events;
        // What is encoded is all that is left of it.
        let reserved = reserved.into_bytes();
        self.pending.reserved += reserved.min(needed);
        reserved.saturating_sub(needed)
    }

    /// Encodes what `content` emits into the pending group. Returns its bytes there; `None` if they are lost, which
    /// counts `events`.
    fn write_events(&mut self, content: impl FnOnce(&mut dyn FnMut(Record)), events: u64) -> Option<usize> {
        let group = &mut self.pending.group;
        let (start, before) = (group.frames.len(), group.events);
        if group.events == 0 {
            (group.first, group.recorded_at) = (self.next_position, self.clock.wall());
        }
        let recorded_at = self.clock.wall();
        let (server, version) = (self.log.files().server(), &self.version);
        let mut too_large = None;
        let encoded = catch_panic(|| {
            content(&mut |mut record: Record| {
                record.sign(server, version);
                let event = Some(record.into_event());
                let event = Event { position: group.first + group.events, recorded_at, event };
                let bytes = frame::write(&event, &mut group.frames);
                if bytes > MAX_EVENT_BYTES {
                    too_large = Some(bytes);
                }
                group.events += 1;
            });
        });
        let failure = match (encoded, too_large) {
            (Err(panicked), _) => Some(panicked.to_string()),
            (Ok(()), Some(bytes)) => Some(format!("an event has {bytes} bytes, more than {MAX_EVENT_BYTES}")),
            (Ok(()), None) => None,
        };
        if let Some(reason) = failure {
            group.frames.truncate(start);
            group.events = before;
            tracing::error!(reason, events, "events could not be encoded and are lost");
            self.shared.lost(events);
            return None;
        }
        self.next_position = group.first + group.events;
        Some(group.frames.len() - start)
    }

    fn is_due(&self, now: Instant) -> bool {
        let Some(due) = self.pending.due else { return false };
        if let Some(stall) = &self.stall {
            return now >= stall.retry;
        }
        let is_closing = self.shared.closing.get().is_some() || !self.asked_to_close.is_empty();
        let is_asked = self.shared.policy == SyncPolicy::Always || is_closing;
        let is_large = self.pending.decided() >= self.group_bytes;
        is_asked || now >= due || is_large || self.shared.is_half_full()
    }

    /// Writes and syncs the pending group, and tells those who wait.
    fn commit(&mut self, now: Instant) {
        let mut written = self.write(now);
        if let (Err(trouble @ Trouble::Io { .. }), None) = (&written, &self.stall) {
            // What failed once is written to another file at once.
            tracing::warn!(%trouble, "a log file could not be written and is closed");
            written = self.write(now);
        }
        match written {
            Ok(()) => {
                self.hear_who_asks_to_close();
                self.committed = Some(self.clock.now());
                self.settle();
                self.log.tidy();
                if self.stall.take().is_some() {
                    tracing::warn!("the event log can be written again");
                    self.tell_stalled(false);
                }
            }
            Err(trouble) => self.stall(&trouble, now),
        }
    }

    /// Writes the pending group to as many files as it needs. What is certain is taken out of it.
    fn write(&mut self, now: Instant) -> Result<(), Trouble> {
        // There is none if the batches have no events.
        while self.pending.group.events > 0 {
            let part = self.log.write(&self.pending.group, now)?;
            if self.shared.policy == SyncPolicy::Os && !self.pending.is_urgent {
                self.log.trust();
            } else {
                let began = Instant::now();
                self.log.sync()?;
                let took = began.elapsed();
                self.between_urgent = between_urgent(took);
                self.shared.metrics.events.synced(took);
            }
            self.shared.metrics.events.appended.inc_by(part.events);
            self.pending.group.drop_part(part);
        }
        Ok(())
    }

    /// Takes on who waits until a file is closed behind a batch of the pending group, which is certain.
    fn hear_who_asks_to_close(&mut self) {
        let mut waiting = self.shared.waiting_for_close();
        let (asked, others): (Waiting, Waiting) =
            waiting.drain(..).partition(|closing| self.pending.batches.contains(&closing.number));
        *waiting = others;
        drop(waiting);
        self.asked_to_close.extend(asked);
    }

    /// The pending group is certain.
    fn settle(&mut self) {
        let shared = &self.shared;
        shared.settled.fetch_add(self.pending.counted, Ordering::Relaxed);
        shared.progress.durable(self.pending.batches.drain(..));
        shared.give_back(self.pending.reserved);
        // A rare large group must not stay.
        self.pending.group.frames.shrink_to(2 * self.group_bytes);
        (self.pending.reserved, self.pending.counted, self.pending.due) = (0, 0, None);
        self.had_compared = std::mem::take(&mut self.pending.compared) > 0;
        if std::mem::take(&mut self.pending.is_urgent) {
            // What came meanwhile is in the queue, which is looked at before the thread sleeps.
            self.shared.urgent.store(false, Ordering::SeqCst);
        }
    }

    fn stall(&mut self, trouble: &Trouble, now: Instant) {
        let is_full = matches!(trouble, Trouble::Full { .. });
        let wait = match &self.stall {
            Some(stall) => (2 * stall.wait).min(LONGEST_RETRY),
            None => FIRST_RETRY,
        };
        if self.stall.as_ref().is_none_or(|stall| stall.is_full != is_full) {
            let when_full = match self.shared.when_full {
                WhenFull::Drop => "decisions are not recorded",
                WhenFull::Refuse => "decisions are refused",
            };
            tracing::error!(%trouble, "the event log cannot be written; once the queue is full, {when_full}");
            self.tell_stalled(true);
        }
        self.stall = Some(Stall { retry: now + wait, wait, is_full });
    }

    fn tell_stalled(&self, stalled: bool) {
        self.shared.stalled.send_replace(stalled);
        self.shared.progress.stalled(stalled);
        self.shared.metrics.events.log_writable.set(i64::from(!stalled));
    }

    /// Closes the log. What is not certain by now is lost.
    fn end(&mut self) {
        self.log.close();
        self.shared.progress.close();
    }
}

/// The tick after one that found `bytes` of events.
fn tick_after(tick: Duration, bytes: usize) -> Duration {
    match bytes {
        _ if bytes > 2 * TICK_BYTES => (tick / 2).max(SHORTEST_TICK),
        _ if bytes < TICK_BYTES / 2 => (tick * 2).min(LONGEST_TICK),
        _ => tick,
    }
}

/// The least time to the next sync for urgent events after one that took so long.
fn between_urgent(took: Duration) -> Duration {
    (took * BETWEEN_URGENT).clamp(SHORTEST_BETWEEN_URGENT, LONGEST_BETWEEN_URGENT)
}

impl Drop for Writer {
    /// Also runs if the thread panics, so that no caller waits forever.
    fn drop(&mut self) {
        self.shared.room.close();
        self.shared.progress.close();
        self.shared.waiting_for_close().clear();
        self.shared.lost(self.pending.counted);
        self.shared.comparisons.end();
        self.shared.lose_comparisons();
    }
}

#[cfg(test)]
mod tests;
