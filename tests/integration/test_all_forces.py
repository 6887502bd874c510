"""All 43 forces of the bundled data as 43 real nodes, and what the coordinator has seen of their answer.

Starting 43 processes takes most of the time; one question is asked of them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Asking, Live, sigmas_off, wait_until

from cordon.catalogue import bundled_contracts
from cordon.contract import Contract
from demo.layout import ONLY_STOPS, Design, choose_forces, lay_out
from demo.processes import Federation, free_port
from demo.records import hand_out_records, load_snapshots
from demo.search import search, search_with_one_hidden

pytestmark = [pytest.mark.xdist_group("federation"), pytest.mark.slow, pytest.mark.timeout(400)]

COUNT = 43
PERSONS = 20
SMALLEST_SEARCHED = 1000
"""Smaller totals turn up anywhere as lengths and dates, and would say nothing."""

MOST_SIGMAS = 6.5
"""Over 600 cells, noise goes beyond this less than once in ten million runs."""

QUESTION = "SELECT force, crime_type, COUNT(*) FROM street_crime GROUP BY force, crime_type"


@pytest.fixture
def whole() -> Iterator[Live]:
    """43 nodes and a coordinator, up; the machine's few cores start 43 interpreters."""
    root = Path(tempfile.mkdtemp(prefix="cordon-whole-"))
    design = Design(
        forces=choose_forces(COUNT),
        timing={"ready_seconds": 30, "contribute_seconds": 60, "cooldown_seconds": 0},
        port=free_port(),
    )
    layout = lay_out(root / "federation", design)
    hand_out_records(layout, persons=PERSONS)
    for force in design.forces:
        _hold_crimes_only(layout.node_config(force))
    list(load_snapshots(layout))
    with Federation(layout) as processes:
        processes.start_coordinator()
        processes.start_nodes()
        running = Live(layout, processes)
        wait_until("43 nodes are connected", lambda: len(running.connected()) == COUNT, 120)
        yield running
        # Nothing is asked of them any more, and 43 good endings take longer than 43 kills.
        for force in design.forces:
            processes.kill(force)
    shutil.rmtree(root, ignore_errors=True)


def _hold_crimes_only(config: Path) -> None:
    """Let a force load no other data set than the one that is asked about."""
    lines = config.read_text(encoding="utf-8").splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("mappings = "))
    lines[at] = f"mappings = {['street_crime.toml'] if 'street_crime.toml' in lines[at] else []}"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_forty_three_forces_answer_by_force_and_type_and_the_coordinator_knows_no_total(whole: Live) -> None:
    """41 forces fill their lines close to the truth, two do not hold the data, and no true total lies at the coordinator.

    Takes as long as 43 processes need to start on one machine.
    """
    answer = Asking(whole, QUESTION, epsilon="1").ended(100)
    forces = whole.layout.design.forces
    holders = sorted(set(forces) - set(ONLY_STOPS))
    assert answer["answered"] == holders
    assert {(item["force"], item["code"]) for item in answer["declined"]} == {(f, "not held") for f in ONLY_STOPS}
    contract = next(c for c in map(Contract.from_toml, bundled_contracts()) if c.dataset == "street_crime")
    codes = contract.column("crime_type").codes
    totals: dict[str, int] = dict.fromkeys((code.label for code in codes), 0)
    true: dict[tuple[str, str], int] = {}
    for force in holders:
        cells = whole.true([force], "street_crime", "count(*)", by="crime_type")
        for at, code in enumerate(codes):
            true[force, code.label] = cells.get(str(at), 0)
            totals[code.label] += cells.get(str(at), 0)
    rows = {tuple(row["keys"]): row for row in answer["rows"]}
    assert len(rows) == COUNT * len(codes)
    assert all(sigmas_off(rows[key]["values"][0], value) < MOST_SIGMAS for key, value in true.items())
    assert all(rows[force, code.label]["note"] == "declined: not held" for force in ONLY_STOPS for code in codes)
    _coordinator_knows_none_of(whole, {*true.values(), *totals.values(), sum(totals.values())})


def _coordinator_knows_none_of(whole: Live, totals: set[int]) -> None:
    searched = {total for total in totals if total >= SMALLEST_SEARCHED}
    folder = whole.layout.coordinator_config.parent
    assert len(searched) > 50
    assert search(folder, searched).found == ()
    # The same search does find one of them where it is hidden in a ciphertext.
    assert len(search_with_one_hidden(folder, max(searched)).found) == 1
