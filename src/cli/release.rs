//! `proffer release`: make, list, compare, promote, roll back and watch releases.

mod create;
mod shown;
mod simulate;

use std::ops::ControlFlow;

use clap::{Args, Subcommand};

use self::create::CreateArgs;
pub(super) use self::shown::say_promotion;
use self::simulate::SimulateArgs;
use super::Failure;
use super::author::Author;
use super::backend::{Backend, Place};
use super::printing::{print, print_contents, print_json, write_json_line, write_line};
use release::{Promotion, PromotionRequest, RELEASE_FILES, ReleaseFiles};

const AFTER_HELP: &str = "\
Examples:
  proffer release create models                    make a release of a workspace
  proffer release create --model propensity=3      or of the current release with another version
  proffer release diff 0 5                         what would change if release 5 were promoted
  proffer release promote 5 --expect 4 --reason 'the May campaign'
  proffer release rollback --reason 'too few clicks'";

const AFTER_DIFF: &str = "\
Examples:
  proffer release diff          what the last promotion changed
  proffer release diff 0 5      what would change if release 5 were promoted
  proffer release diff 3 5      from release 3 to release 5";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ReleaseArgs {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: ReleaseCommand,
}

#[derive(Debug, Subcommand)]
enum ReleaseCommand {
    /// Make the next release of a workspace, or of a release with changes; it does not serve yet
    Create(CreateArgs),
    /// List releases, newest first: which is current, which serves, which was refused and why
    List {
        /// The most releases to list
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// Only releases below this number, for the next page
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        before: u64,
    },
    /// List promotions and rollbacks, latest first: when, who, why
    Log {
        /// The most to list
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// Only those before this one, by its number, for the next page
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        before: u64,
    },
    /// Show one release: who made it, what for, what it pins
    Show {
        /// The number [default: the current release]
        #[arg(value_name = "N", default_value_t = 0, hide_default_value = true)]
        release: u64,
        /// Print the text of this file of the release instead
        #[arg(long, value_name = "NAME", value_parser = RELEASE_FILES, conflicts_with = "json")]
        file: Option<String>,
    },
    /// Show what changes from one release to another: models, offers, lines of the files
    #[command(after_help = AFTER_DIFF)]
    Diff {
        /// The release to start from; 0: the current one [default: the one before the current]
        #[arg(value_name = "FROM")]
        from: Option<u64>,
        /// The release to compare with; 0: the current one [default: the current one]
        #[arg(value_name = "TO", default_value_t = 0, hide_default_value = true)]
        to: u64,
    },
    /// Serve a release: load it, make it current, and say so once it serves
    Promote {
        /// The release
        #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        release: u64,
        /// Promote it only if this release is current
        #[arg(long, value_name = "CURRENT")]
        expect: Option<u64>,
        #[command(flatten)]
        by: By,
    },
    /// Promote the last release before the current one that a person made
    Rollback {
        #[command(flatten)]
        by: By,
    },
    /// Show what would change for all customers, or for recorded requests, if a release were promoted; takes --store
    Simulate(SimulateArgs),
    /// Print what serves, and a line for each change of it, until interrupted
    Watch,
}

