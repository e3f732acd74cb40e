"""Reads recorded decisions with pyarrow, DuckDB and the contract in proto/, and with none of the server's code.

    python tests/golden/records.py check EVENTS EXPORTS 1=RELEASE 2=RELEASE
    python tests/golden/records.py rewrite EXPORT.parquet REWRITTEN.parquet
    python tests/golden/records.py older EXPORT.parquet OLDER.parquet

`check` reads the sealed files below EVENTS with both libraries, and the exports `decisions.parquet`, `decisions.jsonl`
and `decisions.csv` of the folder EXPORTS. Every row, column and value must be the same in all of them. RELEASE is a
folder with the `features.toml` and `offers.toml` of a release, which name what records have by position.

`rewrite` has pyarrow write an export anew. `older` writes one as a version would have that knew fewer columns: what
they held is in `record`. Then it reads both files with one query of each library. Start reading at `whole`.
"""

import argparse
import csv
import datetime as dt
import importlib
import json
import sys
import tempfile
import tomllib
from pathlib import Path

import duckdb
import grpc_tools
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parent.parent.parent / "proto"
UTC = dt.timezone.utc

WHOLE, TIME, TEXT, TRUTH = "int64", "timestamp[us, tz=UTC]", "string", "bool"
TEXTS, NUMBERS, GAPPY, WHOLES = "list<string>", "list<double>", "list<double?>", "list<int64>"
# The columns of docs/reference/records.md.
COLUMNS = {
    "position": WHOLE, "recorded_at": TIME, "decided_at": TIME, "decision_id": TEXT, "request_id": TEXT,
    "server": TEXT, "server_version": TEXT, "release": WHOLE, "placement": TEXT, "channel": TEXT, "customer_id": TEXT,
    "pseudonym_key": TEXT, "count": WHOLE, "explain": WHOLE, "unknown_customer": TRUTH, "segment_id": WHOLE,
    "offer_ids": TEXTS, "priorities": NUMBERS, "propensities": GAPPY, "selection_probabilities": NUMBERS,
    "fallback": TRUTH, "degraded": TEXTS, "error_code": WHOLE, "error_message": TEXT, "call_us": WHOLE,
    "call_customers": WHOLE, "held_out": TRUTH, "experiments": TEXTS, "variants": TEXTS, "phases": WHOLES,
    "assigned_how": WHOLES, "record": "binary",
}  # fmt: skip
# Those of CSV.
FLAT = [name for name in COLUMNS if name != "record"]
NULLABLE = {"segment_id", "error_code", "error_message"}
IN_DUCKDB = {
    WHOLE: "BIGINT", TIME: "TIMESTAMP WITH TIME ZONE", TEXT: "VARCHAR", TRUTH: "BOOLEAN", TEXTS: "VARCHAR[]",
    NUMBERS: "DOUBLE[]", GAPPY: "DOUBLE[]", WHOLES: "BIGINT[]", "binary": "BLOB",
}  # fmt: skip
# Columns that are a field of the record and nothing else.
FIELDS = [
    "decision_id", "request_id", "server", "server_version", "release", "placement", "channel", "customer_id",
    "pseudonym_key", "count", "explain", "unknown_customer", "call_us", "call_customers",
]  # fmt: skip
# What an older version might have had.
OLDER = [
    "position", "recorded_at", "decided_at", "decision_id", "release", "placement", "customer_id", "offer_ids", "record"
]  # fmt: skip
SOURCES = ["missing", "request", "store", "default"]
NAN = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def messages(*names):
    """The modules of `proto/proffer/v1/<name>.proto`, compiled now and not kept."""
    with tempfile.TemporaryDirectory() as made:
        known = Path(grpc_tools.__file__).parent / "_proto"
        files = [str(path) for path in sorted((PROTO / "proffer" / "v1").glob("*.proto"))]
        if protoc.main(["protoc", f"-I{PROTO}", f"-I{known}", f"--python_out={made}", *files]) != 0:
            raise SystemExit(f"{PROTO}: the .proto files cannot be compiled")
        sys.path.insert(0, made)
        try:
            return [importlib.import_module(f"proffer.v1.{name}_pb2") for name in names]
        finally:
            sys.path.remove(made)


decision_pb2, record_pb2 = messages("decision", "record")


