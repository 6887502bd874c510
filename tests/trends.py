"""Answers over time for tests of `cordon trend`: known truths, known noise, in the form that a session returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cordon.estimate.interval import REACH_95
from cordon.workbench.answer import Answer
from cordon.workbench.trend.finding import Sought, Together, holm, sought, stepped
from cordon.workbench.trend.found import FALSE_ALARM
from cordon.workbench.trend.periods import Grain, label_of, number_of
from cordon.workbench.trend.series import GroupSeries, Panel, Place

Array = npt.NDArray[np.float64]
START = number_of("2019-04")


def panel(series: Mapping[str, Sequence[float]], sigma: float, grain: Grain = Grain.MONTH) -> Panel:
    """Series with noise of one known deviation."""
    reach = REACH_95 * sigma
    first = START if grain is Grain.MONTH else number_of("2019-Q2")
    groups = [
        GroupSeries(
            name,
            tuple(
                Place(first + at, float(v), float(v) - reach, float(v) + reach, sigma) for at, v in enumerate(values)
            ),
        )
        for name, values in series.items()
    ]
    return Panel(grain, "colour", "records", tuple(groups), ())


def of_rows(rows: Array, sigma: float, grain: Grain = Grain.MONTH) -> Panel:
    """A panel of several series, one a row."""
    return panel({f"group {at}": [float(v) for v in row] for at, row in enumerate(rows)}, sigma, grain)


def screened(found: Panel, *, counts: bool = True, season: bool = True) -> tuple[bool, bool, bool, bool]:
    """Whether any group has a finding, as `find` without the rest.

    Against the year before, as a drift, as a step, as a course that is none of these.
    """
    looked = [sought(group, found.grain, counts=counts, season=season) for group in found.groups]
    seen = [one for one in looked if isinstance(one, Sought)]
    adjusted = holm([p for one in seen for p in one.p_values])
    year, drift, _ = (np.array(adjusted).reshape(-1, 3) <= FALSE_ALARM).any(axis=0)
    together = Together(len(seen), 0, sum(not math.isnan(p) for p in adjusted))
    courses = [
        bool(stepped(one, found.grain, together, p)[1])
        for one, p in zip(seen, adjusted[2::3], strict=True)
        if p <= FALSE_ALARM
    ]
    return bool(year), bool(drift), any(courses), not all(courses)


def document(
    series: Mapping[str | None, Sequence[float]],
    sigma: float,
    *,
    by: str = "colour",
    vintages: Mapping[str, tuple[str, str]] | None = None,
    answered: Sequence[str] = ("kent", "surrey"),
    sql: str = "SELECT MONTH(month) AS period, type, COUNT(*) AS records FROM stop_search GROUP BY MONTH(month), type",
) -> Answer:
    """An answer by month and group, as the JSON of version 4 has it."""
    reach = REACH_95 * sigma
    rows: list[dict[str, Any]] = [
        {
            "keys": [label_of(START + at, Grain.MONTH), name],
            "values": [] if math.isnan(v) else [{"estimate": v, "low": v - reach, "high": v + reach, "raw": v}],
            "note": "did not answer" if math.isnan(v) else "",
            "certainty": None,
        }
        for name, values in series.items()
        for at, v in enumerate(values)
    ]
    covers = dict.fromkeys(answered, ("2019-04", "2024-03")) if vintages is None else vintages
    return Answer(
        {
            "version": 4,
            "query": "5f0e7c1d" * 8,
            "sql": sql,
            "dataset": "stop_search v1",
            "protected_unit": "one stop and search record",
            "caveat": "",
            "columns": [
                {"name": "period", "measure": False},
                {"name": by, "measure": False},
                {"name": "records", "measure": True},
            ],
            "rows": rows,
            "notes": [],
            "answered": list(answered),
            "declined": [],
            "did_not_answer": [],
            "lost": [],
            "rho": "0.015",
            "attempts_charged": 1,
            "epsilon": {
                "charged": 1.0,
                "against_public": 1.0,
                "against_tolerated_colluders": 1.0,
                "against_all_others": 1.0,
            },
            "charged": [],
            "vintages": {force: {"first_month": ends[0], "last_month": ends[1]} for force, ends in covers.items()},
            "attempt": 1,
            "opened_at": "2026-11-28T04:00:00+00:00",
            "checked": "everything",
        }
    )
