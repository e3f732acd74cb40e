//! Whatever the layout of a policy, only the value changes, and it reads back as asked.

use proptest::prelude::*;

use super::*;
use crate::tests::sample::{POLICY, experiments};
use crate::{Outline, outline};

fn find(text: &str, id: &str) -> Outline {
    let all = outline(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    all.into_iter().find(|outline| outline.id == id).unwrap_or_else(|| panic!("no {id} in\n{text}"))
}

/// The part of `new` that is not in `old`, and the part of `old` that it replaces.
fn changed<'a>(old: &'a str, new: &'a str) -> (&'a str, &'a str) {
    let before = old.bytes().zip(new.bytes()).take_while(|(left, right)| left == right).count();
    let (rest, new_rest) = (&old.as_bytes()[before..], &new.as_bytes()[before..]);
    let after =
        rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(left, right)| left == right).count();
    (&old[before..old.len() - after], &new[before..new.len() - after])
}

#[test]
fn a_value_changes_and_comments_stay() {
    let text = "# Above.\n[[experiment]]\nid = 'e'   # the seed\n  coverage   =  0.05\t# of those eligible\n\
                state = 'draft' # not yet\n# Below.\n[[experiment.variant]]\nid = 'a'\nweight = 1.0\n";
    let ramped = set_coverage(text, "e", 0.25).unwrap();
    assert_eq!(ramped, text.replace("0.05", "0.25"));
    let started = set_state(&ramped, "e", State::Running).unwrap();
    assert_eq!(started, ramped.replace("'draft'", "'running'"));
    assert_eq!(set_state(&started, "e", State::Running).unwrap(), started);
}

#[test]
fn a_state_that_was_left_out_is_written_below_the_coverage() {
    let text = "[[experiment]]\n  id = 'e'\n  coverage = 1.0 # all\n";
    let paused = set_state(text, "e", State::Paused).unwrap();
    assert_eq!(paused, "[[experiment]]\n  id = 'e'\n  coverage = 1.0 # all\n  state = \"paused\"\n");
    let windows = text.replace('\n', "\r\n");
    assert_eq!(set_state(&windows, "e", State::Paused).unwrap(), paused.replace('\n', "\r\n"));
    let cut = text.trim_end();
    assert_eq!(set_state(cut, "e", State::Paused).unwrap(), paused.trim_end());
    let inline = "experiment = [{ id = 'e', coverage = 1.0 }]";
    let paused = set_state(inline, "e", State::Paused).unwrap();
    assert_eq!(paused, "experiment = [{ id = 'e', coverage = 1.0, state = \"paused\" }]");
}

#[test]
fn an_experiment_that_is_not_there_is_named_with_the_one_that_was_meant() {
    let error = set_state(POLICY, "propensity_v8", State::Stopped).unwrap_err();
    assert_eq!(error.to_string(), "there is no experiment `propensity_v8`; did you mean `propensity_v7`?");
    assert!(matches!(set_coverage("x = ", "e", 0.5), Err(EditError::Unreadable(_))));
}

#[test]
fn the_reader_takes_every_change() {
    for state in State::ALL.map(|(_, state)| state) {
        let read = experiments(&set_state(POLICY, "propensity_v7", state).unwrap());
        assert_eq!(read.find("propensity_v7").unwrap().1.state, state);
    }
    let read = experiments(&set_coverage(POLICY, "propensity_v7", 0.5).unwrap());
    assert!((read.find("propensity_v7").unwrap().1.coverage - 0.5).abs() < f64::EPSILON);
}

/// What an experiment is judged by: each way to write it, before the variants and after them.
const JUDGED: [[&str; 2]; 5] = [
    [
        "metric = { primary = 'calls', guardrails = [{ metric = 'slow_share', tolerate = 0.001 }] } # as agreed\n",
        "",
    ],
    ["metric.primary = 'calls'\nmetric . alpha=0.1 # one in ten\nmetric.planned = 5_000\n", ""],
    [
        "[experiment.metric]\nprimary = \"calls\"\nguardrails = [\n  { metric = 'slow_share', tolerate = 1 },\n]\n",
        "",
    ],
    ["", "\n# How good?\n[experiment.metric]\ncovariate = '0d'\nprimary = 'calls' # they call\n"],
    [
        "",
        "[[experiment.metric.guardrails]]\nmetric = 'slow_share'\ntolerate = 0.1\n[experiment.metric]\nprimary='calls'\n",
    ],
];

