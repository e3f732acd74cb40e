//! The command `proffer`; see `proffer help`.

/// Most of what a call allocates is freed by the thread that serves it, and none of it may wait for a lock that a thread of the lowest
/// priority holds.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    proffer::cli::main()
}
