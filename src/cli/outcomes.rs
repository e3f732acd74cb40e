//! `proffer outcomes`: reports the outcomes of a file to a server.

mod csv;
mod file;
mod json_lines;
mod parquet;
mod row;
mod summary;

use std::path::PathBuf;
use std::sync::mpsc as channel;

use clap::{Args, Subcommand};
use tokio::sync::mpsc;

use self::file::{Line, OutcomeFile};
use self::summary::Summary;
use super::printing::{print, print_pretty_json, say};
use super::values::{decimal, separator};
use super::{Failure, block_on, progress};
use crate::grpc::client::{Client, ClientError};
use history::feedback::ReportedOutcome;
use table::Decimal;

const AFTER_HELP: &str = "\
Columns or fields:
  event_id, type, occurred_at                  required: an id of its own, such as click, 2026-11-30T18:00:00Z
  decision_id, or customer_id and offer_id     whose outcome it is; offer_id also where a decision showed several
  value, attributes                            what it was worth; a JSON object of texts

Examples:
  proffer outcomes record --input clicks.csv
  proffer outcomes record --input outcomes.parquet --server 10.0.0.7:50051";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct OutcomesArgs {
    #[command(subcommand)]
    command: OutcomesCommand,
}

#[derive(Debug, Subcommand)]
enum OutcomesCommand {
    /// Record the outcomes of a file; a file that is sent again is recorded once
    #[command(after_help = AFTER_HELP)]
    Record(RecordArgs),
}

#[derive(Debug, Args)]
struct RecordArgs {
    /// A CSV (also .csv.gz, .csv.zst), Parquet (.parquet) or JSON Lines (.jsonl, .ndjson)
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// CSV: the field separator: "," ";" "|" or tab [default: detected]
    #[arg(long, value_name = "SEPARATOR", value_parser = separator)]
    separator: Option<u8>,
    /// CSV: the decimal mark of values: comma or point [default: detected]
    #[arg(long, value_name = "MARK", value_parser = decimal)]
    decimal: Option<Decimal>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    /// The server
    #[arg(long, value_name = "ADDRESS", env = "PROFFER_SERVER", default_value = "127.0.0.1:50051")]
    server: String,
}

/// The most outcomes of a request.
const BATCH: usize = 1000;

/// The bytes of texts at which a request is sent with fewer: a fourth of what servers take.
const BATCH_BYTES: usize = 4 << 20;

/// Batches that are read ahead of the server.
const AHEAD: usize = 2;

pub(super) fn run(args: &OutcomesArgs) -> Result<(), Failure> {
    let OutcomesCommand::Record(args) = &args.command;
    let name = args.input.display().to_string();
    let file = OutcomeFile::open(&args.input, args.separator, args.decimal)?;
    let mut summary = Summary::default();
    let sent = block_on(async {
        let client = Client::connect(&args.server).await?;
        Ok(send(&client, file, &name, &mut summary).await)
    })?;
    if args.json {
        print_pretty_json(&summary)?;
    } else {
        print(summary.text(&name))?;
    }
    sent.map_err(|error| {
        Failure::new(format!(
            "{error}\nwhat was recorded is known by its event_id: the file can be sent again"
        ))
    })?;
    summary.failure().map_or(Ok(()), Err)
}

/// Sends the outcomes of a file while it is read, and tells what is wrong with each line.
async fn send(
    client: &Client,
    file: OutcomeFile,
    name: &str,
    summary: &mut Summary,
) -> Result<(), ClientError> {
    let (batches, taken) = mpsc::channel(AHEAD);
    let (lines, numbers) = channel::channel::<Vec<u64>>();
    let title = name.to_owned();
    let reading = tokio::task::spawn_blocking(move || read(file, &title, &batches, &lines));
    let bar = progress::counter("recording");
    let sent = client
        .record_outcomes(taken, |answers| {
            // The numbers of a batch are there before the batch.
            for (line, answer) in numbers.recv().unwrap_or_default().into_iter().zip(answers) {
                if let Some(problem) = summary.count(answer) {
                    say(format_args!("{name}:{line}: {problem}"));
                }
            }
            bar.count(summary.told());
        })
        .await;
    bar.clear();
    let read = reading.await.map_err(|error| ClientError::Internal(error.to_string()))?;
    summary.unread(read);
    sent
}

/// Reads a file to its end, batch by batch, until they are no longer taken. Returns how many lines could not be read.
fn read(
    file: OutcomeFile,
    name: &str,
    batches: &mpsc::Sender<Vec<ReportedOutcome>>,
    lines: &channel::Sender<Vec<u64>>,
) -> u64 {
    let (mut batch, mut numbers, mut bytes, mut wrong) = (Vec::new(), Vec::new(), 0, 0);
    let send = |batch: &mut Vec<ReportedOutcome>, numbers: &mut Vec<u64>| {
        let is_taken = lines.send(std::mem::take(numbers)).is_ok();
        is_taken && batches.blocking_send(std::mem::take(batch)).is_ok()
    };
    let mut is_taken = true;
    file.read(&mut |line| {
        match line {
            Line::Outcome(number, outcome) => {
                bytes += row::bytes(&outcome);
                batch.push(outcome);
                numbers.push(number);
            }
            Line::Wrong(number, message) => {
                wrong += 1;
                let place = number.map(|number| format!(":{number}")).unwrap_or_default();
                say(format_args!("{name}{place}: {message}"));
            }
            Line::Note(message) => say(format_args!("note: {name}: {message}")),
        }
        if batch.len() == BATCH || bytes >= BATCH_BYTES {
            bytes = 0;
            is_taken = send(&mut batch, &mut numbers);
        }
        is_taken
    });
    if is_taken && !batch.is_empty() {
        send(&mut batch, &mut numbers);
    }
    wrong
}
