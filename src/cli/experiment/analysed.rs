//! What an experiment has come to, and how many customers it needs before it starts.

use chrono::{DateTime, Utc};
use clap::Args;

use crate::cli::Failure;
use crate::cli::backend::Place;
use crate::cli::printing::{print, print_contents};
use crate::cli::reports::{LogArgs, Source, WrittenArgs};
use crate::cli::values::moment;
use analysis::render::{plan_json, plan_text};
use analysis::{Wish, WishedDifference};

const AFTER_REPORT: &str = "\
Examples:
  proffer experiment report propensity_v7                       what a server can read
  proffer experiment report propensity_v7 --store var/store --data var/data
  proffer experiment report propensity_v7 --format html --out propensity_v7.html

You may look at any time: the limits and the p of the sequence hold however often you do.
A server reads the sealed files of all servers and its own log.
With --store, name the data directories whose logs are to be read, too.";

const AFTER_PLAN: &str = "\
Examples:
  proffer experiment plan propensity_v7 --store var/store --data var/data
  proffer experiment plan propensity_v7 --store var/store --relative 5% --power 0.9
  proffer experiment plan propensity_v7 --store var/store --difference 0.002 --from 2026-11-01

The base is the primary metric of what was recorded at the placements of the experiment.
It needs --store: no server is asked.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_REPORT)]
pub(super) struct ReportArgs {
    /// Its id
    #[arg(value_name = "ID")]
    experiment: String,
    /// An earlier phase, sixteen hexadecimal digits, as a report names it [default: that of the current release]
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    phase: Option<u64>,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    written: WrittenArgs,
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_PLAN)]
pub(super) struct PlanArgs {
    /// Its id
    #[arg(value_name = "ID")]
    experiment: String,
    #[command(flatten)]
    log: LogArgs,
    /// A difference to find, in the unit of the primary metric; may be given several times
    #[arg(long, value_name = "NUMBER", value_parser = difference, allow_negative_numbers = true)]
    difference: Vec<f64>,
    /// A difference to find, as a share of the base, such as 5%; may be given several times
    /// [default: 2 %, 5 %, 10 % and 20 %]
    #[arg(long, value_name = "PERCENT", value_parser = percent, allow_hyphen_values = true)]
    relative: Vec<f64>,
    /// The probability with which a difference is to be found
    #[arg(long, value_name = "SHARE", default_value = "0.8", value_parser = power)]
    power: f64,
    /// Only look at decisions of this time or later, such as 2026-11-01
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<DateTime<Utc>>,
}

pub(super) fn report(args: &ReportArgs, place: &Place) -> Result<(), Failure> {
    args.written.write(place, &args.log, async |source| match source {
        Source::Server(client) => Ok(client.experiment_report(&args.experiment, args.phase).await?),
        Source::Store(reports) => Ok(reports.experiment(&args.experiment, args.phase, Utc::now())?),
    })
}

pub(super) fn plan(args: &PlanArgs, place: &Place) -> Result<(), Failure> {
    let Some(store) = place.store() else {
        return Err(Failure::usage(
            "a plan is made from what is recorded: name the store with --store, and data directories with --data",
        ));
    };
    let absolute = args.difference.iter().copied().map(WishedDifference::Absolute);
    let relative = args.relative.iter().copied().map(WishedDifference::Relative);
    let wish = Wish { differences: absolute.chain(relative).collect(), power: args.power, from: args.from };
    let planned = args.log.reports(store)?.plan(&args.experiment, &wish)?;
    if place.json {
        print_contents(plan_json(&planned).trim_end())
    } else {
        print(plan_text(&planned).trim_end())
    }
}

fn phase(text: &str) -> Result<u64, String> {
    let is_phase = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| is_phase);
    number.ok_or_else(|| "must be sixteen hexadecimal digits, such as 00c3f1a2b4d5e6f7".to_owned())
}

fn difference(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && number.abs() > 0.0);
    number.ok_or_else(|| "must be a number other than 0, such as 0.002".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| difference(number.trim_end()).ok());
    number
        .map(|number| number / 100.0)
        .ok_or_else(|| "must be a percentage other than 0, such as 5%".to_owned())
}

fn power(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| (0.5..=0.999).contains(number));
    number.ok_or_else(|| "must be between 0.5 and 0.999, such as 0.8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_others_are_refused_with_an_example() {
        assert_eq!(phase("00000000000000ff"), Ok(255));
        assert!(phase("ff").is_err() && phase("+0000000000000ff").is_err());
        assert_eq!(
            (difference("-0.002"), percent("5%"), percent("-2.5 %")),
            (Ok(-0.002), Ok(0.05), Ok(-0.025))
        );
        for wrong in ["0", "NaN", "inf", "much"] {
            assert!(difference(wrong).is_err() && percent(wrong).is_err(), "{wrong}");
        }
        assert!(percent("5").is_err() && percent("0%").is_err());
        assert!(power("0.8").is_ok() && power("1").is_err() && power("0.2").is_err());
    }
}
