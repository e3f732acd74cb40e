//! TOML, JSON, rules, and model graphs.

use document::Document;
use feature::FeatureSchema;
use model::Manifest;
use native::{InputPart, NativeModel};
use offer::Rule;
use segment::Segmentation;

use super::{file, run, text};
use fuzz::Target;

const TOML: [&str; 24] = [
    "[[offer]]\n",
    "[a]\n",
    "id = ",
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "#",
    "\n",
    "1e999",
    "-inf",
    "nan",
    "2026-02-30",
    "2026-01-31T25:00:00Z",
    "0x7fffffffffffffff",
    "a.b.c.d.e = 1\n",
    "\\u0000",
    "\u{202e}",
];

fn schema() -> FeatureSchema {
    FeatureSchema::parse("features.toml", &text("models/features.toml")).unwrap()
}

fn manifests() -> Vec<Vec<u8>> {
    ["affinity", "network", "propensity", "segments"]
        .map(|model| file(&format!("models/{model}/1/model.toml")))
        .to_vec()
}

#[test]
fn toml() {
    let mut seeds = manifests();
    seeds.extend(["models/features.toml", "models/policy.toml", "deploy/proffer.toml"].map(file));
    seeds.push(b"[[offer]]\nid = 3\n".repeat(1_000));
    seeds.push(b"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w = 1\n".repeat(100));
    run(Target { name: "toml", seeds, words: &TOML, inputs: 3_000 }, 160, |input| {
        let text = String::from_utf8_lossy(input);
        match Document::parse("x.toml", &text) {
            Ok(document) => {
                let root = document.root();
                root.keys();
                root.tables("offer").iter().for_each(|table| {
                    table.required::<String>("id");
                    table.finish();
                });
                root.finish();
                drop(document.finish(()));
            }
            Err(problems) => assert!(!problems.to_string().is_empty()),
        }
    });
}

#[test]
fn features() {
    let seeds = vec![file("models/features.toml"), b"[[feature]]\nname = 3\n".repeat(500)];
    run(Target { name: "features", seeds, words: &TOML, inputs: 2_000 }, 256, |input| {
        drop(FeatureSchema::parse("features.toml", &String::from_utf8_lossy(input)));
    });
}

#[test]
fn offers() {
    let (schema, policy) = (schema(), text("models/policy.toml"));
    let seeds = vec![file("models/offers.toml"), b"[[offer]]\nid = 3\n".repeat(500)];
    run(Target { name: "offers", seeds, words: &TOML, inputs: 150 }, 512, |input| {
        let text = String::from_utf8_lossy(input);
        drop(offer::read(&schema, ("offers.toml", &text), ("policy.toml", &policy)));
    });
}

#[test]
fn policy() {
    let (schema, offers) = (schema(), text("models/offers.toml"));
    let seeds = vec![file("models/policy.toml"), b"[[category]]\nid = 'a'\n".repeat(500)];
    run(Target { name: "policy", seeds, words: &TOML, inputs: 150 }, 512, |input| {
        let text = String::from_utf8_lossy(input);
        drop(offer::read(&schema, ("offers.toml", &offers), ("policy.toml", &text)));
    });
}

#[test]
fn manifest() {
    run(Target { name: "manifest", seeds: manifests(), words: &TOML, inputs: 4_000 }, 256, |input| {
        drop(Manifest::parse("model.toml", &String::from_utf8_lossy(input)));
    });
}

#[test]
fn rules() {
    let schema = schema();
    let offers = text("models/offers.toml");
    let of_line =
        |line: &str| line.split_once('"').map(|(_, rule)| rule.trim_end_matches('"').as_bytes().to_vec());
    let mut seeds: Vec<Vec<u8>> = offers
        .lines()
        .filter(|line| {
            ["eligibility", "applicability", "suitability", "exclusion"]
                .iter()
                .any(|key| line.starts_with(key))
        })
        .filter_map(of_line)
        .collect();
    seeds.push(
        b"customer.balance * 0.07 in [1, 2.5, 3] || !(context.month == 6) ? true : size('a') > 0".to_vec(),
    );
    let words = [
        "customer.",
        "offer.",
        "context.",
        "&&",
        "||",
        "!",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "in",
        "==",
        "<=",
        "?",
        ":",
        "size(",
        ".matches(",
        "'(a+)+$'",
        "has(",
        "true",
        "null",
        "1e308",
        "9223372036854775807",
        "-",
        "*",
        "/",
        "%",
        "\"",
        "r'",
        "[1].map(x, x)",
    ];
    run(Target { name: "rules", seeds, words: &words, inputs: 1_500 }, 4_096, |input| {
        let source = String::from_utf8_lossy(input);
        if let Ok(rule) = Rule::compile(&source, &schema) {
            assert_eq!(rule.source(), source);
        }
    });
}

#[test]
fn segments() {
    let seeds = vec![
        file("models/segments/1/segments.json"),
        br#"{"format_version":1,"features":[],"segments":[]}"#.to_vec(),
    ];
    let words = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "1e999",
        "-0",
        "\\ud800",
        "\"format_version\":1",
        "[[[[[[[[",
    ];
    run(Target { name: "segments", seeds, words: &words, inputs: 3_000 }, 128, |input| {
        if let Ok(segmentation) = Segmentation::parse("segments.json", input) {
            let written = segmentation.to_json().unwrap();
            let again = Segmentation::parse("segments.json", written.as_bytes()).unwrap();
            assert_eq!(again.to_json().unwrap(), written);
        }
    });
}

#[test]
fn onnx() {
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/onnx")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            seeds.push(std::fs::read(path).unwrap());
        }
    }
    // The order of directory entries is undefined.
    seeds.sort();
    seeds.extend(["propensity", "network"].map(|model| file(&format!("models/{model}/1/model.onnx"))));
    seeds.push(file("models/affinity/1/travel_gold.onnx"));
    let words = [
        "TreeEnsembleClassifier",
        "TreeEnsembleRegressor",
        "TreeEnsemble",
        "Gemm",
        "MatMul",
        "Add",
        "Relu",
        "Sigmoid",
        "Softmax",
        "ZipMap",
        "Cast",
        "Reshape",
        "Concat",
        "LabelEncoder",
        "OneHotEncoder",
        "Scaler",
        "BRANCH_LEQ",
        "LEAF",
        "ai.onnx.ml",
    ];
    run(Target { name: "onnx", seeds, words: &words, inputs: 4_000 }, 256, |input| {
        for (output, inputs) in [
            ("probabilities", &[InputPart { name: "input", columns: 4 }][..]),
            ("probability", &[InputPart { name: "features", columns: 29 }]),
            (
                "output",
                &[InputPart { name: "customer", columns: 3 }, InputPart { name: "offer", columns: 2 }],
            ),
        ] {
            drop(NativeModel::read(input, output, inputs));
        }
    });
}
