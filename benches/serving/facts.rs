//! What a figure means nothing without: the machine, the commit, the version of ONNX Runtime.

use std::fs;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::measure::micros;

/// How often a thread is woken to see how long that takes.
const WAKE_UPS: usize = 2000;

/// Prints the facts.
pub fn print() {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    println!("machine: {cores} cores, {cpu}; load average before: {}", load.join(" "));
    println!(
        "proffer {} ({}), ONNX Runtime {}",
        env!("CARGO_PKG_VERSION"),
        commit().unwrap_or_else(|| "no git commit".to_owned()),
        proffer::model::onnx::VERSION,
    );
    println!(
        "a sleeping thread is woken in {:.0} µs (median; an idle virtual machine takes long)",
        wake_up()
    );
}

/// Half the time in which a word goes to another thread and back, both asleep until it comes, in µs: the price of every
/// hand-over between threads, and what calls that come one at a time are made of on an idle machine.
fn wake_up() -> f64 {
    let (there, hears) = mpsc::sync_channel(0);
    let (answers, back) = mpsc::sync_channel(0);
    let other = std::thread::spawn(move || hears.into_iter().try_for_each(|word: ()| answers.send(word)));
    let mut times: Vec<Duration> = (0..WAKE_UPS)
        .map(|_| {
            // Long enough for the processor to doze off.
            std::thread::sleep(Duration::from_micros(200));
            let began = Instant::now();
            there.send(()).unwrap();
            back.recv().unwrap();
            began.elapsed()
        })
        .collect();
    drop(there);
    let _ = other.join();
    times.sort_unstable();
    micros(times[times.len() / 2]) / 2.0
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
