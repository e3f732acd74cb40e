//! Log lines on their way to standard error. Logging never blocks on a slow reader.
//!
//! A thread takes lines from a bounded queue and writes them. If the queue is full because the reader is too slow, a
//! line is lost and counted. Once lines flow again, the log reports how many were lost.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tracing_subscriber::fmt::MakeWriter;

use super::LogFormat;
use crate::foreign;

/// The most pending lines …
const LINES: usize = 16_384;

/// … and the most bytes of them.
const BYTES: usize = 8 << 20;

/// The most bytes of a line; a longer line is cut and ends with an ellipsis.
const LINE_BYTES: usize = 64 << 10;

/// How long the end of the process waits for pending lines.
const FLUSH: Duration = Duration::from_secs(1);

/// Lines lost in this process; as global as the log itself.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Log lines lost since the process began, because standard error was read too slowly.
#[must_use]
pub fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

enum Message {
    Line(Vec<u8>),
    /// Its sender is dropped once all lines before it are written.
    Flush(#[expect(dead_code, reason = "dropping it is the signal")] Sender<()>),
}

/// The queue, cheap to clone.
#[derive(Clone)]
pub(super) struct Queue {
    sender: Sender<Message>,
    pending: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
    format: LogFormat,
}

impl Queue {
    /// Starts the thread that writes lines to `output`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(format: LogFormat, output: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = bounded(LINES);
        let queue = Self { sender, pending: Arc::default(), lost: Arc::default(), format };
        let (pending, lost) = (Arc::clone(&queue.pending), Arc::clone(&queue.lost));
        let writer = move || write_all(&receiver, output, format, &pending, &lost);
        std::thread::Builder::new().name("log".to_owned()).spawn(writer)?;
        Ok(queue)
    }

    /// Queues a line, or drops and counts it.
    fn put(&self, line: &[u8]) {
        let line = self.fit(line);
        let length = line.len();
        let pending = self.pending.fetch_add(length, Ordering::Relaxed);
        let sent = if pending + length > BYTES {
            Err(())
        } else {
            self.sender.try_send(Message::Line(line)).map_err(|_: TrySendError<_>| ())
        };
        if sent.is_err() {
            self.pending.fetch_sub(length, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The line as written: of bounded length, and in JSON with all control characters escaped. Text lines are
    /// escaped when their fields are formatted, so that colours survive.
    fn fit(&self, line: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(line);
        match self.format {
            LogFormat::Text if line.len() <= LINE_BYTES => line.to_vec(),
            LogFormat::Text => format!("{}…\n", &text[..text.floor_char_boundary(LINE_BYTES)]).into_bytes(),
            LogFormat::Json if line.len() <= LINE_BYTES => foreign::json(&text).into_owned().into_bytes(),
            LogFormat::Json => {
                // A truncated line is not JSON, so its beginning becomes a JSON string.
                let begins = format!("{}…", &text[..text.floor_char_boundary(LINE_BYTES / 8)]);
                let line = serde_json::json!({ "level": "WARN", "message": "a log line was too long", "line": begins });
                format!("{}\n", foreign::json(&line.to_string())).into_bytes()
            }
        }
    }

    /// Waits until all queued lines are written, for a bounded time.
    pub(super) fn flush(&self) {
        let (done, written) = bounded(0);
        if self.sender.send_timeout(Message::Flush(done), FLUSH).is_ok() {
            // The sender is dropped, and nothing is sent.
            _ = written.recv_timeout(FLUSH);
        }
    }
}

fn write_all(
    receiver: &Receiver<Message>,
    mut output: impl Write,
    format: LogFormat,
    pending: &AtomicUsize,
    lost: &AtomicU64,
) {
    for message in receiver {
        match message {
            Message::Line(line) => {
                // An error of standard error cannot be reported anywhere.
                _ = output.write_all(&line);
                pending.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Message::Flush(_) => _ = output.flush(),
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            let message = "log lines were lost: standard error is read too slowly";
            let line = match format {
                LogFormat::Text => {
                    format!("{time}  WARN proffer::telemetry::logging: {message} lines={count}\n")
                }
                LogFormat::Json => {
                    let line = serde_json::json!({
                        "timestamp": time, "level": "WARN", "message": message, "lines": count,
                        "target": "proffer::telemetry::logging",
                    });
                    format!("{line}\n")
                }
            };
            _ = output.write_all(line.as_bytes());
        }
    }
}

impl<'w> MakeWriter<'w> for Queue {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line(self)
    }
}

/// Takes one line, which `tracing_subscriber` writes in one call.
pub(super) struct Line<'w>(&'w Queue);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc;

    /// Standard error that blocks until it is released.
    struct Slow {
        may_write: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error means that all further writes may proceed.
            _ = self.may_write.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn logging_does_not_block_and_lost_lines_are_reported() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (let_write, may_write) = mpsc::channel();
            let written = Arc::new(Mutex::new(Vec::new()));
            let queue = Queue::start(format, Slow { may_write, written: Arc::clone(&written) }).unwrap();
            let (before, lines) = (lines_lost(), 3 * LINES);
            for number in 0..lines {
                queue.make_writer().write_all(format!("{{\"number\":{number}}}\n").as_bytes()).unwrap();
            }
            let lost = queue.lost.load(Ordering::Relaxed);
            assert!(lost >= 2 * LINES as u64 - 2, "{lost} lines were lost");
            assert!(lines_lost() - before >= lost);
            drop(let_write);
            while queue.pending.load(Ordering::Relaxed) > 0 {
                std::thread::yield_now();
            }
            queue.flush();
            let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
            let report = text.lines().find(|line| line.contains("log lines were lost")).unwrap();
            assert!(report.contains(&lost.to_string()), "{report}");
            assert_eq!(
                text.lines().filter(|line| line.starts_with("{\"number\"")).count() as u64,
                lines as u64 - lost
            );
        }
    }

    #[test]
    fn pending_bytes_are_bounded() {
        let (let_write, may_write) = mpsc::channel();
        let queue = Queue::start(LogFormat::Text, Slow { may_write, written: Arc::default() }).unwrap();
        for _ in 0..1_000 {
            queue.put(&vec![b'x'; 1 << 20]);
            assert!(queue.pending.load(Ordering::Relaxed) <= BYTES);
        }
        assert!(queue.lost.load(Ordering::Relaxed) > 800);
        drop(let_write);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_stays_json() {
        let queue = |format| Queue::start(format, io::sink()).unwrap();
        let text = queue(LogFormat::Text).fit("é".repeat(LINE_BYTES).as_bytes());
        assert!(text.len() <= LINE_BYTES + 4 && text.ends_with("…\n".as_bytes()));
        let line = serde_json::json!({ "message": "\u{202e}\"".repeat(LINE_BYTES) }).to_string();
        let cut = String::from_utf8(queue(LogFormat::Json).fit(line.as_bytes())).unwrap();
        assert!(cut.len() < LINE_BYTES && !cut.contains('\u{202e}'));
        assert!(serde_json::from_str::<serde_json::Value>(&cut).unwrap()["line"].is_string());
    }
}