#[test]
fn what_an_experiment_is_judged_by_stays_as_it_is_written() {
    let calls = "[[metric]]\nid = 'calls' # as agreed\nnumerator={ outcome = 'called_back', sum = 'any' }\n\
                 per = 'customer'\nbetter = 'higher'\n";
    for [before, after] in JUDGED {
        let text = format!(
            "{calls}[[experiment]]\nid = 'e'\ncoverage = 0.25\nstate = 'running'\n{before}[[experiment.variant]]\n\
             id = 'a'\nweight = 0.5\n[[experiment.variant]]\nid = 'b'\nweight = 0.5\n{after}"
        );
        let read = experiments(&text);
        let measured = |text: &str| experiments(text).find("e").unwrap().1.measured.clone().unwrap();
        let expected = measured(&text);
        assert_eq!(read.metrics[expected.primary].id, "calls");
        let ramped = set_coverage(&text, "e", 0.5).unwrap();
        assert_eq!(ramped, text.replace("0.25", "0.5"));
        let stopped = set_state(&text, "e", State::Stopped).unwrap();
        assert_eq!(stopped, text.replace("running", "stopped"));
        assert_eq!(conclude(&text, "e", "b").unwrap().policy, stopped);
        for changed in [ramped, stopped] {
            assert_eq!(measured(&changed), expected, "{changed}");
            assert_eq!(experiments(&changed).metrics, read.metrics, "{changed}");
        }
        // A state that was left out is written where the experiment is, not in the table of its metric.
        let text = text.replace("state = 'running'\n", "");
        let paused = set_state(&text, "e", State::Paused).unwrap();
        assert_eq!(measured(&paused), expected, "{paused}");
        assert_eq!(experiments(&paused).find("e").unwrap().1.state, State::Paused);
    }
}

/// A policy in which the winner changes everything that it may.
const EVERYTHING: &str = r#"
[[category]]
id = "travel"
[[category]]
id = "loans"
weight = -10.0 # held back

[[placement]]
id = "app_home"
count = 3
strategy = "priority"
model = "propensity"
[[placement]]
id = "email"
exploration = { method = "greedy" }
count = 4
[[placement.scorer]]
model = "network"

[[context_weight]]
id = "season"
percent = 100.0

[[experiment]]
id = "e"
coverage = 0.5 # half
[[experiment.variant]]
id = "control"
weight = 0.5
[[experiment.variant]]
id = "other"
weight = 0.5
models = { propensity = 7, network = 2 }
strategy = "margin"
count = 2
category_weights = { travel = 50 }
context_weights = { season = -20.5 }
[experiment.variant.exploration]
method = "softmax"
temperature = 5.0
"#;

#[test]
fn what_the_winner_changes_holds_for_everyone() {
    let concluded = conclude(EVERYTHING, "e", "other").unwrap();
    let models: Vec<_> = concluded.models.iter().map(|(name, version)| (name.as_str(), *version)).collect();
    assert_eq!(models, [("network", 2), ("propensity", 7)]);
    let softmax = "exploration = { method = \"softmax\", temperature = 5.0 }";
    let expected = EVERYTHING
        .replace("id = \"travel\"\n", "id = \"travel\"\nweight = 50\n")
        .replace("count = 3\nstrategy = \"priority\"", "count = 2\nstrategy = \"margin\"")
        .replace("id = \"app_home\"\n", &format!("id = \"app_home\"\n{softmax}\n"))
        .replace("exploration = { method = \"greedy\" }\ncount = 4", &format!("{softmax}\ncount = 2"))
        .replace("id = \"email\"\n", "id = \"email\"\nstrategy = \"margin\"\n")
        .replace("percent = 100.0", "percent = -20.5")
        .replace("coverage = 0.5 # half\n", "coverage = 0.5 # half\nstate = \"stopped\"\n");
    assert_eq!(concluded.policy, expected);
}

