"""A saved question: what it asks is fixed when it is saved, and never changes silently with the federation."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cordon.analyst.compose import cost_of_epsilon
from cordon.analyst.federation import Federation
from cordon.analyst.residents import check_residents
from cordon.contract import Contract
from cordon.errors import QuestionRefused, Refused
from cordon.manifest import Manifest
from cordon.query.expression import Arithmetic, Constant, Expression, Part, leaves
from cordon.query.model import MeasureKind
from cordon.query.sql import parse_sql
from cordon.query.statement import Statement
from cordon.units import Rho, exact_number
from cordon.wire.signed import question_digest
from cordon.workbench.watch.schedule import Every

NAME = r"^[a-z][a-z0-9_-]{0,39}$"
MOST_TEXT = 20_000


class Against(StrEnum):
    """Which release a new one is compared with."""

    LAST = "last"
    YEAR_BEFORE = "year-before"


class Natural(StrEnum):
    """What beside noise explains a difference without an alert."""

    POISSON = "poisson"
    """Units that come independently of one another at an unchanged rate, each with at most k rows."""
    NONE = "none"
    """Nothing: an alert says that the records differ, not that anything has changed in the world."""


def _printable(text: str) -> str:
    if not text.replace("\n", "").replace("\t", "").isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


Text = Annotated[str, Field(max_length=MOST_TEXT), AfterValidator(_printable)]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Nano = Annotated[int, Field(ge=0, lt=2**53)]
Seconds = Annotated[int, Field(ge=0, lt=2**37)]


class Kept(BaseModel):
    """What is read back from disk: strict, so that a file that was not written here is refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Saved(Kept):
    """One watch, as it was added."""

    version: Literal[1] = 1
    name: Annotated[str, Field(pattern=NAME)]
    created_at: Seconds
    sql: Text
    question: Hex32
    """Its digest: what is asked, with the contract's version and the forces."""
    dataset: Text
    contract: Hex32
    forces: tuple[Text, ...]
    delta: Text
    """Of the federation, as a fraction: what every epsilon here is at."""
    colluders: Annotated[int, Field(ge=0, lt=1000)]
    purpose: Text
    epsilon: Text
    """Per attempt, as it was given: an exact number."""
    nano_rho: Annotated[int, Field(gt=0, lt=2**53)]
    """Per attempt."""
    attempts: Annotated[int, Field(ge=1, le=100)]
    budget_nano: Annotated[int, Field(gt=0, lt=2**53)]
    """Set aside for each calendar year, UTC."""
    every: Annotated[Every, Field(strict=False)]
    against: Annotated[Against, Field(strict=False)]
    natural: Annotated[Natural, Field(strict=False)]
    times: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """Variance of the records, in those of records that come independently of one another."""
    least_change: Annotated[float, Field(ge=0, le=1000)]
    """Share of the earlier estimate below which a change raises no alert."""
    alert_file: Text | None = None
    webhook: Text | None = None
    secret_file: Text | None = None
    secret_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    earlier: tuple[Hex32, ...] = ()
    """Own queries that ask the same at the same cost and were there before the watch: they are not its releases."""

    @property
    def rho(self) -> Rho:
        """Per attempt."""
        return Rho(self.nano_rho)

    @property
    def most(self) -> Rho:
        """What one release can cost each force."""
        return Rho(self.nano_rho * self.attempts)

    @property
    def budget(self) -> Rho:
        """Set aside for each calendar year."""
        return Rho(self.budget_nano)


class Strange(Refused):
    """What a watch asks is not what it asked when it was saved.

    Attributes:
        changes: what changed, in words.
    """

    def __init__(self, name: str, changes: tuple[str, ...]) -> None:
        self.changes = changes
        super().__init__(
            f"the question of watch {name!r} would not be the one that was saved: {'; '.join(changes)}",
            hint=f"nothing was asked; if it shall go on like this, add it anew under another name, and "
            f"'cordon watch remove {name}'",
        )


def read_statement(sql: str, federation: Federation) -> tuple[Statement, Contract]:
    """A statement that can be watched, and its contract.

    Raises:
        QuestionRefused: it cannot be asked, or its releases could not be compared cell by cell.
    """
    statement = parse_sql(sql, federation.versions, list(federation.manifest.by_id))
    check_residents(statement)
    check_watchable(statement)
    return statement, federation.contract_of(statement.question)


