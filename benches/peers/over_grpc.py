"""The servers, called by one client in closed loops, by turns.

Start reading at `measure`.
"""

import importlib.util
import json
import subprocess

import onnxruntime

import servers
import workspace
from report import TOLERANCE, difference

# The goals, relative to the bare server and to the one that does nothing.
RATIO_OF_RANK, RATIO_OF_SCORE, PAIRS_PER_SECOND = 8, 0.85, 1.5e6


class Clients:
    """Runs the client against a server, and checks the answers."""

    def __init__(self, made, program, report):
        self.made, self.program, self.report = made, program, report
        self.trees, self.logistic = (self.session(name) for name in ("trees", "logistic"))

    def session(self, name):
        model = self.made.folder / "workspace" / name / "1" / "model.onnx"
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        input_name = session.get_inputs()[0].name
        return lambda rows: session.run(["probabilities"], {input_name: rows})[0][:, 1]

    def run(self, case, server, **more):
        """One run of the client; a wrong answer is a failure."""
        options = [f"--{name}={value}" for name, value in more.items()]
        pids = ",".join(map(str, server.pids()))
        command = [self.program, "client", case, server.address, str(self.made.folder), f"--pids={pids}", *options, "--bench"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise servers.BenchError(f"the client of {case} failed:\n{done.stderr.strip()[-2000:]}\n{server.end_of_log()}")
        result = json.loads(done.stdout)
        wrong = [sample["request"] for sample in result["samples"] if not self.is_right(case, sample)]
        if wrong:
            self.report.failures.append(f"{case}: wrong answers to the requests {wrong[:5]}")
        return result

    def is_right(self, case, sample):
        request, answer = sample["request"], sample["answer"]
        if case in ("bare", "mlserver", "infer"):
            return difference(answer, self.trees(self.made.pairs(request))) <= TOLERANCE
        if case == "score":
            row = self.made.pairs(request)[request % workspace.OFFERS]
            return difference(answer, self.logistic(row[None, :])) <= TOLERANCE
        if case == "echo":
            return difference(answer, [self.made.customers[request][0]]) == 0
        # A message of `rank` has one customer, a message of the campaign many.
        return len(answer) > 0 and all(self.is_ranked(request * len(answer) + at, one) for at, one in enumerate(answer))

    def is_ranked(self, customer, offers):
        scores = self.trees(self.made.pairs(customer))
        return self.made.is_ranked(customer, offers, scores)


def measure(made, programs, library, report, rounds, seconds):
    """Starts all servers, adds the results of all calls to the report, and stops the servers."""
    running, here = {}, {"ORT_DYLIB_PATH": str(library)}
    try:
        running["proffer"] = servers.proffer(programs["proffer"], made.folder / "workspace", made.folder, **here)
        running["bare"] = servers.plain(programs["peers"], ["bare", made.folder], made.folder, **here)
        running["echo"] = servers.plain(programs["peers"], ["echo"], made.folder, **here)
        missing = "" if importlib.util.find_spec("mlserver_lightgbm") else "it has no version for this Python"
        if not missing:
            running["mlserver"] = servers.mlserver(made.folder)
        clients = Clients(made, programs["peers"], report)
        hundred(clients, running, rounds, seconds, missing)
        score(clients, running, rounds, seconds)
        campaign(clients, running["proffer"], rounds, seconds)
    finally:
        for server in running.values():
            server.stop()


def hundred(clients, running, rounds, seconds, missing):
    """100 rows, and one customer with 100 offers, over 16 connections."""
    report, work = clients.report, "100 rows over gRPC, 16 connections"
    base = report.row(work, "tonic + ort, 2 threads")
    workers = f"MLServer, {servers.MLSERVER_WORKERS} parallel workers"
    report.row(work, workers, base, missing)
    report.row(work, "Proffer `ModelInfer`", base)
    rank = report.row("1 customer × 100 offers, 40 rules, 16 connections", "Proffer `Rank`", base)
    cases = dict(zip(("bare", "mlserver", "infer", "rank"), report.rows[-4:]))
    in_turn(clients, running, {case: row for case, row in cases.items() if not row.missing}, rounds, seconds)
    report.goal("`Rank` against tonic + ort, calls per second", rank.ratio(), RATIO_OF_RANK)


def score(clients, running, rounds, seconds):
    """One row of a regression, and the same message without any work."""
    report = clients.report
    sizes = {sample["bytes"] for case in ("score", "echo") for sample in check(clients, running, case)["samples"]}
    if len(sizes) != 1:
        report.failures.append(f"the echo and the answer differ in size: {sorted(sizes)} bytes")
    for connections in (16, 1):
        work = f"`Score` of 1 row, regression, {connections} connection{'s' if connections > 1 else ''}"
        base = report.row(work, "tonic, does nothing")
        row = report.row(work, "Proffer `Score`", base)
        in_turn(clients, running, {"echo": base, "score": row}, rounds, seconds, connections)
        if connections > 1:
            report.goal("`Score` of one row against doing nothing, calls per second", row.ratio(), RATIO_OF_SCORE)


def campaign(clients, server, rounds, seconds):
    """All customers with all offers through one stream; the rate is per second of the server's CPU time."""
    made, report = clients.made, clients.report
    row = report.row(f"campaign, {len(made.customers):,} × {workspace.OFFERS} by `RankStream`, pairs per CPU second", "Proffer")
    for _ in range(rounds):
        result = clients.run("campaign", server, seconds=seconds)
        # Every message has as many customers as the first.
        customers = result["calls"] * len(result["samples"][0]["answer"])
        row.rate.append(customers * workspace.OFFERS / result["cpu_seconds"])
    row.base = None
    report.goal("campaign, pairs per second of the server's CPU time", sorted(row.rate)[len(row.rate) // 2], PAIRS_PER_SECOND)


def in_turn(clients, running, cases, rounds, seconds, connections=16):
    """A turn of each case per round, after checking its answers."""
    for case in cases:
        check(clients, running, case)
    for turn in range(rounds):
        for case, row in cases.items():
            # Each turn starts at a different request.
            result = clients.run(case, server_of(running, case), seconds=seconds, connections=connections, first=617 * turn)
            calls = max(result["calls"], 1)
            row.p50.append(result["p50"])
            row.p99.append(result["p99"])
            row.rate.append(result["calls"] / result["seconds"])
            row.cpu.append(1e6 * result["cpu_seconds"] / calls)


def check(clients, running, case):
    return clients.run(case, server_of(running, case))


def server_of(running, case):
    return running.get(case, running["proffer"])
