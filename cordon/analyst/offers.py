"""Which forces offer which version of a data set: what `cordon datasets` lists, and what is said when one is chosen."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from cordon.analyst.federation import Federation
from cordon.contract import Category, Contract, Date, Number
from cordon.errors import QuestionRefused
from cordon.query.statement import Statement


def note_on_version(statement: Statement, federation: Federation) -> str:
    """One sentence where FROM left the version open and another could have been meant; else empty."""
    question = statement.question
    asked = federation.contract_of(question)
    if statement.names_version:
        return ""
    offering = federation.holders(asked, question.forces)
    others = [
        version
        for version in federation.versions.by_name[asked.dataset]
        if version.version > asked.version or not set(federation.holders(version, question.forces)) <= set(offering)
    ]
    if not others:
        return ""
    told = ", ".join(
        f"{len(federation.holders(version, question.forces))} offer v{version.version} (FROM {_typed(version)})"
        for version in others
    )
    return f"{_named(asked)} is asked: {len(offering)} of the {len(question.forces)} forces asked offer it, {told}"


def find_contract(name: str, federation: Federation) -> Contract:
    """The contract that FROM would mean by a name, such as `nominals` or `nominals.v2`, if every force were asked.

    Raises:
        QuestionRefused: the federation lists no such data set or version.
    """
    dataset, point, version = name.partition(".")
    by_name = federation.versions.by_name
    if dataset not in by_name:
        raise QuestionRefused(f"there is no data set {dataset!r}", hint=f"there are: {', '.join(sorted(by_name))}")
    if not point:
        return federation.most_offered(by_name[dataset], federation.manifest.by_id)
    for contract in by_name[dataset]:
        if version == f"v{contract.version}":
            return contract
    there_are = ", ".join(map(_typed, by_name[dataset]))
    raise QuestionRefused(f"there is no version {version!r} of {dataset}", hint=f"there are: {there_are}")


def described(contract: Contract, federation: Federation) -> dict[str, Any]:
    """A contract, who offers it, and the versions of its data set; plain values, for JSON."""
    return {
        "version": contract.version,
        "title": contract.title,
        "protected_unit": contract.unit.words,
        "caveat": contract.unit.caveat,
        "licence": contract.licence,
        "columns": {column.name: _domain(column) for column in contract.columns},
        **_offered(contract, federation),
        "versions": [
            {"version": version.version, "title": version.title, **_offered(version, federation)}
            for version in federation.versions.by_name[contract.dataset]
        ],
    }


def print_datasets(federation: Federation, out: Console) -> None:
    """Every data set in every version, one a line."""
    table = Table("data set", "version", "title", "protected unit", "held by", box=None, pad_edge=False)
    for versions in federation.versions.by_name.values():
        for contract in versions:
            held = len(federation.holders(contract))
            table.add_row(
                contract.dataset, str(contract.version), contract.title, contract.unit.words,
                f"{held} of {len(federation.holdings)} connected forces",
            )  # fmt: skip
    out.print(table)
    _print_paused(federation, out)


def print_columns(contract: Contract, federation: Federation, out: Console) -> None:
    """One version's columns and codes, and who offers it and the others."""
    out.print(f"{_named(contract)}: {contract.title}", style="bold", highlight=False)
    out.print(f"{contract.description}\nprotected: {contract.unit.words}", highlight=False)
    if contract.unit.caveat:
        out.print(contract.unit.caveat, highlight=False)
    table = Table("column", "kind", "values", box=None, pad_edge=False)
    table.add_row("force", "force", f"{len(federation.manifest.forces)} forces")
    for column in contract.columns:
        table.add_row(column.name, column.kind, _domain(column))
    out.print(table, highlight=False)
    versions = federation.versions.by_name[contract.dataset]
    for version in versions:
        which = f"v{version.version} " if len(versions) > 1 else ""
        names = ", ".join(federation.holders(version)) or "no connected force"
        out.print(f"{which}held by: {names}", highlight=False, markup=False)
    if len(versions) > 1:
        meant = federation.most_offered(versions, federation.manifest.by_id)
        out.print(
            f"FROM {contract.dataset} asks all forces for v{meant.version}, "
            f"FROM {_typed(versions[-1])} for v{versions[-1].version}; "
            f"'cordon datasets {_typed(versions[0])}' shows the columns of v{versions[0].version}",
            highlight=False,
            markup=False,
        )
    _print_paused(federation, out)


def print_purposes(federation: Federation, out: Console) -> None:
    """List what may be asked for, with the law behind it."""
    table = Table("purpose", "means", "basis", "public after", box=None, pad_edge=False)
    for code, purpose in sorted(federation.manifest.by_purpose.items()):
        table.add_row(code, purpose.title, purpose.basis, f"{purpose.embargo_days} days")
    out.print(table, highlight=False, markup=False)


def _offered(contract: Contract, federation: Federation) -> dict[str, list[str]]:
    holders = federation.holders(contract)
    return {"held_by": holders, "paused": sorted(federation.paused & set(holders))}


def _print_paused(federation: Federation, out: Console) -> None:
    if federation.paused:
        out.print(f"paused: {', '.join(sorted(federation.paused))}", highlight=False)


def _named(contract: Contract) -> str:
    """As people read it."""
    return f"{contract.dataset} v{contract.version}"


def _typed(contract: Contract) -> str:
    """As FROM names it."""
    return f"{contract.dataset}.v{contract.version}"


def _domain(column: object) -> str:
    if isinstance(column, Category):
        return ", ".join(code.code for code in column.codes)
    if isinstance(column, Date):
        return f"{column.min} to {column.max}, by {column.grain}"
    if isinstance(column, Number):
        return f"{float(column.min):g} to {float(column.max):g} {column.unit}, in steps of {float(column.resolution):g}"
    return "an identifier: cannot be selected or filtered by"
