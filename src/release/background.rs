//! Threads for what must not take a core from a request: loading, judging, taking apart.

use std::thread::{Builder, JoinHandle};

/// Starts `work` on a thread of the lowest priority. On Linux that is `SCHED_IDLE`: it runs where no thread of a request
/// wants the core, and is put aside at once when one does. So on a machine that is busy through and through, it is slow: what is
/// warm already needs no such thread.
///
/// # Errors
/// When the operating system refuses a thread.
pub(super) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    let span = tracing::Span::current();
    Builder::new().name(name.to_owned()).spawn(move || {
        give_way();
        span.in_scope(work)
    })
}

/// Runs `work` as [`spawn`] does, and waits for it; a panic in it goes on here.
///
/// # Errors
/// When the operating system refuses a thread.
pub(super) fn run<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    let span = tracing::Span::current();
    std::thread::scope(|scope| {
        let started = Builder::new().name(name.to_owned()).spawn_scoped(scope, move || {
            give_way();
            span.in_scope(work)
        })?;
        started.join().map_or_else(|panic| std::panic::resume_unwind(panic), Ok)
    })
}

fn give_way() {
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
