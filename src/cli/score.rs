//! `proffer score`: scores the rows of a CSV with one model of a server.

use std::fs::File;
use std::path::PathBuf;

use clap::Args;

use super::printing::{print_contents, print_pretty_json, say};
use super::typed::{TypedColumns, schema};
use super::values::{batch, decimal, listed, separator};
use super::{Failure, block_on};
use crate::grpc::client::{Client, Scored};
use document::Problems;
use feature::{FeatureBatch, FeatureSchema, FeatureType};
use table::{Decimal, Marks, Options, Reader, Record, SAY_DECIMAL, Writer};

#[derive(Debug, Args)]
pub(super) struct ScoreArgs {
    /// The model
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Its version [default: the current release's]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    version: u64,
    /// A CSV (also .csv.gz, .csv.zst) with a header of feature names; a column `customer_id` is passed through, and
    /// other columns are ignored
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The field separator: "," ";" "|" or tab [default: detected]
    #[arg(long, value_name = "SEPARATOR", value_parser = separator)]
    separator: Option<u8>,
    /// The decimal mark: comma (points separate thousands) or point [default: detected]
    #[arg(long, value_name = "MARK", value_parser = decimal)]
    decimal: Option<Decimal>,
    /// Pairwise models: the offers to pair each row with. Others: the columns to print [default: all]
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = listed)]
    offers: Vec<String>,
    /// Print JSON instead of CSV
    #[arg(long)]
    json: bool,
    /// The server
    #[arg(long, value_name = "ADDRESS", env = "PROFFER_SERVER", default_value = "127.0.0.1:50051")]
    server: String,
}

/// Rows per call, well within a server's limits.
const ROWS_PER_CALL: usize = 4096;

/// The most problems that are listed.
const MAX_PROBLEMS: usize = 100;

/// The column that identifies rows.
const ID_COLUMN: &str = "customer_id";

pub(super) fn run(args: &ScoreArgs) -> Result<(), Failure> {
    let (id, ids, parts) = block_on(async {
        let mut client = Client::connect(&args.server).await?;
        let schema = schema(&client).await;
        let rows = read(args, schema.as_ref())?;
        for note in &rows.notes {
            say(format_args!("note: {}: {note}", args.input.display()));
        }
        let mut parts = Vec::new();
        for features in rows.batches {
            parts.push(client.score(&args.model, args.version, features, args.offers.clone()).await?);
        }
        Ok((rows.id, rows.ids, parts))
    })?;
    if args.json {
        print_pretty_json(&parts)?;
    } else {
        // The same in every part, because it belongs to the call.
        let degraded = parts.first().map(|part| part.degraded.as_slice()).unwrap_or_default();
        for entry in degraded {
            say(format_args!("warning: {entry}"));
        }
        write_csv(id, &ids, &parts)?;
    }
    some_scored(&parts)
}

/// Refuses answers without any score, so that the exit code never reports them as scored.
fn some_scored(parts: &[Scored]) -> Result<(), Failure> {
    let rows = parts.iter().flat_map(|part| &part.rows);
    if rows.clone().flatten().any(Option::is_some) {
        return Ok(());
    }
    let errors = parts.iter().flat_map(|part| &part.errors).map(|(_, message)| message);
    let first = errors.chain(parts.iter().flat_map(|part| &part.degraded)).next().map_or("", String::as_str);
    Err(Failure::new(match rows.count() {
        1 => format!("the row has no score: {first}"),
        count => format!("not one of the {count} rows has a score; the first: {first}"),
    }))
}

/// The content of a file.
#[derive(Debug)]
struct Rows {
    /// The kind of the row ids.
    id: &'static str,
    ids: Vec<String>,
    batches: Vec<FeatureBatch>,
    notes: Vec<String>,
}

/// Reads the file; without a schema, values are typed by their look.
fn read(args: &ScoreArgs, schema: Option<&FeatureSchema>) -> Result<Rows, Problems> {
    let file = args.input.display().to_string();
    let input = File::open(&args.input)
        .map_err(|error| Problems::one(&*file, None, format!("the file could not be opened: {error}")))?;
    let options = Options { separator: args.separator, decimal: args.decimal, ..Options::default() };
    let mut reader = Reader::open(input, options).map_err(|fault| fault.of(&file))?;
    let mut problems = Problems::new();
    let names = reader.names().to_vec();
    for (position, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if names[..position].contains(name) {
            let message = format!("column `{name}` is there twice; rename or remove one");
            problems.push(&*file, Some(reader.header_line()), message);
        }
    }
    let mut fields = Fields::new(&names, schema, reader.decimal());
    let (mut ids, mut batches, mut record) = (Vec::new(), Vec::new(), Record::default());
    while problems.len() < MAX_PROBLEMS {
        match reader.read(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(fault) => {
                problems.extend(fault.of(&file));
                break;
            }
        }
        let line = record.line();
        let wrong = match reader.width_fault(&record) {
            Some(message) => vec![message],
            None => fields.push(&record, &mut ids),
        };
        for message in wrong {
            problems.push(&*file, Some(line), message);
        }
        if fields.columns.rows() + fields.guessed.len() == ROWS_PER_CALL {
            batches.push(fields.take());
        }
    }
    if ids.is_empty() && problems.is_empty() {
        problems.push(&*file, None, "no row below the header");
    }
    fields.thousands(&file, &mut problems);
    if fields.columns.rows() + fields.guessed.len() > 0 {
        batches.push(fields.take());
    }
    let id = fields.id.map_or("row", |_| ID_COLUMN);
    problems.into_result(Rows { id, ids, batches, notes: fields.notes })
}

