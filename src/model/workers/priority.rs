//! Threads that take no core from a call that somebody waits for.

/// Gives this thread the lowest priority for good, on Linux `SCHED_IDLE`: it runs where no other thread wants the core, and is put
/// aside at once when one does.
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
}
