//! Shows a training on a terminal: a bar with the time left for steps longer than a second. Ctrl-C ends it and leaves
//! no half-written file.

use std::io::IsTerminal;
use std::process::exit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::Failure;
use super::super::printing::say;
use segment_train::train::progress::Progress;

/// Shorter steps get no bar.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// The exit code that shells use for a program ended by SIGINT.
const INTERRUPTED: i32 = 130;

/// How often the spinner of an indivisible step moves.
const TICK: Duration = Duration::from_millis(200);

/// The bar of the current step.
#[derive(Debug)]
pub(super) struct Watch {
    step: Arc<Mutex<Step>>,
    shown: bool,
    /// Held while files are written.
    writing: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Step {
    bar: ProgressBar,
    began: Instant,
    name: String,
    units: u64,
    done: u64,
}

impl Watch {
    /// Starts watching. `quiet` hides the bar, as for a script.
    ///
    /// # Errors
    /// When the operating system refuses the thread that waits for Ctrl-C.
    pub(super) fn start(quiet: bool) -> Result<Self, Failure> {
        let writing = Arc::new(Mutex::new(()));
        let held = Arc::clone(&writing);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                // Files that are being written are finished first: all of them exist, or none.
                let _held = held.lock().unwrap_or_else(PoisonError::into_inner);
                say("interrupted");
                exit(INTERRUPTED);
            }
        })?;
        let step = Step {
            bar: ProgressBar::hidden(),
            began: Instant::now(),
            name: String::new(),
            units: 0,
            done: 0,
        };
        let (step, shown) = (Arc::new(Mutex::new(step)), !quiet && std::io::stderr().is_terminal());
        if shown {
            // An indivisible step reports nothing between its beginning and its end.
            let watched = Arc::downgrade(&step);
            std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
                while let Some(step) = watched.upgrade() {
                    step.lock().unwrap_or_else(PoisonError::into_inner).show();
                    drop(step);
                    std::thread::sleep(TICK);
                }
            })?;
        }
        Ok(Self { step, shown, writing })
    }

    /// Runs `work` as one indivisible step.
    pub(super) fn during<T>(&self, step: &str, work: impl FnOnce() -> T) -> T {
        self.begin(step, 1);
        let done = work();
        self.finish();
        done
    }

    /// Until the guard is dropped, Ctrl-C waits.
    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        let mut step = self.step();
        step.bar.finish_and_clear();
        step.units = 0;
    }

    fn step(&self) -> MutexGuard<'_, Step> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Step {
    /// Shows the bar once the step has taken long enough: its progress, or for an indivisible step the time so far. A
    /// step without units is over.
    fn show(&mut self) {
        if self.units == 0 || self.began.elapsed() <= SHOWN_AFTER {
            return;
        }
        if self.bar.is_hidden() {
            let template = if self.units > 1 {
                "{msg} {bar:32} {percent:>3} %, {eta} left"
            } else {
                "{spinner} {msg}, {elapsed}"
            };
            let style = ProgressStyle::with_template(template);
            let bar = ProgressBar::with_draw_target(Some(self.units), ProgressDrawTarget::stderr());
            self.bar = bar
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(self.name.clone())
                .with_elapsed(self.began.elapsed());
        }
        self.bar.set_position(self.done);
        self.bar.tick();
    }
}

impl Progress for Watch {
    fn begin(&self, step: &str, units: u64) {
        let mut now = self.step();
        now.bar.finish_and_clear();
        *now =
            Step { bar: ProgressBar::hidden(), began: Instant::now(), name: step.to_owned(), units, done: 0 };
    }

    fn advance(&self, units: u64) {
        let mut step = self.step();
        step.done += units;
        if self.shown {
            step.show();
        }
    }

    fn stopped(&self) -> bool {
        // Ctrl-C ends the process itself.
        false
    }
}
