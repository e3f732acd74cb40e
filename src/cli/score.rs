//! `proffer score`: rows of a CSV through one model of a server.

use std::path::PathBuf;

use clap::Args;

use super::values::batch;
use super::{Failure, block_on, print};
use crate::grpc::client::{Client, Scored};

#[derive(Debug, Args)]
pub(super) struct ScoreArgs {
    /// The model
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Its version [default: the current release's]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    version: u64,
    /// A CSV with a header of feature names; a column `customer_id` is passed through
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Pairwise models: the offers to pair each row with. Others: the columns to print [default: all]
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    offers: Vec<String>,
    /// Print JSON instead of CSV
    #[arg(long)]
    json: bool,
    /// The server
    #[arg(long, value_name = "ADDRESS", env = "PROFFER_SERVER", default_value = "127.0.0.1:50051")]
    server: String,
}

/// Rows per call, well within the limits of a server.
const ROWS_PER_CALL: usize = 4096;

pub(super) fn run(args: &ScoreArgs) -> Result<(), Failure> {
    let input = args.input.display();
    let unreadable = |error: csv::Error| Failure { message: format!("{input}: {error}"), code: 1 };
    let mut reader = csv::Reader::from_path(&args.input).map_err(unreadable)?;
    let mut names: Vec<String> = reader.headers().map_err(unreadable)?.iter().map(str::to_owned).collect();
    let id_column = names.iter().position(|name| name == "customer_id");
    let mut ids = Vec::new();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for record in reader.records() {
        let mut row: Vec<String> =
            record.map_err(unreadable)?.iter().map(|field| field.trim().to_owned()).collect();
        ids.push(id_column.map_or_else(|| rows.len().to_string(), |index| row.remove(index)));
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(Failure { message: format!("{input}: no row below the header"), code: 1 });
    }
    if let Some(index) = id_column {
        names.remove(index);
    }
    let parts = block_on(async {
        let mut client = Client::connect(&args.server).await?;
        let mut parts = Vec::new();
        for part in rows.chunks(ROWS_PER_CALL) {
            let features = batch(&names, part);
            parts.push(client.score(&args.model, args.version, features, args.offers.clone()).await?);
        }
        Ok(parts)
    })?;
    if args.json {
        print(serde_json::to_string_pretty(&parts)?)?;
    } else {
        write_csv(id_column.map_or("row", |_| "customer_id"), &ids, &parts)?;
    }
    some_scored(&parts)
}

/// Refuses answers in which every row failed: whoever reads only the exit code must not take them for scores.
fn some_scored(parts: &[Scored]) -> Result<(), Failure> {
    let rows: usize = parts.iter().map(|part| part.rows.len()).sum();
    let failed: usize = parts.iter().map(|part| part.errors.len()).sum();
    match parts.iter().flat_map(|part| &part.errors).next() {
        Some((_, message)) if failed >= rows => {
            Err(Failure::new(format!("not one of the {failed} rows has a score; the first: {message}")))
        }
        _ => Ok(()),
    }
}

fn write_csv(id: &str, ids: &[String], parts: &[Scored]) -> Result<(), Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut ids = ids.iter();
    let mut first = 0;
    for part in parts {
        if first == 0 {
            writer.write_record(std::iter::once(id).chain(part.columns.iter().map(String::as_str)))?;
        }
        for row in &part.rows {
            let cells = row.iter().map(|value| value.map(|value| value.to_string()).unwrap_or_default());
            writer.write_record(ids.next().cloned().into_iter().chain(cells))?;
        }
        for (row, message) in &part.errors {
            eprintln!("row {}: {message}", first + *row as usize);
        }
        first += part.rows.len();
    }
    let bytes = writer.into_inner()?;
    print(String::from_utf8_lossy(&bytes).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_without_any_score_are_a_failure() {
        let part = |rows: usize, failed: u32| Scored {
            model: String::new(),
            version: 1,
            release: 1,
            columns: vec!["a".to_owned()],
            rows: vec![vec![None]; rows],
            calibrated: true,
            errors: (0..failed).map(|row| (row, format!("row {row} failed"))).collect(),
        };
        assert!(some_scored(&[part(2, 2), part(3, 2)]).is_ok());
        assert!(some_scored(&[part(2, 0)]).is_ok());
        let failure = some_scored(&[part(2, 2), part(3, 3)]).unwrap_err();
        assert_eq!(failure.code, 1);
        assert_eq!(failure.message, "not one of the 5 rows has a score; the first: row 0 failed");
    }
}
