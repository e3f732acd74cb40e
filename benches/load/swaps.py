"""Releases that are created and promoted while a load runs.

A swap must load something to be meaningful, but a new release shares the models that already serve or are kept warm. So
every model of the workspace is pushed as several further versions before the load begins. They compute the same, but
their bytes differ by a note, and the swaps use them in turn.

Start reading at `Swaps`.
"""

import json
import re
import shutil
import tempfile
import threading
import time
from pathlib import Path

import corpus
from report import Inconclusive
from server import command_line

# With one serving release and one warm one, the third is never in memory.
SETS = 3
# The time after a swap that still belongs to it, in seconds: an older release is retired.
AFTERWARDS = 0.5
NOTE = "load test"


class Swaps:
    """Swaps one after another on a thread, through `proffer` as a pipeline does."""

    def __init__(self, options, address):
        self.options, self.address = options, address
        self.made, self.failed, self.sets = [], [], []
        self.stop, self.thread = threading.Event(), threading.Thread(target=self.rotate, daemon=True)
        self.before = None

    def ask(self, *words):
        """Runs `proffer` and parses its JSON."""
        return json.loads(command_line(self.options, *words, "--json", "--server", self.address))

    def prepare(self):
        """Pushes the versions for the swaps; each must pass its gates."""
        for number in range(1, SETS + 1):
            pinned = {}
            with tempfile.TemporaryDirectory(prefix="proffer-load-") as scratch:
                for model in sorted({path.parent.parent for path in self.options.MODELS.glob("*/*/model.toml")}):
                    directory = marked(model, Path(scratch) / model.name, number)
                    pinned[model.name] = self.ask("model", "push", model.name, directory)["version"]
            self.sets.append(pinned)

    def start(self):
        """Starts the thread; the first swap comes after the warm-up."""
        self.thread.start()

    def rotate(self):
        """Creates and promotes a release every EVERY seconds, until `finish`."""
        wait, turn = self.options.WARMUP + self.options.EVERY, 0
        while not self.stop.wait(wait):
            began = time.time()
            try:
                self.once(self.sets[turn % SETS])
            except (Inconclusive, ValueError, KeyError) as error:
                self.failed.append(str(error))
            turn += 1
            wait = max(0, began + self.options.EVERY - time.time())

    def once(self, pinned):
        """Performs one swap."""
        words = [word for name, version in pinned.items() for word in ("--model", f"{name}={version}")]
        release = self.ask("release", "create", *words, "--note", NOTE)["number"]
        began = time.time()
        current = self.ask("release", "promote", release, "--reason", NOTE)["current"]
        self.before = self.before or current["previous"]
        self.made.append((began, time.time()))

    def finish(self):
        """Stops; an existing server goes back to the release that it served before."""
        self.stop.set()
        if self.thread.ident:
            self.thread.join()
        if self.options.ADDRESS and self.before:
            self.ask("release", "promote", self.before, "--reason", f"{NOTE}: back to what served before")

    def split(self, calls):
        """The calls that were in flight around a swap, and the others."""
        spans, parts = [(begin, end + AFTERWARDS) for begin, end in self.made], ([], [])
        for call in calls:
            parts[not any(call.due <= end and begin <= call.due + call.latency for begin, end in spans)].append(call)
        return parts


def marked(model, target, number):
    """Copies the pinned version of a model, with different bytes in every artefact; returns its directory."""
    shutil.copytree(corpus.pinned(model), target)
    for path in target.rglob("*"):
        if path.suffix == ".onnx":
            # Repeats the field `doc_string` of a ModelProto: if a field occurs twice, the last one counts.
            note = f"{NOTE} {number}".encode()
            path.write_bytes(path.read_bytes() + bytes([0x32, len(note)]) + note)
        elif path.suffix == ".json":
            path.write_bytes(path.read_bytes() + b"\n" * number)
    manifest = target / "model.toml"
    manifest.write_text(re.sub(r"^\[checksums\]\n(?:[^\[\n].*\n|\n)*", "", manifest.read_text(), flags=re.MULTILINE))
    return target
