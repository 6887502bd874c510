"""The same tables from PipelineDP, in an environment of its own: a task as JSON in, released tables out.

All of the task's tables are asked for under one budget accountant, and the first `draws` are then computed:
PipelineDP's collections are lazy, and a table takes it seconds. Where a task wants more tables than share a
budget, they are asked anew under further budgets.
"""

from __future__ import annotations

import csv
import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pipeline_dp as pdp

ACCOUNTANTS = {"naive": pdp.NaiveBudgetAccountant, "pld": pdp.PLDBudgetAccountant}
NOISE = {"laplace": pdp.NoiseKind.LAPLACE, "gaussian": pdp.NoiseKind.GAUSSIAN}


def main() -> None:
    """Answer one task."""
    task = json.load(sys.stdin)
    with Path(task["rows"]).open(encoding="utf-8") as file:
        rows = [(row["force"], row["crime_type"]) for row in csv.DictReader(file)]
    keys = [tuple(key) for key in task["keys"]]
    answers = {
        f"{noise}, {accountant}": list(islice(_tables(task, rows, keys, noise, accountant), task["draws"]))
        for noise, accountant in task["ways"]
    }
    json.dump({"answers": answers, "noise": {}}, sys.stdout)


def _tables(task: dict[str, Any], rows: list[Any], keys: list[Any], noise: str, accountant: str):  # noqa: ANN202
    extractors = pdp.DataExtractors(
        privacy_id_extractor=lambda row: row[0], partition_extractor=lambda row: row[1], value_extractor=lambda _: 1
    )
    asked = pdp.AggregateParams(
        metrics=[pdp.Metrics.COUNT],
        noise_kind=NOISE[noise],
        max_partitions_contributed=1,
        max_contributions_per_partition=1,
    )
    while True:
        budget = ACCOUNTANTS[accountant](total_epsilon=task["epsilon"], total_delta=task["delta"])
        engine = pdp.DPEngine(budget, pdp.LocalBackend())
        # Each row is a privacy unit of its own, so its number is its privacy id.
        data = list(enumerate(rows))
        tables = [engine.aggregate(data, asked, extractors, public_partitions=keys) for _ in range(task["tables"])]
        budget.compute_budgets()
        for table in tables:
            yield [(*key, metrics.count) for key, metrics in table]


if __name__ == "__main__":
    main()
