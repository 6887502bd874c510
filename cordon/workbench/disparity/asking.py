"""From a session to a disparity: ask the one question, or take an answer that is there, and compare."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from cordon.analyst.federation import Federation
from cordon.analyst.offers import find_contract
from cordon.errors import Refused
from cordon.query.sql import parse_sql
from cordon.query.statement import Statement
from cordon.workbench.answer import Answer
from cordon.workbench.disparity.drawing import drawn
from cordon.workbench.disparity.finding import disparity_of
from cordon.workbench.disparity.matching import matched
from cordon.workbench.disparity.result import Disparity
from cordon.workbench.disparity.showing import print_disparity, print_notes, sheet_of
from cordon.workbench.disparity.statement import Adjust, Per, Wanted, wanted, without_residents
from cordon.workbench.finding import Finding
from cordon.workbench.pricing import Figure
from cordon.workbench.rereading import statement_of
from cordon.workbench.session import Session


def understood(
    federation: Federation,
    dataset: str,
    *,
    by: str,
    outcome: str | None = None,
    per: Per | None = None,
    reference: str | None = None,
    by_force: bool = False,
    where: str = "",
    answer: Answer | None = None,
) -> Wanted:
    """What would be asked, by what is known of a federation; tells nobody.

    Args:
        answer: an earlier one that is to be compared instead of asking: taken by what its statement measures.

    Raises:
        QuestionRefused: something is not in the contract, or cannot be asked.
        Refused: there is nothing that a rate could be over, or the answer tells something else.
    """
    contract = find_contract(dataset if answer is None else _dataset_of(answer, dataset), federation)
    asked = wanted(
        contract, dataset,
        by=by, outcome=outcome, per=per, reference=reference, by_force=by_force, where=where,
    )  # fmt: skip
    if asked.per is Per.POPULATION:
        asked = _where_residents_are_counted(asked, federation)
    if answer is None or answer.sql == asked.sql:
        return asked
    return matched(answer, asked, _read(asked, federation), statement_of(answer, federation))


def _where_residents_are_counted(asked: Wanted, federation: Federation) -> Wanted:
    # Whom WHERE picks is known once it is read; what is wrong with it is said here, before anything is sent.
    forces = _read(asked, federation).question.forces
    left_out = without_residents(forces)
    if len(left_out) == len(forces):
        raise Refused(
            f"nobody has counted residents of {', '.join(left_out)}", hint="compare shares of records with --outcome"
        )
    return replace(asked, left_out=left_out)


def _read(asked: Wanted, federation: Federation) -> Statement:
    return parse_sql(asked.sql, federation.versions, list(federation.manifest.by_id))


def _dataset_of(answer: Answer, dataset: str) -> str:
    name, _, version = answer.dataset.partition(" ")
    if dataset not in (name, f"{name}.{version}"):
        raise Refused(f"query {answer.query_id[:16]} is about {answer.dataset}, not {dataset}")
    return f"{name}.{version}"


def disparity(
    session: Session,
    dataset: str,
    *,
    by: str,
    outcome: str | None = None,
    per: Per | None = None,
    reference: str | None = None,
    by_force: bool = False,
    where: str = "",
    adjust: Adjust = Adjust.HOLM,
    residents_within: float = 0.0,
    answer: Answer | None = None,
    purpose: str = "",
    epsilon: Figure | None = None,
    within: Figure | None = None,
    attempts: int | None = None,
    wait_days: int = 0,
    anew: bool = False,
) -> Finding[Disparity]:
    """Rates of groups and their ratios to a reference group's, with intervals and a reading.

    Args:
        dataset: its name, or one version of it as `nominals.v2`.
        by: the category that says the group, or a clear part of its name.
        outcome: codes that count, e.g. `arrest`; `column=codes` for another column than outcome.
        per: what records are counted over; None for residents, or for records where an outcome is named.
        reference: the group that the others are compared with; None for White.
        by_force: in each force by itself as well.
        where: a condition in SQL that leaves some of the records.
        adjust: for many comparisons.
        residents_within: how far residents may be off, as a share, e.g. 0.1.
        answer: take this one instead of asking; the rest of the arguments is about asking, as `Session.query`.

    Raises:
        CordonError: as `Session.query`, and where something cannot be compared.
    """
    asked = understood(
        session.federation(cached=answer is not None), dataset,
        by=by, outcome=outcome, per=per, reference=reference, by_force=by_force, where=where, answer=answer,
    )  # fmt: skip
    if answer is None:
        answer = session.query(
            asked.sql,
            purpose=purpose, epsilon=epsilon, within=within, attempts=attempts, wait_days=wait_days, anew=anew,
        )  # fmt: skip
    return compared_in(answer, asked, adjust=adjust, within=residents_within)


def compared_in(
    answer: Answer, asked: Wanted, *, adjust: Adjust = Adjust.HOLM, within: float = 0.0
) -> Finding[Disparity]:
    """What an answer says of disparities; costs nothing, and asks nobody.

    Args:
        within: how far residents may be off, as a share.

    Raises:
        Refused: the answer is about something else.
    """
    found = disparity_of(answer, asked, adjust=adjust, within=within)
    return Finding(
        found, answer, sheet_of(found),
        reading=partial(print_disparity, found), notes=partial(print_notes, found), drawing=partial(drawn, found),
    )  # fmt: skip
