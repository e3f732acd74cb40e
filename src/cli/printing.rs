//! The only place where commands write to standard output and standard error.
//!
//! Much of the output comes from others: ids, names, authors, notes, texts of files. None of it can send control
//! sequences to the terminal ([`telemetry::foreign`]). A reader that has gone (`| head`) is no error.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write, stdout};

use serde::Serialize;

use super::Failure;
use telemetry::foreign;

/// Prints lines for a person.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    write_line(text).map(|_| ())
}

/// Prints lines for a person; false if the reader has gone.
pub(super) fn write_line(text: impl Display) -> Result<bool, Failure> {
    write(&foreign::lines(&text.to_string()))
}

/// Prints a value as one line of JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    write_json_line(value).map(|_| ())
}

/// Prints a value as one line of JSON; false if the reader has gone.
pub(super) fn write_json_line(value: &impl Serialize) -> Result<bool, Failure> {
    write(&foreign::json(&serde_json::to_string(value)?))
}

/// Prints a value as indented JSON.
pub(super) fn print_pretty_json(value: &impl Serialize) -> Result<(), Failure> {
    write(&foreign::json(&serde_json::to_string_pretty(value)?)).map(|_| ())
}

/// Prints the contents of a file: byte for byte into a file or a pipe, as lines for a person on a terminal.
pub(super) fn print_contents(text: &str) -> Result<(), Failure> {
    if stdout().is_terminal() { print(text) } else { write(text).map(|_| ()) }
}

/// Prints a remark to standard error.
pub(super) fn say(text: impl Display) {
    eprintln!("{}", foreign::lines(&text.to_string()));
}

fn write(text: &str) -> Result<bool, Failure> {
    let mut out = stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