def check_watchable(statement: Statement) -> None:
    """Check that every cell of every release has one plain noised number.

    Raises:
        QuestionRefused: a column is computed from several, or noise chooses which rows are shown.
    """
    if statement.having is not None or statement.limit is not None:
        raise QuestionRefused(
            "a watch compares every cell: HAVING and LIMIT would let the noise choose which",
            hint="leave them out; --least-change leaves small changes out of alerts",
        )
    if len(statement.question.tables) > 1:
        raise QuestionRefused("a watch compares one table: ROLLUP, CUBE and GROUPING SETS make several")
    for output in statement.outputs:
        if output.expression is not None and not _is_linear(output.expression, statement):
            raise QuestionRefused(
                f"a watch compares counts and sums; {output.name} is none",
                hint="watch the counts and sums that it is made of",
            )


def kinds_of(statement: Statement) -> tuple[MeasureKind, ...]:
    """What each column of estimates counts, in the order of the SELECT list; SUM for what is added up of several."""
    expressions = [output.expression for output in statement.outputs if output.expression is not None]
    return tuple(
        _measured(expression, statement) if isinstance(expression, Part) else MeasureKind.SUM
        for expression in expressions
    )


def _measured(part: Part, statement: Statement) -> MeasureKind:
    return statement.question.measures[part.measure].kind


def _is_linear(expression: Expression, statement: Statement) -> bool:
    """Whether a column's noise is Gaussian, so that its interval tells the deviation."""
    if isinstance(expression, Part):
        return _measured(expression, statement) in (MeasureKind.COUNT, MeasureKind.COUNT_UNIT, MeasureKind.SUM)
    if not isinstance(expression, Arithmetic):
        return isinstance(expression, Constant)
    sides = (expression.left, expression.right)
    known = [not leaves(side) for side in sides]
    allowed = {"+": True, "-": True, "*": any(known), "/": known[1]}[expression.sign]
    return allowed and all(_is_linear(side, statement) or not leaves(side) for side in sides)


def facts(statement: Statement, contract: Contract, manifest: Manifest) -> dict[str, Any]:
    """What of a question and its federation a watch is held to."""
    return {
        "question": question_digest(statement.question).hex(),
        "dataset": f"{contract.dataset} v{contract.version}",
        "contract": contract.digest.hex(),
        "forces": statement.question.forces,
        "delta": str(manifest.delta),
        "colluders": manifest.colluders,
    }


def check_same(saved: Saved, federation: Federation) -> tuple[Statement, Contract]:
    """The statement as it reads today, if that is what was saved.

    Raises:
        Strange: it is not; says what changed.
    """
    try:
        statement, contract = read_statement(saved.sql, federation)
    except Refused as error:
        raise Strange(saved.name, (f"it cannot be asked any more ({error})",)) from None
    changes = _changes(saved, facts(statement, contract, federation.manifest))
    changes += _cost_changes(saved, federation.manifest)
    if saved.purpose not in federation.manifest.by_purpose:
        changes.append(f"the federation lists no purpose {saved.purpose!r} any more")
    if changes:
        raise Strange(saved.name, tuple(changes))
    return statement, contract


def _changes(saved: Saved, now: dict[str, Any]) -> list[str]:
    found = []
    if saved.dataset != now["dataset"]:
        found.append(f"FROM now means {now['dataset']}, then {saved.dataset}")
    elif saved.contract != now["contract"]:
        found.append(f"the contract of {saved.dataset} has other bytes under the same version")
    joined, left = (sorted({*a} - {*b}) for a, b in ((now["forces"], saved.forces), (saved.forces, now["forces"])))
    found += [f"it would also ask {', '.join(joined)}"] * bool(joined)
    found += [f"it would not ask {', '.join(left)} any more"] * bool(left)
    found += [
        f"the federation's {what} is now {now[key]}, then {getattr(saved, key)}"
        for key, what in (("delta", "delta"), ("colluders", "number of tolerated colluders"))
        if now[key] != getattr(saved, key)
    ]
    if not found and saved.question != now["question"]:
        found.append("the same words are read as another question")
    return found


def _cost_changes(saved: Saved, manifest: Manifest) -> list[str]:
    try:
        cost = cost_of_epsilon(exact_number(saved.epsilon), manifest, saved.attempts)
    except Refused as error:
        return [f"it cannot be paid any more ({error})"]
    return [] if cost.rho == saved.rho else [f"epsilon {saved.epsilon} is now rho {cost.rho}, then rho {saved.rho}"]


def check_name(name: str) -> str:
    """A watch's name.

    Raises:
        Refused: it is none.
    """
    if not re.fullmatch(NAME, name) or name.endswith("\n"):
        raise Refused(
            f"{name!r} cannot name a watch",
            hint="lower-case letters, digits, hyphens and underscores, a letter first, at most 40",
        )
    return name
