//! `proffer segment` as a user runs it: what it writes, rejects and prints, and what it leaves behind.

#![allow(clippy::format_collect)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::binary::{Ended, command, proffer};
use super::harness::{Copy, Server, data, may_mount, wire};

/// A temporary directory for input and output.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), contents).unwrap();
        self.path(name)
    }

    /// Trains three segments with few resamples, which is fast.
    fn train(&self, input: &Path, more: &[&str]) -> Ended {
        let (input, output) = (input.to_str().unwrap().to_owned(), self.path("out"));
        let mut command = vec!["segment", "train", "--input", &input, "--output", output.to_str().unwrap()];
        command.extend(["--k", "3", "--k-min", "3", "--k-max", "3", "--n-init", "3", "--resamples", "3"]);
        command.extend(more);
        proffer(command)
    }
}

/// A table of customers in three well-separated groups.
fn groups(shift: f64) -> String {
    let row = |customer: u32| {
        let group = f64::from(customer % 4 % 3);
        let spread = f64::from(customer * 37 % 23) / 10.0;
        format!(
            "c{customer},{},{},{}\n",
            group * 50.0 + spread + shift,
            200.0 - group * 40.0 + spread,
            group * 20.0 + spread
        )
    };
    let rows: String = (0..240).map(row).collect();
    format!("customer_id,balance,limit,spread\n{rows}")
}

#[test]
fn training_writes_a_version_and_a_report_reproducibly() {
    let folder = Folder::new();
    let input = folder.file("customers.csv", groups(0.0));
    let names = ["segments.json", "golden.csv", "model.toml", "report/report.html", "report/report.json"];
    let run = |threads: &str| -> Vec<Vec<u8>> {
        let ended = folder.train(&input, &["--id", "customer_id", "--threads", threads]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("240 customers, 3 features, 3 segments"), "{}", ended.stdout);
        names.iter().map(|name| std::fs::read(folder.path("out").join(name)).unwrap()).collect()
    };
    let one = run("1");
    assert!(one == run("2"), "the bytes depend on the number of threads");
    let html = String::from_utf8(one[3].clone()).unwrap();
    assert!(!html.contains("src=\"http") && !html.contains("<script"), "the report loads external resources");
}

