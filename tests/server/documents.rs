//! The examples of the README and the guide: each command of a `console` block runs, in page order, and prints the
//! output shown.
//!
//! Identifiers, times and addresses are masked, numbers are compared to four decimals, and a line `…` matches any
//! number of lines.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use regex::Regex;

use super::binary::{Process, binary, command, init};
use super::harness::limited_workspace;

/// A command of a page, with the output shown for it.
#[derive(Debug)]
struct Shown {
    line: usize,
    command: String,
    output: Vec<String>,
}

/// The commands of a page's `console` blocks.
fn shown_in(page: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            shown.push(Shown { line: number + 1, command: command.to_owned(), output: Vec::new() });
        } else if inside {
            let last =
                shown.last_mut().unwrap_or_else(|| panic!("line {}: output without a command", number + 1));
            last.output.push(line.to_owned());
        }
    }
    shown
}

/// Lines, with the parts masked that differ between runs and machines.
fn masked(text: &str) -> Vec<String> {
    let masks = [
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        (r"127\.0\.0\.1:\d+", "<address>"),
        (r"(\d+\.\d{4})\d+", "$1"),
    ]
    .map(|(pattern, mask)| (Regex::new(pattern).unwrap(), mask));
    let mask = |line: &str| {
        masks.iter().fold(line.trim_end().to_owned(), |line, (pattern, mask)| {
            pattern.replace_all(&line, *mask).into_owned()
        })
    };
    text.trim_end().lines().map(mask).collect()
}

/// Whether the lines match the expected ones, where `…` matches any number of lines.
fn matches(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first == "…" => {
            (0..=found.len()).any(|skipped| matches(rest, &found[skipped..]))
        }
        Some((first, rest)) => found.first() == Some(first) && matches(rest, &found[1..]),
    }
}

#[test]
fn every_command_in_the_pages_prints_the_output_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("docs/reference/command-line.md")];
    pages.extend(std::fs::read_dir(root.join("docs/guide")).unwrap().map(|entry| entry.unwrap().path()));
    let library = std::path::absolute(model::onnx::find_library().unwrap()).unwrap();
    let (mut run, mut wrong) = (0, Vec::new());
    for page in pages {
        let shown = shown_in(&std::fs::read_to_string(&page).unwrap());
        if shown.is_empty() {
            continue;
        }
        // As after `make run`: the sample, and a server over a store of it.
        let directory = tempfile::tempdir().unwrap();
        let (here, programs) = (directory.path(), directory.path().join("programs"));
        for made in [here.join("var"), programs.clone()] {
            std::fs::create_dir(made).unwrap();
        }
        symlink(limited_workspace(), here.join("models")).unwrap();
        symlink(binary(), programs.join("proffer")).unwrap();
        let store = here.join("var/store");
        assert_eq!(init(&store, &limited_workspace()).code, Some(0));
        let server = Process::start(command(), &store);
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        for Shown { line, command, output } in shown {
            let mut shell = Command::new("sh");
            shell.current_dir(here).env("PATH", &path).env("PROFFER_SERVER", server.address.to_string());
            shell.env("ORT_DYLIB_PATH", &library);
            shell.args(["-c", &format!("{{ {command}\n}} 2>&1")]);
            let printed = shell.output().unwrap();
            let found = masked(&String::from_utf8(printed.stdout).unwrap());
            run += 1;
            if !matches(&masked(&output.join("\n")), &found) {
                let name = page.strip_prefix(root).unwrap().display();
                wrong.push(format!("{name}:{line}: {command}\nprints\n{}", found.join("\n")));
            }
        }
    }
    assert!(run >= 10, "only {run} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn only_an_ellipsis_matches_any_lines() {
    let lines = |text: &str| masked(text);
    assert!(matches(&lines("a\n…\nd"), &lines("a\nb\nc\nd")));
    assert!(matches(&lines("a\n…\nd"), &lines("a\nd")));
    assert!(!matches(&lines("a\n…\nd"), &lines("a\nb")));
    assert!(!matches(&lines("a"), &lines("a\nb")));
    assert!(matches(&lines("0.12345 at 127.0.0.1:1"), &lines("0.12349 at 127.0.0.1:2")));
    assert!(!matches(&lines("0.1234"), &lines("0.1235")));
}
