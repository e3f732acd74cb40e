"""Tests of the load tests that need no server: `python3 -m unittest discover benches/load`."""

import json
import math
import sys
import tempfile
import tomllib
import unittest
import unittest.mock
from pathlib import Path
from types import SimpleNamespace

if sys.version_info < (3, 11):
    raise unittest.SkipTest("load tests need Python 3.11")

import corpus
import load
import report
import server
import swaps

MODELS = Path(__file__).resolve().parents[2] / "models"
LIMITS = report.Limits(p99_ms=20, errors_percent=0)


def recorded(sent, took=0.002, status="OK"):
    """A report of ghz, as parsed from JSON: calls that were sent at these times, with this duration, in seconds."""
    details = []
    for at in sent:
        text = f"2026-05-01T10:00:{at + took:012.9f}+02:00"
        details.append({"timestamp": text, "latency": round(took * 1e9), "error": "", "status": status})
    return {"count": len(details), "details": details}


def steady(rate=100, length=10, **more):
    """Calls at this rate, all on time."""
    return recorded([1 + at / rate for at in range(rate * length)], **more)


def found(calls, rate=100, **more):
    return report.figures(report.calls_of(calls, rate, calls["count"]), rate, **more)


class Report(unittest.TestCase):
    def test_times_are_read_with_any_number_of_digits(self):
        for text, fraction in [("", 0), (".5", 0.5), (".123456789", 0.123456789)]:
            for zone in ("Z", "+00:00"):
                self.assertAlmostEqual(report.seconds(f"1970-01-01T00:01:00{text}{zone}"), 60 + fraction, places=9)
        self.assertEqual(report.seconds("1970-01-01T02:00:01+02:00"), 1)

    def test_quantiles_are_of_the_nearest_rank(self):
        ordered = list(range(1, 101))
        self.assertEqual([report.quantile(ordered, share) for share in (0.5, 0.95, 0.99, 0.999, 1)], [50, 95, 99, 100, 100])
        self.assertEqual(report.quantile([7], 0.01), 7)

    def test_punctual_calls_have_the_latency_of_ghz(self):
        figures = found(steady(took=0.004))
        self.assertAlmostEqual(figures.latency(0.99), 4, places=2)
        self.assertAlmostEqual(figures.sent, 100, places=3)
        self.assertEqual((figures.late_p99, figures.errors, figures.statuses), (0, 0, {"OK": 1000}))

    def test_calls_in_any_order_are_assigned_to_the_schedule(self):
        calls = steady()
        calls["details"].reverse()
        self.assertLess(found(calls).latency(1), 2.01)

    def test_a_stalled_generator_does_not_hide_waiting_time(self):
        # Nothing is sent for a second, then all overdue calls at once.
        sent = [1 + max(at / 100, 4 if 3 <= at / 100 < 4 else 0) for at in range(1000)]
        figures = found(recorded(sent))
        self.assertAlmostEqual(figures.latency(1), 1002, places=1)
        self.assertAlmostEqual(figures.latency(0.95), 502, delta=15)
        self.assertGreater(figures.late_p99, 800)

    def test_warm_up_is_left_out(self):
        calls = steady()
        for detail in calls["details"][:200]:
            detail["latency"] = 1
        self.assertEqual(len(report.calls_of(calls, 100, 1000, warmup=2)), 800)
        with self.assertRaises(report.Inconclusive):
            report.calls_of(calls, 100, 1000, warmup=11)

    def test_a_report_without_calls_or_with_missing_calls_is_inconclusive(self):
        for calls in ({"count": 0, "details": None}, {**steady(), "count": 2_000_000}):
            with self.assertRaises(report.Inconclusive):
                report.calls_of(calls, 100, 1000)

    def test_merging_adds_up(self):
        parts = [found(steady(took=0.001)), found(steady(took=0.003)), found(steady(length=5, status="Unavailable"))]
        whole = report.merged(parts)
        self.assertEqual((whole.calls, whole.errors, whole.statuses), (2500, 500, {"OK": 2000, "Unavailable": 500}))
        self.assertAlmostEqual(whole.sent, 100, places=3)
        self.assertAlmostEqual(whole.latency(0.5), 1, places=2)
        self.assertAlmostEqual(whole.latency(0.99), 3, places=2)


