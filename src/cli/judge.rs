//! `proffer judge`: the child process in which a server or a command has a version judged. Not for people.

use clap::Args;

use super::Failure;
use release::serve_judge;

#[derive(Debug, Args)]
pub(super) struct JudgeArgs {
    /// The most memory that it may use, in bytes
    #[arg(long, value_name = "BYTES")]
    memory: u64,
    /// The most CPU time that it may use, in seconds
    #[arg(long, value_name = "SECONDS")]
    cpu_time: u64,
    /// The parent process; the judge ends with it
    #[arg(long, value_name = "PID")]
    parent: u32,
}

pub(super) fn run(args: &JudgeArgs) -> Result<(), Failure> {
    Ok(serve_judge(args.memory, args.cpu_time, args.parent)?)
}
