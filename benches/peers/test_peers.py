"""Tests of the evaluation: `python3 -m unittest discover benches/peers`. They need no packages."""

import math
import os
import unittest

import report
import rules
import servers
from report import Report


class Ratios(unittest.TestCase):
    def test_a_ratio_is_the_median_of_the_rounds_not_the_ratio_of_medians(self):
        table = Report()
        base = table.row("work", "base")
        fast = table.row("work", "fast", base)
        # The machine is twice as slow in the second round, and ten times in the third, for both.
        base.p50, fast.p50 = [100, 200, 1000], [10, 20, 125]
        self.assertEqual(fast.ratio(), 10)
        self.assertEqual(base.ratio(), 1)

    def test_ratios_of_rates_and_times_are_inverse(self):
        table = Report()
        base = table.row("work", "base")
        fast = table.row("work", "fast", base)
        base.rate, fast.rate = [100], [850]
        base.p50, fast.p50 = [1], [1]
        self.assertEqual(fast.ratio(), 8.5)

    def test_a_missing_engine_is_named_and_has_no_ratio(self):
        table = Report()
        base = table.row("work", "base")
        base.p50 = [1]
        gone = table.row("work", "lleaves", base, "it has no version for this Python")
        self.assertIsNone(gone.ratio())
        self.assertIn("| lleaves: not available, it has no version for this Python |", table.table())

    def test_a_missed_goal_is_reported_but_is_no_failure(self):
        table = Report()
        table.goal("rate", 7.99, 8)
        table.goal("rate", 8, 8)
        table.goal("rate", None, 8)
        table.goal("time", 41, most=40)
        table.goal("time", 40, most=40)
        results = [line.split("goal ")[1] for line in table.goals]
        least, most = "at least 8.00", "at most 40.0"
        self.assertEqual(results, [f"{least}, MISSED)", f"{least}, met)", f"{least})", f"{most}, MISSED)", f"{most}, met)"])
        self.assertEqual(table.failures, [])

    def test_all_lines_of_the_table_have_the_same_number_of_cells(self):
        table = Report()
        base = table.row("work", "base")
        base.p50, base.rate = [1234.5], [0.5]
        table.row("work", "gone", base, "why")
        lines = table.table().splitlines()
        self.assertEqual({line.count("|") for line in lines}, {len(report.HEADER) + 1})
        self.assertIn("| 1,234 |", lines[2])


class Answers(unittest.TestCase):
    def test_nan_or_missing_scores_have_an_infinite_difference(self):
        self.assertAlmostEqual(report.difference([0.5, 0.25], [0.5, 0.125]), 0.125)
        self.assertEqual(report.difference([0.5], [0.5, 0.5]), math.inf)
        self.assertEqual(report.difference([0.5, math.nan], [0.5, 0.5]), math.inf)

    def test_a_ranking_is_correct_up_to_ties(self):
        scores, value = [0.5, 0.25, 0.5, 0.1], [10, 10, 10, 10]
        wanted = rules.expected(scores, value, {}, [], 3)
        self.assertEqual([offer for _, offer, _ in wanted], [0, 2, 1])
        offer_of = {str(at): at for at in range(4)}.get

        def right(*offers):
            return report.ranking_is_right(list(offers), wanted, scores, offer_of)

        first, second, third = ["0", 5.0, 0.5], ["2", 5.0, None], ["1", 2.5, 0.25]
        self.assertTrue(right(first, second, third))
        self.assertTrue(right(second, first, third))
        self.assertFalse(right(first, second))
        for wrong in (first, ["3", 2.5, 0.25], ["9", 2.5, None], ["1", 2.4, None]):
            self.assertFalse(right(first, second, wrong), wrong)

    def test_the_text_and_the_evaluation_of_rules_agree(self):
        rule = rules.Rule([(0, "<=", 2.0), (1, ">=", 0.5)])
        self.assertEqual(rule.text(["a", "b"]), "customer.a <= 2.0 && customer.b >= 0.5")
        self.assertTrue(rule.holds([2.0, 0.5]))
        self.assertFalse(rule.holds([2.5, 0.5]))
        self.assertFalse(rule.holds([2.0, 0.25]))
        ranked = rules.expected([0.9, 0.1], [1, 1], {0: rule}, [3.0, 1.0], 5)
        self.assertEqual(ranked, [(0.1, 1, 0.1)])


@unittest.skipUnless(os.path.isdir("/proc/self"), "needs /proc")
class Processes(unittest.TestCase):
    def test_children_are_found_below_their_parent(self):
        import subprocess

        with subprocess.Popen(["sleep", "30"]) as child:
            self.assertIn(child.pid, servers.descendants(os.getpid()))
            self.assertTrue(servers.is_running(child.pid))
            child.kill()
        self.assertFalse(servers.is_running(child.pid))

    def test_free_ports_differ(self):
        self.assertEqual(len(set(servers.free_ports(5))), 5)


if __name__ == "__main__":
    unittest.main()