/// The meaning of the fields of a row.
struct Fields<'s> {
    id: Option<usize>,
    columns: TypedColumns<'s>,
    /// The columns of numbers, and the marks in them.
    marks: Vec<(usize, &'s str, Marks)>,
    /// Without a schema: names, and rows that are not sent yet.
    names: Option<Vec<(usize, String)>>,
    guessed: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl<'s> Fields<'s> {
    fn new(names: &[String], schema: Option<&'s FeatureSchema>, decimal: Decimal) -> Self {
        let id = names.iter().position(|name| name == ID_COLUMN);
        let others = || names.iter().enumerate().filter(|(position, _)| Some(*position) != id);
        let (mut features, mut notes) = (Vec::new(), Vec::new());
        if let Some(schema) = schema {
            for (position, name) in others() {
                match schema.get(name) {
                    Some(feature) => features.push((position, feature)),
                    None => {
                        let hint = schema.closest(name).map(|close| format!("; did you mean `{close}`?"));
                        let hint = hint.unwrap_or_default();
                        notes.push(format!("column `{name}` is not a feature and was ignored{hint}"));
                    }
                }
            }
        }
        let numbers = features
            .iter()
            .filter(|(_, feature)| matches!(feature.feature_type, FeatureType::Float | FeatureType::Int));
        Self {
            id,
            columns: TypedColumns::new(&features, decimal),
            marks: numbers.map(|(at, feature)| (*at, &*feature.name, Marks::new(decimal))).collect(),
            names: schema
                .is_none()
                .then(|| others().map(|(position, name)| (position, name.clone())).collect()),
            guessed: Vec::new(),
            notes,
        }
    }

    /// Adds a row; returns what is wrong with it.
    fn push(&mut self, record: &Record, ids: &mut Vec<String>) -> Vec<String> {
        let field = |position: usize| record.get(position).unwrap_or_default();
        let text = |position: usize| String::from_utf8_lossy(field(position)).trim().to_owned();
        ids.push(self.id.map_or_else(|| ids.len().to_string(), text));
        if let Some(names) = &self.names {
            self.guessed.push(names.iter().map(|(position, _)| text(*position)).collect());
            return Vec::new();
        }
        for (position, _, marks) in &mut self.marks {
            if marks.is_enabled() {
                marks.observe(record.line() as u64, &text(*position));
            }
        }
        self.columns.push(field).err().unwrap_or_default()
    }

    fn take(&mut self) -> FeatureBatch {
        match &self.names {
            None => self.columns.take(),
            Some(names) => {
                let names: Vec<String> = names.iter().map(|(_, name)| name.clone()).collect();
                batch(&names, &std::mem::take(&mut self.guessed))
            }
        }
    }

    /// Columns whose marks may separate thousands.
    fn thousands(&mut self, file: &str, problems: &mut Problems) {
        let decimal_comma = self.marks.iter().any(|(_, _, marks)| marks.decimal_comma());
        for (_, name, marks) in &self.marks {
            let Some(found) = marks.thousands(decimal_comma, SAY_DECIMAL) else { continue };
            let message = format!("`{name}`: {}", found.message);
            if found.certain {
                problems.push(file, Some(found.row as usize), message);
            } else {
                self.notes.push(format!("line {}: {message}", found.row));
            }
        }
    }
}

fn write_csv(id: &str, ids: &[String], parts: &[Scored]) -> Result<(), Failure> {
    let mut writer = Writer::default();
    let mut ids = ids.iter();
    let mut first = 0;
    for part in parts {
        if first == 0 {
            writer.write(std::iter::once(id).chain(part.columns.iter().map(String::as_str)));
        }
        for row in &part.rows {
            let cells = row.iter().map(|value| value.map(|value| value.to_string()).unwrap_or_default());
            writer.write(ids.next().cloned().into_iter().chain(cells));
        }
        for (row, message) in &part.errors {
            say(format_args!("row {}: {message}", first + *row as usize));
        }
        first += part.rows.len();
    }
    print_contents(String::from_utf8_lossy(&writer.into_bytes()).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_without_any_score_are_a_failure() {
        let part = |rows: &[Option<f32>]| Scored {
            model: String::new(),
            version: 1,
            release: 1,
            columns: vec!["a".to_owned()],
            rows: rows.iter().map(|value| vec![*value]).collect(),
            calibrated: true,
            errors: (0..)
                .zip(rows)
                .filter(|(_, value)| value.is_none())
                .map(|(row, _)| (row, format!("row {row} failed")))
                .collect(),
            degraded: Vec::new(),
        };
        let (none, some) = (part(&[None, None]), part(&[None, Some(0.5)]));
        assert!(some_scored(&[none.clone(), some.clone()]).is_ok());
        let failure = some_scored(&[none.clone(), none]).unwrap_err();
        assert_eq!(failure.code, 1);
        assert_eq!(failure.message, "not one of the 4 rows has a score; the first: row 0 failed");
        let unknown =
            Scored { errors: Vec::new(), degraded: vec!["unknown_offer:gone".to_owned()], ..part(&[None]) };
        assert_eq!(some_scored(&[unknown]).unwrap_err().message, "the row has no score: unknown_offer:gone");
    }
}
