"""Tests of reference.py and check_docs.py: python3 -B -m unittest discover --start-directory scripts"""

import subprocess
import tempfile
import unittest
from pathlib import Path

import check_docs
import reference

LABELS = """
pub(super) struct RpcLabels {
    pub(super) rpc: &'static str,
}
pub(super) struct OfferLabels {
    pub(super) placement: String,
    pub(super) offer: String,
}
pub(super) const SERIES_LIMIT: usize = 1_000;
"""
OFFERS = '("shown", "Customers, by offer.", |sums| sums.shown), MetricType::Counter'
METRICS = """
pub struct Metrics {
    calls: CallMetrics,
    held: Gauge,
}
struct CallMetrics {
    calls: Counters<RpcLabels>,
    wait: Family<RpcLabels, Histogram>,
}
impl Metrics {
    pub fn new() -> Self {
        own.register("build", "Version", Info::new([("version", env!("X"))]));
        own.register_collector(Box::new(placement_offers.clone()));
        let calls = CallMetrics::register(own);
        // plain(own, "commented", "Not there", Counter::default())
    }
}
impl CallMetrics {
    fn register(own: &mut Registry) -> Self {
        calls: plain(own, "calls", "Calls, that (ended)", Family::default()),
        wait: Bounded::new(in_unit(own, "wait", Unit::Seconds, "Time", Family::default())),
    }
}
impl Metrics {
    fn process(self, root: &mut Registry) {
        let (memory, help) = (self.held.clone(), "Memory");
        in_unit(root, "process_memory", Unit::Bytes, help, memory);
    }
}
fn plain<M>(registry: &mut Registry, name: &str) -> M {
    registry.register(name, help, metric.clone());
}
"""


class Reference(unittest.TestCase):
    def test_metrics_have_the_names_that_are_exposed(self):
        found = reference.registrations(METRICS, LABELS, OFFERS)
        self.assertEqual(found, [
            ("proffer_build_info", "info", ["version"], "", "Version"),
            ("proffer_shown_total", "counter", ["placement", "offer"], "", "Customers, by offer."),
            ("proffer_calls_total", "counter", ["rpc"], "", "Calls, that (ended)"),
            ("proffer_wait_seconds", "histogram", ["rpc"], "seconds", "Time"),
            ("process_memory_bytes", "gauge", [], "bytes", "Memory"),
        ])

    def test_an_unknown_form_of_registration_is_an_error(self):
        for old, new in [
            ("calls: plain(own,", "calls: plain(other,"),
            ("calls: plain(", "calls: register_late("),
            ("calls: plain(own,", "others: Others::register(own), calls: plain(own,"),
            ("calls: plain(", "unknown: plain("),
            ("Family<RpcLabels, Histogram>", "Family<RpcLabels, Summary>"),
            ('"calls", "Calls', 'NAME, "Calls'),
            ("held: Gauge,", "held: Gauge,\n    more: Gauge,\n    most: Gauge,\n    last: Gauge,"),
        ]:
            self.assertIn(old, METRICS)
            with self.assertRaises(reference.Unreadable, msg=new):
                reference.registrations(METRICS.replace(old, new), LABELS, OFFERS)

    def test_keys_have_their_comments(self):
        text = '# Top.\n\n[a]\n# Of the section.\n\n# Of one.\n# More.\none = "x"\ntwo = 2\n'
        self.assertEqual(reference.settings(text), [("a", "Of the section.", [("one", '"x"', "Of one. More."), ("two", "2", "")])])
        page = reference.configuration(text)
        self.assertIn("Default `\"x\"`; environment `PROFFER_A_ONE`.\n\nOf one.\nMore.\n", page)
        self.assertIn("See [`a.one`](#aone).", page)

    def test_an_unknown_form_of_line_is_an_error(self):
        for text in ["one = 1\n", "[a]\none = [1]\n", "[a]\n# Of nothing.\n", "[a]\none: 1\n", "[a]\none = 1\n# Of none.\n\ntwo = 2\n"]:
            with self.assertRaises(reference.Unreadable, msg=text):
                reference.configuration(text)
        with self.assertRaises(reference.Unreadable):
            reference.configuration("[a]\none = 1\n")

    def test_the_sources_of_this_checkout_can_be_parsed(self):
        self.assertEqual(len(reference.pages()), 2)


class Documents(unittest.TestCase):
    def problems(self, files):
        with tempfile.TemporaryDirectory() as place:
            root = Path(place).resolve()
            subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            return [f"{file}:{line}: {message}" for file, line, message in check_docs.problems(root)]

    def check(self, files, *expected):
        found = self.problems(files)
        self.assertEqual(len(found), len(expected), found)
        for problem, beginning in zip(found, expected):
            self.assertTrue(problem.startswith(beginning), problem)

    def test_valid_documents_have_no_problems(self):
        self.check({
            "README.md": "# A b: `c_d`\n\nSee [there](docs/a.md#more-of-it), [here](#a-b-c_d), and <https://example.com>.\n\n"
                         "```sh\n[no](link) and a line that is long enough to be rejected outside code, " + "x" * 90 + "\n```\n",
            "docs/a.md": "# A\n\n## More of it\n\nOf 1.5 MB, e.g. This; and `release/store.rs`, `grpc/rpc.rs`, `rpc.rs`.\n",
            "docs/SUMMARY.md": "- [A](a.md)\n",
            "crates/release/src/store.rs": "",
            "src/grpc/rpc.rs": "",
        })

    def test_links_and_anchors_must_exist(self):
        self.check(
            {"README.md": "[a](b.md)\n[c](#d)\n[e](f.md#g)\n", "f.md": "# Not g\n"},
            "README.md:1: the link to b.md", "README.md:2: there is no heading", "README.md:3: there is no heading",
        )

    def test_links_must_stay_in_the_book(self):
        self.check({"README.md": "A\n", "docs/a.md": "[b](../README.md)\n"}, "docs/a.md:1: the link to ../README.md leads out")

    def test_files_in_backticks_must_exist(self):
        self.check(
            {"ARCHITECTURE.md": "`grpc/rpc.rs` `tests/x/`\n`other.rs`\n", "README.md": "`no/such.rs`\n", "src/grpc/rcp.rs": ""},
            "ARCHITECTURE.md:1: there is no grpc/rpc.rs", "ARCHITECTURE.md:1: there is no tests/x/",
            "ARCHITECTURE.md:2: no file is called other.rs",
        )
        self.check(
            {"docs/a.md": "# A\n\n`x::tests::what_is_not_there` `a::b::it_is_really_there`\n",
             "docs/SUMMARY.md": "- [A](a.md)\n", "src/a.rs": "fn it_is_really_there() {}\n"},
            "docs/a.md:3: there is no test x::tests::what_is_not_there",
        )

    def test_pages_lines_and_sentences_must_be_short(self):
        self.check(
            {"README.md": "a\n" * 151, "a.md": "x" * 121 + "\n- One. Two.\n| " + "x" * 130 + " | One. Two. |\n"},
            "README.md:151: 151 lines", "a.md:1: 121 columns", "a.md:2: more than one sentence",
        )

    def test_a_console_block_must_begin_with_a_command(self):
        self.check({"README.md": "```console\n$ a\nb\n```\n\n```console\nb\n```\n"}, "README.md:7: a console block")

    def test_every_page_must_be_in_the_summary(self):
        self.check({"docs/SUMMARY.md": "- [A](a.md)\n", "docs/a.md": "A\n", "docs/b.md": "B\n"}, "docs/b.md:1: docs/SUMMARY.md")


if __name__ == "__main__":
    unittest.main()
