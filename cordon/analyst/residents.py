"""The bundled public table of residents by force and ethnic group: what rates are divided by."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from cordon.contract import FORCE
from cordon.errors import QuestionRefused
from cordon.query.axes import conjuncts
from cordon.query.expression import Expression, Residents, leaves
from cordon.query.model import Member, Question
from cordon.query.plan import Plan
from cordon.query.statement import Statement, compared_in


class ResidentsTable(BaseModel):
    """Residents of each force's area by group, and which columns' codes stand for which group."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    title: str
    source: str
    licence: str
    columns: dict[str, dict[str, str]]
    """By column and code: the group that the code stands for."""
    other_columns: dict[str, str]
    """By column: why it cannot be used with residents, and what can."""
    forces: dict[str, dict[str, int]]
    """By force and group: residents."""


@cache
def bundled_residents() -> ResidentsTable:
    """The table that comes with Cordon."""
    text = files("cordon.analyst").joinpath("residents.toml").read_text(encoding="utf-8")
    return ResidentsTable.model_validate(tomllib.loads(text))


def uses_residents(statement: Statement) -> bool:
    """Whether a statement divides by residents, in a column or in HAVING."""
    return any(Residents() in leaves(expression) for expression in _expressions(statement))


def residents_note() -> str:
    """What rates are divided by, and where that is from."""
    table = bundled_residents()
    return f"residents: {table.title}; {table.source}; {table.licence}"


def check_residents(statement: Statement) -> None:
    """Check that the table knows the residents behind every total that a statement divides by them.

    Raises:
        QuestionRefused: a force has no residents of its own, or a filter is by a group that the table has not.
    """
    if not uses_residents(statement):
        return
    table, question = bundled_residents(), statement.question
    for column in question.columns:
        if column in table.other_columns:
            raise QuestionRefused(f"RESIDENTS() and {column} do not go together", hint=table.other_columns[column])
    whole = {id(part) for part in conjuncts(question.where) if isinstance(part, Member)}
    loose = [atom for atom in question.atoms if atom.column in table.columns and id(atom) not in whole]
    if loose:
        raise QuestionRefused(
            f"with RESIDENTS(), {loose[0].column} can only be filtered by a condition that is joined by AND",
            hint=f"GROUP BY {loose[0].column}, or name its codes in WHERE",
        )
    _check_codes(question, table)
    missing = [force for force in question.forces if force not in table.forces]
    if missing and not all(_has_force(keys, question) for keys in question.tables):
        names = ", ".join(f"'{force}'" for force in missing)
        raise QuestionRefused(
            f"the table of residents has none for {', '.join(missing)}, so totals cannot be divided by them",
            hint=f"add WHERE force NOT IN ({names}), or group every table by force",
        )


def _check_codes(question: Question, table: ResidentsTable) -> None:
    """Refuse totals over codes of which some have residents and others, as `unknown`, have none."""
    for part in conjuncts(question.where):
        if not isinstance(part, Member) or part.column not in table.columns:
            continue
        without = [code for code in part.codes if code not in table.columns[part.column]]
        single = all(any(question.keys[at].column == part.column for at in keys) for keys in question.tables)
        if without and not single:
            raise QuestionRefused(
                f"nobody knows the residents behind {part.column} = {without[0]!r}, so a total over it has no rate",
                hint=f"leave {without[0]} out of WHERE, or group every table by {part.column}",
            )


def residents_of(plan: Plan, keys: tuple[int, ...], answered: Sequence[str]) -> npt.NDArray[np.float64]:
    """Residents behind each row of a table; NaN where the public table has none.

    Args:
        keys: the table's axes, as indices into the plan's.
        answered: forces that are in the answer; rows that are not of one force are of all of them.
    """
    table, question = bundled_residents(), plan.question
    names = [plan.axes[at].key.column for at in keys]
    allowed = set(_groups(question, table))
    counted = []
    for row in plan.rows_of(keys):
        values = dict(zip(names, row, strict=True))
        forces = [values[FORCE]] if FORCE in values else answered
        groups = allowed.copy()
        for column, codes in table.columns.items():
            if column in values:
                groups &= {codes.get(values[column], "")}
        counted.append(sum(_residents(table, force, groups) for force in forces))
    return np.array(counted, dtype=np.float64)


def _expressions(statement: Statement) -> Iterator[Expression]:
    yield from (output.expression for output in statement.outputs if output.expression is not None)
    yield from compared_in(statement.having)


def _has_force(keys: tuple[int, ...], question: Question) -> bool:
    return any(question.keys[at].column == FORCE for at in keys)


def _groups(question: Question, table: ResidentsTable) -> Iterator[str]:
    """The groups that WHERE leaves."""
    every = {group for residents in table.forces.values() for group in residents}
    for part in conjuncts(question.where):
        if isinstance(part, Member) and part.column in table.columns:
            every &= {table.columns[part.column].get(code, "") for code in part.codes}
    yield from sorted(every)


def _residents(table: ResidentsTable, force: str, groups: set[str]) -> float:
    if force not in table.forces or not groups:
        return float("nan")
    return sum(count for group, count in table.forces[force].items() if group in groups)
