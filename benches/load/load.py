"""Load tests: a rate of varied calls against a server, and whether it keeps its objectives (SLO).

    make load-test RPS=500 P99_MS=20        a rate for a while: are p99 and errors within their limits?
    make soak MINUTES=30 RPS=200            the same for long, in slices: do memory or latencies grow?
    make load-swap RPS=300 P99_MS=50        the same while releases are made and promoted: does a caller notice?

or, without make, `python3 benches/load/load.py test RPS=500 P99_MS=20`, `soak` and `swap`; `corpus CALL=score` only
writes the requests. Settings are words NAME=VALUE; `load.py help` lists them. Exit codes: 0 met, 1 missed, 2 cannot be judged: a
setting is wrong, ghz or the server is missing, the generator did not reach 95 % of the rate. (make itself says `Error 1`
or `Error 2`, and always exits with 2.)

Without ADDRESS a server of its own, on a store of the workspace MODELS, is started on free ports and stopped at the end,
whatever happens. Calls come from ghz (`--async`, so that a slow server does not slow their arrival), with the requests of
corpus.py; it learns the types from the server by reflection. Latencies count from the moment when a call was due (report.py).
Where ghz runs on the server's machine it takes about as much of it as the server does; the last line of the table says
how much each had, and a rate close to the limit says as much about ghz as about the server.

Start reading at `main`.
"""

import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

sys.dont_write_bytecode = True

import corpus
import report
from report import NotJudged
from server import Server
from swaps import Swaps

CHECKOUT = Path(__file__).resolve().parents[2]
VAR = CHECKOUT / "var/load"
# ghz keeps the details of a million calls, no more.
MOST_CALLS = 1_000_000
# Below this a p99 is the maximum.
LEAST_CALLS = 100
# What ghz may need beside the run itself, in seconds: to read the requests, to write the report.
PATIENCE = 30


def number(low, high, whole=False):
    """Reads a number within limits."""
    def read(text):
        try:
            found = int(text) if whole else float(text)
        except ValueError:
            found = math.nan
        if not low <= found <= high:
            raise ValueError(f"a {'whole ' if whole else ''}number, {low:g} to {high:g}")
        return found
    return read


