"""Examine leaves on several cores; the findings come back in the register's order."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from cordon.reading.examine import Examined, Finding, examine, findings, parsed
from cordon.reading.mirror import Mirror

BATCH = 4096
WORTH_IT = 4 * BATCH
"""Leaves below which starting processes costs more than it saves."""

Keys = Callable[[], Mapping[bytes, bytes]]


def examined(
    mirror: Mirror, start: int, end: int, keys: Keys, jobs: int
) -> Iterator[tuple[int, int, Iterator[Examined]]]:
    """(first index, number, each leaf as it was examined) of every batch of leaves that lies in the mirror.

    Args:
        keys: asked again and again; a batch may be examined before the keys of the one before are known.
    """
    if jobs == 1 or mirror.path is None or end - start < WORTH_IT:
        for first in range(start, end, BATCH):
            leaves = mirror.leaves(first, min(first + BATCH, end))
            yield first, len(leaves), (examine(leaf, keys()) for leaf in leaves)
        return
    # Not forked: this process may have threads, of gRPC and of SQLite.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        waiting: deque[tuple[int, Future[list[Finding]]]] = deque()
        for first in range(start, end, BATCH):
            waiting.append(
                (first, pool.submit(examine_rows, mirror.path, first, min(first + BATCH, end), dict(keys())))
            )
            if len(waiting) > 2 * jobs:
                yield _next(mirror, end, waiting)
        while waiting:
            yield _next(mirror, end, waiting)


def _next(
    mirror: Mirror, end: int, waiting: deque[tuple[int, Future[list[Finding]]]]
) -> tuple[int, int, Iterator[Examined]]:
    first, future = waiting.popleft()
    leaves = mirror.leaves(first, min(first + BATCH, end))
    return first, len(leaves), map(_parsed_again, leaves, future.result())


def _parsed_again(leaf: bytes, finding: Finding) -> Examined:
    return Examined(finding, None, None) if isinstance(finding, str) else Examined(finding, *parsed(leaf))


def examine_rows(path: Path, start: int, end: int, keys: Mapping[bytes, bytes]) -> list[Finding]:
    """`findings` about leaves that lie in a mirror's file; runs in a process of its own."""
    sql = sqlite3.connect(path)
    try:
        sql.execute("PRAGMA query_only = 1")
        rows = sql.execute("SELECT data FROM leaves WHERE leaf >= ? AND leaf < ? ORDER BY leaf", (start, end))
        return findings((row[0] for row in rows), keys)
    finally:
        sql.close()
