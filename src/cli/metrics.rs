//! `proffer metrics`: what came of the decisions, without an experiment.

use chrono::{DateTime, Utc};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

use super::Failure;
use super::backend::Place;
use super::reports::{LogArgs, Source, WrittenArgs};
use super::values::moment;
use crate::app::MetricsAsk;
use analysis::By;

const AFTER_HELP: &str = "\
Examples:
  proffer metrics --by offer                                    what a server can read
  proffer metrics --placement app_home --by segment --metric conversion
  proffer metrics --by day --from 2026-11-01 --to 2026-12-01
  proffer metrics --store var/store --data var/data --by offer --format html --out metrics.html

Metrics are built in, or declared in policy.toml ([[metric]]).
Rows are no experiment: who is shown what was not drawn by lot, so a difference between them is no effect.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct MetricsArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    log: LogArgs,
    /// What a row is: an offer that was shown, a segment that customers were in, or a day in UTC
    #[arg(long, value_enum, default_value = "offer")]
    by: Rows,
    /// Only decisions at this placement [default: all]
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    placement: Option<String>,
    /// Decided at this time or later, such as 2026-12-24T18:00:00Z, or a day (midnight in UTC)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<DateTime<Utc>>,
    /// Decided before this time; outcomes count whenever they come
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<DateTime<Utc>>,
    /// Only this metric; may be given several times [default: all that are built in]
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    metric: Vec<String>,
    #[command(flatten)]
    written: WrittenArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Rows {
    Offer,
    Segment,
    Day,
}

pub(super) fn run(args: &MetricsArgs) -> Result<(), Failure> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from >= to
    {
        return Err(Failure::usage("--from is not before --to, so there are no decisions between them"));
    }
    let ask = MetricsAsk {
        placement: args.placement.clone().unwrap_or_default(),
        by: match args.by {
            Rows::Offer => By::Offer,
            Rows::Segment => By::Segment,
            Rows::Day => By::Day,
        },
        from: args.from,
        to: args.to,
        metrics: args.metric.clone(),
    };
    args.written.write(&args.place, &args.log, async |source| match source {
        Source::Server(client) => Ok(client.metrics(&ask).await?),
        Source::Store(reports) => Ok(reports.metrics(&ask, Utc::now())?),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        metrics: MetricsArgs,
    }

    fn parse(line: &str) -> Result<MetricsArgs, ErrorKind> {
        let words = std::iter::once("metrics").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.metrics).map_err(|error| error.kind())
    }

    #[test]
    fn the_options_are_read_and_contradictions_are_refused() {
        for line in [
            "",
            "--by day --from 2026-11-01 --to 2026-11-02T06:00:00Z --json",
            "--server 127.0.0.1:9 --placement app_home --by segment --format csv",
            "--store s3://bucket/prefix --data a --data b --metric conversion --metric engagement --format html --out -",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
        }
        for (line, kind) in [
            ("--by customer", ErrorKind::InvalidValue),
            ("--from soon", ErrorKind::ValueValidation),
            ("--metric=", ErrorKind::InvalidValue),
            ("--server 127.0.0.1:9 --store store", ErrorKind::ArgumentConflict),
        ] {
            assert_eq!(parse(line).unwrap_err(), kind, "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_anything_is_read() {
        for (line, told) in [
            ("--from 2026-11-02 --to 2026-11-02 --store nowhere", "--from is not before --to"),
            ("--data var/data", "--store"),
            ("--json --format csv", "--format"),
        ] {
            let failure = run(&parse(line).unwrap()).unwrap_err();
            assert!(failure.code == 2 && failure.message.contains(told), "{line}: {}", failure.message);
        }
    }
}
