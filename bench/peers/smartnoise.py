"""The same tables from SmartNoise SQL, in an environment of its own: a task as JSON in, released tables out.

Epsilon and delta of a query are the largest at which SmartNoise's own quote for all queries, which composes
them by Kairouz, Oh and Viswanath (2015), theorem 3.5, stays within the task's total.
"""

from __future__ import annotations

import json
import sys

import pandas as pd
from snsql import Privacy, from_df

QUERY = "SELECT force, crime_type, COUNT(*) AS n FROM records.street_crime GROUP BY force, crime_type"
STEPS = 20
FEW = 5


def main() -> None:
    """Answer one task."""
    task = json.load(sys.stdin)
    frame = pd.read_csv(task["rows"])
    delta = task["delta"] / (task["tables"] + 0.5)
    epsilon = _epsilon(frame, task, delta)
    answers = {}
    for name, more, most in (("public keys", {"censor_dims": False}, task["draws"]), ("censored", {}, FEW)):
        reader = _reader(frame, epsilon, delta, more)
        answers[name] = [reader.execute(QUERY)[1:] for _ in range(min(most, task["draws"]))]
    quote = [float(part) for part in _quote(frame, epsilon, delta, task["tables"])]
    json.dump({"answers": answers, "noise": {"epsilon per query": epsilon, "quote": quote}}, sys.stdout, default=float)


def _reader(frame: pd.DataFrame, epsilon: float, delta: float, more: dict[str, bool]):  # noqa: ANN202 - of a peer
    columns = {"force": {"type": "string"}, "crime_type": {"type": "string"}}
    table = {"row_privacy": True, "rows": len(frame), **more, **columns}
    privacy = Privacy(epsilon=epsilon, delta=delta)
    return from_df(frame, privacy=privacy, metadata={"": {"records": {"street_crime": table}}})


def _quote(frame: pd.DataFrame, epsilon: float, delta: float, tables: int) -> tuple[float, float]:
    return _reader(frame, epsilon, delta, {"censor_dims": False}).get_privacy_cost([QUERY] * tables)


def _epsilon(frame: pd.DataFrame, task: dict[str, float], delta: float) -> float:
    # A quote does not look at the records, so a few stand for all of them.
    few, low, high = frame.head(), 0.0, task["epsilon"]
    if _quote(few, high, delta, task["tables"])[0] <= task["epsilon"]:
        return high
    for _ in range(STEPS):
        middle = (low + high) / 2
        fits = _quote(few, middle, delta, task["tables"])[0] <= task["epsilon"]
        low, high = (middle, high) if fits else (low, middle)
    return low


if __name__ == "__main__":
    main()
