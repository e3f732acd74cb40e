//! `proffer experiment`: plan, list, show, start, ramp, pause, stop, conclude and report on experiments.

mod analysed;
mod shown;

use clap::{Args, Subcommand};

use self::analysed::{PlanArgs, ReportArgs};
use super::Failure;
use super::author::Author;
use super::backend::{Backend, Place};
use super::printing::{print, print_json};
use release::{Change, ChangedExperiment, Order};

const AFTER_HELP: &str = "\
Examples:
  proffer experiment list
  proffer experiment plan propensity_v7 --store var/store    how many customers it needs
  proffer experiment start propensity_v7 --reason 'as agreed on Monday'
  proffer experiment ramp propensity_v7 0.25       a quarter of those eligible takes part
  proffer experiment stop propensity_v7 --reason 'complaints'
  proffer experiment report propensity_v7          what it has come to
  proffer experiment conclude propensity_v7 --winner challenger

An experiment is written in policy.toml. Each step makes a release that differs in it alone, and promotes it; a rollback
skips these releases.";

const AFTER_STOP: &str = "\
While the store is away, the command fails, and says whether nothing has moved. The server that was asked tries again
until the stop is done or withdrawn with --withdraw; if it records decisions, also after a restart.
`proffer experiment list` shows a stop that is pending.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ExperimentArgs {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: ExperimentCommand,
}

#[derive(Debug, Subcommand)]
enum ExperimentCommand {
    /// List the experiments of the current release: state, coverage, what their schedules do next
    List,
    /// Show one experiment: its variants, its schedule, and what was done to it
    Show {
        /// Its id
        #[arg(value_name = "ID")]
        experiment: String,
    },
    /// Say how many customers it needs, and how long that takes, before it starts
    Plan(PlanArgs),
    /// Report what it has come to: each arm against the control, guardrails, and what that means
    Report(ReportArgs),
    /// Begin a draft, or go on after a pause; lets a halted schedule go on
    Start(ChangeArgs),
    /// Let more customers take part; nobody who takes part changes the arm
    Ramp {
        #[command(flatten)]
        change: ChangeArgs,
        /// The share of those eligible that is to take part, more than it is now and at most 1
        #[arg(value_name = "COVERAGE", value_parser = coverage)]
        coverage: f64,
    },
    /// Let nobody take part until it starts again; then everyone is in the same arm as before
    Pause(ChangeArgs),
    /// Let nobody take part any more, on any server
    #[command(after_help = AFTER_STOP)]
    Stop {
        #[command(flatten)]
        change: ChangeArgs,
        /// Give up a stop that is pending on the server instead
        #[arg(long, conflicts_with_all = ["store", "reason"])]
        withdraw: bool,
    },
    /// Make a release in which the experiment is stopped and its winner holds for everyone; it does not serve yet
    Conclude {
        /// Its id
        #[arg(value_name = "ID")]
        experiment: String,
        /// The variant that has won; the control changes nothing
        #[arg(long, value_name = "VARIANT")]
        winner: String,
        #[command(flatten)]
        who: Author,
        /// What the release is for [default: it names experiment and winner]
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        note: String,
    },
}

/// What all changes have.
#[derive(Debug, Args)]
struct ChangeArgs {
    /// Its id
    #[arg(value_name = "ID")]
    experiment: String,
    #[command(flatten)]
    who: Author,
    /// Why; kept with the promotion
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl ChangeArgs {
    fn ordered(&self, order: Order) -> Change {
        let Self { experiment, who, reason } = self;
        Change { experiment: experiment.clone(), order, author: who.author.clone(), reason: reason.clone() }
    }
}

fn coverage(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|coverage: &f64| *coverage > 0.0 && *coverage <= 1.0);
    number.ok_or_else(|| "must be a share of more than 0 and at most 1, such as 0.25".to_owned())
}

pub(super) fn run(args: &ExperimentArgs) -> Result<(), Failure> {
    let json = args.place.json;
    let backend = || Backend::open(&args.place);
    let change =
        |change: &ChangeArgs, order| report(&backend()?.change_experiment(change.ordered(order))?, json);
    match &args.command {
        ExperimentCommand::List => {
            let list = backend()?.experiments()?;
            if json { print_json(&list) } else { print(shown::list(&list)) }
        }
        ExperimentCommand::Plan(plan) => analysed::plan(plan, &args.place),
        ExperimentCommand::Report(report) => analysed::report(report, &args.place),
        ExperimentCommand::Show { experiment } => {
            let detail = backend()?.experiment(experiment)?;
            if json { print_json(&detail) } else { print(shown::detail(&detail)) }
        }
        ExperimentCommand::Start(args) => change(args, Order::Start),
        ExperimentCommand::Ramp { change: args, coverage } => {
            change(args, Order::Ramp { coverage: *coverage })
        }
        ExperimentCommand::Pause(args) => change(args, Order::Pause),
        ExperimentCommand::Stop { change: args, withdraw: false } => change(args, Order::Stop),
        ExperimentCommand::Stop { change: args, withdraw: true } => {
            let stop = backend()?.withdraw_stop(&args.experiment, &args.who.author)?;
            if json { print_json(&stop) } else { print(shown::withdrawn(&args.experiment, &stop)) }
        }
        ExperimentCommand::Conclude { experiment, winner, who, note } => {
            let concluded = backend()?.conclude_experiment((experiment, winner), &who.author, note)?;
            if json { print_json(&concluded) } else { print(shown::concluded(&concluded)) }
        }
    }
}

fn report(changed: &ChangedExperiment, json: bool) -> Result<(), Failure> {
    if json {
        print_json(changed)?;
    } else {
        print(shown::changed(changed))?;
    }
    match changed.overtaken_by {
        0 => Ok(()),
        // Made from another release than this one, it may have the experiment as it was before.
        other => Err(Failure::new(format!(
            "release {} was overtaken by a later promotion: release {other} is current; see `proffer experiment list`",
            changed.current.release
        ))),
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
        experiment: ExperimentArgs,
    }

    fn parse(line: &str) -> Result<ExperimentArgs, ErrorKind> {
        let words = std::iter::once("experiment").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.experiment).map_err(|error| error.kind())
    }

    #[test]
    fn every_command_is_read_with_and_without_its_options() {
        for line in [
            "list --json",
            "show e --server 127.0.0.1:9",
            "start e",
            "start e --reason x --author me --store var/store",
            "ramp e 0.25 --reason x",
            "ramp e 1",
            "pause e",
            "report e",
            "report e --phase 00000000000000ff --store s --data a --data b --format html --out -",
            "report e --server 127.0.0.1:9 --json",
            "plan e --store s --data a --difference -0.01 --relative 5% --relative -5% --power 0.9 --from 2026-11-01",
            "stop e --reason x",
            "stop e --withdraw",
            "conclude e --winner a --note x --author me",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
        }
        for line in ["ramp e 0", "ramp e 1.5", "ramp e NaN", "ramp e much"] {
            assert_eq!(parse(line).unwrap_err(), ErrorKind::ValueValidation, "{line}");
        }
        for line in ["start", "ramp e", "conclude e"] {
            assert_eq!(parse(line).unwrap_err(), ErrorKind::MissingRequiredArgument, "{line}");
        }
        for line in ["stop e --withdraw --reason x", "stop e --withdraw --store var/store"] {
            assert_eq!(parse(line).unwrap_err(), ErrorKind::ArgumentConflict, "{line}");
        }
    }
}
