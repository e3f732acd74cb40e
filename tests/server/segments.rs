//! Segments of real card holders: the server assigns each customer of CC GENERAL as training and scikit-learn do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::binary::proffer_prints;
use super::harness::{Copy, Server, data, dense, python, sample_workspace, wire};

const CUSTOMERS: usize = 8_950;

/// The most customers per `Rank`.
const CHUNK: usize = 1024;

/// CC GENERAL: the archive, a copy of the table with the lower-case header of the schema, and the parsed table.
struct CcGeneral {
    archive: PathBuf,
    directory: tempfile::TempDir,
    features: Vec<String>,
    ids: Vec<String>,
    /// `customers × features`, row-major; NaN where the field is empty.
    values: Vec<f32>,
}

impl CcGeneral {
    fn read() -> Option<Self> {
        let archive = data("cc_general")?.join("CC_GENERAL.csv.gz");
        let mut text = String::new();
        let file = std::fs::File::open(&archive).unwrap();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        let header = header.trim().to_lowercase();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("customers.csv"), format!("{header}\n{rows}")).unwrap();
        let (mut ids, mut values) = (Vec::new(), Vec::new());
        for row in rows.lines() {
            let mut fields = row.trim().split(',');
            ids.push(fields.next().unwrap().to_owned());
            values
                .extend(fields.map(|field| if field.is_empty() { f32::NAN } else { field.parse().unwrap() }));
        }
        let features: Vec<String> = header.split(',').skip(1).map(str::to_owned).collect();
        assert_eq!((ids.len(), values.len()), (CUSTOMERS, CUSTOMERS * features.len()));
        Some(Self { archive, directory, features, ids, values })
    }

    /// Runs the trainer, and returns its output directory.
    fn train(&self, segments: &[&str]) -> PathBuf {
        let output = self.directory.path().join(format!("trained-{}", segments.len()));
        let input = self.directory.path().join("customers.csv");
        let (k, names) = (segments.len().to_string(), segments.join(","));
        let mut command =
            vec!["segment", "train", "--assignments", "--id", "cust_id", "--k", &k, "--names", &names];
        // Only this number of segments, without the other candidates of a report.
        command.extend(["--k-min", &k, "--k-max", &k, "--resamples", "2", "--no-report"]);
        command.extend(["--input", input.to_str().unwrap(), "--output", output.to_str().unwrap()]);
        let printed = proffer_prints(command);
        assert!(printed.contains("8950 customers, 17 features"), "{printed}");
        output
    }

    /// All values as dense features of a request.
    fn dense(&self) -> wire::FeatureBatch {
        let names: Vec<&str> = self.features.iter().map(String::as_str).collect();
        dense(&names, self.ids.len(), &self.values)
    }

    /// Every feature as a column of its type in the sample's schema; a missing value becomes a null row.
    fn columns(&self) -> wire::FeatureBatch {
        use wire::feature_column::Values;
        let column = |(index, name): (usize, &String)| {
            let values: Vec<f32> = self.values.chunks(self.features.len()).map(|row| row[index]).collect();
            let null = |(row, value): (usize, &f32)| value.is_nan().then_some(row as u32);
            let null_rows = values.iter().enumerate().filter_map(null).collect();
            let whole = ["cash_advance_trx", "purchases_trx", "tenure"].contains(&name.as_str());
            let values = if whole {
                Values::Int64s(wire::Int64Values {
                    values: values.iter().map(|value| *value as i64).collect(),
                })
            } else {
                Values::Floats(wire::FloatValues { values })
            };
            wire::FeatureColumn { name: name.clone(), values: Some(values), null_rows }
        };
        wire::FeatureBatch {
            rows: self.ids.len() as u32,
            dense: None,
            columns: self.features.iter().enumerate().map(column).collect(),
        }
    }

    /// The segments of a file of `id,segment`, in the order of the customers.
    fn assignments(&self, path: &Path) -> Vec<i64> {
        let text = std::fs::read_to_string(path).unwrap();
        let rows = text.lines().skip(1).map(|line| line.split_once(',').unwrap());
        let by_id: BTreeMap<&str, i64> = rows.map(|(id, segment)| (id, segment.parse().unwrap())).collect();
        assert_eq!(by_id.len(), CUSTOMERS);
        self.ids.iter().map(|id| by_id[id.as_str()]).collect()
    }

    /// Compares `segments` with scikit-learn's `predict` on the same artefact.
    fn compare_with_scikit_learn(&self, artefact: &Path, segments: &[i64]) {
        let Some(python) = python() else { return };
        let rows: String = self
            .ids
            .iter()
            .zip(segments)
            .map(|(id, segment)| [id.as_str(), ",", &segment.to_string(), "\n"].concat())
            .collect();
        let served = self.directory.path().join("served.csv");
        std::fs::write(&served, format!("id,segment\n{rows}")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/segments.py");
        let compared = Command::new(python)
            .arg(script)
            .args(["--artefact".as_ref(), artefact.as_os_str(), "--data".as_ref(), self.archive.as_os_str()])
            .args(["--compare".as_ref(), served.as_os_str()])
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&compared.stdout).into_owned();
        assert!(compared.status.success(), "{printed}{}", String::from_utf8_lossy(&compared.stderr));
        assert!(
            printed.contains("8950 customers, all in the segment that scikit-learn predicts"),
            "{printed}"
        );
    }
}

