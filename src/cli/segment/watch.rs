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

/// One bar, for the step that is under way.
#[derive(Debug)]
pub(super) struct Watch {
    step: Mutex<Step>,
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
        Ok(Self { step: Mutex::new(step), shown: !quiet && std::io::stderr().is_terminal(), writing })
    }

    /// Until the guard is dropped, Ctrl-C waits.
    pub fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.step().bar.finish_and_clear();
    }

    fn step(&self) -> MutexGuard<'_, Step> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
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
        if !self.shown {
            return;
        }
        if step.bar.is_hidden() && step.began.elapsed() > SHOWN_AFTER {
            let style = ProgressStyle::with_template("{msg} {bar:32} {percent:>3} %, {eta} left");
            let bar = ProgressBar::with_draw_target(Some(step.units), ProgressDrawTarget::stderr());
            step.bar = bar
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(step.name.clone());
            step.bar = step.bar.clone().with_elapsed(step.began.elapsed());
        }
        step.bar.set_position(step.done);
    }

    fn stopped(&self) -> bool {
        // Ctrl-C ends the process itself.
        false
    }
}
