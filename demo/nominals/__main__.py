"""`python -m demo.nominals`: made-up persons over many forces, each in its own records system, and the truth."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo.layout import choose_forces, force_names
from demo.nominals.population import OVERLAP, SEED, make_population, persons_for
from demo.nominals.systems import SYSTEMS, system_of
from demo.nominals.truth import Truth, overlap_of
from demo.nominals.writing import write_force, write_mapping

MOST_FORCES, MOST_ROWS, MOST_OVERLAP = 200, 100_000_000, 0.5


def main(arguments: list[str] | None = None) -> int:
    """Write what the command line asks for; returns the exit code."""
    asked = _parser().parse_args(arguments)
    names = _names(asked.forces)
    into: Path = asked.into
    if into.exists() and any(into.iterdir()):
        print(f"error: {into} is not empty\nhint: name a new folder", file=sys.stderr)
        return 2
    population = make_population(
        len(names), persons=persons_for(asked.rows, len(names), asked.overlap), seed=asked.seed, overlap=asked.overlap
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    truths = {}
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("forces", total=len(names))
        for number, name in enumerate(names):
            system = asked.style or system_of(number)
            bar.update(task, description=f"{name} ({system})")
            records = into / name / "records"
            records.mkdir(parents=True)
            truths[name] = write_force(population, number, system, records)
            write_mapping(system, into / name)
            bar.advance(task)
        bar.update(task, description="the truth")
    truth = Truth(truths, overlap_of(population))
    (into / "truth.json").write_text(truth.to_json(), encoding="utf-8")
    rows, persons = sum(of.rows for of in truths.values()), sum(truth.overlap.known_to.values())
    print(f"{rows:,} records of {persons:,} made-up persons lie in {into}, by force; truth.json counts them")
    return 0


def _names(forces: int) -> list[str]:
    most = len(force_names())
    return [*choose_forces(min(forces, most)), *(f"force-{number}" for number in range(most + 1, forces + 1))]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo.nominals", description=__doc__)
    parser.add_argument("--forces", type=_between(1, MOST_FORCES), default=43, help="number of forces (43)")
    parser.add_argument(
        "--rows", type=_between(1, MOST_ROWS), default=100_000, help="rows of all forces, about (100000)"
    )
    parser.add_argument("--into", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--style", choices=list(SYSTEMS), help="one records system for all forces, not each another")
    parser.add_argument("--seed", type=_between(0, 2**32 - 1), default=SEED, help="another seed, other persons")
    parser.add_argument(
        "--overlap", type=_share, default=OVERLAP, help="share of a force's persons known elsewhere (0.05)"
    )
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= MOST_OVERLAP:
        raise argparse.ArgumentTypeError(f"is a share from 0 to {MOST_OVERLAP}")
    return value


def _between(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text.replace(",", "").replace("_", ""))
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"is a whole number from {low} to {high}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
