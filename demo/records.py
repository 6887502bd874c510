"""Give each force its own records, build its snapshot, and, because a demonstration may, know the truth."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import duckdb

from cordon.catalogue import read_catalogue
from cordon.configfile import read_config
from cordon.manifest import read_manifest
from demo.layout import HERE, Layout, held_by, nominals_held, records_system
from demo.nominals.first import PERSONS, write_nominals
from demo.nominals.population import make_population
from demo.nominals.writing import write_force
from node.config import NodeConfig
from node.ledgerfile import create_ledger
from node.load import load
from node.mapping import Mapping

_FILES = {"stop_search": "stops", "street_crime": "crimes"}


def hand_out_records(layout: Layout, *, persons: int = PERSONS) -> None:
    """Write each force's records into its own folder, as its records system would hold them."""
    with duckdb.connect() as database:
        for dataset, name in _FILES.items():
            source = f"read_parquet('{HERE}/data/{dataset}.parquet')"
            for force in layout.design.forces:
                if dataset in held_by(force):
                    target = layout.force_folder(force) / "records" / f"{name}.parquet"
                    database.execute(
                        f"COPY (SELECT * EXCLUDE (force) FROM {source} WHERE force = '{force}') TO '{target}'"
                    )
    _hand_out_nominals(layout, persons)


def _hand_out_nominals(layout: Layout, persons: int) -> None:
    forces = layout.design.forces
    population = make_population(len(forces), persons=persons * len(forces))
    for number, force in enumerate(forces):
        records, held = layout.force_folder(force) / "records", nominals_held(layout.design, force)
        if 1 in held:
            write_nominals(records / "nominals.csv", number=number, forces=len(forces), persons=persons)
        if 2 in held:
            write_force(population, number, records_system(layout.design, force), records)


def load_snapshots(layout: Layout) -> Iterator[str]:
    """Build every force's snapshots and ledger, a few forces at once; yields each force that is done."""
    jobs = [layout.node_config(force) for force in layout.design.forces]
    with ProcessPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        yield from pool.map(load_force, jobs)


def load_force(config: Path) -> str:
    """Build one force's snapshots, and its ledger where it has none, as its own staff would."""
    settings = read_config(config, NodeConfig)
    manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
    catalogue = read_catalogue(manifest, settings.contracts)
    silent: Callable[[str], None] = lambda _: None  # noqa: E731 - nobody watches one force's stages here
    for path in settings.mappings:
        mapping = read_config(path, Mapping)
        load(mapping, catalogue[mapping.dataset, mapping.version][0], settings.state, progress=silent)
    if not settings.ledger.exists():
        create_ledger(settings.ledger, force=settings.force, now=int(time.time()))
    return settings.force


def truth(
    layout: Layout,
    force: str,
    dataset: str,
    expression: str,
    where: str = "true",
    by: str = "''",
    *,
    version: int = 1,
) -> dict[str, int]:
    """The exact answer over one force's snapshot, which only a demonstration may look at.

    Args:
        expression: DuckDB aggregate over the snapshot.
        by: column to group by.
    """
    path = layout.force_folder(force) / "state" / "snapshots" / f"{dataset}.v{version}.duckdb"
    if not path.is_file():
        return {}
    with duckdb.connect(str(path), read_only=True) as database:
        rows = database.execute(f"SELECT {by}, {expression} FROM snapshot WHERE {where} GROUP BY ALL").fetchall()
    return {str(key): int(value or 0) for key, value in rows}
