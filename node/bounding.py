"""Bound what each unit contributes: a random rank within the unit, and no more rows than the contract allows.

A row's rank depends on the rows of its own unit and on fresh randomness alone, and duplicates are looked for within
a unit alone: that is what makes the bound a stable transformation. docs/privacy.md §1.
"""

from __future__ import annotations

from typing import Any

import ibis

from cordon.contract import Contract
from node.coding import DRAW, EXCLUDED, RANK, UNIT_REST, stored
from node.engine import Engine
from node.identifiers import UNIT
from node.mapping import Mapping


def bounded(coded: Any, mapping: Mapping, contract: Contract, engine: Engine, *, linked: bool) -> Any:
    """The rows of a snapshot, as an ibis table over the coded rows.

    Args:
        coded: ibis table of the coded rows; those that an exclusion marks are left out.
        linked: hashed linkage identifiers are among its columns.
    """
    columns = stored(contract, linked=linked)
    # Numbered before anything is left out: an engine numbers the rows of a stored table.
    rows = coded.mutate(number_=engine.row_number(coded))
    if EXCLUDED in coded.columns:
        rows = rows.filter(rows[EXCLUDED] == 0)
    named = rows.filter(rows[UNIT].notnull())
    if mapping.deduplicate and contract.unit_column is not None:
        named = _first_of(named, [UNIT, UNIT_REST, *mapping.deduplicate], 1)
    ranked = _first_of(named, [UNIT, UNIT_REST], contract.unit.max_rows_per_unit)
    kept = ranked.select(*columns, UNIT, RANK)
    if contract.unit.rows_without_unit == "leave out" and contract.unit_column is not None:
        return kept
    alone = rows.filter(rows[UNIT].isnull())
    numbered = alone.select(
        *columns, **{UNIT: (-alone["number_"] - 1).cast("int64"), RANK: ibis.literal(1).cast("int32")}
    )
    return numbered if not _has_identity(mapping, contract) else kept.union(numbered)


def _has_identity(mapping: Mapping, contract: Contract) -> bool:
    return contract.unit_column is not None or bool(mapping.deduplicate)


def _first_of(rows: Any, alike: list[str], most: int) -> Any:
    """At most so many rows, by lot, of those that are alike in some columns."""
    drawn = ibis.row_number().over(group_by=alike, order_by=rows[DRAW])
    ranked = rows.mutate(**{RANK: (drawn + 1).cast("int32")})
    return ranked.filter(ranked[RANK] <= most)