class Release:
    """The names that the files of a release give to what records have by position."""

    def __init__(self, directory):
        features = tomllib.loads((Path(directory) / "features.toml").read_text())["feature"]
        self.features = {
            entity: [feature for feature in features if feature["entity"] == entity]
            for entity in ("customer", "context")
        }
        self.offers = tomllib.loads((Path(directory) / "offers.toml").read_text())["offer"]

    def candidates(self, record):
        """The ids of the candidates of a decision, in their order."""
        listed, excluded = record.candidate_offer_ids, record.exclude_offer_ids
        return sorted(
            offer["id"]
            for offer in self.offers
            if record.placement in offer["placements"]
            and (not listed or offer["id"] in listed)
            and offer["id"] not in excluded
        )

    def values(self, entity, found):
        """Name, source and value of each feature; None is a value that is missing or the schema's default."""
        lists = {
            "float": iter(found.floats),
            "int": iter(found.ints),
            "bool": (bool(value) for value in found.bools),
            "string": iter(found.strings),
        }
        values = []
        for feature, source in zip(self.features[entity], found.sources, strict=True):
            source = SOURCES[source]
            known = source in ("request", "store")
            values.append((feature["name"], source, next(lists[feature["type"]]) if known else None))
        if any(next(rest, None) is not None for rest in lists.values()):
            raise SystemExit(f"a record has more values of the {entity} than sources")
        return values


def whole(row):
    """The message DecisionRecord of a row: what `record` holds, and what the other columns hold."""
    record = record_pb2.DecisionRecord.FromString(row["record"])
    for name in FIELDS:
        setattr(record, name, row[name])
    record.decided_at = row["decided_at"]
    record.degraded.extend(row["degraded"])
    if record.HasField("segment"):
        record.segment.id = row["segment_id"]
    if record.HasField("error"):
        record.error.code, record.error.message = row["error_code"], row["error_message"]
    lists = [row[name] for name in ("offer_ids", "priorities", "propensities", "selection_probabilities")]
    for offer, *cells in zip(record.offers, *lists, strict=True):
        offer.offer_id, offer.priority, propensity, offer.selection_probability = cells
        if offer.HasField("factors"):
            offer.factors.propensity = propensity
        elif propensity is not None:
            raise SystemExit(f"{record.decision_id}: a propensity without factors")
    optional = [("segment", "segment_id"), ("error", "error_code"), ("error", "error_message")]
    for part, name in optional:
        if record.HasField(part) != (row[name] is not None):
            raise SystemExit(f"{record.decision_id}: `{name}` does not fit the record")
    if row["fallback"] != any(offer.fallback for offer in record.offers):
        raise SystemExit(f"{record.decision_id}: `fallback` does not fit the record")
    arms = record.assignments
    repeated = {
        "held_out": record.held_out,
        "experiments": [arm.experiment for arm in arms],
        "variants": [arm.variant for arm in arms],
        "phases": [signed(arm.phase) for arm in arms],
        "assigned_how": [arm.how for arm in arms],
    }
    for name, value in repeated.items():
        if row[name] != value:
            raise SystemExit(f"{record.decision_id}: `{name}` does not fit the record")
    return record


def signed(number):
    """The bits of a whole number as those of a signed one of 64 bits."""
    return number - 2**64 if number >= 2**63 else number


def rows_of(table):
    """The rows of a table of pyarrow; times are microseconds since 1970."""
    for name in ("recorded_at", "decided_at"):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, pc.cast(table[name], pa.int64()))
    return table.to_pylist()


def decisions(path):
    """The decisions of a Parquet file, as whole messages."""
    return [whole(row) for row in rows_of(pq.read_table(path))]


def type_of(field):
    """The type of a column of pyarrow, as in COLUMNS."""
    if not pa.types.is_list(field.type):
        return str(field.type)
    element = field.type.value_field
    return f"list<{element.type}{'?' if element.nullable else ''}>"


def by_duckdb(files, columns=COLUMNS):
    """The same rows by DuckDB, and the type of each column."""
    connection = duckdb.connect()
    read = f"from read_parquet({[str(file) for file in files]}, union_by_name = true, hive_partitioning = false)"
    types = {name: kind for name, kind, *_ in connection.sql(f"describe select * {read}").fetchall()}
    times = "epoch_us(recorded_at) as recorded_at, epoch_us(decided_at) as decided_at"
    found = connection.sql(f"select * replace ({times}) {read}")
    rows = [dict(zip(found.columns, row)) for row in found.fetchall()]
    return rows, types


