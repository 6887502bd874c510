"""One federation of five forces, as real processes, for most of these tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import (
    BEHIND_PROXY,
    EVENTS,
    EVENTS_BUDGET,
    FORCES,
    HOLD_EVENTS,
    ONE_PURPOSE,
    ConnectProxy,
    Live,
    wait_until,
)
from revisions import DOMAIN, add_events

from demo.layout import Design, lay_out
from demo.processes import Federation, free_port
from demo.records import hand_out_records, load_snapshots

CONTRIBUTE_SECONDS = 12
PERSONS = 300
NO_LISTENER = "127.0.0.1:9"


@pytest.fixture(scope="session")
def running() -> Iterator[Live]:
    """The federation, started once."""
    root = Path(tempfile.mkdtemp(prefix="cordon-live-"))
    design = Design(
        forces=FORCES,
        policies={ONE_PURPOSE: 'purposes = ["strategic_assessment"]'},
        budgets={"stop_records": "1000", "crime_records": "1000", "nominal_records": "3", DOMAIN: EVENTS_BUDGET},
        timing={"contribute_seconds": CONTRIBUTE_SECONDS, "cooldown_seconds": 0},
        port=free_port(),
    )
    layout = lay_out(root / "federation", design, analysts=("alice", "bob"))
    add_events(layout, HOLD_EVENTS, EVENTS)
    hand_out_records(layout, persons=PERSONS)
    list(load_snapshots(layout))
    proxy = ConnectProxy({NO_LISTENER: design.port})
    config = layout.node_config(BEHIND_PROXY)
    direct = f'coordinator = "127.0.0.1:{design.port}"\n'
    proxied = f'coordinator = "{NO_LISTENER}"\nproxy = "http://127.0.0.1:{proxy.port}"\n'
    config.write_text(config.read_text(encoding="utf-8").replace(direct, proxied), encoding="utf-8")
    with Federation(layout) as processes:
        processes.start_coordinator()
        processes.start_nodes()
        processes.wait_connected()
        yield Live(layout, processes, proxy)
    proxy.close()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def live(running: Live) -> Iterator[Live]:
    """The shared federation, whole before the test, and made whole after it."""
    _make_whole(running)
    yield running
    assert running.proxy is not None
    running.proxy.passing.set()
    _make_whole(running)
    for path in running.layout.root.rglob("stderr"):
        said = path.read_text(encoding="utf-8")
        assert "Traceback" not in said, f"a fault stands in {path}: {said[-3000:]}"


def _make_whole(running: Live) -> None:
    processes = running.processes
    if not _has_coordinator(processes):
        processes.start_coordinator()
    missing = set(FORCES) - processes.running
    for force in FORCES:
        (running.layout.force_folder(force) / "state" / "paused").unlink(missing_ok=True)
    if missing:
        processes.start_nodes(*sorted(missing))
    wait_until("every node is connected", lambda: running.connected() == set(FORCES))


def _has_coordinator(processes: Federation) -> bool:
    try:
        return processes.coordinator.poll() is None
    except RuntimeError:
        return False
