//! The context without which the figures are meaningless: the machine, the commit, the version of ONNX Runtime.

use std::fs;
use std::process::Command;

pub(crate) fn print() {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    println!("machine: {cores} cores, {cpu}; load average before: {}", load.join(" "));
    println!(
        "proffer {} ({}), ONNX Runtime {}",
        env!("CARGO_PKG_VERSION"),
        commit().unwrap_or_else(|| "no git commit".to_owned()),
        model::onnx::VERSION,
    );
}

fn line_of(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let changed = git(&["status", "--porcelain"]).is_some_and(|files| !files.is_empty());
    Some(if changed { format!("commit {commit} with changes") } else { format!("commit {commit}") })
}
