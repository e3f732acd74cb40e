//! Threads of idle priority, which take no core from a call.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long such a thread works before it yields.
const YIELD_INTERVAL: Duration = Duration::from_micros(50);

thread_local! {
    /// When this thread last yielded; `None` on threads of normal priority.
    static YIELDED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Gives this thread idle priority for good, on Linux `SCHED_IDLE`: it runs on cores that no other thread wants. Its
/// work must call [`yield_if_due`] regularly.
pub fn set_idle_priority() {
    // macOS has no such policy; there the threads compete. A refusal (a sandbox without the call) only costs speed.
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let this = thread_priority::thread_native_id();
        if let Err(error) = thread_priority::set_thread_priority_and_policy(this, ThreadPriority::Min, idle) {
            tracing::debug!(?error, "a background thread keeps normal priority");
        }
    }
    YIELDED.set(Some(Instant::now()));
}

/// Keeps yielding in a process that a thread of idle priority has started: the process inherits the policy, but not
/// the yielding. Does nothing in other processes.
pub fn inherit_idle_priority() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{NormalThreadSchedulePolicy, ThreadSchedulePolicy};
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        if thread_priority::thread_schedule_policy().is_ok_and(|policy| policy == idle) {
            YIELDED.set(Some(Instant::now()));
        }
    }
}

/// Yields the core if this thread has idle priority and has worked for a while. Does nothing on other threads.
///
/// Idle priority alone is not enough. The scheduler of Linux since 6.6 (EEVDF) owes such a thread a small share of
/// the time.
/// While it does, a thread that wakes on the same core may wait for milliseconds.
/// Measured with 6.18, whose `sched_yield` forfeits what is owed, so that other threads run first (`yield_task_fair`
/// of
/// <https://github.com/torvalds/linux/blob/v6.18/kernel/sched/fair.c>).
/// Earlier versions only move the thread's deadline, and the effect there is not measured.
pub fn yield_if_due() {
    let Some(yielded) = YIELDED.get() else { return };
    let now = Instant::now();
    if now.saturating_duration_since(yielded) >= YIELD_INTERVAL {
        std::thread::yield_now();
        YIELDED.set(Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a thread of idle priority last yielded, if it yielded at `yielded` and then called `yield_if_due`.
    fn after_pause(yielded: Instant) -> Instant {
        let thread = std::thread::spawn(move || {
            set_idle_priority();
            YIELDED.set(Some(yielded));
            yield_if_due();
            YIELDED.get().unwrap()
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_spell_ends_with_a_pause_and_not_before_its_time() {
        let now = Instant::now();
        let later = now + Duration::from_hours(1);
        assert_eq!(after_pause(later), later);
        assert!(after_pause(now.checked_sub(YIELD_INTERVAL).unwrap()) >= now);
    }

    #[test]
    fn other_threads_do_not_yield() {
        yield_if_due();
        assert!(YIELDED.get().is_none());
    }
}
