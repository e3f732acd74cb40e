//! `proffer segment train`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, print};
use crate::segment::train::{DEFAULT_N_INIT, DEFAULT_SEED, TrainOptions, train};

#[derive(Debug, Subcommand)]
pub(super) enum SegmentCommand {
    /// Train k segments on a CSV of customers and write DIR/segments.json
    Train(TrainArgs),
}

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// A CSV of customers: a header, an optional id column, every other column numeric
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where segments.json is written
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// The number of segments
    #[arg(long, value_name = "K")]
    k: usize,
    /// The column that names the customer
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Seed of the random generator; the same seed gives the same bytes
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// Restarts of k-means; the best is kept
    #[arg(long, value_name = "N", default_value_t = DEFAULT_N_INIT)]
    n_init: usize,
    /// Names of the segments, largest first, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    names: Option<Vec<String>>,
    /// Also write DIR/assignments.csv: the segment of each customer
    #[arg(long)]
    assignments: bool,
}

pub(super) fn run(command: &SegmentCommand) -> Result<(), Failure> {
    let SegmentCommand::Train(args) = command;
    let options = TrainOptions {
        k: args.k,
        id_column: args.id.clone(),
        seed: args.seed,
        n_init: args.n_init,
        names: args.names.clone(),
    };
    let trained = train(&args.input, &options)?;
    let written = trained.segmentation.write(&args.output)?;
    print(trained.summary())?;
    print(format_args!("wrote {}", written.display()))?;
    if args.assignments {
        print(format_args!("wrote {}", trained.write_assignments(&args.output)?.display()))?;
    }
    Ok(())
}
