//! `proffer shadow`: which shadows a release has, and what they would have decided.

mod listed;
mod policy;
mod report;

use clap::{Args, Subcommand};

use self::listed::ListArgs;
use self::report::ReportArgs;
use super::Failure;

const AFTER_HELP: &str = "\
Examples:
  proffer shadow list
  proffer shadow report --shadow propensity_v8                 what a server has counted
  proffer shadow report --store var/store --data var/data      what is recorded
  proffer shadow report --store var/store --from 2026-11-01 --placement app_home --format html --out shadow.html

A shadow is written in policy.toml ([[shadow]]). `proffer replay --shadow` runs shadows over recorded decisions.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ShadowArgs {
    #[command(subcommand)]
    command: ShadowCommand,
}

#[derive(Debug, Subcommand)]
enum ShadowCommand {
    /// Report what shadows would have decided, compared with what was decided
    Report(ReportArgs),
    /// List the shadows of the current release: what they change, and whether they can decide
    List(ListArgs),
}

pub(super) fn run(args: &ShadowArgs) -> Result<(), Failure> {
    match &args.command {
        ShadowCommand::Report(args) => report::run(args),
        ShadowCommand::List(args) => listed::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        shadow: ShadowArgs,
    }

    fn parse(line: &str) -> Result<ShadowArgs, ErrorKind> {
        let words = std::iter::once("shadow").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.shadow).map_err(|error| error.kind())
    }

    #[test]
    fn every_command_is_read_with_and_without_its_options() {
        for line in [
            "list",
            "list --store var/store --json",
            "list --server 127.0.0.1:9",
            "report",
            "report --server 127.0.0.1:9 --shadow s --placement app_home",
            "report --store s3://bucket/prefix --data var/data --data var/other --shadow s --placement app_home",
            "report --store store --from 2026-11-01 --to 2026-11-02T06:00:00Z --format json",
            "report --format html --out -",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
        }
        for (line, kind) in [
            ("report --store store --from soon", ErrorKind::ValueValidation),
            ("report --format pdf", ErrorKind::InvalidValue),
            // A server knows what it has compared since it started, and no times.
            ("report --from 2026-11-01", ErrorKind::MissingRequiredArgument),
            ("report --data var/data", ErrorKind::MissingRequiredArgument),
            ("report --shadow=", ErrorKind::InvalidValue),
            ("report --placement=", ErrorKind::InvalidValue),
            ("report --server 127.0.0.1:9 --store store", ErrorKind::ArgumentConflict),
        ] {
            assert_eq!(parse(line).unwrap_err(), kind, "{line}");
        }
    }
}