#[test]
fn unusable_input_is_named_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let late = (0..9_100).map(|row| if row < 8_999 { format!("{row},1\n") } else { "many,1\n".to_owned() });
    let cases: [(&str, Vec<u8>, &[&str]); 13] = [
        ("empty.csv", Vec::new(), &["empty.csv", "empty"]),
        ("header.csv", b"a,b\n".to_vec(), &["header.csv", "no rows"]),
        ("one.csv", b"a,b\n1,2\n".to_vec(), &["one.csv"]),
        ("constant.csv", b"a,b\n1,2\n1,3\n1,9\n1,4\n".to_vec(), &["`a`", "every value is 1"]),
        ("missing.csv", b"a,b\n,2\nNA,3\n,9\n,7\n".to_vec(), &["`a`", "no row has a value"]),
        ("few.csv", b"a,b\n1,2\n1,2\n2,3\n2,3\n".to_vec(), &["distinct rows"]),
        ("latin.csv", b"a,n\xe4me\n1,2\n3,4\n".to_vec(), &["latin.csv:1", "UTF-8"]),
        ("twice.csv", b"a,a\n1,2\n3,4\n".to_vec(), &["twice.csv:1", "`a`"]),
        ("infinite.csv", b"a,b\n1,2\ninf,3\n3,4\n".to_vec(), &["infinite.csv:3", "`a`", "infinite"]),
        ("comma.csv", b"a,b\n\"1,5\",2\n\"2,5\",3\n".to_vec(), &["comma.csv:2", "use a point"]),
        ("late.csv", format!("a,b\n{}", late.collect::<String>()).into_bytes(), &["late.csv:9001", "`a`"]),
        ("text.csv", b"a,job\n1,cook\n2,clerk\n3,cook\n4,smith\n".to_vec(), &["`job`", "--one-hot job"]),
        ("cut.parquet", b"PAR1 and then nothing".to_vec(), &["cut.parquet"]),
    ];
    for (name, contents, expected) in cases {
        let input = folder.file(name, contents);
        let ended = folder.train(&input, &[]);
        assert_eq!(ended.code, Some(1), "{name}: {ended:?}");
        for words in expected {
            assert!(ended.stderr.contains(words), "{name}: no {words:?} in {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("panicked"), "{name}: {}", ended.stderr);
        assert!(!folder.path("out").exists(), "{name} left something behind");
    }
    let directory = folder.train(folder.0.path(), &[]);
    assert_eq!(directory.code, Some(1), "{directory:?}");
    assert!(directory.stderr.contains("directory"), "{}", directory.stderr);
    let none = folder.train(&folder.path("none.csv"), &[]);
    assert!(none.code == Some(1) && none.stderr.contains("none.csv"), "{none:?}");
}

#[test]
fn invalid_settings_are_rejected_by_name() {
    let folder = Folder::new();
    let input = folder.file("customers.csv", groups(0.0));
    let wrong = folder
        .file("segmentation.toml", "[cluster]\nk_min = 1\nkmax = 3\n[prepare]\nwinsorise = [0.9, 0.1]\n");
    let ended = folder.train(&input, &["--settings", wrong.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("segmentation.toml:3") && ended.stderr.contains("kmax"),
        "{}",
        ended.stderr
    );
    let ended = folder.train(&input, &["--variance-kept", "1.5", "--id", "customer_id"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("variance_kept"), "{ended:?}");
    // All problems of a table are reported at once.
    let several = folder.file("rows.csv", "id,balance,city\na,1.0,Bern\nb,much,Basel\n");
    let ended = folder.train(&several, &["--id", "id"]);
    for words in ["rows.csv:3: column `balance`: \"much\"", "rows.csv:1: column `city`: is text"] {
        assert!(ended.stderr.contains(words), "no {words:?} in {}", ended.stderr);
    }
    let ended = folder.train(&input, &["--id", "costumer_id"]);
    assert!(ended.stderr.contains("did you mean `customer_id`?"), "{}", ended.stderr);
    assert!(!folder.path("out").exists());
}

#[test]
fn interrupted_training_leaves_nothing_behind() {
    let folder = Folder::new();
    let input = folder.file("customers.csv", groups(0.0));
    // Uninterrupted, it would take hours.
    let mut training = command()
        .args(["segment", "train", "--id", "customer_id", "--resamples", "100000000", "--input"])
        .arg(&input)
        .arg("--output")
        .arg(folder.path("out"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(training.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(printed.any(|line| line.contains("balance")), "the table of columns comes first");
    let sent = Command::new("kill").args(["-INT", &training.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended: Ended = training.wait_with_output().unwrap().into();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(130), "interrupted\n"));
    assert_eq!(
        std::fs::read_dir(folder.0.path()).unwrap().count(),
        1,
        "something other than the input was left"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_partial_output_is_removed() {
    if !may_mount() {
        return;
    }
    let folder = Folder::new();
    let input = folder.file("customers.csv", groups(0.0));
    std::fs::create_dir(folder.path("disk")).unwrap();
    // Enough space for segments.json, but not for the report.
    let script = "set -e; mount -t tmpfs -o size=64k proffer-test \"$1\"; \
                  \"$2\" segment train --id customer_id --k 3 --resamples 3 --input \"$3\" --output \"$1/out\" || \
                  { code=$?; find \"$1\" -mindepth 1 >&2; exit $code; }";
    let ended: Ended = Command::new("unshare")
        .args(["-Urm", "sh", "-c", script, "sh"])
        .arg(folder.path("disk"))
        .arg(command().get_program())
        .arg(&input)
        .output()
        .unwrap()
        .into();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let [error] = ended.stderr.lines().collect::<Vec<_>>()[..] else {
        panic!("more output than the error: {}", ended.stderr)
    };
    assert!(error.contains("disk/out") && error.contains("No space left on device"), "{error}");
}

#[test]
fn segments_that_move_too_many_customers_need_force() {
    let folder = Folder::new();
    let input = folder.file("may.csv", groups(0.0));
    assert_eq!(
        folder.train(&input, &["--id", "customer_id", "--no-report", "--names", "A,B,C"]).code,
        Some(0)
    );
    let before = folder.path("before");
    std::fs::rename(folder.path("out"), &before).unwrap();
    let before = before.to_str().unwrap();
    let same = folder.train(&input, &["--id", "customer_id", "--no-report", "--previous", before]);
    assert_eq!(same.code, Some(0), "{same:?}");
    assert!(same.stdout.contains("0 of 240 customers (0 %) change segment"), "{}", same.stdout);
    std::fs::remove_dir_all(folder.path("out")).unwrap();
    // Far above everything in the training data: all customers go into one segment of the old artefact.
    let june = folder.file("june.csv", groups(100.0));
    let again = ["--id", "customer_id", "--no-report", "--previous", before];
    let refused = folder.train(&june, &again);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("would change segment") && refused.stderr.contains("--force"),
        "{}",
        refused.stderr
    );
    assert!(!folder.path("out").exists());
    let forced = folder.train(&june, &[&again[..], &["--force"]].concat());
    assert_eq!(forced.code, Some(0), "{forced:?}");

    let drift = |input: &Path| {
        proffer(["segment", "drift", "--segments", before, "--input", input.to_str().unwrap()])
    };
    let (still, shifted) = (drift(&input), drift(&june));
    assert_eq!((still.code, shifted.code), (Some(0), Some(1)), "{still:?} {shifted:?}");
    assert!(shifted.stdout.contains("balance"), "{}", shifted.stdout);
}

/// The format that Excel writes in most of Europe; every command must read it.
#[test]
fn every_command_reads_the_same_file_with_the_same_notes() {
    let folder = Folder::new();
    let text = groups(0.0);
    let input = folder.file("customers.csv", &text);
    assert_eq!(folder.train(&input, &["--id", "customer_id", "--no-report"]).code, Some(0));
    let excel = text.replace(',', ";").replace('.', ",");
    let excel = folder.file("excel.csv", excel.trim_end());
    let out = folder.path("out");
    let drift = ["segment", "drift", "--segments", out.to_str().unwrap(), "--json", "--input"];
    let drift =
        |input: &Path, more: &[&str]| proffer([&drift[..], &[input.to_str().unwrap()], more].concat());
    let (plain, european) = (drift(&input, &[]), drift(&excel, &["--separator", ";", "--decimal", "comma"]));
    assert_eq!((plain.code, european.code), (Some(0), Some(0)), "{plain:?} {european:?}");
    let [plain, european] =
        [plain, european].map(|ended| serde_json::from_str::<serde_json::Value>(&ended.stdout).unwrap());
    assert_eq!(plain["features"], european["features"]);
    assert!(plain["notes"].as_array().unwrap().is_empty());
    let warning = "the last line has no line end";
    assert!(european["notes"][0].as_str().unwrap().contains(warning), "{european}");

    let trained = folder.train(&excel, &["--id", "customer_id", "--decimal", "comma"]);
    assert_eq!(trained.code, Some(0), "{trained:?}");
    assert!(trained.stderr.contains(warning), "{}", trained.stderr);
    let html = std::fs::read_to_string(folder.path("out/report/report.html")).unwrap();
    assert!(html.contains("The last line has no line end"), "the report does not warn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trained_version_is_released_and_assigns_as_in_training() {
    let folder = Folder::new();
    let server = Server::start(&super::harness::sample_workspace(), &[]);
    let text =
        groups(0.0).replace("customer_id,balance,limit,spread", "customer_id,balance,credit_limit,payments");
    let input = folder.file("customers.csv", &text);
    let address = server.address.to_string();
    let ended = tokio::task::block_in_place(|| {
        let push =
            ["--id", "customer_id", "--assignments", "--push", "segments", "--promote", "--server", &address];
        folder.train(&input, &push)
    });
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("segments version 2 is new: 2 files"), "{}", ended.stdout);
    let values: Vec<f32> = text
        .lines()
        .skip(1)
        .flat_map(|line| line.split(',').skip(1).map(|field| field.parse().unwrap()).collect::<Vec<f32>>())
        .collect();
    let features = super::harness::dense(&["balance", "credit_limit", "payments"], 240, &values);
    let request = wire::AssignSegmentsRequest { features: Some(features) };
    let served = server.client().await.assign_segments(request).await.unwrap().into_inner().segments;
    let assignments = std::fs::read_to_string(folder.path("out/report/assignments.csv")).unwrap();
    let trained: Vec<i64> =
        assignments.lines().skip(1).map(|line| line.rsplit_once(',').unwrap().1.parse().unwrap()).collect();
    assert_eq!(served.iter().map(|segment| segment.id).collect::<Vec<_>>(), trained);
}

/// The table of [`groups`] with one more column, whose values depend on the row number.
fn with_column(name: &str, value: impl Fn(usize) -> String) -> String {
    let text = groups(0.0);
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let rows: String = lines.enumerate().map(|(row, line)| format!("{},{line}\n", value(row))).collect();
    format!("{name},{header}\n{rows}")
}

#[test]
fn columns_of_row_numbers_are_ignored() {
    let folder = Folder::new();
    let plain = folder.file("plain.csv", groups(0.0));
    let train = |input: &Path| {
        let ended = folder.train(input, &["--id", "customer_id", "--no-report"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        (ended.stdout, std::fs::read_to_string(folder.path("out/segments.json")).unwrap())
    };
    let centroids = |text: &str| {
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        (json["segments"].clone(), json["inertia"].clone())
    };
    let right = centroids(&train(&plain).1);
    // As written by pandas for an index of all rows and of some, by R, and by hand.
    for (name, step) in
        [("Unnamed: 0", 1), ("Unnamed: 0", 3), ("", 1), ("__index_level_0__", 7), ("row_number", 1)]
    {
        let input = folder.file("indexed.csv", with_column(name, |row| (row * step).to_string()));
        let (stdout, found) = train(&input);
        assert!(stdout.contains("240 customers, 3 features"), "{name}: {stdout}");
        assert!(stdout.contains("row numbers"), "{name}: {stdout}");
        assert_eq!(centroids(&found), right, "{name}");
    }
}

#[test]
fn integer_ids_are_rejected_and_label_columns_warned_of() {
    let folder = Folder::new();
    let id = with_column("cust_id", |row| (10_000 + row * 7 % 241).to_string());
    let input = folder.file("ids.csv", id.replace("customer_id", "name"));
    let refused = folder.train(&input, &["--drop", "name"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("column `cust_id`") && refused.stderr.contains("use --id cust_id"),
        "{refused:?}"
    );
    assert_eq!(folder.train(&input, &["--drop", "name", "--id", "cust_id"]).code, Some(0));
    let kept = folder.train(&input, &["--id", "name", "--keep", "cust_id"]);
    assert!(kept.code == Some(0) && kept.stdout.contains("4 features"), "{kept:?}");

    let input = folder.file("codes.csv", with_column("zip_code", |row| (8_000 + row % 17).to_string()));
    let refused = folder.train(&input, &["--id", "customer_id"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("--drop zip_code"), "{refused:?}");

    let input = folder.file("labels.csv", with_column("Exited", |row| (row * 7 % 5 % 2).to_string()));
    let warned = folder.train(&input, &["--id", "customer_id"]);
    assert_eq!(warned.code, Some(0), "{warned:?}");
    assert!(warned.stderr.contains("warning: column `Exited`"), "{}", warned.stderr);
    let html = std::fs::read_to_string(folder.path("out/report/report.html")).unwrap();
    assert!(html.contains("<b>Column <code>Exited</code></b> has 2 values"), "the report does not warn");
    let kept = folder.train(&input, &["--id", "customer_id", "--keep", "Exited", "--no-report"]);
    assert!(kept.code == Some(0) && kept.stderr.is_empty(), "{kept:?}");
}

#[test]
fn names_that_no_schema_allows_are_rejected_with_rename_flags() {
    let folder = Folder::new();
    let text = groups(0.0).replace("balance,limit", "Annual Balance,Credit Limit (k$)");
    let input = folder.file("customers.csv", text);
    let refused = folder.train(&input, &["--id", "customer_id"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let flags = "--rename 'Annual Balance=annual_balance' --rename 'Credit Limit (k$)=credit_limit_k'";
    assert!(refused.stderr.contains(flags), "{}", refused.stderr);
    assert!(!folder.path("out").exists());
    let renamed =
        ["--rename", "Annual Balance=annual_balance", "--rename", "Credit Limit (k$)=credit_limit_k"];
    // Other options accept either name.
    let more = ["--id", "customer_id", "--log1p", "Annual Balance,credit_limit_k"];
    let ended = folder.train(&input, &[&more[..], &renamed].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let segments = std::fs::read_to_string(folder.path("out/segments.json")).unwrap();
    assert!(segments.contains("annual_balance") && segments.contains("credit_limit_k"), "{segments}");
    assert!(!segments.contains("Annual Balance"), "{segments}");
    let out = folder.path("out");
    let drift = ["segment", "drift", "--segments", out.to_str().unwrap(), "--input", input.to_str().unwrap()];
    let same = proffer([&drift[..], &renamed].concat());
    assert_eq!(same.code, Some(0), "{same:?}");
    let unknown = folder.train(&input, &["--id", "customer_id", "--rename", "Balance=b"]);
    assert!(unknown.stderr.contains("there is no column `Balance` to rename"), "{}", unknown.stderr);
}

#[test]
fn the_output_of_training_passes_check_unchanged() {
    let folder = Folder::new();
    let text =
        groups(0.0).replace("customer_id,balance,limit,spread", "customer_id,balance,credit_limit,payments");
    let input = folder.file("customers.csv", &text);
    assert_eq!(folder.train(&input, &["--id", "customer_id", "--assignments"]).code, Some(0));
    let workspace = Copy::new();
    let version = workspace.path().join("segments/1");
    std::fs::remove_dir_all(&version).unwrap();
    let copied = Command::new("cp").arg("-r").arg(folder.path("out")).arg(&version).status().unwrap();
    assert!(copied.success() && version.join("report/assignments.csv").is_file());
    let checked = proffer(["check", workspace.path().to_str().unwrap()]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        !checked.stdout.contains("[checksums]") && !checked.stderr.contains("[checksums]"),
        "{checked:?}"
    );
}

#[test]
fn a_stale_report_is_removed() {
    let folder = Folder::new();
    let input = folder.file("customers.csv", groups(0.0));
    assert_eq!(folder.train(&input, &["--id", "customer_id", "--assignments"]).code, Some(0));
    let report = folder.path("out/report");
    assert!(report.join("assignments.csv").is_file() && report.join("report.html").is_file());
    assert_eq!(folder.train(&input, &["--id", "customer_id"]).code, Some(0));
    assert!(!report.join("assignments.csv").exists() && report.join("report.html").is_file());
    let other = folder.file("other.csv", groups(1.0));
    assert_eq!(folder.train(&other, &["--id", "customer_id", "--no-report"]).code, Some(0));
    assert!(!report.exists(), "the report of the first segments is still there");
}

#[test]
fn a_segment_of_outliers_needs_force() {
    let folder = Folder::new();
    let text = groups(0.0).replace("c17,", "c17,9999999");
    let input = folder.file("customers.csv", text);
    let more = ["--id", "customer_id", "--no-report", "--log1p", "none"];
    let refused = folder.train(&input, &more);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for words in ["has 1 customer of 240 (c17)", "--winsorise", "--force"] {
        assert!(refused.stderr.contains(words), "no {words:?} in {}", refused.stderr);
    }
    assert!(!folder.path("out").exists());
    assert_eq!(folder.train(&input, &[&more[..], &["--winsorise", "0.01,0.99"]].concat()).code, Some(0));
    let with_report = ["--id", "customer_id", "--log1p", "none", "--force"];
    let forced = folder.train(&input, &with_report);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert!(forced.stderr.contains("warning: segment 2"), "{}", forced.stderr);
    let html = std::fs::read_to_string(folder.path("out/report/report.html")).unwrap();
    assert!(html.contains("has 1 customer of 240 (c17)"), "the report does not warn");
}

/// The decompressed archive of a data set.
fn decompressed(archive: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(archive).unwrap()).read_to_end(&mut text).unwrap();
    text
}

#[test]
fn public_bank_data_sets_can_be_segmented() {
    let folder = Folder::new();
    if let Some(data_set) = data("default_credit_card") {
        let input = folder.file("clients.csv", decompressed(&data_set.join("uci350_named_columns.csv.gz")));
        let ended = folder.train(&input, &["--id", "ID", "--no-report"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("30000 customers"), "{}", ended.stdout);
        std::fs::remove_dir_all(folder.path("out")).unwrap();
    }
    if let Some(data_set) = data("bank_marketing") {
        let input = folder.file("calls.csv", decompressed(&data_set.join("bank-additional-full.csv.gz")));
        let refused = folder.train(&input, &["--no-report"]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.stderr.contains("`job`") && refused.stderr.contains("--one-hot job"),
            "{}",
            refused.stderr
        );
        let encoded = "job,marital,education,contact,month,day_of_week,poutcome";
        let more = ["--no-report", "--one-hot", encoded, "--missing", "unknown", "--drop", "duration,y"];
        let unnamed = folder.train(&input, &more);
        let flags: Vec<&str> = unnamed.stderr.split_whitespace().filter(|word| word.contains('=')).collect();
        assert_eq!(unnamed.code, Some(1), "{unnamed:?}");
        assert!(flags.contains(&"emp.var.rate=emp_var_rate"), "{}", unnamed.stderr);
        let renames: Vec<&str> =
            flags.iter().flat_map(|flag| ["--rename", flag.trim_end_matches(',')]).collect();
        let more = [&more[..], &renames].concat();
        let ended = folder.train(&input, &more);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("41188 customers"), "{}", ended.stdout);
    }
}
