"""What `cordon audit verify` prints, and the evidence that it writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cordon.auditor.access import Opened
from cordon.envelope import to_json
from cordon.errors import CordonError, Misconfigured
from cordon.reading.verdict import Check, Result
from cordon.wire import codec

MOST_TEXT = 1000
"""Characters of one cell or sentence that are printed."""

MOST_EVIDENCE = 100
"""Discrepancies that evidence is written of."""


def moment(time: int) -> str:
    """A time as people and programs read it, UTC."""
    return datetime.fromtimestamp(min(time, 2**37), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def printable(text: str) -> str:
    """A text as a terminal may have it: what others have signed may hold control characters."""
    cut = text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
    return "".join(character if character.isprintable() else "\ufffd" for character in cut)


def as_dict(result: Result) -> dict[str, Any]:
    """A result for programs."""
    first = result.discrepancies[0] if result.discrepancies else None
    return {
        "verdict": "discrepancy" if first else "ok",
        "register": result.origin,
        "size": result.checkpoint.size,
        "root": result.checkpoint.root.hex(),
        "time": moment(result.time),
        "new_leaves": result.new_leaves,
        "counts": result.counts,
        "checks": {check.name.lower(): {"what": check.value, "found": result.found.get(check, 0)} for check in Check},
        "contributions": {
            "added_again": result.readded.equal,
            "not_kept": result.readded.gone,
            "not_had": result.readded.waiting,
        },
        "first_discrepancy": {"leaf": first.leaf, "what": first.what} if first else None,
        "discrepancies": sum(result.found.values()),
        "pending": [{"leaf": item.leaf, "what": item.what} for item in result.pending],
    }


def listed(result: Result) -> list[dict[str, Any]]:
    """A row for each discrepancy that is kept."""
    return [{"leaf": d.leaf, "check": d.check.name.lower(), "what": d.what} for d in result.discrepancies]


def print_result(result: Result, out: Console) -> None:
    """Print a result for people."""
    out.print(_heading(result), highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for check in Check:
        table.add_row(_verdict(result, check), check.value)
    out.print(table, highlight=False)
    again, unverified = result.readded, result.counts["unverified"]
    for line in (
        *([f"{unverified} leaves of analysts wait for their queries to be opened"] if unverified else []),
        f"contributions: {again.equal} sums added again, {again.gone} not kept any more, {again.waiting} not had here",
        *(f"pending, leaf {item.leaf}: {item.what}" for item in result.pending),
        *_first(result),
    ):
        out.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def _verdict(result: Result, check: Check) -> str:
    count = result.found.get(check, 0)
    if count:
        return f"{count} wrong"
    return "none" if check is Check.SUMS and not result.readded.equal else "ok"


def _heading(result: Result) -> str:
    counts = result.counts
    return (
        f"register {result.origin or 'not read'}: {counts['leaves']} leaves, {result.new_leaves} of them new, "
        f"as of {moment(result.time)}\n"
        f"{counts['queries']} queries, {counts['completed']} completed; {counts['receipts']} receipts and "
        f"{counts['statements']} budget statements of {counts['forces']} forces; {counts['manifests']} manifests; "
        f"{counts['openings']} opened, {counts['erasures']} erased"
    )


def _first(result: Result) -> list[str]:
    if not result.discrepancies:
        return ["no discrepancy"]
    first, others = result.discrepancies[0], sum(result.found.values()) - 1
    more = f"; {others} more" if others else ""
    return [f"DISCREPANCY at leaf {first.leaf}: {first.what}{more}"]


def write_evidence(folder: Path, opened: Opened) -> None:
    """Write each offending leaf, and what else shows the discrepancy, as files.

    Raises:
        Misconfigured: the folder cannot be written.
    """
    result = opened.result
    shown = result.discrepancies[:MOST_EVIDENCE]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "discrepancies.json").write_text(json.dumps(listed(result), indent=2) + "\n", encoding="utf-8")
        (folder / "checkpoint").write_bytes(opened.mirror.note)
        for item in shown:
            for name, data in item.evidence:
                (folder / f"leaf-{item.leaf}-{name}").write_bytes(data)
            if item.leaf < result.checkpoint.size:
                _write_leaf(folder, item.leaf, opened.mirror.leaf(item.leaf))
    except OSError as error:
        raise Misconfigured(f"cannot write evidence into {folder}: {error.strerror}") from None


def _write_leaf(folder: Path, index: int, leaf: bytes) -> None:
    (folder / f"leaf-{index}").write_bytes(leaf)
    try:
        (folder / f"leaf-{index}.json").write_text(to_json(codec.decode_envelope(leaf)), encoding="utf-8")
    except CordonError:
        # It is no envelope, which may be what is wrong with it; its bytes are written.
        return
