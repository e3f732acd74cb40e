//! The only place where commands write to standard output and standard error.
//!
//! Much of the output comes from others: ids, names, authors, notes, texts of files. None of it can send control
//! sequences to the terminal ([`telemetry::foreign`]). A reader that has gone (`| head`) is no error, of neither.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write, stderr, stdout};

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

/// Prints a remark to standard error. If it is closed, the remark is lost.
pub(super) fn say(text: impl Display) {
    let _ = writeln!(stderr().lock(), "{}", foreign::lines(&text.to_string()));
}

/// Standard output as a file: byte for byte into a file or a pipe, as lines for a person on a terminal.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// What no line end has followed yet; only for a terminal.
    line: Vec<u8>,
}

impl Contents {
    /// Whether a person looks at it.
    #[expect(clippy::unused_self, reason = "there is one standard output")]
    pub(super) fn is_terminal(&self) -> bool {
        stdout().is_terminal()
    }

    /// Prints what is left.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if !self.line.is_empty() {
            self.line.push(b'\n');
            self.print_lines()?;
        }
        stdout().flush()
    }

    /// Prints the whole lines.
    fn print_lines(&mut self) -> io::Result<()> {
        let Some(end) = self.line.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let lines: Vec<u8> = self.line.drain(..=end).collect();
        stdout().lock().write_all(foreign::lines(&String::from_utf8_lossy(&lines)).as_bytes())
    }
}

impl Write for Contents {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal() {
            return stdout().lock().write(bytes);
        }
        self.line.extend_from_slice(bytes);
        self.print_lines()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stdout().flush()
    }
}

fn write(text: &str) -> Result<bool, Failure> {
    let mut out = stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!("standard output cannot be written: {error}"))),
    }
}
