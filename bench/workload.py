"""A year's tables under one total of epsilon, from Cordon and from its peers: errors side by side, in one run.

`python -m bench --only workload` runs this part alone. Every contender is given the same records and the same
total; every cell's noise is drawn by the contender's own code, and all errors are taken by the same few lines.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import duckdb

from bench import drawn, outside
from bench.drawn import Records, Table, Workload
from cordon.accounting import rho_for_epsilon
from cordon.query.model import Question
from cordon.query.plan import make_plan, split_evenly
from cordon.query.sql import parse_sql
from cordon.units import Digest
from demo.layout import force_names, held_by

DELTA = 1e-9
YEAR = Workload(100, Fraction(4), DELTA)
SINGLE = (Workload(1, Fraction(4), DELTA), Workload(1, Fraction(1), DELTA))

PIPELINE_YEAR, PIPELINE_SINGLE = 10, 3
"""Tables that are drawn of PipelineDP, which takes seconds for each, and more for a budget of its own."""

CORDON, CURATED = "Cordon, distributed", "a trusted curator, Cordon's accounting"
PLD = "Gaussian by dp-accounting's privacy loss distribution"
SMARTNOISE = "SmartNoise SQL as it comes, told that keys are public"
PIPELINE = "PipelineDP as it comes: Laplace, naive accountant"
PIPELINE_BEST = "PipelineDP, Gaussian, its experimental PLD accountant"
PIPELINE_WAYS = {
    PIPELINE: ("laplace", "naive"),
    "PipelineDP, Gaussian, naive accountant": ("gaussian", "naive"),
    "PipelineDP, Laplace, its experimental PLD accountant": ("laplace", "pld"),
    PIPELINE_BEST: ("gaussian", "pld"),
}

TEN_THOUSAND = (
    "SELECT force, self_defined_ethnicity, MONTH(month), COUNT(*) FROM stop_search "
    "GROUP BY force, self_defined_ethnicity, MONTH(month)"
)
TEN = "SELECT MONTH(month), COUNT(*) FROM stop_search WHERE month < '2020-02' GROUP BY MONTH(month)"
PLANNINGS = 50

Row = tuple[str, str, str]


class Error(NamedTuple):
    """Root-mean-square error, in records, and the cells it was taken over."""

    size: float
    cells: int


def compared(*, quick: bool) -> dict[str, list[Row]]:
    """Rows of the tables about the workload; a quick run draws few tables and leaves the peers out.

    Raises:
        PeerFailed: a peer cannot be installed or does not answer; a comparison without it is none.
    """
    records = drawn.read_records()
    python = None if quick else _python()
    most, again = (2, 1) if quick else (YEAR.tables, 10)
    tables = {}
    with tempfile.TemporaryDirectory(prefix="cordon-bench-") as folder:
        rows = _written(Path(folder) / "records.csv")
        for work, draws in [(YEAR, most), *((work, again) for work in SINGLE)]:
            errors = _ours(records, work, draws)
            errors |= _theirs(_Asking(python, rows, records), work, draws) if python else {}
            tables[_title(records, work)] = [*_errors(errors), *_ratios(errors, work, _planned(records))]
    tables["Planning"] = _planning()
    return tables


class _Asking(NamedTuple):
    python: Path
    rows: Path
    records: Records

    def answers(self, peer: str, work: Workload, draws: int, **more: object) -> dict[str, Any]:
        task = {"rows": str(self.rows), "tables": work.tables, "epsilon": float(work.epsilon), "delta": work.delta}
        _say(f"asking {peer}: {draws} tables, epsilon {float(work.epsilon):g} for {work.tables}")
        return outside.answered(self.python, peer, {**task, "draws": draws, "keys": self.records.keys, **more})


def _python() -> Path:
    _say("installing the peers, unless they are")
    return outside.installed()


def _written(path: Path) -> Path:
    """The pooled records as a peer reads them, one a row."""
    with duckdb.connect() as database:
        source = f"read_parquet('{drawn.SOURCE}')"
        database.execute(f"COPY (SELECT force, \"Crime type\" AS crime_type FROM {source}) TO '{path}' (HEADER)")
    return path


def _ours(records: Records, work: Workload, draws: int) -> dict[str, Error]:
    _say(f"drawing {draws} tables, epsilon {float(work.epsilon):g} for {work.tables}")
    central = drawn.gaussian(records, drawn.opendp_sigma(work), draws)
    return {
        CORDON: _error(records, drawn.federated(records, work, draws)),
        CURATED: _error(records, drawn.curated(records, work, draws)),
        "a central OpenDP curator: discrete Gaussian, zCDP": _error(records, central),
    }


def _theirs(asking: _Asking, work: Workload, draws: int) -> dict[str, Error]:
    return {**_accountant(asking, work, draws), **_smartnoise(asking, work, draws), **_pipeline(asking, work)}


def _accountant(asking: _Asking, work: Workload, draws: int) -> dict[str, Error]:
    sigma = asking.answers("pld", work, draws)["noise"]["sigma"]
    return {PLD: _error(asking.records, drawn.gaussian(asking.records, sigma, draws))}


def _smartnoise(asking: _Asking, work: Workload, draws: int) -> dict[str, Error]:
    answer = asking.answers("smartnoise", work, draws)
    _say(f"smartnoise: {answer['noise']}")
    known, withheld = answer["answers"]["public keys"], answer["answers"]["censored"]
    released, cells = sum(map(len, withheld)) / len(withheld), len(asking.records.keys)
    return {
        SMARTNOISE: _keyed_error(asking.records, known),
        f"SmartNoise SQL, withholding rare keys: {released:.0f} of {cells} a table": _keyed_error(
            asking.records, withheld
        ),
    }


def _pipeline(asking: _Asking, work: Workload) -> dict[str, Error]:
    draws = PIPELINE_YEAR if work.tables > 1 else PIPELINE_SINGLE
    tables = asking.answers("pipelinedp", work, draws, ways=list(PIPELINE_WAYS.values()))["answers"]
    return {
        name: _keyed_error(asking.records, tables[f"{noise}, {accountant}"])
        for name, (noise, accountant) in PIPELINE_WAYS.items()
    }


def _error(records: Records, tables: Iterable[Table]) -> Error:
    squares = [(value - exact) ** 2 for table in tables for value, exact in zip(table, records.exact, strict=True)]
    return Error(math.sqrt(sum(squares) / len(squares)), len(squares))


def _keyed_error(records: Records, tables: Iterable[Iterable[tuple[str, str, float]]]) -> Error:
    """The same over the cells that a peer released: one that it has no key for is no error of its noise."""
    exact = dict(zip(records.keys, records.exact, strict=True))
    squares = [(value - exact[force, label]) ** 2 for table in tables for force, label, value in table]
    return Error(math.sqrt(sum(squares) / len(squares)), len(squares))


def _planned(records: Records) -> float:
    return math.sqrt(len(records.forces) / (len(records.forces) - records.colluders))


def _title(records: Records, work: Workload) -> str:
    epsilon = f"epsilon {float(work.epsilon):g}"
    if work.tables == 1:
        return f"One table of {len(records.keys)} cells at {epsilon}, delta 1e-9"
    return f"A year's workload: {work.tables} tables of {len(records.keys)} cells, {epsilon} for all, delta 1e-9"


def _errors(errors: dict[str, Error]) -> list[Row]:
    return [(f"{name} ({error.cells} cells drawn)", f"{error.size:.2f}", "") for name, error in errors.items()]


def _ratios(errors: dict[str, Error], work: Workload, planned: float) -> list[Row]:
    year = work.tables > 1
    bars = [
        (CORDON, CURATED, f"planned √(n/(n−c)) = {planned:.3f}"),
        (CURATED, PLD, "at most 1.1" if year else "printed"),
        (CORDON, SMARTNOISE, "at most 0.5" if year else "printed"),
        (CURATED, SMARTNOISE, "printed"),
        (CORDON, PIPELINE, "at most 0.5" if year else "printed"),
        (CURATED, PIPELINE, "printed"),
        (CORDON, PIPELINE_BEST, "printed"),
    ]
    return [
        (f"ratio: {one} / {other}", f"{errors[one].size / errors[other].size:.3f}", bar)
        for one, other, bar in bars
        if other in errors
    ]


def _planning() -> list[Row]:
    """How long planning takes from a question's text and from the parsed question."""
    contract = drawn.contract_of("stop_search")
    forces = sorted((force for force in force_names() if "stop_search" in held_by(force)), key=str.encode)
    rho = rho_for_epsilon(Fraction(1), DELTA)

    def plan(question: Question) -> tuple[int, Digest]:
        made = make_plan(question, split_evenly(rho, 1), contract, colluders=len(forces) // 3, most_cells=100_000)
        return len(made.rows), made.digest

    def parse(sql: str) -> Question:
        return parse_sql(sql, {contract.dataset: contract}, forces).question

    many, few = parse(TEN_THOUSAND), parse(TEN)
    (cells, _), (least, _) = plan(many), plan(few)
    whole = _milliseconds(lambda: plan(parse(TEN_THOUSAND)))
    large, small = _milliseconds(lambda: plan(many)), _milliseconds(lambda: plan(few))
    return [
        (
            f"SQL to plan, its rows and its digest, {cells} cells, median of {PLANNINGS}",
            f"{whole:.2f} ms",
            "under 20 ms",
        ),
        ("of it planning, without parsing", f"{large:.2f} ms", ""),
        (f"the same of {least} cells", f"{small:.2f} ms", ""),
        ("ratio of the last two", f"{large / small:.1f}", "printed"),
    ]


def _milliseconds(work: Callable[[], object]) -> float:
    found = []
    for _ in range(PLANNINGS):
        start = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - start))
    return median(found)


def _say(what: str) -> None:
    sys.stderr.write(f"bench: {what}\n")
