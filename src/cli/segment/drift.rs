//! `proffer segment drift`.

use std::path::PathBuf;

use clap::Args;

use super::super::Failure;
use super::super::printing::{print, print_json, say};
use super::super::values::{decimal, listed, separator};
use super::previous::artefact;
use super::watch::Watch;
use segment_train::drift::{Drift, drift};
use segment_train::train::ReadOptions;
use table::Decimal;

pub(super) const AFTER_DRIFT: &str = "\
Examples:
  proffer segment drift --segments segments --input june.parquet
  proffer segment drift --segments var/store/models/segments/1 --input june.csv --json

The population stability index (PSI) compares shares in ten bins of the training data: below 0.1
stable, up to 0.25 moderate, above that shifted. Exit code 1 when a feature or the shares of the
segments have shifted.";

#[derive(Debug, Args)]
pub(in crate::cli) struct DriftArgs {
    /// The segmentation: its directory, or segments.json
    #[arg(long, value_name = "PATH")]
    segments: PathBuf,
    /// The customers of today: CSV or Parquet, with the columns that the segments were trained on
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Words that mean a missing value, besides an empty field, NA and NaN
    #[arg(long, value_name = "WORDS", value_delimiter = ',', value_parser = listed)]
    missing: Vec<String>,
    /// The field separator of a CSV: "," ";" "|" or tab [default: detected]
    #[arg(long, value_name = "SEPARATOR", value_parser = separator)]
    separator: Option<u8>,
    /// The decimal mark of a CSV: comma (points separate thousands) or point [default: detected]
    #[arg(long, value_name = "MARK", value_parser = decimal)]
    decimal: Option<Decimal>,
    /// Rename a column to the segments' name for it, as in the training; once for each column
    #[arg(long, value_name = "OLD=NEW", value_parser = super::flags::renamed)]
    rename: Vec<(String, String)>,
    /// The PSI above which a feature or the segments have shifted
    #[arg(long, value_name = "PSI", default_value_t = 0.25)]
    limit: f64,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DriftArgs) -> Result<(), Failure> {
    let segmentation = artefact(&args.segments)?;
    let watch = Watch::start(args.json)?;
    let said = ReadOptions {
        missing: args.missing.clone(),
        separator: args.separator,
        decimal: args.decimal,
        rename: args.rename.iter().cloned().collect(),
        ..ReadOptions::default()
    };
    let drift: Drift = drift(&segmentation, &args.input, &said, args.limit, &watch)?;
    watch.finish();
    if args.json {
        print_json(&drift)?;
    } else {
        for note in &drift.notes {
            say(format_args!("warning: {}: {note}", drift.file));
        }
        print(&drift)?;
    }
    if drift.shifted() {
        let message =
            format!("{} has shifted against what the segments were trained on", args.input.display());
        return Err(Failure::new(message));
    }
    Ok(())
}
