//! `--check-against`: golden rows for a version, from the training library's own predictions.
//!
//! A sound graph may still answer differently from the library it was exported from. Only that library can show it, so
//! its rows become `golden.csv`, against which the gate `golden` checks the version. Start reading at [`make_golden`].

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;

use super::{Failure, read_text};
use crate::cli::output::{Audience, Output};
use document::{Problems, suggestion};
use model::GraphCache;
use model::onnx::OnnxRuntime;
use model::{Checksums, Inputs, Layout, Manifest, ModelKind, sha256_of};
use segment::{FILE_NAME, GOLDEN_FILE, Segmentation};
use table::{Decimal, Fault, Options, Reader, Record, Writer};

/// The default column of the predictions.
const PREDICTION: &str = "prediction";

/// The most rows that are kept, evenly from the whole file: each is run when the version is judged.
const MAX_ROWS: usize = 1000;

/// Makes `golden.csv` in `directory` from the rows in `rows`, adds it to the manifest's checksums if there are any, and
/// describes the result. `prediction` is the column with the library's predictions. `expected` and `raw`, and columns
/// per offer, mean what they do in `golden.csv`.
///
/// # Errors
/// A directory that is no version, or a file that cannot be read, has no predictions or none of the features.
pub(super) fn make_golden(
    directory: &Path,
    rows: &Path,
    prediction: Option<&str>,
) -> Result<String, Failure> {
    let path = directory.join("model.toml");
    let text = read_text(&path)?;
    let manifest = Manifest::parse(&path.display().to_string(), &text)?;
    let features = features_of(directory, &manifest)?;
    let table = Table { file: rows, features: &features, prediction: prediction.unwrap_or(PREDICTION) };
    let golden_path = directory.join(GOLDEN_FILE);
    let begin = |path: &Path| Output::open(path, Audience::Usual, &[rows]);
    let golden_file = begin(&golden_path)?;
    let (golden, said) = table.golden(prediction.is_some())?;
    if !manifest.checksums.is_empty() {
        let Some(text) = Checksums::set_in(&text, GOLDEN_FILE, &sha256_of(&golden)) else {
            let message = "has checksums, but no line [checksums]; write them as a table of their own";
            return Err(Failure::new(format!("{}: {message}", path.display())));
        };
        begin(&path)?.write_whole(&text)?;
    }
    golden_file.write_whole(&golden)?;
    Ok(format!("{}: {said}", golden_path.display()))
}

/// The names of the features that the version takes.
fn features_of(directory: &Path, manifest: &Manifest) -> Result<BTreeSet<String>, Failure> {
    if manifest.kind == ModelKind::Segmentation {
        let path = directory.join(FILE_NAME);
        let json = fs::read(&path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        let segmentation = Segmentation::parse(&path.display().to_string(), &json)?;
        return Ok(segmentation.features().iter().map(|feature| feature.name.clone()).collect());
    }
    let (Inputs::Dense(names) | Inputs::PerFeature(names)) = &manifest.inputs;
    if !names.is_empty() {
        return Ok(names.iter().cloned().collect());
    }
    // The inputs of the graph are the features.
    let graph = if manifest.layout == Some(Layout::PerOffer) {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "onnx")).min()
    } else {
        Some(directory.join("model.onnx"))
    };
    let graph = graph.ok_or_else(|| Failure::new(format!("{} has no graph", directory.display())))?;
    let loaded = GraphCache::new(OnnxRuntime::load()?, 1).load(&graph);
    let loaded = loaded.map_err(|error| Failure::new(format!("{}: {error}", graph.display())))?;
    Ok(loaded.onnx().signature().inputs.iter().map(|input| input.name.clone()).collect())
}

/// The rows that the user exported with the training library.
struct Table<'a> {
    file: &'a Path,
    features: &'a BTreeSet<String>,
    prediction: &'a str,
}

