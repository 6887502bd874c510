"""Loads and queries of many rows, against plain DuckDB over the same file; each in a process of its own."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench.processes import resident_megabytes
from cordon.configfile import read_config
from cordon.contract import Contract
from cordon.query.plan import make_plan, split_evenly
from cordon.query.sql import parse_sql
from cordon.units import Rho
from demo.layout import ONLY_STOPS, Design, choose_forces, lay_out
from demo.nominals.population import make_population, persons_for
from demo.nominals.writing import write_force, write_mapping
from demo.processes import Federation, free_port
from demo.records import hand_out_records, load_snapshots
from node.compile import compile_plan, scans
from node.database import open_for_load, open_to_serve
from node.load import load
from node.mapping import Mapping
from node.snapshot import snapshot_path

SYSTEM = "alder"
"""A records system that holds everything in one CSV file."""

CONTRACT = "nominals.v2.toml"
REPEATS = 7
QUESTIONS = {
    "count by role and gender, ages 18 to 40": (
        "SELECT role, gender, COUNT(*) FROM nominals WHERE age BETWEEN 18 AND 40 GROUP BY role, gender"
    ),
    "sum of losses by offence and month": (
        "SELECT offence, recorded_month, SUM(loss_gbp) FROM nominals WHERE role = 'victim' "
        "GROUP BY offence, DATE_TRUNC('month', recorded)"
    ).replace("recorded_month", "DATE_TRUNC('month', recorded)"),
    "persons by ethnic group": "SELECT ethnicity, COUNT(DISTINCT person) FROM nominals GROUP BY ethnicity",
}

Row = tuple[str, str, str]


def loaded(folder: Path, sizes: tuple[int, ...], say: Callable[[str], None]) -> Iterator[tuple[str, list[Row]]]:
    """Every measurement, over files of so many rows; title and rows of each table as soon as it is measured.

    Args:
        folder: an empty one with room for about 400 bytes a row.
    """
    peaks = []
    for rows in sizes:
        at = folder / f"{rows}"
        say(f"making {rows:,} rows")
        first = folder / f"{sizes[0]}"
        made = _made(at, rows) if at == first else _repeated(first, at, rows // sizes[0])
        say(f"loading {made:,} rows")
        plain, ours = _in_a_process("plain", at), _in_a_process("load", at)
        peaks.append(ours["peak"])
        yield f"A load of {made:,} person-level rows, one CSV file of {_gigabytes(at):.1f} GB", _of_load(plain, ours)
        if at == first:
            say("asking")
            title = f"Filter, group and bound over {made:,} rows, one thread, median of {REPEATS}"
            yield title, _of_queries(_in_a_process("query", at))
            say("an idle node")
            resident = f"{_idle(folder / 'federation', at):.0f} MB"
            yield f"An idle node with a snapshot of {made:,} rows", [("resident memory", resident, "at most 250 MB")]
    if len(peaks) > 1:
        what = f"{sizes[-1]:,} rows against {sizes[0]:,}"
        yield "Peak memory of a load as rows grow", [(what, f"{peaks[-1] / peaks[0]:.2f}", "bounded")]


def _of_load(plain: dict[str, Any], ours: dict[str, Any]) -> list[Row]:
    return [
        ("plain DuckDB, CREATE TABLE AS of the same file", f"{plain['seconds']:.1f} s", ""),
        ("cordon node load", f"{ours['seconds']:.1f} s", ""),
        ("ratio", f"{ours['seconds'] / plain['seconds']:.2f}", "at most 3"),
        ("the same by processor time", f"{ours['cpu'] / plain['cpu']:.2f}", ""),
        ("peak resident memory of the load", f"{ours['peak']:.0f} MB", "does not grow with rows"),
    ]


def _of_queries(asked: dict[str, Any]) -> list[Row]:
    return [
        (f"{name}: bounded / unbounded", f"{ours:.0f} ms / {plain:.0f} ms = {ours / plain:.2f}", "at most 1.5")
        for name, (ours, plain) in asked.items()
    ]


def _made(folder: Path, rows: int) -> int:
    records = folder / "records"
    records.mkdir(parents=True)
    (folder / "state").mkdir()
    population = make_population(1, persons=persons_for(rows, 1), overlap=0.0)
    truth = write_force(population, 0, SYSTEM, records)
    write_mapping(SYSTEM, folder)
    return truth.rows


def _repeated(first: Path, folder: Path, times: int) -> int:
    """The first file's rows so many times over, of other persons each time; returns their number."""
    shutil.copytree(first, folder, ignore=shutil.ignore_patterns("*.duckdb", "snapshots", "scratch"))
    small, large = (at / "records" / "persons.csv" for at in (first, folder))
    with large.open("wb") as target:
        for copy in range(times):
            # The person is the first value of a row. The header stands once.
            edit = "1!s/^/0/" if copy == 0 else f"1d; s/^/{copy}/"
            target.flush()
            subprocess.run(["sed", edit, str(small)], stdout=target, check=True)
    return sum(block.count(b"\n") for block in _blocks(large)) - 1


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            yield block