/// The author and the reason of a change.
#[derive(Debug, Args)]
struct By {
    #[command(flatten)]
    who: Author,
    /// Why; kept with the promotion
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

pub(super) fn run(args: &ReleaseArgs) -> Result<(), Failure> {
    let json = args.place.json;
    if let ReleaseCommand::Create(create) = &args.command {
        return create::run(create, &args.place);
    }
    if let ReleaseCommand::Simulate(simulate) = &args.command {
        let missing = || Failure::new("a simulation runs on a store: name it with --store");
        return simulate::run(simulate, args.place.store().ok_or_else(missing)?, json);
    }
    let backend = Backend::open(&args.place)?;
    match &args.command {
        ReleaseCommand::Create(_) | ReleaseCommand::Simulate(_) => Ok(()),
        ReleaseCommand::List { count, before } => {
            let list = backend.releases(*count, *before)?;
            if json { print_json(&list) } else { print(shown::list(&list)) }
        }
        ReleaseCommand::Log { count, before } => {
            let promotions = backend.promotions(*count, *before)?;
            if json { print_json(&promotions) } else { print(shown::log(&promotions)) }
        }
        ReleaseCommand::Show { release, file } => {
            let files = backend.release(*release)?;
            match file {
                Some(name) => print_contents(text_of(&files, name).trim_end()),
                None if json => print_json(&files),
                None => print(shown::record(&files.record)),
            }
        }
        ReleaseCommand::Diff { from, to } => {
            let from = from.map_or_else(|| before_current(&backend), Ok)?;
            let diff = backend.diff(from, *to)?;
            if json { print_json(&diff) } else { print(shown::diff(&diff)) }
        }
        ReleaseCommand::Promote { release, expect, by } => {
            let By { who, reason } = by;
            let (author, reason) = (who.author.clone(), reason.clone());
            let request = PromotionRequest { release: *release, expected_current: *expect, author, reason };
            report(&backend.promote(request)?, json)
        }
        ReleaseCommand::Rollback { by } => report(&backend.rollback(&by.who.author, &by.reason)?, json),
        ReleaseCommand::Watch => backend.watch(|change| {
            let read = if json { write_json_line(change)? } else { write_line(shown::change(change))? };
            // Watching ends when the reader has gone.
            Ok(if read { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        }),
    }
}

fn text_of<'a>(files: &'a ReleaseFiles, name: &str) -> &'a str {
    match name {
        "features.toml" => &files.features,
        "offers.toml" => &files.offers,
        _ => &files.policy,
    }
}

fn before_current(backend: &Backend) -> Result<u64, Failure> {
    let current = backend.current()?;
    if current.previous == 0 {
        let message = format!("no release was current before release {}; name two releases", current.release);
        return Err(Failure::new(message));
    }
    Ok(current.previous)
}

fn report(promotion: &Promotion, json: bool) -> Result<(), Failure> {
    if json {
        print_json(promotion)?;
    } else {
        print(say_promotion(promotion))?;
    }
    settled(promotion)
}

/// A promotion that is still current; an overtaken one is a failure, though nothing went wrong.
pub(super) fn settled(promotion: &Promotion) -> Result<(), Failure> {
    match promotion.overtaken_by {
        0 => Ok(()),
        other => Err(Failure::new(format!(
            "release {} was overtaken by a later promotion: release {other} is current",
            promotion.current.release
        ))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind;

    use super::*;
    use release::Current;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        release: ReleaseArgs,
    }

    fn parse(line: &str) -> Result<ReleaseArgs, ErrorKind> {
        let words = std::iter::once("release").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.release).map_err(|error| error.kind())
    }

    #[test]
    fn every_command_is_read_with_and_without_its_options() {
        for line in [
            "create models --store var/store",
            "list --count 5 --before 9 --json",
            "log",
            "log --count 3 --before 8 --json",
            "show",
            "show 3 --file offers.toml",
            "diff",
            "diff 0 5",
            "promote 5 --expect 4 --reason x --author me",
            "rollback",
            "watch --server 127.0.0.1:9",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
        }
        for line in ["list --count 0", "show 3 --file model.toml", "promote 0", "diff a"] {
            assert!(
                matches!(parse(line), Err(ErrorKind::ValueValidation | ErrorKind::InvalidValue)),
                "{line}: {:?}",
                parse(line)
            );
        }
        assert_eq!(parse("promote").unwrap_err(), ErrorKind::MissingRequiredArgument);
        assert_eq!(parse("show --file offers.toml --json").unwrap_err(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn a_promotion_that_was_overtaken_is_a_failure_that_says_by_what() {
        let (time, author, reason) = (String::new(), String::new(), String::new());
        let current = Current { release: 5, previous: 4, sequence: 9, author, reason, time };
        let mut promotion = Promotion { current, overtaken_by: 0, warm: false, warnings: Vec::new() };
        assert!(settled(&promotion).is_ok());
        promotion.overtaken_by = 6;
        let failure = settled(&promotion).unwrap_err();
        assert_eq!(failure.code, 1);
        assert!(
            failure.message.contains("release 5 was overtaken")
                && failure.message.contains("release 6 is current")
        );
    }
}
