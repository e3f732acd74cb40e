//! Who watches a training on a terminal: a bar with the time left for what takes longer than a second, and an end by Ctrl-C that leaves
//! no file half written.

use std::io::IsTerminal;
use std::process::exit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::Failure;
use crate::segment::train::progress::Progress;

/// What is done sooner needs no bar.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// As a shell counts a program that ended by SIGINT.
const INTERRUPTED: i32 = 130;

/// How often a step that is one piece shows that it goes on.
const TICK: Duration = Duration::from_millis(200);

/// One bar, for the step that is under way.
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
    /// Watches from now on. `quiet`: a script reads the output, or nobody does.
    ///
    /// # Errors
    /// When the operating system refuses the thread that waits for Ctrl-C.
    pub fn start(quiet: bool) -> Result<Self, Failure> {
        let writing = Arc::new(Mutex::new(()));
        let held = Arc::clone(&writing);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                // Files that are being written are finished first: all of them are there, or none.
                let _held = held.lock().unwrap_or_else(PoisonError::into_inner);
                eprintln!("interrupted");
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
            // A step that is not cut into pieces tells nothing between its beginning and its end.
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

    /// Does `work`, which is one piece, as a step.
    pub fn during<T>(&self, step: &str, work: impl FnOnce() -> T) -> T {
        self.begin(step, 1);
        let done = work();
        self.finish();
        done
    }

    /// Until the guard is dropped, Ctrl-C waits.
    pub fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        let mut step = self.step();
        step.bar.finish_and_clear();
        step.units = 0;
    }

    fn step(&self) -> MutexGuard<'_, Step> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Step {
    /// Shows the bar once the step has taken long enough to be worth one: how far it is, or, where it is one piece, for how
    /// long it goes on. A step without units is over.
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