def same(what, one, other, columns=COLUMNS):
    """Stops where two lists of rows differ."""
    if len(one) != len(other):
        raise SystemExit(f"{what}: {len(one)} rows and {len(other)} rows")
    for left, right in zip(one, other):
        for name in columns:
            if left[name] != right[name]:
                raise SystemExit(f"{what}: position {left['position']}: `{name}` is {left[name]!r} and {right[name]!r}")


def by_position(rows):
    return sorted(rows, key=lambda row: row["position"])


def check(events, exports, releases):
    """Compares sealed files and exports; returns what was compared."""
    files = sorted(events.glob("decision/date=*/*.parquet"))
    if not files:
        raise SystemExit(f"{events}: no sealed file")
    for file in [*files, exports / "decisions.parquet"]:
        schema = pq.read_schema(file)
        found = {field.name: type_of(field) for field in schema}
        if list(found.items()) != list(COLUMNS.items()):
            raise SystemExit(f"{file}: the columns are {found}")
        if {field.name for field in schema if field.nullable} != NULLABLE:
            raise SystemExit(f"{file}: the columns that may have no value are other ones")
    rows = by_position(rows_of(ds.dataset(files, format="parquet").to_table()))
    in_duckdb, types = by_duckdb(files)
    if types != {name: IN_DUCKDB[kind] for name, kind in COLUMNS.items()}:
        raise SystemExit(f"DuckDB takes the columns for {types}")
    same("pyarrow and DuckDB", rows, by_position(in_duckdb))
    check_dates(files)
    exported = rows_of(pq.read_table(exports / "decisions.parquet"))
    same("sealed and exported", rows, by_position(exported))
    same("exported, by pyarrow and DuckDB", exported, by_duckdb([exports / "decisions.parquet"])[0])
    lines = [json.loads(line) for line in (exports / "decisions.jsonl").read_text().splitlines()]
    same("Parquet and JSON Lines", exported, [flat(line) for line in lines], FLAT)
    for row, line in zip(exported, lines):
        record = whole(row)
        if text_of(record) != text_of(of_json(line, releases[record.release])):
            raise SystemExit(f"{record.decision_id}: Parquet and JSON Lines are not the same message")
    with open(exports / "decisions.csv", newline="") as file:
        cells = list(csv.DictReader(file))
    if list(cells[0]) != FLAT:
        raise SystemExit(f"the columns of CSV are {list(cells[0])}")
    same("Parquet and CSV", [as_csv(row) for row in exported], cells, FLAT)
    return {
        "rows": len(rows),
        "files": len(files),
        "releases": sorted({row["release"] for row in rows}),
        "errors": sum(row["error_code"] is not None for row in rows),
        "fallbacks": sum(row["fallback"] for row in rows),
        "degraded": sum(bool(row["degraded"]) for row in rows),
    }


def check_dates(files):
    """The folder of a file is the date of its decisions, so that readers of partitions find them."""
    read = f"from read_parquet({[str(file) for file in files]}, hive_partitioning = true)"
    wrong = f"select count(*) {read} where date <> cast(decided_at at time zone 'UTC' as date)"
    [(count,)] = duckdb.connect().sql(wrong).fetchall()
    if count:
        raise SystemExit(f"{count} decisions are in the folder of another date")


def micros(text):
    """A time of an export in microseconds since 1970."""
    return (dt.datetime.fromisoformat(text) - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1)


def number(value):
    """A number of JSON, or the name of one that JSON does not have."""
    return NAN[value] if isinstance(value, str) else value


def flat(line):
    """The flat columns of a line of JSON."""
    row = line | {name: micros(line[name]) for name in ("recorded_at", "decided_at")}
    for name in ("priorities", "propensities", "selection_probabilities"):
        row[name] = [None if value is None else float(number(value)) for value in line[name]]
    row["phases"] = [signed(int(phase, 16)) for phase in line["phases"]]
    return row