impl Table<'_> {
    /// The bytes of `golden.csv`, and a description of what it contains.
    fn golden(&self, named: bool) -> Result<(Vec<u8>, String), Failure> {
        let shown = self.file.display();
        let file = shown.to_string();
        let open = || {
            let input = File::open(self.file).map_err(|error| Failure::new(format!("{file}: {error}")))?;
            Ok::<_, Failure>(Reader::open(input, Options::default()).map_err(|fault| fault.of(&file))?)
        };
        let read = |reader: &mut Reader<'_>, record: &mut Record| {
            let more = reader.read(record).map_err(|fault| fault.of(&file))?;
            match reader.width_fault(record).filter(|_| more) {
                Some(message) => Err(Fault { line: Some(record.line()), message }.of(&file)),
                None => Ok(more),
            }
        };
        let mut reader = open()?;
        let header: Vec<String> = reader.names().to_vec();
        let columns: Vec<Option<String>> = header.iter().map(|name| self.column(name)).collect();
        let kept: Vec<&String> = columns.iter().flatten().collect();
        if !kept.iter().any(|name| is_answer(name)) {
            let hint = if named {
                suggestion(self.prediction, header.iter().map(String::as_str))
            } else {
                String::new()
            };
            return Err(Failure::new(format!(
                "{shown}: no column `{}` has the library's predictions{hint}; name it by --prediction (the header is {})",
                self.prediction,
                header.join(", ")
            )));
        }
        let lacking: Vec<&str> =
            self.features.iter().filter(|feature| !kept.contains(feature)).map(String::as_str).collect();
        if lacking.len() == self.features.len() {
            return Err(Failure::new(format!(
                "{shown}: no column is a feature of the model ({})",
                lacking.join(", ")
            )));
        }
        let mut count = 0_usize;
        let mut record = Record::default();
        let mut problems = Problems::new();
        while read(&mut reader, &mut record)? {
            count += 1;
            let answers = columns.iter().zip(&header).zip(record.iter());
            for ((_, name), cell) in
                answers.filter(|((column, _), _)| column.as_deref().is_some_and(is_answer))
            {
                let cell = with_point(cell, reader.decimal());
                let number = str::from_utf8(&cell).ok().and_then(|word| word.parse().ok());
                if !number.is_some_and(f64::is_finite) {
                    let message =
                        format!("column `{name}`: {:?} is not a prediction", String::from_utf8_lossy(&cell));
                    problems.push(&*file, Some(record.line()), message);
                }
            }
        }
        problems.into_result(())?;
        if count == 0 {
            return Err(Failure::new(format!("{shown}: no row below the header")));
        }
        let mut writer = Writer::default();
        writer.write(&kept);
        let (mut reader, mut at, mut written) = (open()?, 0_usize, 0_usize);
        while read(&mut reader, &mut record)? {
            // Evenly: row `at` is kept where at · most / count reaches the next whole number.
            if written < MAX_ROWS && at * MAX_ROWS.min(count) / count >= written {
                let cells = columns.iter().zip(record.iter()).filter(|(column, _)| column.is_some());
                let decimal = reader.decimal();
                writer.write(cells.map(|(_, cell)| with_point(cell, decimal).into_owned()));
                written += 1;
            }
            at += 1;
        }
        let golden = writer.into_bytes();
        let dropped: Vec<&str> = header
            .iter()
            .zip(&columns)
            .filter(|(_, to)| to.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        let mut said = format!("{written} of {count} rows of {shown}");
        if !dropped.is_empty() {
            let _ = write!(said, "; columns that the model does not take: {}", dropped.join(", "));
        }
        if !lacking.is_empty() {
            let _ = write!(said, "; the schema's defaults are used for {}", lacking.join(", "));
        }
        Ok((golden, said))
    }

    /// The name of a column in `golden.csv`; `None` if it does not belong there.
    fn column(&self, name: &str) -> Option<String> {
        if name == self.prediction {
            return Some("expected".to_owned());
        }
        if let Some(offer) = name.strip_prefix(self.prediction).and_then(|rest| rest.strip_prefix(':')) {
            return Some(format!("expected:{offer}"));
        }
        let known = self.features.contains(name) || is_answer(name) || name == "tolerance";
        known.then(|| name.to_owned())
    }
}

/// Whether a column of `golden.csv` holds expected answers.
fn is_answer(name: &str) -> bool {
    name == "expected" || name == "raw" || name.starts_with("expected:") || name.starts_with("raw:")
}

