"""What `cordon explain` says of a question: its plan, how exact it would be, what it costs. Tells nobody about it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from cordon.analyst.compose import Cost
from cordon.analyst.federation import Federation
from cordon.analyst.forecast import Expected, Outlook, expected, outlook, rows_in_a_cell
from cordon.analyst.residents import residents_note, uses_residents
from cordon.contract import Contract
from cordon.query.plan import Block, Plan
from cordon.query.statement import Statement
from cordon.query.words import describe_measure


def facts_of(
    statement: Statement, plan: Plan, cost: Cost, contract: Contract, federation: Federation, *, rows: float | None
) -> dict[str, Any]:
    """Plain values, for JSON and for `print_facts`.

    Args:
        rows: expected in all, by whoever asks; None where they do not say.
    """
    manifest, roster = federation.manifest, len(plan.question.forces)
    each = rows_in_a_cell(plan, rows)
    facts: dict[str, Any] = {
        "data set": f"{contract.dataset} v{contract.version}",
        "protected unit": contract.unit.words,
        "forces asked": roster,
        "cells": plan.cells,
        "ciphertexts": f"{plan.ciphertexts} ({plan.parameters.name})",
        "epsilon per attempt": round(manifest.epsilon(cost.rho), 6),
        "rho per attempt": str(cost.rho),
        "at most": f"epsilon {manifest.epsilon(cost.rho * cost.attempts):.4g} over {cost.attempts} attempts",
        "tolerated colluders": manifest.colluders,
    }
    paused = sorted(federation.paused & set(plan.question.forces))
    if paused:
        facts["paused"] = f"{', '.join(paused)} (when the catalogue was fetched): they would decline"
    honest = max(1, roster - manifest.colluders)
    facts["a trusted central curator"] = f"would have intervals {math.sqrt(honest / roster):.3g} times as wide"
    facts["blocks"] = [_block(block, plan) for block in plan.blocks]
    facts["columns"] = [_column(found) for found in expected(statement, plan, contract, rows=each)]
    facts["rows in a cell"] = round(each)
    facts["warnings"] = _warnings(statement, plan, contract, rows)
    facts["notes"] = _notes(statement)
    return facts


def print_facts(facts: dict[str, Any], out: Console) -> None:
    """Show `facts_of` to a person."""
    for name, value in facts.items():
        if isinstance(value, str | int | float) and name != "rows in a cell":
            out.print(f"{name + ':':<26} {value}", highlight=False, markup=False, soft_wrap=True)
    _print_blocks(facts["blocks"], out)
    _print_columns(facts["columns"], facts["rows in a cell"], out)
    for text in facts["warnings"]:
        out.print(f"warning: {text}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    for text in facts["notes"]:
        out.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)


def _block(block: Block, plan: Plan) -> dict[str, Any]:
    roster = len(plan.question.forces)
    total = sum(each.rho.nano for each in plan.blocks)
    return {
        "measure": describe_measure(block.measure),
        "by": [plan.axes[at].key.column for at in block.keys],
        "bin_width": block.width,
        "cells": block.cells,
        "sensitivity": math.sqrt(block.d_squared),
        "sigma": block.sigma(roster, plan.colluders),
        "share": block.rho.nano / total,
    }


def _column(found: Expected) -> dict[str, Any]:
    # JSON has no infinity: null stands for what cannot be foreseen.
    return asdict(found) | {"half_width": found.half_width if math.isfinite(found.half_width) else None}


def _warnings(statement: Statement, plan: Plan, contract: Contract, rows: float | None) -> list[str]:
    if rows is None:
        return []
    return [_warning(found) for found in outlook(statement, plan, contract, total=rows) if found.suggestions]


def _warning(found: Outlook) -> str:
    by = f" by {', '.join(found.keys)}" if found.keys else ""
    return (
        f"at this cost {100 * found.noisy:.0f} % of the {found.cells} cells of {found.column}{by} would be too noisy "
        f"to read, if their sizes fall off with their rank: {', or '.join(found.suggestions)}"
    )


def _notes(statement: Statement) -> list[str]:
    notes = list(statement.notes)
    if uses_residents(statement):
        notes.append(residents_note())
    return notes


def _print_blocks(blocks: list[dict[str, Any]], out: Console) -> None:
    table = Table("block", "by", "cells", "sensitivity", "sigma", "share of the cost", box=None, pad_edge=False)
    for block in blocks:
        width = f" in bins of {block['bin_width']}" if block["bin_width"] else ""
        table.add_row(
            f"{block['measure']}{width}", ", ".join(block["by"]), str(block["cells"]),
            f"{block['sensitivity']:.4g}", f"{block['sigma']:.4g}", f"{100 * block['share']:.3g} %",
        )  # fmt: skip
    out.print(table, highlight=False, markup=False)


def _print_columns(columns: list[dict[str, Any]], rows: int, out: Console) -> None:
    table = Table("column", "by", "95 % half-width", "readable from", box=None, pad_edge=False)
    for column in columns:
        readable, half_width = column["readable_from"], column["half_width"]
        from_rows = "never" if readable is None else f"{readable:,} rows in a cell"
        where = "" if column["exact"] else f" at {rows:,} rows in a cell"
        width = "cannot be foreseen" if half_width is None else f"±{half_width:.4g}{where}"
        table.add_row(column["column"], ", ".join(column["keys"]), width, from_rows)
    out.print(table, highlight=False, markup=False)
