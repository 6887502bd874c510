"""The same tables from SmartNoise SQL, in an environment of its own: a task as JSON in, released tables out.

Epsilon and delta of a query are the largest at which SmartNoise's own quote for all queries, which composes
them by Kairouz, Oh and Viswanath (2015), theorem 3.5, stays within the task's total.
"""

from __future__ import annotations

import json
import sys

import pandas as pd
from snsql import Privacy, from_df
from snsql.sql.odometer import OdometerHeterogeneous

QUERY = "SELECT force, crime_type, COUNT(*) AS n FROM records.street_crime GROUP BY force, crime_type"
STEPS = 40
FEW = 5


def main() -> None:
    """Answer one task."""
    task = json.load(sys.stdin)
    frame = pd.read_csv(task["rows"])
    delta = task["delta"] / (task["tables"] + 0.5)
    epsilon = _epsilon(task, delta)
    # A quote does not look at the records, so a few stand for all of them.
    quote = [float(part) for part in _quote(frame.head(), epsilon, delta, task["tables"])]
    if quote[0] > task["epsilon"]:
        sys.exit(f"the quote for all tables is epsilon {quote[0]}, over {task['epsilon']}")
    answers = {}
    for name, more, most in (("public keys", {"censor_dims": False}, task["draws"]), ("censored", {}, FEW)):
        reader = _reader(frame, epsilon, delta, more)
        answers[name] = [reader.execute(QUERY)[1:] for _ in range(min(most, task["draws"]))]
    json.dump({"answers": answers, "noise": {"epsilon per query": epsilon, "quote": quote}}, sys.stdout, default=float)


def _reader(frame: pd.DataFrame, epsilon: float, delta: float, more: dict[str, bool]):  # noqa: ANN202 - of a peer
    columns = {"force": {"type": "string"}, "crime_type": {"type": "string"}}
    table = {"row_privacy": True, "rows": len(frame), **more, **columns}
    privacy = Privacy(epsilon=epsilon, delta=delta)
    return from_df(frame, privacy=privacy, metadata={"": {"records": {"street_crime": table}}})


def _quote(frame: pd.DataFrame, epsilon: float, delta: float, tables: int) -> tuple[float, float]:
    return _reader(frame, epsilon, delta, {"censor_dims": False}).get_privacy_cost([QUERY] * tables)


def _epsilon(task: dict[str, float], delta: float) -> float:
    """By the class that a quote composes with, for a quote of a hundred queries takes it seconds."""
    low, high = 0.0, task["epsilon"]
    if _composed(high, delta, task["tables"]) <= task["epsilon"]:
        return high
    for _ in range(STEPS):
        middle = (low + high) / 2
        fits = _composed(middle, delta, task["tables"]) <= task["epsilon"]
        low, high = (middle, high) if fits else (low, middle)
    return low


def _composed(epsilon: float, delta: float, tables: int) -> float:
    each = Privacy(epsilon=epsilon, delta=delta)
    odometer = OdometerHeterogeneous(each)
    for _ in range(tables):
        odometer.spend(each)
    return float(odometer.spent[0])


if __name__ == "__main__":
    main()
