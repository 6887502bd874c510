"""`python -m bench`: measure, print the tables, and write them into docs/performance.md.

--quick: three forces, few questions and no peers, to see that everything runs; --no-write: print only;
--only workload: the year's workload against peers, and the tables of this one part; --only loading: loads and
queries of 10 and 40 million rows, which take ten minutes and 20 GB of disk.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

import duckdb

from bench.audit import audited
from bench.clear import clear_analyst
from bench.commits import committed
from bench.federation import EPSILON, Asked, ask, prepared, running
from bench.loading import loaded
from bench.outside import PeerFailed
from bench.parts import measure
from bench.processes import cpu_seconds, proportional_megabytes, resident_megabytes
from bench.workload import compared
from cordon.accounting import rho_for_epsilon
from cordon.analyst.compose import plan_statement
from cordon.analyst.federation import Federation as Known
from cordon.catalogue import read_catalogue
from cordon.contract import Category
from cordon.estimate.interval import REACH_95
from cordon.manifest import read_manifest
from cordon.query.plan import SMALL
from cordon.query.sql import parse_sql
from cordon.sealing.ciphertext import packed_size
from demo.layout import Layout
from demo.records import truth
from node.snapshot import snapshot_path

TABLE = "SELECT force, crime_type, COUNT(*) FROM street_crime WHERE crime_type <> 'unknown' GROUP BY force, crime_type"
THOUSAND = (
    "SELECT object, self_defined_ethnicity, outcome_linked, COUNT(*) FROM stop_search "
    "GROUP BY object, self_defined_ethnicity, outcome_linked"
)
DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- tables: written by python -m bench -->", "<!-- end of tables -->"
WORKLOAD_BEGIN = "<!-- workload: written by python -m bench --only workload -->"
WORKLOAD_END = "<!-- end of workload -->"
LOADING_BEGIN, LOADING_END = "<!-- loading: written by python -m bench --only loading -->", "<!-- end of loading -->"

Row = tuple[str, str, str]


def main() -> int:
    """Run every measurement."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three forces, few questions")
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument("--only", choices=("workload", "loading"), help="one part alone")
    options = parser.parse_args()
    write = not (options.no_write or options.quick)
    if options.only == "loading":
        _loading(quick=options.quick, write=write)
        return 0
    if not options.only:
        _everything_else(quick=options.quick, write=write)
    _say("a year's workload")
    try:
        text = _tables(compared(quick=options.quick), "")
    except PeerFailed as failure:
        _say(str(failure))
        return 1
    sys.stdout.write(text)
    if write:
        _write(text, WORKLOAD_BEGIN, WORKLOAD_END)
    return 0


def _loading(*, quick: bool, write: bool) -> None:
    sizes = (20_000, 80_000) if quick else (10_000_000, 40_000_000)
    found: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory(prefix="cordon-bench-") as folder:
        for title, rows in loaded(Path(folder), sizes, _say):
            found[title] = rows
            sys.stdout.write(_tables({title: rows}, ""))
            if write:
                _write(_tables(found, ""), LOADING_BEGIN, LOADING_END)


def _everything_else(*, quick: bool, write: bool) -> None:
    forces, warm_up, count = (3, 1, 2) if quick else (41, 4, 15)
    with tempfile.TemporaryDirectory(prefix="cordon-bench-") as folder:
        _say("laying out and loading")
        layout = prepared(Path(folder) / "federation", forces)
        rows = _measured(layout, warm_up, count)
    _say("committing")
    rows |= committed(50 if quick else 2000)
    _say("auditing a register")
    rows |= audited(*((20, 3) if quick else (2000, 43)))
    what = f", with {forces} nodes, {count} questions after warming up, epsilon {float(EPSILON):g} each"
    text = _tables(rows, what)
    sys.stdout.write(text)
    if write:
        _write(text, BEGIN, END)


