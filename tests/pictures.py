"""Answers of any shape, as JSON has them, for tests of what is drawn."""

import math
from collections.abc import Mapping, Sequence

from cordon.workbench.answer import Answer


def value(estimate: float | None, half: float = 10.0, *, low: float | None = None, high: float | None = None) -> dict:
    """An estimate with its interval: as long on both sides, or with the ends given."""
    if estimate is None:
        return {"estimate": None, "low": None, "high": None, "raw": None}
    low, high = (estimate - half if low is None else low), (estimate + half if high is None else high)
    ends = {name: end if math.isfinite(end) else None for name, end in (("low", low), ("high", high))}
    return {"estimate": float(estimate), **ends, "raw": float(estimate)}


def answer(
    sql: str,
    keys: Sequence[str],
    measures: Sequence[str],
    rows: Sequence[tuple[Sequence[str | None], Sequence[dict] | str]],
    *,
    answered: Sequence[str] = ("essex", "kent", "norfolk"),
    absent: Mapping[str, str] | None = None,
    **others: object,
) -> Answer:
    """An answer whose columns are its keys and then its measures.

    Args:
        rows: keys, and values or why there are none.
        absent: forces that did not answer, with `declined`, `lost` or `silent`.
    """
    absent = absent or {}
    return Answer(
        {
            "version": 4, "query": "ab" * 32, "sql": sql, "dataset": "stop_search v1",
            "protected_unit": "one stop and search record", "caveat": "The source names no persons.",
            "columns": [{"name": name, "measure": name in measures} for name in (*keys, *measures)],
            "rows": [
                {
                    "keys": list(row_keys), "values": [] if isinstance(values, str) else list(values),
                    "note": values if isinstance(values, str) else "", "certainty": None,
                }
                for row_keys, values in rows
            ],
            "notes": [],
            "answered": list(answered),
            "declined": [
                {"force": force, "code": "policy", "text": ""} for force, why in absent.items() if why == "declined"
            ],
            "did_not_answer": [force for force, why in absent.items() if why == "silent"],
            "lost": [force for force, why in absent.items() if why == "lost"],
            "rho": "0.01497", "attempts_charged": 1,
            "epsilon": {
                "charged": 1.0, "against_public": 0.98, "against_tolerated_colluders": 1.0, "against_all_others": 6.2,
            },
            "attempt": 1, "opened_at": "2026-11-28T10:00:00Z", "checked": "everything",
            **others,
        }
    )  # fmt: skip
