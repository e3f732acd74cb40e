//! `proffer segment`: trains segments, and shows how far customers have drifted from them.

mod drift;
mod flags;
mod offers;
mod previous;
mod train;
mod watch;

use clap::Subcommand;

use super::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum SegmentCommand {
    /// Train segments on a table of customers: writes DIR/segments.json, a version to push, and a report
    #[command(after_help = flags::AFTER_TRAIN)]
    Train(Box<flags::TrainArgs>),
    /// Compare a table of customers with the table that segments were trained on
    #[command(after_help = drift::AFTER_DRIFT)]
    Drift(drift::DriftArgs),
}

pub(super) fn run(command: &SegmentCommand) -> Result<(), Failure> {
    match command {
        SegmentCommand::Train(args) => train::run(args),
        SegmentCommand::Drift(args) => drift::run(args),
    }
}
