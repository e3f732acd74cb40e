//! Mistakes in a workspace: each is reported with its file, its line and what to do, all at once, and no store is
//! created.

use std::path::Path;

use super::binary::{Ended, init, proffer, proffer_prints};
use super::harness::{Copy, sample_workspace};

/// A mistake and exactly the problems that must be reported for it.
struct Case {
    about: &'static str,
    spoil: fn(&Copy),
    problems: &'static [Problem],
}

/// A line of the report: the file, a marker in the reported line (empty where no line is reported), and the message.
type Problem = (&'static str, &'static str, &'static str);

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 1234\n";

const ELIGIBILITY: &str = r#""customer.late_payments_12m <= 1 && customer.credit_limit >= 3000.0""#;

const CASES: &[Case] = &[
    Case {
        about: "broken TOML, in every file",
        spoil: |copy| {
            copy.replace("features.toml", "name = \"balance\"", "name = balance");
            copy.replace("offers.toml", "id = \"travel_gold\"", "id = \"travel_gold");
            copy.replace("policy.toml", "[[category]]\nid = \"travel\"", "[[category\nid = \"travel\"");
        },
        problems: &[
            ("features.toml", "name = balance", ""),
            ("offers.toml", "id = \"travel_gold", "invalid basic string, expected `\"`"),
            ("policy.toml", "[[category", "unclosed array table, expected `]]`"),
        ],
    },
    Case {
        about: "a rule that compares a number with a string and reads an unknown feature",
        spoil: |copy| {
            let rule = r#"'customer.credit_limit > "gold" && customer.credit_limt > 1.0'"#;
            copy.replace("offers.toml", ELIGIBILITY, rule);
        },
        problems: &[
            (
                "offers.toml",
                "> \"gold\"",
                "offer `travel_gold`: `eligibility`: `>` cannot compare the float `customer.credit_limit` with the string \
                 \"gold\"; numbers are written without quotes, text with",
            ),
            (
                "offers.toml",
                "> \"gold\"",
                "offer `travel_gold`: `eligibility`: unknown feature `customer.credit_limt`, not in the feature schema; did \
                 you mean `credit_limit`?",
            ),
        ],
    },
    Case {
        about: "a duplicate offer id",
        spoil: |copy| {
            let again = "\n[[offer]]\nname = \"Again\"\ncategory = \"travel\"\nplacements = [\"app_home\"]\nvalue = 1.0\nid = \
                 \"travel_gold\" # again\n";
            copy.append("offers.toml", again);
        },
        problems: &[("offers.toml", "# again", "`travel_gold` is already the id of the offer in line 13")],
    },
    Case {
        about: "caps, one of them negative",
        spoil: |copy| {
            let caps = "cap_customer = { limit = -3, per = \"7d\", count = \"impression\" }\nbudget = 1000.0";
            copy.replace("offers.toml", "value = 80.0", &format!("value = 80.0\n{caps}"));
        },
        problems: &[
            (
                "offers.toml",
                "cap_customer = { limit = -3",
                "offer `travel_gold` [cap_customer]: `limit` must be a whole number of at least 0, not the number -3",
            ),
            ("offers.toml", "budget = 1000.0", "offer `travel_gold`: `budget` must be a table ([budget])"),
        ],
    },
    Case {
        about: "weights of -150 percent",
        spoil: |copy| {
            copy.replace("offers.toml", "weight = 25.0", "weight = -150.0");
            copy.replace("policy.toml", "weight = 30.0", "weight = -150.0");
        },
        problems: &[
            (
                "offers.toml",
                "-150.0",
                "offer `travel_gold`: `weight` must be more than -100 percent, not -150",
            ),
            ("policy.toml", "-150.0", "category `travel`: `weight` must be more than -100 percent, not -150"),
        ],
    },
    Case {
        about: "a policy with settings that have no effect",
        spoil: |copy| {
            copy.append("policy.toml", "\n[contact_limits]\nper_week = 3\n[holdout]\nshare = 0.05\nredraw = \"never\"\npercent = 5.0\n");
            copy.append("policy.toml", "[metric]\nid = \"conversion\"\n");
        },
        problems: &[
            (
                "policy.toml",
                "[contact_limits]",
                "unknown key `contact_limits`; did you mean `contact_limit`?",
            ),
            ("policy.toml", "percent = 5.0", "[holdout]: unknown key `percent`"),
            ("policy.toml", "[metric]", "`metric` must be an array of tables ([[metric]])"),
        ],
    },
    Case {
        about: "models that do not exist or do not score",
        spoil: |copy| {
            copy.replace("policy.toml", "segmentation = \"segments\"", "segmentation = \"segment\"");
            copy.replace("policy.toml", "model = \"network\"", "model = \"netwerk\"");
            copy.replace("policy.toml", "model = \"affinity\"", "model = \"segments\"");
        },
        problems: &[
            (
                "policy.toml",
                "segmentation = ",
                "`segmentation`: the release has no segmentation `segment`; did you mean `segments`?",
            ),
            (
                "policy.toml",
                "netwerk",
                "placement `email_monthly`: the release has no model `netwerk`; did you mean `network`?",
            ),
            (
                "policy.toml",
                "model = \"segments\"",
                "placement `call_center`: model `segments` gives no propensity; its `kind` must be propensity or \
                 recommendation",
            ),
        ],
    },
    Case {
        about: "propensities on different scales",
        spoil: |copy| {
            copy.replace("affinity/1/model.toml", "method = \"isotonic\"", "method = \"none\"");
            let manifest = read(copy, "affinity/1/model.toml");
            let (before, rest) = manifest.split_once("x = [").unwrap();
            let (_, after) = rest.split_once("\n]\n\n[gates]").unwrap();
            write(copy, "affinity/1/model.toml", &format!("{before}\n[gates]{after}"));
        },
        problems: &[(
            "policy.toml",
            "model = \"affinity\"",
            "placement `call_center` uses 2 models, and `affinity` is not calibrated: propensities on different scales \
             cannot be compared; calibrate it in affinity/1/model.toml or use one model",
        )],
    },
    Case {
        about: "a model with inputs that are not in the schema",
        spoil: |copy| {
            copy.replace("propensity/1/model.toml", "    \"balance\",", "    \"balanse\",");
        },
        problems: &[(
            "propensity/1/model.toml",
            "inputs = [",
            "the schema has no feature `balanse`; did you mean `balance`?",
        )],
    },
    Case {
        about: "a truncated graph",
        spoil: truncate,
        problems: &[
            ("propensity/1/model.onnx", "", "[checksums] says"),
            ("propensity/1/model.onnx", "", "this is not an ONNX model, or only a part of one"),
        ],
    },
    Case {
        about: "a truncated graph with a checksum computed after the damage",
        spoil: |copy| {
            truncate(copy);
            set_checksum(copy, &digest(&copy.path().join("propensity/1/model.onnx")));
        },
        problems: &[("propensity/1/model.onnx", "", "this is not an ONNX model, or only a part of one")],
    },
    Case {
        about: "a truncated graph without a checksum",
        spoil: |copy| {
            truncate(copy);
            remove_checksums(copy);
        },
        problems: &[("propensity/1/model.onnx", "", "this is not an ONNX model, or only a part of one")],
    },
    Case {
        about: "a wrong checksum for a valid graph",
        spoil: |copy| set_checksum(copy, &"0".repeat(64)),
        problems: &[("propensity/1/model.onnx", "", "the file was changed or damaged")],
    },
    Case {
        about: "a Git LFS pointer in place of a model",
        spoil: |copy| {
            write(copy, "propensity/1/model.onnx", POINTER);
            remove_checksums(copy);
        },
        problems: &[(
            "propensity/1/model.onnx",
            "",
            "this is a Git LFS pointer, not a model: run `git lfs pull`",
        )],
    },
    Case {
        about: "segments on features that are not in the schema",
        spoil: |copy| {
            copy.replace("segments/1/segments.json", "\"name\": \"balance\"", "\"name\": \"balanse\"");
            let manifest = read(copy, "segments/1/model.toml");
            write(copy, "segments/1/model.toml", manifest.split("[checksums]").next().unwrap());
        },
        problems: &[(
            "segments/1/segments.json",
            "",
            "the schema has no feature `balanse`; did you mean `balance`?",
        )],
    },
    Case {
        about: "customers with an invalid cell and a line that is too short",
        spoil: |copy| {
            copy.replace("customers.csv", "\nC000002,", "\nC000002,a lot of ");
            copy.append("customers.csv", "C999999,\n");
        },
        problems: &[
            ("customers.csv", "a lot of", "is not a number; leave it empty where the value is not known"),
            ("customers.csv", "C999999", "2 fields where the header has 30"),
        ],
    },
    Case {
        about: "a misnamed file",
        spoil: |copy| {
            std::fs::rename(copy.path().join("policy.toml"), copy.path().join("polcy.toml")).unwrap();
        },
        problems: &[("policy.toml", "", "did you mean `polcy.toml`?")],
    },
    Case {
        about: "a file in the wrong encoding",
        spoil: |copy| {
            let text = read(copy, "offers.toml")
                .replace("name = \"Travel Gold card\"", "name = \"Voyage dor\u{e9}\"");
            let latin1: Vec<u8> = text.chars().map(|letter| letter as u8).collect();
            std::fs::write(copy.path().join("offers.toml"), latin1).unwrap();
        },
        problems: &[("offers.toml", "", "this line is not UTF-8; save the file as UTF-8")],
    },
    Case {
        about: "mistakes in five files at once",
        spoil: |copy| {
            copy.replace("offers.toml", "weight = 25.0", "weight = -150.0");
            copy.replace("policy.toml", "model = \"network\"", "model = \"netwerk\"");
            copy.replace("policy.toml", "count = 3", "count = 300");
            copy.replace("propensity/1/model.toml", "    \"balance\",", "    \"balanse\",");
            copy.replace("customers.csv", "\nC000002,", "\nC000002,a lot of ");
            truncate_file(copy, "affinity/1/travel_gold.onnx");
        },
        problems: &[
            ("offers.toml", "-150.0", "more than -100 percent"),
            ("policy.toml", "netwerk", "did you mean `network`?"),
            ("policy.toml", "count = 300", "placement `app_home`: `count` must be 1 to 100, not 300"),
            ("propensity/1/model.toml", "inputs = [", "did you mean `balance`?"),
            ("customers.csv", "a lot of", "is not a number"),
            ("affinity/1/travel_gold.onnx", "", "[checksums] says"),
            ("affinity/1/travel_gold.onnx", "", "this is not an ONNX model"),
        ],
    },
];

fn read(copy: &Copy, file: &str) -> String {
    std::fs::read_to_string(copy.path().join(file)).unwrap()
}

fn write(copy: &Copy, file: &str, text: &str) {
    std::fs::write(copy.path().join(file), text).unwrap();
}

fn truncate(copy: &Copy) {
    truncate_file(copy, "propensity/1/model.onnx");
}

fn truncate_file(copy: &Copy, file: &str) {
    let path = copy.path().join(file);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
}

fn digest(path: &Path) -> String {
    model::sha256_of(&std::fs::read(path).unwrap())
}

fn checksum_line(copy: &Copy) -> String {
    let manifest = read(copy, "propensity/1/model.toml");
    manifest.lines().find(|line| line.starts_with("\"model.onnx\" = ")).unwrap().to_owned()
}

fn set_checksum(copy: &Copy, hex: &str) {
    copy.replace("propensity/1/model.toml", &checksum_line(copy), &format!("\"model.onnx\" = \"{hex}\""));
}

/// Removes `[checksums]` from the manifest.
fn remove_checksums(copy: &Copy) {
    let manifest = read(copy, "propensity/1/model.toml");
    let checksums = model::Manifest::parse("model.toml", &manifest).unwrap().checksums;
    copy.replace("propensity/1/model.toml", &checksums.render(), "");
}

/// The location that must be reported for a problem: `offers.toml:12: `.
fn place(copy: &Copy, (file, marker, _): &Problem) -> String {
    if marker.is_empty() {
        return format!("{file}:");
    }
    let text = read(copy, file);
    let line = text.lines().position(|line| line.contains(marker)).unwrap();
    format!("{file}:{}: ", line + 1)
}

fn check(case: &Case, copy: &Copy, ended: &Ended) {
    let context = format!("{}: {}\n{}", case.about, ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(1), "{context}");
    assert_eq!(ended.stdout, "", "{context}");
    let report = ended.stderr.strip_prefix("error: ").expect(&context);
    for problem in case.problems {
        let (place, words) = (place(copy, problem), problem.2);
        let reported = |line: &str| line.contains(&place) && line.contains(words);
        assert!(report.lines().any(reported), "no {place}{words}\n{context}");
    }
    assert_eq!(report.lines().count(), case.problems.len(), "{context}");
}

#[test]
fn every_mistake_is_reported_with_its_file_and_line_and_no_store_is_created() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    for case in CASES {
        let copy = Copy::new();
        (case.spoil)(&copy);
        check(case, &copy, &proffer(["check".as_ref(), copy.path()]));
        check(case, &copy, &init(&store, copy.path()));
        assert!(!store.exists(), "{}", case.about);
    }
    // Without the mistakes, the same command creates the store.
    let made = init(&store, &sample_workspace());
    assert_eq!(made.code, Some(0), "{made:?}");
    let sound = proffer_prints(["check".as_ref(), "--store".as_ref(), store.as_os_str()]);
    assert!(sound.ends_with("sound\n"), "{sound}");
}