/// A cell for a file whose separator is the comma: a decimal comma becomes a point.
fn with_point(cell: &[u8], decimal: Decimal) -> Cow<'_, [u8]> {
    let cell = cell.trim_ascii();
    let word = str::from_utf8(cell).ok().filter(|word| word.contains(','));
    match word.and_then(|word| decimal.number::<f64>(word)) {
        Some(number) => Cow::Owned(number.to_string().into_bytes()),
        None => Cow::Borrowed(cell),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::format_collect)]

    use super::*;

    const MANIFEST: &str = "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['balance', 'annual_fee']\n";

    fn golden(
        manifest: &str,
        rows: &str,
        prediction: Option<&str>,
    ) -> Result<(String, String, String), String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("rows.csv");
        fs::write(directory.path().join("model.toml"), manifest).unwrap();
        fs::write(&file, rows).unwrap();
        let said = make_golden(directory.path(), &file, prediction).map_err(|failure| failure.message)?;
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        Ok((read(GOLDEN_FILE), read("model.toml"), said))
    }

    #[test]
    fn a_row_without_a_prediction_is_refused_before_anything_is_written() {
        for (cell, shown) in [("", "\"\""), ("often", "\"often\""), ("nan", "\"nan\""), ("inf", "\"inf\"")] {
            let rows = format!("balance,annual_fee,prediction\n1,2,0.5\n3,4,{cell}\n");
            let refused = golden(MANIFEST, &rows, None).unwrap_err();
            assert!(
                refused.contains("rows.csv:3: column `prediction`:") && refused.contains(shown),
                "{refused}"
            );
        }
    }

    #[test]
    fn rows_of_the_training_library_become_golden_rows() {
        let rows = "\u{feff}Unnamed: 0,balance,annual_fee,label,prediction\n0,10000,100,1,0.5\n1,0,,0,0.25\n";
        let (golden, manifest, said) = golden(MANIFEST, rows, None).unwrap();
        assert_eq!(golden, "balance,annual_fee,expected\n10000,100,0.5\n0,,0.25\n");
        assert_eq!(manifest, MANIFEST);
        assert!(said.contains("2 of 2 rows") && said.contains("does not take: Unnamed: 0, label"), "{said}");
    }

    #[test]
    fn rows_with_decimal_commas_get_points() {
        let rows = "\u{feff}balance;annual_fee;prediction\r\n1000,5;100;0,5\r\n0;;0,25\r\n";
        let (golden, _, _) = golden(MANIFEST, rows, None).unwrap();
        assert_eq!(golden, "balance,annual_fee,expected\n1000.5,100,0.5\n0,,0.25\n");
    }

    #[test]
    fn the_manifests_checksums_list_the_rows() {
        let listed = format!(
            "{MANIFEST}[checksums]\n\"model.onnx\" = \"{0}\"\n[training]\nrows = 1\n",
            "0".repeat(64)
        );
        let (golden_rows, manifest, _) = golden(&listed, "balance,p\n1,0.5\n", Some("p")).unwrap();
        let parsed = Manifest::parse("model.toml", &manifest).unwrap();
        let sums: Vec<(&str, &str)> = parsed.checksums.iter().collect();
        assert_eq!(sums[0], ("golden.csv", sha256_of(golden_rows.as_bytes()).as_str()));
        assert_eq!((sums.len(), parsed.training.len()), (2, 1));
        let (_, again, _) = golden(&manifest, "balance,p\n1,0.75\n", Some("p")).unwrap();
        assert_eq!(Manifest::parse("model.toml", &again).unwrap().checksums.iter().count(), 2);
    }

    #[test]
    fn many_rows_are_thinned_evenly() {
        let rows: String = (0..2500).map(|at| format!("{at},0.5\n")).collect();
        let (golden, _, said) = golden(MANIFEST, &format!("balance,raw\n{rows}"), None).unwrap();
        assert!(said.contains("1000 of 2500 rows"), "{said}");
        let kept: Vec<usize> =
            golden.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
        assert_eq!((kept.len(), kept[0], kept[1]), (1000, 0, 3));
        assert!(*kept.last().unwrap() > 2490, "{kept:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for (rows, named, message) in [
            ("balance,score\n1,0.5\n", None, "no column `prediction` has the library's predictions"),
            ("balance,score\n1,0.5\n", Some("scores"), "did you mean `score`?"),
            ("age,prediction\n1,0.5\n", None, "no column is a feature of the model"),
            ("balance,prediction\n", None, "no row below the header"),
            ("balance,prediction\n1\n", None, "rows.csv:2: 1 fields where the header has 2"),
            ("balance,prediction\n1,\"0.5\n", None, "rows.csv:2: the quote that opens here"),
        ] {
            let found = golden(MANIFEST, rows, named).unwrap_err();
            assert!(found.contains(message), "{found}");
        }
    }
}
