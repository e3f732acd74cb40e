//! Threads that take no core from a call that somebody waits for.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long such a thread works before it rests, if calls arrive meanwhile.
const SPELL: Duration = Duration::from_micros(200);

/// How long it rests at most.
const REST: Duration = Duration::from_millis(2);

/// Calls for which somebody waits, as many as have arrived.
static ARRIVED: AtomicU64 = AtomicU64::new(0);

/// When a thread that gives way began to work, and the calls that had arrived by then.
#[derive(Debug, Clone, Copy)]
struct Spell {
    began: Instant,
    arrived: u64,
}

thread_local! {
    /// None on threads that do not give way.
    static SPELL_OF_THREAD: Cell<Option<Spell>> = const { Cell::new(None) };
}

impl Spell {
    fn begin() -> Self {
        Self { began: Instant::now(), arrived: ARRIVED.load(Ordering::Relaxed) }
    }
}

/// Takes note of a call for which somebody waits.
pub fn arrived() {
    ARRIVED.fetch_add(1, Ordering::Relaxed);
}

/// Gives this thread the lowest priority for good, on Linux `SCHED_IDLE`: it runs where no other thread wants the core, and is put
/// aside at once when one does. Its work must [`begin`], and [`pause`] now and then.
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
    SPELL_OF_THREAD.set(Some(Spell::begin()));
}

/// Work begins here: what this thread did before, if it gives way, was to wait for it.
pub fn begin() {
    if SPELL_OF_THREAD.get().is_some() {
        SPELL_OF_THREAD.set(Some(Spell::begin()));
    }
}

/// Rests for as long as it has worked, if this thread gives way, has worked for a while, and calls have arrived meanwhile. Does
/// nothing on others.
///
/// A core that has nothing to do takes over whoever waits for another core; one that works does so only at a tick of the
/// scheduler, milliseconds later, however low the priority of its work.
pub fn pause() {
    let Some(spell) = SPELL_OF_THREAD.get() else { return };
    let worked = spell.began.elapsed();
    if worked < SPELL {
        return;
    }
    if ARRIVED.load(Ordering::Relaxed) != spell.arrived {
        std::thread::sleep(worked.min(REST));
    }
    SPELL_OF_THREAD.set(Some(Spell::begin()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The spell after a pause in a thread of its own that gives way and began to work then.
    fn after_pause(began: Instant) -> Spell {
        let thread = std::thread::spawn(move || {
            give_way();
            SPELL_OF_THREAD.set(Some(Spell { began, ..Spell::begin() }));
            arrived();
            pause();
            SPELL_OF_THREAD.get().unwrap()
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_spell_ends_with_a_pause_and_not_before_its_time() {
        let now = Instant::now();
        let later = now + Duration::from_hours(1);
        assert_eq!(after_pause(later).began, later);
        let rested = after_pause(now.checked_sub(2 * REST).unwrap());
        assert!(rested.began >= now + REST, "it rested first");
        assert!(rested.arrived > 0, "and the next spell counts from the calls of now");
    }

    #[test]
    fn other_threads_have_no_spells() {
        arrived();
        pause();
        assert!(SPELL_OF_THREAD.get().is_none());
    }
}
