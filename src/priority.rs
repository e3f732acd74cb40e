//! Threads that take no core from a call that somebody waits for.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long such a thread works before it yields.
const SPELL: Duration = Duration::from_micros(50);

thread_local! {
    /// When this thread last yielded. None on threads that do not give way.
    static YIELDED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Gives this thread the lowest priority for good, on Linux `SCHED_IDLE`: it runs where no other thread wants the core. Its work must
/// [`pause`] now and then.
pub fn give_way() {
    // macOS has no such policy; there the threads compete. A refusal (a sandbox without the call) costs speed alone.
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let this = thread_priority::thread_native_id();
        if let Err(error) = thread_priority::set_thread_priority_and_policy(this, ThreadPriority::Min, idle) {
            tracing::debug!(?error, "a background thread keeps the priority of the others");
        }
    }
    YIELDED.set(Some(Instant::now()));
}

/// Yields the core, if this thread gives way and has worked for a while. Does nothing on others.
///
/// The lowest priority is not enough: to the scheduler of Linux since 6.6 (EEVDF) such a thread is owed a small share of the time, and
/// while it is, a thread that wakes beside it may wait for milliseconds. Measured with 6.18, whose `sched_yield` forfeits what is owed
/// (`yield_task_fair` of <https://github.com/torvalds/linux/blob/v6.18/kernel/sched/fair.c>), so that the others go first; before that
/// it moves the deadline of the thread alone, and what it brings there is not measured.
pub fn pause() {
    let Some(yielded) = YIELDED.get() else { return };
    let now = Instant::now();
    if now.saturating_duration_since(yielded) >= SPELL {
        std::thread::yield_now();
        YIELDED.set(Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a thread that gives way, and yielded at that time, last yielded after a pause.
    fn after_pause(yielded: Instant) -> Instant {
        let thread = std::thread::spawn(move || {
            give_way();
            YIELDED.set(Some(yielded));
            pause();
            YIELDED.get().unwrap()
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_spell_ends_with_a_pause_and_not_before_its_time() {
        let now = Instant::now();
        let later = now + Duration::from_hours(1);
        assert_eq!(after_pause(later), later);
        assert!(after_pause(now.checked_sub(SPELL).unwrap()) >= now);
    }

    #[test]
    fn other_threads_do_not_yield() {
        pause();
        assert!(YIELDED.get().is_none());
    }
}
