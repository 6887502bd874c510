"""Whether an earlier answer is one to what is asked: by what its statement measures, not by its columns' names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from cordon.contract import FORCE, Category
from cordon.errors import Refused
from cordon.query.expression import Expression, Part, Residents
from cordon.query.model import All, Key, Measure, MeasureKind, Member, Predicate
from cordon.query.statement import Statement
from cordon.workbench.answer import Answer
from cordon.workbench.disparity.statement import RECORDS, RESIDENTS, WITH, WITHOUT, Per, Wanted

_CONDITIONS = re.compile(r"\bFROM\b[^()]*?\bWHERE\b(.*)\bGROUP\s+BY\b", re.IGNORECASE | re.DOTALL)

_COUNT = Measure(MeasureKind.COUNT)


def matched(answer: Answer, asked: Wanted, ours: Statement, theirs: Statement) -> Wanted:
    """What is asked for, as an earlier answer to another statement tells it.

    Args:
        ours: `asked.sql`, read.
        theirs: the answer's statement, read.

    Returns:
        With the answer's own conditions where none are asked for.

    Raises:
        Refused: the answer measures something else, or was asked under other conditions; the hint is the question that
            would do.
    """
    _check_version(answer, theirs)
    if not _measures_alike(asked, theirs):
        has = ", ".join(column.name for column in answer.columns)
        raise Refused(
            f"query {answer.query_id[:16]} does not ask what this needs: it has {has}, by {answer.sql}",
            hint=f"this would do: {asked.sql}",
        )
    need, have = _parts(ours.question.where), _parts(theirs.question.where)
    is_alike = need == have and ours.question.forces == theirs.question.forces
    if not need <= have or (asked.where and not is_alike):
        raise Refused(
            f"query {answer.query_id[:16]} was asked under other conditions: {answer.sql}",
            hint=f"this would do: {asked.sql}",
        )
    if is_alike:
        return replace(asked, read_from=answer.sql)
    where = _conditions(theirs, answer)
    notes = (*asked.notes, f"the earlier answer is about records for which {where} only") if where else asked.notes
    return replace(asked, read_from=answer.sql, where=where, left_out=(), notes=notes)


def check_read(answer: Answer, asked: Wanted) -> None:
    """Check that an answer is one to what is asked, or was found to serve as one.

    Raises:
        Refused: it is neither.
    """
    if answer.sql not in (asked.sql, asked.read_from):
        raise Refused(
            f"query {answer.query_id[:16]} does not ask what this needs: {answer.sql}",
            hint=f"this would do: {asked.sql}",
        )


def _check_version(answer: Answer, theirs: Statement) -> None:
    """A name without a version may have come to mean another contract since."""
    now = f"{theirs.question.dataset} v{theirs.question.contract_version}"
    if now != answer.dataset:
        raise Refused(
            f"query {answer.query_id[:16]} was answered by {answer.dataset}, and its words mean {now} today",
            hint="ask anew",
        )


def _measures_alike(asked: Wanted, theirs: Statement) -> bool:
    keys, measures = _outputs(theirs)
    if any(name != key.column for name, key in keys.items()) or len(keys) != len(theirs.question.keys):
        return False
    return any(
        set(keys) == names and all(measures.get(name) == needed for name, needed in form.items())
        for names, form in _forms(asked)
    )


def _outputs(statement: Statement) -> tuple[dict[str, Key], dict[str, Measure | Expression]]:
    """Every column of the answer: keys, and what the others hold, a lone measure as itself."""
    keys: dict[str, Key] = {}
    measures: dict[str, Measure | Expression] = {}
    for output in statement.outputs:
        found = output.expression
        if output.key is not None:
            keys[output.name] = statement.question.keys[output.key]
        elif found is not None:
            measures[output.name] = statement.question.measures[found.measure] if isinstance(found, Part) else found
    return keys, measures


def _forms(asked: Wanted) -> tuple[tuple[set[str], Mapping[str, Measure | Expression]], ...]:
    """Every set of keys and of measures that would do."""
    keys = {asked.by.name} | ({FORCE} if asked.by_force else set())
    if asked.per is Per.POPULATION or asked.outcome is None:
        return ((keys, {RECORDS: _COUNT, RESIDENTS: Residents()}),)
    return (
        (keys | {asked.outcome.name}, {RECORDS: _COUNT}),
        (keys, _with_and_without(asked.outcome, asked.outcomes)),
    )


def _with_and_without(column: Category, codes: tuple[str, ...]) -> Mapping[str, Measure | Expression]:
    others = [code.code for code in column.codes if code.code not in codes]

    def among(of: list[str]) -> Measure:
        return Measure(MeasureKind.COUNT, where=Member(column.name, tuple(sorted(of))))

    return {WITH: among(list(codes)), WITHOUT: among(others)}


def _parts(where: Predicate | None) -> frozenset[Predicate]:
    """The conditions that all must hold."""
    if where is None:
        return frozenset()
    return frozenset(where.parts) if isinstance(where, All) else frozenset([where])


def _conditions(theirs: Statement, answer: Answer) -> str:
    found = _CONDITIONS.search(answer.sql)
    if found is not None:
        return found[1].strip()
    return "" if theirs.question.where is None else "its own conditions hold"