#[test]
fn init_does_not_overwrite_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let customers = store.join("customers/customers.csv");
    std::fs::write(&customers, "customer_id,balance\nMINE,1.0\n").unwrap();
    let again = init(&store, &sample_workspace());
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("already holds release 1; nothing was changed"), "{again:?}");
    assert!(std::fs::read_to_string(&customers).unwrap().contains("MINE"));
}

#[test]
fn an_interrupted_init_resumes_only_if_the_workspace_is_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    // CURRENT is written last.
    std::fs::remove_file(store.join("CURRENT")).unwrap();
    let copy = Copy::new();
    copy.replace("network/1/model.toml", "[training]", "[training]\nmark = 'edited'");
    let edited = init(&store, copy.path());
    assert_eq!(edited.code, Some(1), "{edited:?}");
    assert!(edited.stderr.contains("models/network/1 is there already with other files"), "{edited:?}");
    assert!(!store.join("CURRENT").exists());
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
}

#[test]
fn an_edited_store_is_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let offers = store.join("releases/1/offers.toml");
    let text = std::fs::read_to_string(&offers).unwrap();
    std::fs::write(&offers, text.replace("value = 80.0", "value = 8000.0")).unwrap();
    let data = directory.path().join("data").display().to_string();
    for command in [
        &["check", "--store"][..],
        &["serve", "--data", &data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--store"],
    ] {
        let ended = proffer(command.iter().map(AsRef::as_ref).chain([store.as_os_str()]));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("offers.toml was changed after it was released"), "{ended:?}");
    }
}
