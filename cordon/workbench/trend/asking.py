"""From a session to a trend: ask the one question, or take an answer that is there, and look at its series."""

from __future__ import annotations

from functools import partial

from cordon.analyst.offers import find_contract
from cordon.workbench.answer import Answer
from cordon.workbench.captions import captions_of
from cordon.workbench.finding import Finding
from cordon.workbench.pricing import Figure
from cordon.workbench.rereading import statement_of as asked_by
from cordon.workbench.session import Session
from cordon.workbench.trend.drawing import drawing_of
from cordon.workbench.trend.earlier import column_meant
from cordon.workbench.trend.finding import find
from cordon.workbench.trend.found import Trend
from cordon.workbench.trend.periods import Grain
from cordon.workbench.trend.series import read_panel
from cordon.workbench.trend.showing import print_notes, print_trend, sheet_of
from cordon.workbench.trend.statement import Wanted, counts_rows, statement_of, where_of


def prepared(session: Session, wanted: Wanted) -> str:
    """The statement that would be asked; tells nobody.

    Raises:
        Refused: an option names nothing that there is.
    """
    return statement_of(wanted, find_contract(wanted.dataset, session.federation()))


def trend_of(session: Session, answer: Answer, *, measure: str | None = None, season: bool = True) -> Finding[Trend]:
    """What an answer shows over time; costs nothing, and asks nobody.

    Args:
        answer: grouped by month or quarter, and by at most one column beside it.
        measure: name of the column of estimates; None for the first.
        season: guard against yearly patterns.

    Raises:
        Refused: the answer has no series in it, or rows are missing from it.
    """
    statement = asked_by(answer, session.federation(cached=True))
    panel = read_panel(answer, measure)
    found = find(panel, counts=counts_rows(statement, panel.measure), season=season)
    grouped = f" by {found.by}" if found.by else ""
    only = f", only where {where_of(answer.sql)}" if where_of(answer.sql) else ""
    captions = captions_of(answer, f"{answer.dataset}: {found.measure} a {found.grain}{grouped}{only}")
    return Finding(
        found, answer, sheet_of(found, answer),
        reading=partial(print_trend, found, answer), notes=partial(print_notes, found, answer),
        drawing=partial(drawing_of, found, captions),
    )  # fmt: skip


def earlier_trend(session: Session, wanted: Wanted, answer: Answer, *, season: bool = True) -> Finding[Trend]:
    """What an earlier answer shows over time, of what the options name of it.

    Raises:
        Refused: it was not asked what the options name, or has no series in it.
    """
    federation = session.federation(cached=True)
    column = column_meant(wanted, answer, asked_by(answer, federation), federation)
    return trend_of(session, answer, measure=column, season=season)


def trend(
    session: Session,
    dataset: str,
    *,
    by: str | None = None,
    grain: Grain | str | None = None,
    measure: str | None = None,
    where: str | None = None,
    since: str | None = None,
    until: str | None = None,
    date: str | None = None,
    season: bool = True,
    answer: Answer | None = None,
    purpose: str = "",
    epsilon: Figure | None = None,
    within: Figure | None = None,
    attempts: int | None = None,
    wait_days: int = 0,
    anew: bool = False,
) -> Finding[Trend]:
    """Series of months or quarters per group, and what of their changes noise and chance would not explain.

    Args:
        dataset: its name, or one version of it as `nominals.v2`.
        by: a category, `force`, or `BIN(number, width)`; None for one series.
        grain: month or quarter; None for months.
        measure: in SQL; a count, or anything else that can be asked; None for COUNT(*).
        where: a condition in SQL that leaves some of the records.
        since: first month, as `2019-04`; None for all that the contract covers.
        until: last month.
        date: the column of dates; None for the contract's first.
        season: guard against what comes back every year, as far as the series is long enough.
        answer: take this one instead of asking. What else is named must be what it was asked, and `measure` may be
            the name of one of its columns.

    Raises:
        CordonError: as `Session.query`, and where an option names nothing that there is.
    """
    wanted = Wanted(dataset, by, None if grain is None else Grain(grain), measure, where, since, until, date)
    if answer is None:
        asked = session.query(
            prepared(session, wanted),
            purpose=purpose, epsilon=epsilon, within=within, attempts=attempts, wait_days=wait_days, anew=anew,
        )  # fmt: skip
        return trend_of(session, asked, season=season)
    return earlier_trend(session, wanted, answer, season=season)