def _gigabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in (folder / "records").iterdir()) / 1e9


def _mapping(folder: Path) -> Mapping:
    return read_config(folder / CONTRACT, Mapping)


def _contract() -> Contract:
    return Contract.from_toml((Path(__file__).parent.parent / "contracts" / CONTRACT).read_bytes())


def _in_a_process(what: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.loading", what, str(folder)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _timed(work: Callable[[], object]) -> dict[str, float]:
    start, before = time.monotonic(), time.process_time()
    work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": time.monotonic() - start, "cpu": time.process_time() - before, "peak": peak}


def _load(folder: Path) -> dict[str, float]:
    return _timed(lambda: load(_mapping(folder), _contract(), folder / "state", progress=lambda _: None))


def _plain(folder: Path) -> dict[str, float]:
    path = _mapping(folder).source.path
    with open_for_load(folder / "plain.duckdb", folder / "scratch") as database:
        return _timed(lambda: database.execute(f"CREATE TABLE plain AS FROM read_csv('{path}', all_varchar = true)"))


def _query(folder: Path) -> dict[str, tuple[float, float]]:
    """Milliseconds of each question: as a node asks it, and without the condition that bounds it."""
    contract = _contract()
    path = snapshot_path(folder / "state", contract.dataset, contract.version).resolve()
    found = {}
    with open_to_serve(path) as database:
        for name, sql in QUESTIONS.items():
            question = parse_sql(sql, {contract.dataset: contract}, ["kent"]).question
            plan = make_plan(question, split_evenly(Rho(10**9), 1), contract, colluders=0, most_cells=100_000)
            (scan,) = scans(plan)
            bounded = compile_plan(plan, contract).of(scan)
            bound = f'"rank_" <= {contract.unit.max_rows_per_unit}'
            unbounded = _without(bounded, bound)
            times = {text: [] for text in (bounded, unbounded)}
            for _ in range(REPEATS):
                for text, taken in times.items():
                    start = time.monotonic()
                    database.execute(text).fetchall()
                    taken.append(1000 * (time.monotonic() - start))
            found[name] = (median(times[bounded]), median(times[unbounded]))
    return found


def _without(statement: str, condition: str) -> str:
    changed = statement.replace(f'"t0".{condition}', "TRUE")
    if changed == statement:
        raise AssertionError("a node's statement holds the condition that bounds it")
    return changed


def _idle(root: Path, folder: Path) -> float:
    """Resident megabytes of a real node that serves the large snapshot, a while after it has connected."""
    forces = tuple(force for force in choose_forces(6) if force not in ONLY_STOPS)[:3]
    layout = lay_out(root, Design(forces=forces, nominals=(2,), port=free_port()))
    hand_out_records(layout, persons=50)
    for _ in load_snapshots(layout):
        pass
    own = layout.force_folder(forces[0]) / "state" / "snapshots"
    name = snapshot_path(layout.force_folder(forces[0]) / "state", "nominals", 2)
    large = snapshot_path(folder / "state", "nominals", 2).resolve()
    name.unlink(missing_ok=True)
    large.rename(own / large.name)
    name.symlink_to(large.name)
    with Federation(layout) as federation:
        federation.start_coordinator()
        federation.start_nodes()
        federation.wait_connected()
        time.sleep(20)
        return resident_megabytes(federation.node(forces[0]).pid)


if __name__ == "__main__":
    work = {"load": _load, "plain": _plain, "query": _query}[sys.argv[1]]
    sys.stdout.write(json.dumps(work(Path(sys.argv[2]))))