class Verdict(unittest.TestCase):
    def test_met_and_missed(self):
        verdict, code = report.judge(found(steady(took=0.0032)), LIMITS)
        self.assertEqual((verdict, code), ("SLO met: p99 3.20 ms of at most 20 ms; errors 0 of 1,000 calls", 0))
        verdict, code = report.judge(found(steady(took=0.03)), LIMITS)
        self.assertEqual((verdict, code), ("SLO missed: p99 30.0 ms of at most 20 ms; errors 0 of 1,000 calls", 1))

    def test_any_status_but_ok_is_an_error(self):
        calls = steady()
        calls["details"][5]["status"] = "DeadlineExceeded"
        calls["details"][6]["status"] = ""
        figures = found(calls)
        self.assertEqual(figures.statuses, {"DeadlineExceeded": 1, "OK": 998, "Unknown": 1})
        verdict, code = report.judge(figures, LIMITS)
        self.assertEqual(code, 1)
        self.assertIn("errors 2 of 1,000 calls, 0.2 % of at most 0 %", verdict)
        self.assertEqual(report.judge(figures, LIMITS._replace(errors_percent=0.2))[1], 0)

    def test_a_call_that_ghz_did_not_record_is_an_error(self):
        figures = report.figures(report.calls_of(steady(), 100, 1002, warmup=2), 100)
        self.assertEqual((figures.calls, figures.errors, figures.statuses["NotRecorded"]), (802, 2, 2))

    def test_an_answer_without_a_decision_is_an_error(self):
        figures = found(steady(), undecided=3)
        self.assertEqual((figures.errors, report.judge(figures, LIMITS)[1]), (3, 1))
        self.assertIn("OK, but nothing decided", report.table(figures))

    def test_without_any_answer_the_slo_is_missed(self):
        figures = found(steady(status="Unavailable"))
        self.assertEqual(report.judge(figures, report.Limits(math.inf, 100))[1], 1)

    def test_a_rate_that_was_not_reached_is_inconclusive(self):
        sent = [1 + at / 94 for at in range(940)]
        with self.assertRaisesRegex(report.Inconclusive, "94.0 calls per second were sent of 100"):
            report.judge(found(recorded(sent)), LIMITS)

    def test_other_problems_count(self):
        verdict, code = report.judge(found(steady()), LIMITS, ["a swap failed: no"])
        self.assertEqual((verdict.rpartition("; ")[2], code), ("a swap failed: no", 1))


class Drift(unittest.TestCase):
    def test_a_steady_soak_has_no_drift(self):
        slices = [found(steady(took=0.002 + 0.0001 * (at % 2))) for at in range(8)]
        # A peak in between, or one at the very end, is not a leak.
        self.assertEqual(report.drift(slices, [100, 101, 180, 102, 101, 102, 103, 102, 170], 10, 1.5), [])
        self.assertEqual(report.drift(slices, [None] * 9, 10, 1.5), [])

    def test_latencies_and_memory_that_grow_are_named(self):
        slices = [found(steady(took=0.002 * (1 + at))) for at in range(8)]
        slower, larger = report.drift(slices, [100 + 4 * at for at in range(9)], 10, 1.5)
        self.assertIn("p99 of the last quarter 16.0 ms, more than 1.5 times that of the first, 4.00 ms", slower)
        self.assertEqual("memory grew by 28.0 % of at most 10 %", larger)