#[test]
fn the_control_as_the_winner_changes_nothing_but_the_state() {
    let concluded = conclude(EVERYTHING, "e", "control").unwrap();
    assert!(concluded.models.is_empty());
    assert_eq!(concluded.policy, set_state(EVERYTHING, "e", State::Stopped).unwrap());
}

#[test]
fn what_would_hold_elsewhere_too_is_refused_by_name() {
    let at_home = EVERYTHING.replace("coverage = 0.5", "placements = [\"app_home\"]\ncoverage = 0.5");
    let refused = |text: &str| conclude(text, "e", "other").unwrap_err().to_string();
    assert!(refused(&at_home).contains("changes `category_weights`, which holds at placement `email`, too"));
    let weightless = at_home.replace("category_weights = { travel = 50 }\n", "");
    assert!(refused(&weightless).contains("changes `context_weights`"));
    let model = weightless.replace("context_weights = { season = -20.5 }\n", "");
    assert!(refused(&model).contains("changes model `network`, which holds at placement `email`, too"));
    let own = model.replace(", network = 2", "");
    let concluded = conclude(&own, "e", "other").unwrap();
    // Nothing of the other placement changes.
    assert!(
        concluded.policy.contains("exploration = { method = \"greedy\" }\ncount = 4"),
        "{}",
        concluded.policy
    );
    assert_eq!(concluded.models.len(), 1);
    let table = own.replace(
        "model = \"propensity\"",
        "model = \"propensity\"\n[placement.exploration]\nmethod = \"greedy\"",
    );
    assert_eq!(
        refused(&table),
        "placement `app_home`: write `exploration` in one line, as a table in braces or a plain value, then conclude \
         again"
    );
    assert_eq!(
        conclude(&own, "e", "othr").unwrap_err().to_string(),
        "experiment `e` has no variant `othr`; did you mean `other`?"
    );
}

/// The exploration of a placement: each way to write it, and whether it can be replaced.
const EXPLORATIONS: [(&str, bool); 7] = [
    ("", true),
    ("exploration = { method = \"greedy\" }", true),
    ("'exploration' = {method='softmax',temperature=1.0}", true),
    ("exploration.method = \"greedy\"", false),
    ("exploration . \"method\" = 'softmax'\nexploration.temperature = 1.0", false),
    ("[placement.exploration]\nmethod = \"greedy\"", false),
    ("[placement . 'exploration']\ntemperature = 1.0\nmethod = 'softmax'", false),
];

proptest! {
    #[test]
    fn a_table_of_a_placement_is_replaced_whole_or_not_at_all(
        written in prop::sample::select(EXPLORATIONS.to_vec()),
        indent in "[ \t]{0,3}", comment in " {1,3}# [ä= \"'.]{0,6}",
    ) {
        let (lines, is_replaced) = written;
        let lines: Vec<String> = lines.lines().map(|line| format!("{indent}{line}{comment}\n")).collect();
        let lines = lines.concat();
        let model = "model = \"propensity\"\n";
        let text = EVERYTHING.replacen(model, &format!("{model}{lines}"), 1);
        prop_assert!(parse(&text).is_ok(), "{}", text);
        match conclude(&text, "e", "other") {
            Ok(concluded) => {
                prop_assert!(is_replaced, "{}", concluded.policy);
                prop_assert!(parse(&concluded.policy).is_ok(), "{}", concluded.policy);
                let softmax = "{ method = \"softmax\", temperature = 5.0 }";
                prop_assert_eq!(concluded.policy.matches(softmax).count(), 2, "{}", concluded.policy);
            }
            Err(error) => {
                prop_assert!(!is_replaced, "{}: {}", error, text);
                prop_assert!(matches!(error, EditError::Layout { .. }), "{}", error);
            }
        }
    }
}

/// How a person may have written it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a habit of its own")]
struct Layout {
    spaces: [String; 2],
    comments: [String; 3],
    indent: String,
    is_windows: bool,
    is_cut: bool,
    quotes_key: bool,
    state: Option<(char, State)>,
    state_first: bool,
    is_inline: bool,
    is_between: bool,
}