def _measured(layout: Layout, warm_up: int, count: int) -> dict[str, list[Row]]:
    known = _known(layout)
    forces = len(layout.design.forces)
    tick = known.manifest.timing.release_tick_milliseconds
    _say(f"starting {forces} nodes")
    with running(layout) as (federation, connected):
        pids = [federation.node(force).pid for force in layout.design.forces]
        starts = [cpu_seconds(pid) for pid in pids]
        memory = [(proportional_megabytes(pid), resident_megabytes(pid)) for pid in pids]
        _say("asking")
        table = ask(layout, federation, TABLE, warm_up=warm_up, count=count)
        thousand = ask(layout, federation, THOUSAND, warm_up=1, count=count)
    _say("the same with noise, masks and BFV taken out")
    with running(layout, "bench.clear") as (federation, _), clear_analyst():
        clear = ask(layout, federation, TABLE, warm_up=warm_up, count=count)
    fetch = _raw_fetch(layout)
    real, plain = _median(table), _median(clear)
    cells = len(table.times[0].answer["rows"])
    at = [t.seconds for t in table.times]
    rmse, sigma, central = _errors(layout, known, table)
    parts = _parts(layout, known)
    cpu = median(thousand.node_cpu_milliseconds)
    kilobytes = packed_size(SMALL, SMALL.moduli) / 1000
    return {
        f"End to end: {forces} nodes × {cells // forces} cells, warm, release tick of {tick} ms included": [
            ("asking to answer, median", f"{real:.2f} s", "at most 1.5 s"),
            ("asking to answer, 90th percentile", f"{_ninetieth(at):.2f} s", ""),
            ("until the roster is fixed, median", f"{median(t.roster for t in table.times):.2f} s", ""),
            ("until the sum is ready, median", f"{median(t.sum_ready for t in table.times):.2f} s", ""),
            ("the same phases without noise, masks and BFV, median", f"{plain:.2f} s", ""),
            ("ratio", f"{real / plain:.2f}", "at most 4"),
            ("raw fetch in the clear, force by force in one process", f"{fetch:.3f} s", "no bar"),
        ],
        f"CPU of one node for one query of {len(thousand.times[0].answer['rows'])} cells": [
            (f"whole process, median of {len(thousand.node_cpu_milliseconds)} nodes", f"{cpu:.1f} ms", "at most 30 ms"),
            *((f"part: {name}", f"{milliseconds:.2f} ms", "") for name, milliseconds in parts),
        ],
        "Accuracy": [
            ("root-mean-square error / planned sigma", f"{rmse / sigma:.3f}", "0.95 to 1.05"),
            ("root-mean-square error / a trusted curator's sigma at the same rho", f"{rmse / central:.3f}", "printed"),
            ("the planned value of that ratio, √(n/(n−c))", f"{sigma / central:.3f}", ""),
        ],
        "Bytes": [
            ("ciphertext of one node for up to 4,093 cells", f"{kilobytes:.1f} kB", "at most 65 kB"),
        ],
        f"An idle node, {forces} of them running": [
            ("CPU from start until all are connected, median", f"{median(starts):.2f} s", "at most 2 s"),
            ("proportional memory (Pss), largest", f"{max(p for p, _ in memory):.0f} MB", "at most 120 MB"),
            ("resident memory, largest", f"{max(r for _, r in memory):.0f} MB", "at most 250 MB"),
            ("until all nodes are connected", f"{connected:.1f} s", "printed"),
        ],
    }


def _known(layout: Layout) -> Known:
    manifest, _ = read_manifest(layout.root / "manifest.json", layout.governance_keys)
    return Known(manifest, read_catalogue(manifest), {})


def _errors(layout: Layout, known: Known, asked: Asked) -> tuple[float, float, float]:
    """Root-mean-square error of every cell of every answer, the planned sigma, and a trusted curator's."""
    contract = known.newest_contracts["street_crime"]
    column = contract.column("crime_type")
    if not isinstance(column, Category):
        raise TypeError("crime_type is a category")
    true = {
        (force, column.codes[int(position)].label): value
        for force in layout.design.forces
        for position, value in truth(layout, force, "street_crime", "count(*)", by="crime_type").items()
    }
    errors = [
        row["values"][0]["estimate"] - true.get((row["keys"][0], row["keys"][1]), 0)
        for timed in asked.times
        for row in timed.answer["rows"]
        if row["values"]
    ]
    value = asked.times[0].answer["rows"][0]["values"][0]
    sigma = (value["high"] - value["estimate"]) / REACH_95
    rho = rho_for_epsilon(EPSILON, float(known.manifest.delta))
    statement = parse_sql(TABLE, known.versions, list(known.manifest.by_id))
    plan = plan_statement(statement, rho, contract, known.manifest)
    central = math.sqrt(float(plan.blocks[0].d_squared) / (2 * rho.nano / 1e9))
    return math.sqrt(sum(error**2 for error in errors) / len(errors)), sigma, central


def _parts(layout: Layout, known: Known) -> list[tuple[str, float]]:
    contract = known.newest_contracts["stop_search"]
    path = (
        snapshot_path(layout.force_folder("essex") / "state", "stop_search", 1)
        if ("essex" in layout.design.forces)
        else snapshot_path(layout.force_folder(layout.design.forces[0]) / "state", "stop_search", 1)
    )
    return measure(path, contract, THOUSAND)


def _raw_fetch(layout: Layout) -> float:
    start = time.monotonic()
    for force in layout.design.forces:
        path = snapshot_path(layout.force_folder(force) / "state", "street_crime", 1)
        with duckdb.connect(str(path.resolve()), read_only=True) as database:
            database.execute("SELECT crime_type, count(*) FROM snapshot GROUP BY crime_type").fetchall()
    return time.monotonic() - start


def _median(asked: Asked) -> float:
    return median(timed.seconds for timed in asked.times)


def _ninetieth(values: list[float]) -> float:
    return quantiles(values, n=10)[-1] if len(values) > 1 else values[0]


def _tables(found: dict[str, list[Row]], what: str) -> str:
    lines = [
        (
            f"Measured {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} cores ({platform.machine()}), "
            f"Python {platform.python_version()}{what}."
        ),
    ]
    for title, rows in found.items():
        lines += ["", f"### {title}", "", "| what | measured | bar |", "| --- | --: | --- |"]
        lines += [f"| {name} | {value} | {bar} |" for name, value, bar in rows]
    return "\n".join(lines) + "\n"


def _write(text: str, begin: str, end: str) -> None:
    content = DOCUMENT.read_text(encoding="utf-8")
    head, _, rest = content.partition(begin)
    _, _, tail = rest.partition(end)
    DOCUMENT.write_text(f"{head}{begin}\n\n{text}\n{end}{tail}", encoding="utf-8")


def _say(what: str) -> None:
    sys.stderr.write(f"bench: {what}\n")


if __name__ == "__main__":
    sys.exit(main())