def address(text):
    """Reads host:port."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("host:port, such as 127.0.0.1:50051")
    return text


def call(text):
    """Reads the name of a kind of call."""
    if text not in corpus.CALLS:
        raise ValueError(f"one of {', '.join(corpus.CALLS)}")
    return text


# Name, how it is read, default by mode (one for all; None: it must be given), meaning.
SETTINGS = {
    "RPS": (number(1, 100_000, whole=True), {"soak": "200"}, "calls per second"),
    "P99_MS": (number(0.001, 60_000), {"soak": "inf"}, "the 99th percentile may be this long, in ms; a soak need not have one"),
    "SECONDS": (number(1, 3600), "20", "how long is measured (test, swap)"),
    "WARMUP": (number(0, 600), {"test": "5", "swap": "5", "soak": "30"}, "seconds at the rate before that, not measured"),
    "CALL": (call, "rank", "what is called: " + ", ".join(corpus.CALLS)),
    "ADDRESS": (address, "", "a server that runs already, host:port; without it one is started"),
    "ADMIN": (address, "", "its admin address, for its memory and its count of decisions"),
    "MODELS": (Path, str(CHECKOUT / "models"), "the workspace of the requests, and of the server that is started"),
    "ERRORS_PERCENT": (number(0, 100), "0", "the share of calls that may fail"),
    "DEADLINE_MS": (number(1, 60_000, whole=True), "2000", "the deadline of each call"),
    "CONNECTIONS": (number(1, 1000, whole=True), "8", "connections over which the calls are spread"),
    "MINUTES": (number(0.1, 1440), "10", "how long a soak takes"),
    "SLICE": (number(1, 3600), "60", "seconds of each slice of a soak; at least four slices"),
    "GROWTH_PERCENT": (number(0, 10_000), "10", "how much memory may grow in a soak after the warm-up"),
    "P99_FACTOR": (number(1, 1000), "1.5", "how much longer the p99 of a soak's last quarter may be than that of its first"),
    "EVERY": (number(0.1, 3600), "5", "seconds between two swaps"),
    "PROFFER": (Path, str(CHECKOUT / "target/release/proffer"), "the binary"),
    "GHZ": (Path, "", "ghz; default: what `make ghz` has installed"),
}


def settings(mode, words):
    """The settings of a run out of words NAME=VALUE; every wrong one is named."""
    given, wrong, found = {}, [], {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in SETTINGS:
            wrong.append(f"{word!r} is no setting; there are {', '.join(SETTINGS)}, each as NAME=VALUE")
        given[name] = text.strip()
    for name, (read, default, meaning) in SETTINGS.items():
        default = default.get(mode) if isinstance(default, dict) else default
        text = given.get(name) or default
        if text is None and mode != "corpus":
            wrong.append(f"{name} is missing: {meaning}, for instance {name}={'500' if name == 'RPS' else '20'}")
        elif text in (None, "") or (text == default == "inf"):
            found[name] = math.inf if text == "inf" else None
        else:
            try:
                found[name] = read(text)
            except ValueError as error:
                wrong.append(f"{name}={text} must be {error}")
    if not wrong and mode != "corpus":
        wrong = too_long(mode, found)
    if wrong:
        raise NotJudged("\n  ".join(["these settings are wrong:", *wrong]))
    return SimpleNamespace(**found)


def too_long(mode, found):
    """What is wrong with the length of a run."""
    name, warmup = ("SLICE", 0) if mode == "soak" else ("SECONDS", found["WARMUP"])
    if found["RPS"] * (found[name] + warmup) > MOST_CALLS:
        return [f"RPS × {name} is more than {MOST_CALLS:,} calls, which ghz does not keep: make {name} smaller"]
    if found["RPS"] * found[name] < LEAST_CALLS:
        return [f"RPS × {name} is less than {LEAST_CALLS} calls, too few for a p99: make {name} larger"]
    if mode == "soak" and 60 * found["MINUTES"] < 4 * found["SLICE"]:
        return ["MINUTES is less than four slices of SLICE seconds, too few to compare the last quarter with the first"]
    if mode == "swap" and found["SECONDS"] < 2 * found["EVERY"]:
        return ["SECONDS is less than two times EVERY: no swap would fall into the run"]
    return []


# --- The load -----------------------------------------------------------------------------------------------------


class Load:
    """A rate of calls against a server, and what the machine did meanwhile."""

    def __init__(self, options, server):
        self.options, self.server = options, server
        self.method = corpus.CALLS[options.CALL][0]
        self.requests, self.done = corpus.requests(corpus.Workspace(options.MODELS), options.CALL), 0
        self.data = VAR / f"{options.CALL}.json"

    def run(self, length, warmup=0.0):
        """The calls of `length` seconds after `warmup` seconds. Goes on among the requests where the last run ended."""
        options, result = self.options, VAR / "ghz.json"
        count = round(options.RPS * (length + warmup))
        corpus.write(self.data, self.requests, self.done)
        self.done += count
        result.unlink(missing_ok=True)
        before, decisions = machine(self.server), self.server.metric("proffer_decisions_total")
        # As many as are due, not a duration: that would break off those that are under way when it ends.
        command = [options.GHZ, "--insecure", "--async", "--call", self.method, "--data-file", self.data,
                   "--disable-template-data", "--disable-template-functions", "--rps", options.RPS, "--total", count,
                   "--concurrency", options.CONNECTIONS, "--connections", options.CONNECTIONS,
                   "--timeout", f"{options.DEADLINE_MS}ms", "--connect-timeout", "5s",
                   "--format", "json", "--output", result, self.server.grpc]
        ghz = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            # A generator that needs twice the time has not kept the rate.
            _, said = ghz.communicate(timeout=2 * (length + warmup) + options.DEADLINE_MS / 1000 + PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise NotJudged("ghz did not end in twice the time: the generator could not keep up") from error
        finally:
            if ghz.poll() is None:
                ghz.kill()
                ghz.wait()
        if not result.is_file() or not result.stat().st_size:
            raise NotJudged(f"ghz failed: {said.strip() or f'exit code {ghz.returncode}'}")
        self.busy = shares(before, machine(self.server))
        found = json.loads(result.read_text())
        answered = (found.get("statusCodeDistribution") or {}).get("OK", 0)
        self.undecided = self.without_decision(decisions, answered)
        return report.calls_of(found, options.RPS, count, warmup)

    def without_decision(self, before, answered):
        """How many Ranks were answered OK but decided nothing for their customer; 0 where the server's count is unknown."""
        after = self.server.metric("proffer_decisions_total")
        if self.method.endswith("/Score") or before is None or after is None:
            return 0
        return max(0, answered - round(after - before))