fn layout() -> impl Strategy<Value = Layout> {
    let comment = || prop_oneof![Just(String::new()), " {0,3}# [ä= \"'.0-9]{0,8}"];
    (
        ["[ \t]{0,3}", "[ \t]{0,3}"],
        [comment(), comment(), comment()],
        "[ \t]{0,4}",
        any::<[bool; 4]>(),
        prop::option::of((prop::sample::select(vec!['"', '\'']), prop::sample::select(State::ALL.to_vec()))),
        any::<[bool; 2]>(),
    )
        .prop_map(
            |(
                spaces,
                comments,
                indent,
                [is_windows, is_cut, quotes_key, state_first],
                state,
                [is_inline, is_between],
            )| {
                let state = state.map(|(quote, (_, state))| (quote, state));
                Layout {
                    spaces,
                    comments,
                    indent,
                    is_windows,
                    is_cut,
                    quotes_key,
                    state,
                    state_first,
                    is_inline,
                    is_between,
                }
            },
        )
}

impl Layout {
    fn text(&self, coverage: &str) -> String {
        let [before, after] = &self.spaces;
        let key = if self.quotes_key { "\"coverage\"" } else { "coverage" };
        let coverage = format!("{key}{before}={after}{coverage}");
        let state =
            self.state.map(|(quote, state)| format!("state{before}={after}{quote}{}{quote}", state.name()));
        let mut pairs = vec!["id = 'e'".to_owned(), coverage];
        pairs.extend(state);
        if self.state_first {
            pairs.reverse();
        }
        let other = |id: &str| format!("[[experiment]]\nid = '{id}'\ncoverage = 0.05\nstate = 'draft'\n");
        let mut text = if self.is_inline {
            let table = |pairs: &[String]| format!("  {{{after}{}{before}}}", pairs.join(", "));
            let others = ["id = 'd', coverage = 0.05", "id = 'f', coverage = 0.05"].map(str::to_owned);
            let tables = [table(&others[..1]), table(&pairs), table(&others[1..])];
            let [first, second, third] = &self.comments;
            format!("x = 1{first}\nexperiment = [{second}\n{},{third}\n]\ny = 2\n", tables.join(",\n"))
        } else {
            let lines: Vec<String> = pairs
                .iter()
                .zip(self.comments.iter().cycle())
                .map(|(pair, comment)| format!("{}{pair}{comment}\n", self.indent))
                .collect();
            let next = if self.is_between { other("f") } else { String::new() };
            format!("{}\n# Here.\n[[experiment]]\n{}{next}", other("d"), lines.concat())
        };
        if self.is_cut {
            text.truncate(text.trim_end_matches('\n').len());
        }
        if self.is_windows { text.replace('\n', "\r\n") } else { text }
    }
}

proptest! {
    #[test]
    fn only_the_value_changes_in_any_layout(
        layout in layout(), from in 0_u32..=1000, to in 0_u32..=1000, state in 0..4_usize,
    ) {
        let (from, to) = (f64::from(from) / 1000.0, f64::from(to) / 1000.0);
        let text = layout.text(&format!("{from:?}"));
        let before = find(&text, "e");
        let ramped = set_coverage(&text, "e", to).unwrap();
        let after = find(&ramped, "e");
        prop_assert_eq!(&after, &Outline { coverage: to, definition: after.definition, ..before.clone() });
        prop_assert_eq!(after.definition == before.definition, (from - to).abs() < 1e-9);
        let digits = |part: &str| part.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
        let (old, new) = changed(&text, &ramped);
        prop_assert!(digits(old) && digits(new), "{:?} became {:?}", old, new);

        let state = State::ALL[state].1;
        let moved = set_state(&text, "e", state).unwrap();
        let after = find(&moved, "e");
        prop_assert_eq!(&after, &Outline { state, definition: after.definition, ..before });
        let (old, new) = changed(&text, &moved);
        prop_assert!(old.chars().all(|letter| letter.is_ascii_alphabetic()), "{:?} became {:?}", old, new);
        if layout.state.is_some() {
            prop_assert!(new.chars().all(|letter| letter.is_ascii_alphabetic()), "{:?} became {:?}", old, new);
        }
        for other in ["d", "f"] {
            let find = |text: &str| outline(text).unwrap().into_iter().find(|outline| outline.id == other);
            prop_assert_eq!(find(&text), find(&ramped));
            prop_assert_eq!(find(&text), find(&moved));
        }
    }
}
