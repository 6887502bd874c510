"""Which contract FROM means: a data set and a version of it, or a data set alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from sqlglot import exp

from cordon.contract import Contract
from cordon.query.sql.refusing import Text, closest

Choose = Callable[[tuple[Contract, ...], tuple[str, ...]], Contract]
"""(versions of one data set, the oldest first; forces asked) → the version that its bare name stands for."""


def newest(versions: tuple[Contract, ...], _: tuple[str, ...]) -> Contract:
    """The newest version, whoever is asked."""
    return versions[-1]


@dataclass(frozen=True, slots=True)
class Versions:
    """The contracts that FROM can name, and which of them a bare name stands for."""

    by_name: Mapping[str, tuple[Contract, ...]]
    """Of each data set at least one version, the oldest first."""
    choose: Choose = newest

    @classmethod
    def of(cls, contracts: Iterable[Contract], choose: Choose = newest) -> Versions:
        """Several contracts, in any order."""
        by_name: dict[str, tuple[Contract, ...]] = {}
        for contract in sorted(contracts, key=lambda contract: (contract.dataset, contract.version)):
            by_name[contract.dataset] = (*by_name.get(contract.dataset, ()), contract)
        return cls(by_name, choose)


@dataclass(frozen=True, slots=True)
class Source:
    """What FROM names."""

    versions: tuple[Contract, ...]
    """Of its data set, the oldest first."""
    named: Contract | None
    """The version that was typed; None for a data set alone."""


def read_source(select: exp.Select, contracts: Versions, text: Text) -> Source:
    """The data set in FROM, and the version where one is named.

    Raises:
        QuestionRefused: it names none that there is, or something else.
    """
    table = _table(select, contracts, text)
    dataset, version = table.args.get("db"), table.this
    if dataset is None:
        dataset, version = version, None
    versions = contracts.by_name.get(dataset.name)
    if versions is None:
        text.refuse(f"there is no data set {dataset.name!r}", dataset, hint=closest(dataset.name, contracts.by_name))
    if version is None:
        return Source(versions, None)
    for contract in versions:
        if version.name == f"v{contract.version}":
            return Source(versions, contract)
    there_are = ", ".join(f"{contract.dataset}.v{contract.version}" for contract in versions)
    text.refuse(f"there is no version {version.name!r} of {dataset.name}", version, hint=f"there are: {there_are}")


def _table(select: exp.Select, contracts: Versions, text: Text) -> exp.Table:
    source = select.args.get("from_")
    if source is None:
        text.refuse("FROM is missing", select, hint=f"data sets: {', '.join(sorted(contracts.by_name))}")
    table = source.this
    if isinstance(table, exp.Subquery):
        text.refuse("FROM names a data set, not a SELECT", table, hint="ask the inner SELECT by itself")
    if not isinstance(table, exp.Table):
        _refuse_more(table, table.name, text)
    # Two points in a row leave an empty text where a name would stand.
    if table.args.get("catalog") or not isinstance(table.args.get("db"), exp.Identifier | None):
        hint = "FROM data_set, or FROM data_set.v2"
        text.refuse("FROM names a data set and at most a version of it", table, hint=hint)
    extra = {name for name, value in table.args.items() if value and name not in ("this", "db")}
    if extra or not isinstance(table.this, exp.Identifier):
        # A version after a space is read as another name for the data set.
        version = table.alias if re.fullmatch("v[0-9]+", table.alias) and not table.db else ""
        words = ".".join(part for part in (table.db, table.this.name, version) if part)
        _refuse_more(table, words, text)
    return table


def _refuse_more(node: exp.Expr, words: str, text: Text) -> NoReturn:
    text.refuse("FROM names one data set, and nothing else beside it", node, hint=f"FROM {words or 'data_set'}")
