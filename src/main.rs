//! The command `proffer`; see `proffer help`.

/// The thread that serves a call frees most of what the call allocates. None of it may wait for a lock that a thread of
/// the lowest priority holds.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    proffer::cli::main()
}