def machine(server):
    """CPU seconds of all cores, and of the server, ghz and the rest of the kit, so far; None where nobody says."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(field) for field in fields]
    own = os.times()
    ours = own.user + own.system + own.children_user + own.children_system
    return time.monotonic(), (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), server.cpu(), ours


def shares(before, after):
    """Who had how much of the machine, as text."""
    if before is None or after is None or before[2] is None or after[2] is None:
        return "unknown"
    whole = (after[0] - before[0]) * os.cpu_count()
    busy, server, ghz = (100 * (late - early) / whole for early, late in zip(before[1:], after[1:]))
    return f"{os.cpu_count()} cores: server {server:.0f} %, ghz {ghz:.0f} %, other programs {max(0, busy - server - ghz):.0f} %"


# --- The modes ----------------------------------------------------------------------------------------------------


def test(options, server):
    """A rate for a while."""
    load = Load(options, server)
    announce(options, server, f"{options.SECONDS:g} s after {options.WARMUP:g} s of warm-up")
    calls = load.run(options.SECONDS, options.WARMUP)
    found = report.figures(calls, options.RPS, load.undecided)
    return concluded(options, found, [("cores", load.busy)], server.trouble())


def soak(options, server):
    """The rate for long, in slices."""
    load, count = Load(options, server), int(60 * options.MINUTES / options.SLICE)
    announce(options, server, f"{count} slices of {options.SLICE:g} s after {options.WARMUP:g} s of warm-up")
    if options.WARMUP:
        load.run(options.WARMUP)
    memory, slices = [server.memory()], []
    print(f"  {'minute':>6}{'sent/s':>9}" + "".join(f"{name + ' ms':>10}" for name in report.QUANTILES)
          + f"{'errors':>8}{'memory':>11}{'files':>7}")
    for turn in range(1, count + 1):
        slices.append(report.figures(load.run(options.SLICE), options.RPS, load.undecided))
        memory.append(server.memory())
        found, files = slices[-1], server.files()
        print(f"  {turn * options.SLICE / 60:>6.2f}{found.sent:>9.1f}"
              + "".join(f"{found.latency(share):>10.2f}" for share in report.QUANTILES.values())
              + f"{found.errors:>8,}{megabytes(memory[-1]):>11}{files if files is not None else '?':>7}", flush=True)
    more = [("memory warmed up, at the end", f"{megabytes(memory[0])}, {megabytes(memory[-1])}"), ("cores", load.busy)]
    if None in memory:
        print("  the memory of the server is unknown, so nothing is said of it (ADMIN=host:port tells)")
    grown = report.drift(slices, memory, options.GROWTH_PERCENT, options.P99_FACTOR)
    return concluded(options, report.merged(slices), more, [*server.trouble(), *grown])


def swap(options, server):
    """The rate while releases are made and promoted."""
    load, swaps = Load(options, server), Swaps(options, server.grpc)
    swaps.prepare()
    announce(options, server, f"{options.SECONDS:g} s after {options.WARMUP:g} s of warm-up, a swap every {options.EVERY:g} s")
    try:
        swaps.start()
        calls = load.run(options.SECONDS, options.WARMUP)
    finally:
        swaps.finish()
    found = report.figures(calls, options.RPS, load.undecided)
    # A swap that was waited for at the end came after the load.
    swaps.made = [span for span in swaps.made if span[0] <= calls[-1].due]
    during, rest = swaps.apart(calls)
    took = sorted(1000 * (end - begin) for begin, end in swaps.made)
    more = [("swaps", f"{len(swaps.made)}"), ("swaps that failed", f"{len(swaps.failed)}")]
    if took:
        more.append(("promotion p50, longest", f"{report.quantile(took, 0.5):.0f} ms, {took[-1]:.0f} ms"))
    more += [(f"latency p99 {name}", report.milliseconds(report.figures(part, options.RPS).latency(0.99)))
             for name, part in (("around a swap", during), ("otherwise", rest)) if part]
    if not swaps.made and not swaps.failed:
        raise NotJudged("no swap fell into the run")
    trouble = server.trouble() + [f"a swap failed: {why}" for why in swaps.failed[:1]]
    return concluded(options, found, [*more, ("cores", load.busy)], trouble)


def concluded(options, found, more, other):
    """Prints the figures and the verdict; returns the exit code."""
    print(report.table(found, more))
    verdict, code = report.judge(found, report.Limits(options.P99_MS, options.ERRORS_PERCENT), other)
    if code == 1 and found.late_p99 > options.P99_MS / 4:
        print("ghz itself was late: cores were short, and this says as much about the machine as about the server")
    print(verdict)
    return code


def announce(options, server, how):
    """Says what is going to be done."""
    whose = "" if options.ADDRESS else "a server of its own, "
    print(f"{options.CALL} at {options.RPS} calls per second, {options.CONNECTIONS} connections, {how}; {whose}{server.grpc}",
          flush=True)


def megabytes(value):
    """Bytes as text."""
    return "?" if value is None else f"{value / 1e6:.1f} MB"


MODES = {"test": test, "soak": soak, "swap": swap}


def main():
    mode, *words = sys.argv[1:] or ["help"]
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.default_int_handler)
    try:
        if mode == "corpus":
            return write_corpus(settings(mode, words))
        if mode in MODES:
            return run(MODES[mode], settings(mode, words))
    except (NotJudged, OSError) as error:
        print(f"load: cannot be judged: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("load: cannot be judged: interrupted", file=sys.stderr)
        return 2
    if mode != "help":
        print(f"load: there is no {mode!r}, only {', '.join(MODES)}, corpus and help", file=sys.stderr)
        return 2
    print(__doc__ + "\nSettings:\n" + "\n".join(f"  {name:<16}{meaning}" for name, (_, _, meaning) in SETTINGS.items()))
    return 0


def run(mode, options):
    """Runs a mode against a server, which is stopped whatever happens."""
    options.GHZ = options.GHZ or max((CHECKOUT / "var/ghz").glob("ghz-*"), default=None)
    if not options.GHZ or not options.GHZ.is_file():
        where = f"GHZ={options.GHZ} is not there" if options.GHZ else "ghz is not installed"
        raise NotJudged(f"{where}: `make ghz` installs it, with Go")
    if not options.PROFFER.is_file() and (mode is swap or not options.ADDRESS):
        raise NotJudged(f"PROFFER={options.PROFFER} is not there: `make build` builds it")
    VAR.mkdir(parents=True, exist_ok=True)
    with (VAR / "lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="proffer-load-") as scratch:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NotJudged("another load test runs, and each would disturb the other") from error
        server = Server(options, Path(scratch), VAR / "server.log")
        try:
            return mode(options, server)
        finally:
            server.stop()


def write_corpus(options):
    """Writes the requests of a kind of call, to be looked at or used otherwise."""
    path = VAR / f"{options.CALL}.json"
    found = corpus.requests(corpus.Workspace(options.MODELS), options.CALL)
    corpus.write(path, found)
    print(f"{path}: {len(found):,} requests for {corpus.CALLS[options.CALL][0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