class Limits(unittest.TestCase):
    # Limits in every form that TOML has for them, and what stays.
    OFFERS = """
[[offer]]
id = "a"
cap_customer = { limit = 1, per = "day", count = "decision" }
value = 1.0
[offer.cap_total]
limit = 2
per = "day"

[offer.features]
fee = 1.0
[[offer]]
id = "b"
budget.amount = 3.0
"""
    POLICY = """
time_zone = "UTC"
[[ contact_limit ]]
id = "c"
[[suppression]]
id = "d"
[suppression.after]
times = 3
[[placement]]
id = "e"
"""

    def without(self, offers, policy):
        with tempfile.TemporaryDirectory() as directory:
            workspace, scratch = Path(directory) / "models", Path(directory) / "scratch"
            workspace.mkdir()
            scratch.mkdir()
            (workspace / "offers.toml").write_text(offers)
            (workspace / "policy.toml").write_text(policy)
            copy = server.unlimited(workspace, scratch)
            return [tomllib.loads((copy / name).read_text()) for name in ("offers.toml", "policy.toml")]

    def test_a_store_is_made_without_limits(self):
        offers, policy = self.without(self.OFFERS, self.POLICY)
        self.assertEqual(offers["offer"], [{"id": "a", "value": 1.0, "features": {"fee": 1.0}}, {"id": "b"}])
        self.assertEqual(policy, {"time_zone": "UTC", "placement": [{"id": "e"}]})

    def test_all_else_of_the_sample_stays(self):
        names = ("offers.toml", "policy.toml")
        offers, policy = self.without(*((MODELS / name).read_text() for name in names))
        wanted_offers, wanted_policy = (tomllib.loads((MODELS / name).read_text()) for name in names)
        limits = [key for offer in wanted_offers["offer"] for key in server.LIMITS["offers.toml"] if offer.pop(key, None)]
        self.assertGreaterEqual(len(limits), 3)
        self.assertTrue(all(wanted_policy.pop(key) for key in server.LIMITS["policy.toml"]))
        self.assertEqual((offers, policy), (wanted_offers, wanted_policy))

    def test_limits_that_cannot_be_left_out_are_named(self):
        with self.assertRaisesRegex(report.Inconclusive, "offers.toml: `budget` cannot be left out"):
            self.without('offer = [{ id = "a", budget = {} }]', self.POLICY)


class Requests(unittest.TestCase):
    SIZE = 3000

    @classmethod
    def setUpClass(cls):
        cls.workspace = corpus.Workspace(MODELS)
        cls.requests = {call: corpus.requests(cls.workspace, call, cls.SIZE) for call in corpus.CALLS}

    def test_requests_depend_only_on_the_seed(self):
        for call, requests in self.requests.items():
            self.assertEqual(requests, corpus.requests(corpus.Workspace(MODELS), call, self.SIZE))
            self.assertNotEqual(requests, corpus.requests(self.workspace, call, self.SIZE, seed=1))

    def test_no_two_are_equal(self):
        for requests in self.requests.values():
            self.assertEqual(len({json.dumps(request, sort_keys=True) for request in requests}), self.SIZE)

    def test_every_customer_placement_and_model_occurs(self):
        ranks = self.requests["rank"]
        self.assertEqual(len({request["customers"][0]["customerId"] for request in ranks}), 2000)
        self.assertEqual({request["placement"] for request in ranks}, set(self.workspace.placements))
        # Customers are not in the order of the file, nor twice in the same order.
        first, second = ([request["customers"][0]["customerId"] for request in part] for part in (ranks[:1000], ranks[2000:]))
        self.assertNotEqual(first, sorted(first))
        self.assertNotEqual(first, second)
        self.assertEqual({request["model"]["name"] for request in self.requests["score"]}, {"affinity", "network", "propensity"})

    def test_values_conform_to_the_schema(self):
        for request in self.requests["rank-features"] + self.requests["score"]:
            dense = request["features"]["dense"]
            for name, value in zip(dense["names"], dense["values"], strict=True):
                feature = self.workspace.features[name]
                low, high = feature.get("range", (0, 1))
                self.assertTrue(low <= value <= high, f"{name} = {value}")
                self.assertTrue(feature["type"] == "float" or value == int(value), f"{name} = {value}")

    def test_a_model_gets_the_features_that_it_requires(self):
        for request in self.requests["score"]:
            if request["model"]["name"] == "affinity":
                self.assertIn("age", request["features"]["dense"]["names"])
            self.assertEqual("offerIds" in request, request["model"]["name"] == "propensity")

    def test_a_file_starts_at_any_request_and_contains_all(self):
        requests = self.requests["rank"]
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "rank.json"
            corpus.write(path, requests, self.SIZE + 7)
            self.assertEqual(json.loads(path.read_text()), requests[7:] + requests[:7])


