"""What a watch tells: that cells have changed, or that it does not go on. Noised values, each with its interval."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from cordon.analyst.rows import Estimate
from cordon.analyst.times import utc
from cordon.units import Digest
from cordon.workbench.answer import Answer
from cordon.workbench.watch.change import Finding
from cordon.workbench.watch.saved import Hex32, Kept, Natural, Saved, Seconds, Text

Kind = Literal["change", "budget", "question"]


class Shown(Kept):
    """One estimate with its 95 % interval."""

    estimate: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


class Cell(Kept):
    """One cell that has changed."""

    keys: dict[Text, Text | None]
    measure: Text
    before: Shown
    now: Shown
    change: FiniteFloat
    relative: FiniteFloat | None
    """Share of the earlier estimate; None where that is not above zero."""
    p: Annotated[FiniteFloat, Field(ge=0, le=1)]


class Alert(Kept):
    """One alert. It is delivered at least once each way; its id stays the same."""

    version: Literal[1] = 1
    id: Hex32
    watch: Text
    kind: Kind
    at: Seconds
    """By the analyst's clock."""
    text: Text
    """In a sentence."""
    query: Hex32 | None = None
    against: Hex32 | None = None
    """The query whose answer it is compared with."""
    dataset: Text = ""
    protected_unit: Text = ""
    cells: tuple[Cell, ...] = ()
    notes: tuple[Text, ...] = ()
    """What must be known to read it."""

    def body(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return self.model_dump(mode="json") | {"time": utc(self.at).isoformat()}

    def lines(self) -> list[str]:
        """As people read it: one line, and one more for each cell."""
        head = f"{utc(self.at).date().isoformat()} {self.watch}: {self.text}"
        return [head, *(f"  {_cell_line(cell)}" for cell in self.cells)]


def change_alert(
    saved: Saved,
    watch_id: Digest,
    pair: tuple[Answer, Answer],
    found: Iterable[Finding],
    *,
    slots: tuple[str, str],
    at: int,
    notes: tuple[str, ...],
) -> Alert:
    """Cells have changed.

    Args:
        pair: the earlier answer and the new one.
        slots: what the earlier and the new release are of, as people say it.
    """
    before, now = pair
    cells = tuple(_cell(now, finding) for finding in found)
    count = "one cell has" if len(cells) == 1 else f"{len(cells)} cells have"
    return Alert(
        id=_id(watch_id, "change", now.query_id, before.query_id),
        watch=saved.name,
        kind="change",
        at=at,
        text=f"{count} changed from {slots[0]} to {slots[1]} by more than {_explained(saved)}",
        query=now.query_id,
        against=before.query_id,
        dataset=_plain(now.dataset),
        protected_unit=_plain(now.unit),
        cells=cells,
        notes=tuple(_plain(note) for note in (*((now.caveat,) if now.caveat else ()), *notes)),
    )


def _explained(saved: Saved) -> str:
    if saved.natural is Natural.NONE:
        return "noise explains"
    if saved.times > 1:
        return f"noise and records that vary {saved.times:g} times as much as independent ones explain"
    return "noise and independent records explain"


def stopped_alert(saved: Saved, watch_id: Digest, kind: Kind, about: str, text: str, at: int) -> Alert:
    """The watch asks nothing any more.

    Args:
        about: what it is that stops it, so that the same is told once.
    """
    return Alert(id=_id(watch_id, kind, about), watch=saved.name, kind=kind, at=at, text=text)


def _id(watch_id: Digest, *parts: str) -> str:
    return hashlib.sha256("\n".join((watch_id.hex(), *parts)).encode()).hexdigest()


def _cell(answer: Answer, found: Finding) -> Cell:
    pair = found.pair
    return Cell(
        keys={
            _plain(name): None if key is None else _plain(key) for name, key in zip(answer.keys, pair.keys, strict=True)
        },
        measure=_plain(pair.measure),
        before=_shown(pair.before),
        now=_shown(pair.now),
        change=found.change,
        relative=found.relative,
        p=min(1.0, found.p),
    )


def _plain(text: str) -> str:
    """Without what a terminal would obey, or a reader could not see: contracts may hold it."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _shown(estimate: Estimate) -> Shown:
    return Shown(estimate=estimate.value, low=estimate.low, high=estimate.high)


def _cell_line(cell: Cell) -> str:
    keys = ", ".join(f"{name} {value}" for name, value in cell.keys.items()) or "in all"
    relative = "" if cell.relative is None else f", {100 * cell.relative:+.0f} %"
    return (
        f"{keys}: {cell.measure} {_figure(cell.before)} → {_figure(cell.now)} ({cell.change:+,.0f}{relative}; "
        f"p at most {max(cell.p, 1e-300):.1e})"
    )


def _figure(shown: Shown) -> str:
    digits = 0 if math.fabs(shown.high - shown.low) > 2 else 2
    return f"{shown.estimate:,.{digits}f} ({shown.low:,.{digits}f} to {shown.high:,.{digits}f})"