async fn assigned(server: &Server, features: wire::FeatureBatch) -> Vec<wire::Segment> {
    let request = wire::AssignSegmentsRequest { features: Some(features) };
    server.client().await.assign_segments(request).await.unwrap().into_inner().segments
}

/// The segments in answers of `Rank`, with the features sent in the request.
async fn ranked(server: &Server, table: &CcGeneral) -> Vec<wire::Segment> {
    let names: Vec<&str> = table.features.iter().map(String::as_str).collect();
    let mut client = server.client().await;
    let mut segments = Vec::with_capacity(CUSTOMERS);
    for (ids, values) in table.ids.chunks(CHUNK).zip(table.values.chunks(CHUNK * names.len())) {
        let customer = |id: &String| wire::Customer { customer_id: id.clone(), consents: Vec::new() };
        let request = wire::RankRequest {
            placement: "email_monthly".to_owned(),
            customers: ids.iter().map(customer).collect(),
            features: Some(dense(&names, ids.len(), values)),
            ..Default::default()
        };
        let results = client.rank(request).await.unwrap().into_inner().results;
        segments.extend(results.into_iter().map(|result| result.segment.unwrap()));
    }
    segments
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_customers_get_the_segment_of_training_and_scikit_learn() {
    let Some(table) = CcGeneral::read() else { return };
    // A number of segments that differs from the sample's, so that no other artefact could answer.
    let names = ["North", "South", "East", "West", "Centre"];
    let trained = table.train(&names);
    let workspace = Copy::new();
    let version = workspace.path().join("segments/2");
    std::fs::create_dir(&version).unwrap();
    for file in ["model.toml", "segments.json", "golden.csv"] {
        std::fs::copy(trained.join(file), version.join(file)).unwrap();
    }
    let server = Server::start(workspace.path(), &[]);

    let segments = assigned(&server, table.dense()).await;
    let ids: Vec<i64> = segments.iter().map(|segment| segment.id).collect();
    assert_eq!(ids, table.assignments(&trained.join("report/assignments.csv")));
    assert!(segments.iter().all(|segment| segment.name == names[segment.id as usize]));
    table.compare_with_scikit_learn(&trained.join("segments.json"), &ids);

    assert_eq!(assigned(&server, table.columns()).await, segments, "as typed columns");
    assert_eq!(ranked(&server, &table).await, segments, "in Rank");
}

#[test]
fn training_reproduces_the_segments_of_the_sample() {
    let Some(table) = CcGeneral::read() else { return };
    let path = sample_workspace().join("segments/1/segments.json");
    let shipped = std::fs::read(&path).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&shipped).unwrap();
    let names: Vec<&str> = json["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| segment["name"].as_str().unwrap())
        .collect();
    let trained = table.train(&names);
    let again = std::fs::read(trained.join("segments.json")).unwrap();
    assert!(again == shipped, "training on the same table does not reproduce {}", path.display());
    table.compare_with_scikit_learn(&path, &table.assignments(&trained.join("report/assignments.csv")));
}

/// A customer with string features, some of them missing.
struct CustomerRow {
    id: String,
    balance: Option<f32>,
    band: Option<&'static str>,
    channel: Option<&'static str>,
}

/// Customers with a balance, an income band and a channel.
fn customer_rows() -> Vec<CustomerRow> {
    let bands = ["low", "middle", "upper", "high"];
    let channels = ["app", "web", "branch"];
    let row = |row: usize| CustomerRow {
        id: format!("c{row}"),
        balance: (!row.is_multiple_of(11)).then_some((row % 4 * 500 + row * 13 % 37) as f32),
        band: (!row.is_multiple_of(7)).then_some(bands[row % 4]),
        channel: (!row.is_multiple_of(13)).then_some(channels[row % 9 / 3]),
    };
    (0..120).map(row).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_segments_string_features_as_in_training() {
    use wire::feature_column::Values;
    let rows = customer_rows();
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("customers.csv"), directory.path().join("out"));
    let line = |CustomerRow { id, balance, band, channel }: &CustomerRow| {
        let balance = balance.map(|balance| balance.to_string()).unwrap_or_default();
        format!("{id},{balance},{},{}\n", band.unwrap_or_default(), channel.unwrap_or_default())
    };
    let table: String = rows.iter().map(line).collect();
    std::fs::write(&input, format!("id,balance,income_band,home_channel\n{table}")).unwrap();
    let more =
        ["--k", "4", "--k-min", "4", "--k-max", "4", "--resamples", "2", "--no-report", "--assignments"];
    let mut command = vec!["segment", "train", "--id", "id", "--one-hot", "income_band,home_channel"];
    command.extend(more);
    command.extend(["--input", input.to_str().unwrap(), "--output", output.to_str().unwrap()]);
    proffer_prints(command);

    let workspace = Copy::new();
    let version = workspace.path().join("segments/2");
    std::fs::create_dir(&version).unwrap();
    for file in ["model.toml", "segments.json", "golden.csv"] {
        std::fs::copy(output.join(file), version.join(file)).unwrap();
    }
    let server = Server::start(workspace.path(), &[]);
    let column = |name: &str, values: Values, missing: Vec<bool>| {
        let null_rows = (0..).zip(missing).filter_map(|(row, missing)| missing.then_some(row)).collect();
        wire::FeatureColumn { name: name.to_owned(), values: Some(values), null_rows }
    };
    let strings = |each: &dyn Fn(usize) -> Option<&'static str>| {
        let values = (0..rows.len()).map(|row| each(row).unwrap_or_default().to_owned()).collect();
        let missing = (0..rows.len()).map(|row| each(row).is_none()).collect();
        (Values::Strings(wire::StringValues { values }), missing)
    };
    let balances = rows.iter().map(|row| row.balance.unwrap_or_default()).collect();
    let missing = rows.iter().map(|row| row.balance.is_none()).collect();
    let (bands, no_band) = strings(&|row| rows[row].band);
    let (channels, no_channel) = strings(&|row| rows[row].channel);
    let features = wire::FeatureBatch {
        rows: rows.len() as u32,
        dense: None,
        columns: vec![
            column("balance", Values::Floats(wire::FloatValues { values: balances }), missing),
            column("income_band", bands, no_band),
            column("home_channel", channels, no_channel),
        ],
    };
    let served: Vec<i64> = assigned(&server, features).await.iter().map(|segment| segment.id).collect();
    let assignments = std::fs::read_to_string(output.join("report/assignments.csv")).unwrap();
    let trained: Vec<i64> =
        assignments.lines().skip(1).map(|line| line.rsplit_once(',').unwrap().1.parse().unwrap()).collect();
    assert_eq!(served, trained);
    assert!((0..4).all(|segment| served.contains(&segment)), "{served:?}");
}
