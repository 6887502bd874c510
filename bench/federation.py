"""A warm federation of real processes, and questions asked of it with the time of every phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench.processes import cpu_seconds
from cordon.analyst.client import Client
from cordon.analyst.compose import cost_of_epsilon
from cordon.analyst.profile import read_profile
from cordon.query.sql import parse_sql
from cordon.wire.messages import Event, RosterKnown, SumReady
from demo.layout import ONLY_STOPS, Design, Layout, force_names, lay_out
from demo.processes import Federation, free_port
from demo.records import hand_out_records, load_snapshots

EPSILON = Fraction(1, 2)


@dataclass
class Timed:
    """One question's answer, and seconds from asking to each point."""

    answer: dict[str, Any]
    seconds: float
    roster: float = 0.0
    sum_ready: float = 0.0


@dataclass
class Asked:
    """Several timed questions, and the nodes' CPU per question."""

    times: list[Timed] = field(default_factory=list)
    node_cpu_milliseconds: list[float] = field(default_factory=list)


def prepared(root: Path, count: int) -> Layout:
    """A laid-out federation of the forces that hold street-level crime, with budgets that cannot run out."""
    forces = tuple(force for force in force_names() if force not in ONLY_STOPS)[:count]
    budgets = dict.fromkeys(("stop_records", "crime_records", "nominal_records"), "500")
    layout = lay_out(root, Design(forces=forces, budgets=budgets, timing={"ready_seconds": 30}, port=free_port()))
    hand_out_records(layout, persons=200)
    for _ in load_snapshots(layout):
        pass
    return layout


@contextmanager
def running(layout: Layout, node_module: str = "cordon") -> Iterator[tuple[Federation, float]]:
    """The federation's processes, and seconds until every node was connected."""
    with Federation(layout, node_module=node_module) as federation:
        federation.start_coordinator()
        start = time.monotonic()
        federation.start_nodes()
        federation.wait_connected()
        yield federation, time.monotonic() - start


def ask(layout: Layout, federation: Federation, sql: str, *, warm_up: int, count: int) -> Asked:
    """Ask the same question several times, one after the other."""
    asked = Asked()
    with Client(read_profile(layout.profile())) as client:
        known = client.federation()
        statement = parse_sql(sql, known.versions, list(known.manifest.by_id))
        cost = cost_of_epsilon(EPSILON, known.manifest, 1)
        before: dict[str, float] = {}
        for number in range(warm_up + count):
            if number == warm_up:
                before = {force: cpu_seconds(federation.node(force).pid) for force in layout.design.forces}
            start = time.monotonic()
            marks: dict[type, float] = {}

            def note(event: Event, marks: dict[type, float] = marks, start: float = start) -> None:
                marks.setdefault(type(event), time.monotonic() - start)

            answer = client.ask(statement, cost, known, purpose="research", on_event=note)
            seconds = time.monotonic() - start
            if number >= warm_up:
                asked.times.append(Timed(answer, seconds, marks.get(RosterKnown, 0.0), marks.get(SumReady, 0.0)))
        asked.node_cpu_milliseconds = [
            1000 * (cpu_seconds(federation.node(force).pid) - before[force]) / count
            for force in asked.times[0].answer["answered"]
        ]
    return asked
