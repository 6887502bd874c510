"""Examine leaves on several cores; the findings come back in the register's order."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from cordon.reading.examine import Finding, examine_all
from cordon.reading.mirror import Mirror

BATCH = 4096
WORTH_IT = 4 * BATCH
"""Leaves below which starting processes costs more than it saves."""

Keys = Callable[[], Mapping[bytes, bytes]]


def examined(
    mirror: Mirror, start: int, end: int, keys: Keys, jobs: int
) -> Iterator[tuple[int, list[bytes], list[Finding]]]:
    """(first index, leaves, findings) of every batch of leaves that lies in the mirror.

    Args:
        keys: asked before each batch; a batch may be examined before the keys of the one before are known.
    """
    if jobs == 1 or mirror.path is None or end - start < WORTH_IT:
        for first in range(start, end, BATCH):
            leaves = mirror.leaves(first, min(first + BATCH, end))
            yield first, leaves, examine_all(leaves, keys())
        return
    # Not forked: this process may have threads, of gRPC and of SQLite.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        waiting: deque[tuple[int, Future[list[Finding]]]] = deque()
        firsts = iter(range(start, end, BATCH))
        for first in firsts:
            waiting.append(
                (first, pool.submit(examine_rows, mirror.path, first, min(first + BATCH, end), dict(keys())))
            )
            if len(waiting) > 2 * jobs:
                yield _next(mirror, end, waiting)
        while waiting:
            yield _next(mirror, end, waiting)


def _next(
    mirror: Mirror, end: int, waiting: deque[tuple[int, Future[list[Finding]]]]
) -> tuple[int, list[bytes], list[Finding]]:
    first, future = waiting.popleft()
    return first, mirror.leaves(first, min(first + BATCH, end)), future.result()


def examine_rows(path: Path, start: int, end: int, keys: Mapping[bytes, bytes]) -> list[Finding]:
    """`examine` of leaves that lie in a mirror's file; runs in a process of its own."""
    sql = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = sql.execute("SELECT data FROM leaves WHERE leaf >= ? AND leaf < ? ORDER BY leaf", (start, end))
        return examine_all((row[0] for row in rows), keys)
    finally:
        sql.close()