class Variants(unittest.TestCase):
    def found(self, after, done=1000, address=""):
        run = load.Load.__new__(load.Load)
        run.method, run.done, run.options = "proffer.v1.DecisionService/Rank", done, SimpleNamespace(ADDRESS=address)
        run.expected, run.before = {"order": ["a", "b"]}, {("order", "a"): 2.0}
        run.server = SimpleNamespace(variants=lambda: after)
        return run.variants()

    def test_the_sample_runs_an_experiment(self):
        self.assertEqual(corpus.Workspace(MODELS).variants, {"call_center_order": ["by_margin", "by_priority"]})

    def test_only_variants_that_are_drawn_are_expected(self):
        policy = """
            [[experiment]]
            id = "e"
            coverage = 0.5
            variant = [{ id = "a", weight = 1.0 }, { id = "b", weight = 0.0 }]
            [[experiment]]
            id = "f"
            coverage = 1.0
            state = "paused"
            variant = [{ id = "a", weight = 0.5 }, { id = "b", weight = 0.5 }]
            [[experiment]]
            id = "g"
            coverage = 0.0
            variant = [{ id = "a", weight = 0.5 }, { id = "b", weight = 0.5 }]
        """
        self.assertEqual(corpus.running(tomllib.loads(policy)), {"e": ["a"]})

    def test_customers_of_a_run_are_counted_by_variant(self):
        rows, missing = self.found({("order", "a"): 1002.0, ("order", "b"): 7.0, ("other", "a"): 1.0})
        self.assertEqual((rows, missing), ([("order=a", "1,000"), ("order=b", "7")], []))

    def test_a_variant_without_customers_is_named_after_enough_calls(self):
        after = {("order", "a"): 9.0}
        self.assertEqual(self.found(after)[1], ["no customer was in variant b of experiment order"])
        self.assertEqual(self.found(after, done=999)[1], [])
        self.assertEqual(self.found(after, address="127.0.0.1:1"), ([], []))

    def test_the_counts_are_read_from_the_metrics(self):
        name = "proffer_experiment_decisions_total"
        text = f'# TYPE {name} counter\n{name}{{experiment="e",variant="a"}} 12\n{name}{{experiment="e",variant="b"}} 3\n'
        one = server.Server.__new__(server.Server)
        one.admin = "127.0.0.1:1"
        with unittest.mock.patch.object(server, "page", lambda *_: text):
            self.assertEqual(one.variants(), {("e", "a"): 12.0, ("e", "b"): 3.0})
        with unittest.mock.patch.object(server, "page", lambda *_: None):
            self.assertEqual(one.variants(), {})


class Settings(unittest.TestCase):
    def rejected(self, mode, *words):
        with self.assertRaises(report.Inconclusive) as caught:
            load.settings(mode, words)
        return str(caught.exception)

    def test_defaults_depend_on_the_mode(self):
        options = load.settings("test", ["RPS=500", "P99_MS=20", "SECONDS="])
        self.assertEqual((options.RPS, options.P99_MS, options.SECONDS), (500, 20, 20))
        self.assertEqual((options.CALL, options.ADDRESS), ("rank", None))
        options = load.settings("soak", [])
        self.assertEqual((options.RPS, options.P99_MS, options.MINUTES), (200, math.inf, 10))

    def test_all_wrong_settings_are_named_at_once(self):
        message = self.rejected("test", "RPS=many", "P99_MS=0", "CALL=rnak", "ADDRESS=here", "SECONDS=nan", "LENGTH=3")
        for part in ("RPS=many must be a whole number", "P99_MS=0 must be a number", "CALL=rnak must be one of rank,",
                     "ADDRESS=here must be host:port", "SECONDS=nan must be", "'LENGTH=3' is no setting"):
            self.assertIn(part, message)
        self.assertIn("RPS is missing", self.rejected("test", "P99_MS=20"))
        self.assertIn("P99_MS is missing", self.rejected("swap", "RPS=20"))

    def test_a_run_that_is_too_short_or_too_long_is_rejected(self):
        self.assertIn("too few for a p99", self.rejected("test", "RPS=4", "P99_MS=20"))
        self.assertIn("make SECONDS smaller", self.rejected("test", "RPS=50000", "P99_MS=20"))
        self.assertIn("four slices", self.rejected("soak", "MINUTES=3"))
        self.assertIn("no swap", self.rejected("swap", "RPS=100", "P99_MS=20", "SECONDS=9"))


class Versions(unittest.TestCase):
    def test_a_marked_version_differs_only_by_a_note(self):
        with tempfile.TemporaryDirectory() as directory:
            marked = swaps.marked(MODELS / "propensity", Path(directory) / "propensity", 2)
            before, after = ((at / "model.onnx").read_bytes() for at in (MODELS / "propensity/1", marked))
            self.assertTrue(after.startswith(before))
            self.assertTrue(after.endswith(b"\x32\x0bload test 2"))
            manifest = (marked / "model.toml").read_text()
            self.assertNotIn("checksums", manifest)
            self.assertIn("[training]", manifest)


if __name__ == "__main__":
    unittest.main()
