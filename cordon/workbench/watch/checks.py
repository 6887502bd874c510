"""What is found out before a watch is added, so that no release is paid for whose alerts could not be told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cordon.contract import Contract
from cordon.errors import Misconfigured, QuestionRefused, Refused
from cordon.query.model import MeasureKind
from cordon.query.statement import Statement
from cordon.workbench.output import check_place
from cordon.workbench.watch.delivery import secret_of
from cordon.workbench.watch.months import is_fixed
from cordon.workbench.watch.saved import Against, Natural, Saved, kinds_of
from cordon.workbench.watch.schedule import Every

if TYPE_CHECKING:
    from cordon.workbench.watch.plan import Wanted


def cautions(saved: Saved, statement: Statement, contract: Contract) -> tuple[str, ...]:
    """What whoever adds a watch should think of, in sentences."""
    found = []
    if saved.against is Against.LAST and saved.every is not Every.DAY:
        text = "each release is compared with the one before: seasons are changes too, and raise alerts"
        found.append(f"{text}; --against year-before takes them out")
    if not is_fixed(statement, contract):
        text = "where a force's records cover other months than before, its cells are not compared"
        found.append(f"{text}; cells of months are, and so is a question whose WHERE names its first and last day")
    return tuple(found)


def natural_of(text: str) -> tuple[Natural, float]:
    """What --natural says: what explains a difference beside noise, and how many times as much records vary.

    Raises:
        QuestionRefused: it says neither poisson nor none, and is no number from 1 to 1000.
    """
    if text in (*Natural,):
        return Natural(text), 1.0
    try:
        times = float(text)
    except ValueError:
        times = 0.0
    if not 1 <= times <= 1000:
        raise QuestionRefused(f"--natural takes poisson, none, or a number of times from 1 to 1000, got {text!r}")
    return Natural.POISSON, times


def check_secret(wanted: Wanted, saved: Saved, environment: dict[str, str]) -> None:
    """Find out before a watch is added whether its webhook's secret can be read.

    Raises:
        Refused: a secret is named and no webhook, or two secrets.
        Misconfigured: it cannot be read.
    """
    named = [item for item in (wanted.secret_file, wanted.secret_env) if item is not None]
    if len(named) > 1 or (named and wanted.webhook is None):
        raise Refused("one secret signs what goes to one webhook", hint="give --webhook and one of the two secrets")
    secret_of(saved, environment)


def check_file(path: Path | None) -> None:
    """Find out before a watch is added whether alerts can be appended to a file.

    Args:
        path: None where none is wanted.

    Raises:
        Misconfigured: they cannot.
    """
    if path is None:
        return
    path = path.expanduser().absolute()
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        raise Misconfigured(f"cannot append alerts to {path}: it is closed to us, or no regular file")
    check_place(path)


def check_natural(statement: Statement, natural: Natural) -> None:
    """Check that how a question's records vary by themselves is known.

    Raises:
        QuestionRefused: it is not.
    """
    if natural is Natural.POISSON and MeasureKind.SUM in kinds_of(statement):
        raise QuestionRefused(
            "how a sum varies by itself is not known, so that an alert could not tell change from it",
            hint="watch counts, or say --natural none: alerts then tell that the records differ, and no more",
        )
