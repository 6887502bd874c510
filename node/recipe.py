"""The statements that build a snapshot in DuckDB: what a mapping, a contract and a source's types compile to.

Compiling takes longer than loading a few thousand rows; who loads many forces' records by one mapping, as a
demonstration does, compiles once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import ibis

from cordon.contract import Contract
from node.bounding import bounded
from node.coding import coded, local_codes
from node.engine import DUCKDB
from node.identifiers import Keys
from node.mapping import Mapping as SourceMapping

MOST_KEPT = 32
"""Recipes whose statements are kept."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the statements follow from; two are the same if their digests are."""

    digest: str
    """SHA-256 of everything that a statement could depend on."""
    types: Mapping[str, str] = field(compare=False)
    """ibis type of each source column that is read."""
    mapping: SourceMapping = field(compare=False)
    contract: Contract = field(compare=False)
    keys: Keys = field(compare=False)
    """In no statement of DuckDB: it knows secrets as variables."""

    @classmethod
    def of(cls, types: Mapping[str, str], mapping: SourceMapping, contract: Contract, keys: Keys) -> Recipe:
        """The recipe of one load."""
        said = {
            "contract": str(contract.digest),
            "mapping": mapping.model_dump_json(include={"domain", "columns", "exclude", "deduplicate"}),
            "codes": local_codes(mapping, contract),
            "types": dict(types),
            "linked": keys.linkage is not None,
        }
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        return cls(digest, types, mapping, contract, keys)


@lru_cache(MOST_KEPT)
def coding(recipe: Recipe) -> str:
    """The statement that codes the rows of a source."""
    return DUCKDB.sql(coded(recipe.types, recipe.mapping, recipe.contract, DUCKDB, recipe.keys))


@lru_cache(MOST_KEPT)
def bounding(recipe: Recipe, table: str, columns: tuple[tuple[str, str], ...]) -> str:
    """The statement that bounds the coded rows in a table.

    Args:
        columns: name and DuckDB's type of each.
    """
    rows = ibis.table({name: _IBIS[kind] for name, kind in columns}, name=table)
    linked = recipe.keys.linkage is not None
    return DUCKDB.sql(bounded(rows, recipe.mapping, recipe.contract, DUCKDB, linked=linked))


_IBIS = {
    "VARCHAR": "string", "BIGINT": "int64", "INTEGER": "int32", "SMALLINT": "int16", "DOUBLE": "float64",
    "BOOLEAN": "boolean",
}  # fmt: skip
