"""What each force of a download would hold: months that a contract covers, months that are missing, and its mapping."""

from __future__ import annotations

import json
from calendar import monthrange
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from cordon.contract import Contract, Date
from cordon.errors import Misconfigured
from node.opendata.datasets import DATASETS, LONDON
from node.opendata.download import Kind, Piece

_MOST_NOTE = 200


@dataclass(frozen=True, slots=True)
class Holding:
    """One data set of one force."""

    contract: Contract
    kind: Kind
    pieces: tuple[Piece, ...]
    """In the order of their months; at least one."""

    elsewhere: tuple[str, ...] = ()
    """Months that any force of the download has files of this kind of, and the contract covers."""

    @property
    def force(self) -> str:
        """Whose it is."""
        return self.pieces[0].force

    @property
    def months(self) -> tuple[str, ...]:
        """Months that there are files of."""
        return tuple(piece.month for piece in self.pieces)

    @property
    def gaps(self) -> tuple[str, ...]:
        """Months that there is no file of: between the first and the last, and those that other forces have."""
        wanted = {*months_between(self.months[0], self.months[-1]), *self.elsewhere}
        return tuple(sorted(wanted - set(self.months)))

    @property
    def note(self) -> str:
        """The data note for analysts: what is missing."""
        if not self.gaps:
            return ""
        named = ", ".join(self.gaps)
        text = f"missing months: {named}"
        return text if len(text) <= _MOST_NOTE else f"{len(self.gaps)} months are missing"


def months_between(first: str, last: str) -> tuple[str, ...]:
    """Every month from the first to the last, `YYYY-MM`."""
    months = []
    at = first
    while at <= last:
        months.append(at)
        year, month = int(at[:4]), int(at[5:])
        at = f"{year + month // 12}-{month % 12 + 1:02d}"
    return tuple(months)


def last_day(month: str) -> date:
    """The last day of a month `YYYY-MM`."""
    year, number = int(month[:4]), int(month[5:])
    return date(year, number, monthrange(year, number)[1])


def covered(contract: Contract, months: Iterable[str]) -> tuple[str, ...]:
    """Those of the months that a contract covers."""
    column = contract.column("month")
    if not isinstance(column, Date):
        raise TypeError(f"{contract.dataset} v{contract.version} has no month")
    return tuple(month for month in months if column.min <= last_day(month) <= column.max)


def holdings(
    pieces: Sequence[Piece],
    contracts: Sequence[Contract],
    *,
    leave_out_uncovered: bool,
    beside: Sequence[Piece] = (),
) -> tuple[Holding, ...]:
    """What each force would hold, by force and data set.

    For each kind of file the contract version that covers most of its months is taken; of several the newest.

    Args:
        beside: the whole download: a month that some force has a file of, and another lacks, is a gap.

    Raises:
        Misconfigured: months lie outside their contract and are not to be left out, or nothing is left.
    """
    found: list[Holding] = []
    outside: list[str] = []
    for kind in Kind:
        own = [piece for piece in pieces if piece.kind is kind]
        if not own:
            continue
        contract = _contract(kind, contracts, sorted({piece.month for piece in own}))
        inside = set(covered(contract, {piece.month for piece in own}))
        strange = sorted({piece.month for piece in own} - inside)
        outside += [f"{contract.dataset} v{contract.version} does not cover {_shown(strange)}"] if strange else []
        elsewhere = covered(contract, sorted({piece.month for piece in (*pieces, *beside) if piece.kind is kind}))
        found += _by_force(kind, contract, [piece for piece in own if piece.month in inside], elsewhere)
    if outside and not leave_out_uncovered:
        raise Misconfigured(
            "; ".join(outside),
            hint="leave these months out with --covered-only, or ask the federation for a version of the contract that "
            "covers them, and name the folder that it lies in with --contracts; nothing was written",
        )
    if not found:
        raise Misconfigured("; ".join(outside), hint="no month is left: a contract that covers them is needed")
    return tuple(sorted(found, key=lambda holding: (holding.force, holding.contract.dataset)))


def _contract(kind: Kind, contracts: Sequence[Contract], months: Sequence[str]) -> Contract:
    dataset = DATASETS[kind].dataset
    known = [contract for contract in contracts if contract.dataset == dataset]
    if not known:
        raise Misconfigured(f"there is no contract {dataset}")
    return max(known, key=lambda contract: (len(covered(contract, months)), contract.version))


def _by_force(kind: Kind, contract: Contract, pieces: Sequence[Piece], elsewhere: tuple[str, ...]) -> list[Holding]:
    forces = sorted({piece.force for piece in pieces})
    return [
        Holding(contract, kind, tuple(sorted(piece for piece in pieces if piece.force == force)), elsewhere)
        for force in forces
    ]


def _shown(months: Sequence[str]) -> str:
    return ", ".join(months) if len(months) <= 12 else f"{len(months)} months from {months[0]} to {months[-1]}"


def mapping_text(holding: Holding, *, as_at: date, folder: str) -> str:
    """A force's mapping for a data set, in TOML.

    Args:
        as_at: the date that the force declares its records to be as at.
        folder: where its files lie, from the mapping on.
    """
    published = DATASETS[holding.kind]
    zone = f", time_zone = {json.dumps(LONDON)}"
    columns = "\n".join(
        f"{name} = {{ source = {json.dumps(source)}{zone if name in published.zoned else ''} }}"
        for name, source in published.columns.items()
    )
    note = f"note = {json.dumps(holding.note)}\n" if holding.note else ""
    return f"""\
# From data.police.uk's {holding.kind} files to the contract. Local codes are the published labels, which the contract
# knows; whatever it does not know becomes `unknown` and is counted when loading. Contains public sector information
# licensed under the Open Government Licence v3.0.
dataset = "{published.dataset}"
version = {holding.contract.version}
domain = "{published.domain}"
as_at = {as_at.isoformat()}
first_month = "{holding.months[0]}"
last_month = "{holding.months[-1]}"
{note}
[source]
kind = "csv"
path = {json.dumps(folder)}

[columns]
{columns}
"""
