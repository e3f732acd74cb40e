"""The engines without a server, on one thread: Python's libraries in this process, those of Rust in child processes, by
turns.

Start reading at `measure`.
"""

import importlib
import statistics
import time

import numpy as np

import workspace
from report import TOLERANCE, difference
from servers import Child

CUSTOMERS, CHECKED = 256, 16
# The goals: speed relative to ONNX Runtime for the same rows, and the overhead of a decision in addition to the model,
# in µs.
RATIO_OF_PAIRS, RATIO_OF_ROWS, OVERHEAD_MICROS = 20, 5, 40
# The length of a turn, in seconds.
TURN = 0.25


class Engines:
    """`python` has the scoring functions for a block of rows by name; for unavailable engines, `missing` has the
    reason."""

    def __init__(self, made, program, library):
        pairs = [made.pairs(customer) for customer in range(CUSTOMERS)]
        mixed = np.split(made.mixed, workspace.MIXED_CALLS)
        self.blocks = {"pairs": list(map(np.ascontiguousarray, pairs)), "mixed": list(map(np.ascontiguousarray, mixed))}
        self.python, self.missing = {}, {}
        for name, load in (("onnxruntime", load_onnxruntime), ("lightgbm", load_lightgbm), ("lleaves", load_lleaves)):
            try:
                self.python[name] = load(made.folder)
            except ImportError as error:
                self.missing[name] = str(error)
        self.reference = self.python["onnxruntime"]
        command = [program, "in-process", made.folder, "--bench"]
        self.rust = Child("in-process", command, made.folder, ORT_DYLIB_PATH=str(library))
        self.samples = self.rust.line()
        command = [program, "decide", made.folder, "--bench"]
        self.decisions = Child("decide", command, made.folder, ORT_DYLIB_PATH=str(library))
        self.decided = self.decisions.line()

    def turn(self, engine, rows):
        """The median time of a call, in µs."""
        if engine == "decision":
            return self.decisions.ask([engine, rows, TURN])["micros"]
        if engine.startswith("rust "):
            return self.rust.ask([engine.removeprefix("rust "), rows, TURN])["micros"]
        score, blocks, times = self.python[engine], self.blocks[rows], []
        until = time.perf_counter() + TURN
        while not times or time.perf_counter() < until:
            block = blocks[len(times) % len(blocks)]
            asked = time.perf_counter()
            score(block)
            times.append(time.perf_counter() - asked)
        return 1e6 * statistics.median(times)

    def check(self, engine, rows):
        """The largest difference from ONNX Runtime in Python."""
        if engine.startswith("rust "):
            found = self.samples[f"{engine.removeprefix('rust ')} {rows}"]
        else:
            found = [self.python[engine](block) for block in self.blocks[rows][:CHECKED]]
        return max(difference(scores, self.reference(block)) for scores, block in zip(found, self.blocks[rows]))


def load_onnxruntime(folder):
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = folder / "workspace" / "trees" / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda rows: session.run(["probabilities"], {"features": rows})[0][:, 1]


def load_lightgbm(folder):
    lightgbm = importlib.import_module("lightgbm")
    booster = lightgbm.Booster(model_file=folder / "model.txt")
    return lambda rows: booster.predict(rows, num_threads=1)


def load_lleaves(folder):
    lleaves = importlib.import_module("lleaves")
    model = lleaves.Model(model_file=str(folder / "model.txt"))
    model.compile()
    return lambda rows: model.predict(rows, n_jobs=1)


NAMES = {
    "onnxruntime": "ONNX Runtime in Python", "lightgbm": "LightGBM `Booster.predict`", "lleaves": "lleaves",
    "rust ort": "ONNX Runtime in Rust (ort)", "rust plain": "Proffer, row by row", "rust factorised": "Proffer, factorised",
}  # fmt: skip


def measure(made, program, library, report, rounds):
    """Adds the results for both sizes to the report."""
    engines = Engines(made, program, library)
    try:
        for rows, work, chosen in (
            ("pairs", "100 offers of a customer, in process", list(NAMES)),
            ("mixed", "1,000 mixed rows, in process", [name for name in NAMES if name != "rust factorised"]),
        ):
            lines, base = {}, None
            for engine in chosen:
                line = report.row(work, NAMES[engine], base, engines.missing.get(engine, ""))
                base = base or line
                if not line.missing:
                    lines[engine] = line
                    off = engines.check(engine, rows)
                    if off > TOLERANCE:
                        report.failures.append(f"{NAMES[engine]}, {work}: scores are off by {off:.2g}")
            if rows == "pairs":
                line = report.row("1 customer × 100 offers, 40 rules, in process", "Proffer, the whole decision")
                line.base, lines["decision"] = None, line
                check_decisions(engines, made, report)
            for _ in range(rounds):
                for engine, line in lines.items():
                    line.p50.append(engines.turn(engine, rows))
            add_goals(report, lines)
    finally:
        engines.rust.stop()
        engines.decisions.stop()


def check_decisions(engines, made, report):
    for customer, offers in enumerate(engines.decided):
        if not made.is_ranked(customer, offers, engines.reference(made.pairs(customer))):
            report.failures.append(f"the decision in process of customer {customer} is wrong: {offers}")


def add_goals(report, lines):
    """Compares with ONNX Runtime in Rust, as a server would use it. The overhead of a decision is the difference within
    a round."""
    ort = lines["rust ort"]
    if "decision" not in lines:
        report.goal("1,000 mixed rows against ONNX Runtime", lines["rust plain"].ratio(ort), RATIO_OF_ROWS)
        return
    factorised, whole = lines["rust factorised"], lines["decision"]
    report.goal("100 offers of a customer against ONNX Runtime", factorised.ratio(ort), RATIO_OF_PAIRS)
    overhead = statistics.median(decision - model for decision, model in zip(whole.p50, factorised.p50))
    report.goal("overhead of a decision in addition to the model, in µs", overhead, most=OVERHEAD_MICROS)