def of_json(line, release):
    """The message of a line of JSON."""
    rest = line["record"]
    record = record_pb2.DecisionRecord(
        format=rest["format"],
        decided_at=micros(line["decided_at"]),
        consents=rest["consents"],
        candidate_offer_ids=rest["candidate_offer_ids"],
        exclude_offer_ids=rest["exclude_offer_ids"],
        asked_release=rest["asked_release"],
        ignored=rest["ignored"],
        default_channel=rest.get("default_channel", ""),
        degraded=line["degraded"],
        refusals=[record_pb2.RecordedRefusal(**refusal) for refusal in rest.get("refusals", [])],
        held_out=rest.get("held_out", False),
    )
    for arm in rest.get("assignments", []):
        record.assignments.add(**(arm | {"phase": int(arm["phase"], 16)}))
    for name in FIELDS:
        setattr(record, name, line[name])
    if rest["as_of"] is not None:
        record.as_of.FromJsonString(rest["as_of"])
    for entity in ("customer", "context"):
        if rest[entity] is not None:
            getattr(record, entity).CopyFrom(feature_values(rest[entity], release.features[entity]))
    if rest["segment"] is not None:
        distances = {name: number(value) for name, value in rest["segment"].items()}
        record.segment.CopyFrom(record_pb2.RecordedSegment(id=line["segment_id"], **distances))
    if rest["candidates"] is not None:
        found = dict(rest["candidates"])
        if found.pop("offer_ids") != release.candidates(record):
            raise SystemExit(f"{record.decision_id}: the candidates of JSON Lines are other ones")
        scores = [number(score) for score in found.pop("raw_scores")]
        stages, reasons = bytes(found.pop("stages")), bytes(found.pop("reasons"))
        record.candidates.CopyFrom(
            record_pb2.Candidates(stages=stages, reasons=reasons, raw_scores=scores, unscored=found.pop("unscored"))
        )
    for at, offer in enumerate(rest["offers"]):
        shown = record.offers.add(
            offer_id=line["offer_ids"][at],
            priority=number(line["priorities"][at]),
            fallback=offer["fallback"],
            selection_probability=number(line["selection_probabilities"][at]),
        )
        if offer["factors"] is not None:
            models = ("model", "model_version")
            factors = {name: value if name in models else number(value) for name, value in offer["factors"].items()}
            shown.factors.CopyFrom(record_pb2.RecordedFactors(propensity=number(line["propensities"][at]), **factors))
        if "terms" in offer:
            terms = {name: number(value) for name, value in offer["terms"].items()}
            shown.terms.CopyFrom(record_pb2.RecordedTerms(**terms))
        for limit in ("cap_total", "budget"):
            if limit in offer:
                getattr(shown, limit).CopyFrom(record_pb2.RecordedReservation(**offer[limit]))
    if "history" in rest:
        record.history.CopyFrom(seen_history(rest["history"], record.decided_at // 1000))
    if line["error_code"] is not None:
        record.error.code, record.error.message = line["error_code"], line["error_message"]
        record.error.field = rest["error_field"]
    return record


def seen_history(found, decided_at):
    """What limits looked at, as a record has it. `decided_at` is in milliseconds since 1970."""
    history = record_pb2.SeenHistory(opted_out=found["opted_out"])

    def number_of(name):
        if name is None:
            return 0
        if name == "(other)":
            return 1
        if name not in history.names:
            history.names.append(name)
        return list(history.names).index(name) + 2

    kinds, last = [], decided_at
    for event in found["events"]:
        kind = {name: event[name] for name in ("offer", "placement", "channel", "type", "many")}
        if kind not in kinds:
            kinds.append(kind)
            numbers = {name: number_of(kind[name]) for name in ("offer", "placement", "channel", "type")}
            history.kinds.add(many=kind["many"], **numbers)
        at = micros(event["at"]) // 1000
        history.events.append(2 * kinds.index(kind) + event["same_decision"])
        history.times.append(at - last)
        last = at
    for limit in found["full"]:
        history.full.append(2 * number_of(limit["offer"]) + (limit["limit"] == "budget"))
        frees = limit["frees_at"]
        history.frees_in.append(0 if frees is None else micros(frees) // 1000 - decided_at)
    return history


def feature_values(found, features):
    """Values by name, as a record has them."""
    if found["encrypted"] is not None:
        raise SystemExit("a value is encrypted")
    values = record_pb2.FeatureValues(sources=bytes(SOURCES.index(value["source"]) for value in found["features"]))
    truths = bytearray()
    for value, feature in zip(found["features"], features, strict=True):
        if value["name"] != feature["name"]:
            raise SystemExit(f"`{value['name']}` stands where `{feature['name']}` should be")
        if value["value"] is None:
            continue
        match feature["type"]:
            case "float":
                values.floats.append(number(value["value"]))
            case "int":
                values.ints.append(value["value"])
            case "bool":
                truths.append(value["value"])
            case _:
                values.strings.append(value["value"])
    values.bools = bytes(truths)
    return values


def text_of(record):
    """A message as bytes, which tell apart what `==` does not."""
    return record.SerializeToString(deterministic=True)


def as_csv(row):
    """A row as CSV has it. Numbers are compared as Rust writes them: without an exponent, as short as possible."""

    def cell(value):
        match value:
            case None:
                return ""
            case bool():
                return str(value).lower()
            case float():
                return np.format_float_positional(value, trim="-")
            case list():
                return ";".join(cell(element) for element in value)
            case _:
                return str(value)

    times = {
        name: dt.datetime.fromtimestamp(0, UTC) + dt.timedelta(microseconds=row[name])
        for name in ("recorded_at", "decided_at")
    }
    written = {name: time.isoformat(timespec="microseconds").replace("+00:00", "Z") for name, time in times.items()}
    written["phases"] = ";".join(f"{phase % 2**64:016x}" for phase in row["phases"])
    return {name: cell(row[name]) for name in FLAT} | written


def rewrite(source, target):
    """Has pyarrow write an export anew: with another compression, and the types that it takes for its own."""
    pq.write_table(pq.read_table(source), target, compression="snappy")
    return {"rows": pq.read_metadata(target).num_rows}


def older(source, target):
    """Writes an export with fewer columns, and reads both files together."""
    table = pq.read_table(source)
    rows = rows_of(table)
    records = []
    for row in rows:
        record = whole(row)
        for name in OLDER:
            if name in FIELDS:
                record.ClearField(name)
        record.ClearField("decided_at")
        for offer in record.offers:
            offer.ClearField("offer_id")
        records.append(text_of(record))
    kept = table.select([name for name in OLDER if name != "record"])
    column = pa.field("record", pa.binary(), nullable=False)
    pq.write_table(kept.append_column(column, pa.array(records, pa.binary())), target, compression="zstd")

    both = [source, target]
    schema = pa.unify_schemas([pq.read_schema(path).remove_metadata() for path in both])
    in_arrow = rows_of(ds.dataset([str(path) for path in both], schema=schema, format="parquet").to_table())
    in_duckdb, _ = by_duckdb(both)
    known = [name for name in OLDER if name != "record"]
    for library, found in (("pyarrow", in_arrow), ("DuckDB", in_duckdb)):
        newer = [row for row in found if row["channel"] is not None]
        lacking = [row for row in found if row["channel"] is None]
        same(f"{library}: the newer file", by_position(rows), by_position(newer))
        same(f"{library}: the older file", by_position(rows), by_position(lacking), known)
        missing = [name for name in COLUMNS if name not in OLDER]
        if any(row[name] is not None for row in lacking for name in missing):
            raise SystemExit(f"{library}: a column that the older file lacks has a value")
    return {"rows": len(rows), "columns": len(OLDER), "together": len(in_duckdb)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("check")
    command.add_argument("events", type=Path)
    command.add_argument("exports", type=Path)
    command.add_argument("releases", nargs="+", metavar="N=DIRECTORY", type=numbered)
    command.set_defaults(run=lambda arguments: check(arguments.events, arguments.exports, named(arguments.releases)))
    for name, work in (("rewrite", rewrite), ("older", older)):
        command = commands.add_parser(name)
        command.add_argument("source", type=Path)
        command.add_argument("target", type=Path)
        command.set_defaults(run=lambda arguments, work=work: work(arguments.source, arguments.target))
    arguments = parser.parse_args()
    print(json.dumps(arguments.run(arguments)))


def numbered(text):
    """`3=DIRECTORY`."""
    number, _, directory = text.partition("=")
    return int(number), Path(directory)


def named(releases):
    return {number: Release(directory) for number, directory in releases}


if __name__ == "__main__":
    main()
