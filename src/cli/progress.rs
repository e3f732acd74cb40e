//! Progress of commands that take long, on standard error and only where that is a terminal.

use event::read::ReadProgress;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often it is drawn at most, per second.
const PER_SECOND: u8 = 5;

/// A bar with the time left, or a counter where the end is not known.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

/// A bar over bytes.
pub(super) fn bytes(title: &'static str) -> Bar {
    bar(title, "{msg} {bar:30} {bytes} of {total_bytes}, {eta} left")
}

/// A bar over things; their number is not known before [`Bar::at`].
pub(super) fn counted(title: &'static str) -> Bar {
    bar(title, "{msg} {bar:30} {human_pos} of {human_len}, {eta} left")
}

/// A counter.
pub(super) fn counter(title: &'static str) -> Bar {
    bar(title, "{spinner} {msg} {human_pos}, {per_sec}")
}

/// A bar over what is read, and how many things that were so far.
pub(super) fn read(title: &'static str) -> Bar {
    bar(title, "{prefix} {msg} {bar:30} {percent} %, {eta} left")
}

/// It is drawn when something was done. `indicatif` would do it each second with a thread, and panic without one.
fn bar(title: &'static str, template: &str) -> Bar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(PER_SECOND));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(title);
    Bar(bar)
}

impl Bar {
    /// How far it is.
    pub(super) fn at(&self, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
    }

    /// How many things were done.
    pub(super) fn count(&self, done: u64) {
        self.0.set_position(done);
    }

    /// How far reading is, and how many things that were.
    pub(super) fn read(&self, count: u64, progress: &ReadProgress) {
        self.0.set_prefix(HumanCount(count).to_string());
        self.at(progress.done(), progress.all());
    }

    /// Removes it.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
