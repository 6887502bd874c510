"""What a year of a watch costs, before anybody hears of it, and what is left of its budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from cordon.accounting import epsilon, rho_for_epsilon
from cordon.analyst.compose import check_purpose, cost_of_epsilon
from cordon.analyst.times import utc
from cordon.errors import QuestionRefused, Refused
from cordon.estimate.interval import REACH_95
from cordon.units import Rho, exact_text
from cordon.workbench.explanation import Explanation
from cordon.workbench.pricing import exactly
from cordon.workbench.session import Session
from cordon.workbench.watch.account import Account
from cordon.workbench.watch.change import FALSE_ALARMS
from cordon.workbench.watch.checks import cautions, check_natural, natural_of
from cordon.workbench.watch.delivery import check_webhook
from cordon.workbench.watch.outlook import AtForce, at_forces
from cordon.workbench.watch.own import asking_the_same, watches_of_the_same
from cordon.workbench.watch.saved import (
    Against,
    Saved,
    check_name,
    facts,
    read_statement,
)
from cordon.workbench.watch.schedule import Every


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks of a watch."""

    name: str
    sql: str
    purpose: str
    every: Every
    epsilon: str
    """Per attempt, at the federation's delta."""
    budget: str
    """Epsilon at the federation's delta that is set aside for each calendar year."""
    attempts: int | None = None
    against: Against = Against.LAST
    natural: str = "poisson"
    """`poisson`, `none`, or how many times as much as independent records they vary."""
    least_change: str = "0"
    """A share, or a percentage."""
    alert_file: str | None = None
    webhook: str | None = None
    secret_file: str | None = None
    secret_env: str | None = None


@dataclass(frozen=True, slots=True)
class YearPlan:
    """What a year of a watch costs each force. Rho adds up; epsilon is that of the sum."""

    releases: int
    """Most in a calendar year."""
    rho: Rho
    """Of one release at one attempt."""
    most: Rho
    """Of one release at all attempts."""
    budget: Rho
    delta: float
    covered: int
    """Further releases that this year's budget covers, if each needs one attempt."""
    begun: bool
    """Whether something is written down already."""
    forces: tuple[AtForce, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        year, most = self.rho * self.releases, self.most * self.releases
        return {
            "releases a year": self.releases,
            "rho per release": str(self.rho),
            "epsilon per release": self._epsilon(self.rho),
            "rho a year": str(year),
            "epsilon a year": self._epsilon(year),
            "most rho a year": str(most),
            "most epsilon a year": self._epsilon(most),
            "budget rho": str(self.budget),
            "budget epsilon": self._epsilon(self.budget),
            "releases covered": self.covered,
            "delta": self.delta,
            "forces": [
                {
                    "force": at.force, "share": at.share, "most_share": at.most_share,
                    "declines_at": at.declines_at, "why": at.why,
                }
                for at in self.forces
            ],
        }  # fmt: skip

    def print(self, out: Console) -> None:
        """Show it to a person."""
        for line in self._lines():
            out.print(line, highlight=False, markup=False, soft_wrap=True)
        table = Table("force", "share of its year's budget", "at all attempts", "", box=None, pad_edge=False)
        for at in self.forces:
            table.add_row(at.force, _percent(at.share), _percent(at.most_share), _declining(at))
        out.print(table, highlight=False, markup=False)

    def _lines(self) -> list[str]:
        year, most = self.rho * self.releases, self.most * self.releases
        if self.begun:
            covered = f"what is left covers {self.covered} more"
        elif self.covered >= self.releases:
            covered = "the budget covers all of them"
        else:
            covered = f"the budget covers {self.covered} of them and then stops with an alert"
        if self.most * self.releases != year:
            covered += "; a release is begun only where what is left covers all of its attempts"
        return [
            "every release is a fresh query, charged in full at each force:",
            f"  one release       rho {self.rho}, epsilon {self._epsilon(self.rho):.4g}"
            + (f"; up to rho {self.most} where forces are lost on the way" if self.most != self.rho else ""),
            f"  a year            up to {self.releases} releases: rho {year}, epsilon {self._epsilon(year):.4g}"
            + (f"; at all attempts rho {most}, epsilon {self._epsilon(most):.4g}" if most != year else ""),
            f"  set aside a year  rho {self.budget}, epsilon {self._epsilon(self.budget):.4g} at delta {self.delta:g}: "
            + covered,
        ]

    def _epsilon(self, rho: Rho) -> float:
        return epsilon(rho, self.delta)


def make_saved(wanted: Wanted, session: Session, *, now: int) -> Saved:
    """A watch as it would be kept. Asks nobody about the question.

    Args:
        now: seconds since 1970-01-01 UTC.

    Raises:
        Refused: it cannot be watched, or an option makes no sense.
        QuestionRefused: it cannot be asked, or costs more than the federation allows.
    """
    federation = session.federation()
    statement, contract = read_statement(wanted.sql, federation)
    natural, times = natural_of(wanted.natural)
    check_natural(statement, natural)
    check_purpose(wanted.purpose, federation.manifest)
    manifest = federation.manifest
    price, budget = exactly("--epsilon", wanted.epsilon), exactly("--budget", wanted.budget)
    cost = cost_of_epsilon(price, manifest, wanted.attempts)
    if budget <= 0:
        raise Refused(f"--budget takes an epsilon above zero, got {wanted.budget}")
    set_aside = rho_for_epsilon(budget, float(manifest.delta))
    if set_aside.nano < cost.rho.nano * cost.attempts:
        raise Refused(
            f"a budget of epsilon {wanted.budget} a year does not cover one release: epsilon {wanted.epsilon} over "
            f"{cost.attempts} attempts is epsilon {manifest.epsilon(cost.rho * cost.attempts):.4g}",
            hint="set more aside, ask at a smaller --epsilon, or with --attempts 1",
        )
    saved = _saved(
        {
            "name": check_name(wanted.name),
            "created_at": now,
            "sql": statement.sql,
            "purpose": wanted.purpose,
            "epsilon": exact_text(price),
            "nano_rho": cost.rho.nano,
            "attempts": cost.attempts,
            "budget_nano": set_aside.nano,
            "every": wanted.every,
            "against": wanted.against,
            "natural": natural,
            "times": times,
            "least_change": share(wanted.least_change),
            "alert_file": wanted.alert_file,
            "webhook": None if wanted.webhook is None else check_webhook(wanted.webhook),
            "secret_file": wanted.secret_file,
            "secret_env": wanted.secret_env,
            **facts(statement, contract, manifest),
        }
    )
    return saved.model_copy(update={"earlier": tuple(query.hex() for query, _ in asking_the_same(session, saved))})


OPTIONS = {
    "budget_nano": "--budget", "nano_rho": "--epsilon", "epsilon": "--epsilon", "attempts": "--attempts",
    "purpose": "--purpose", "least_change": "--least-change", "alert_file": "--alert-file", "webhook": "--webhook",
    "secret_file": "--webhook-secret-file", "secret_env": "--webhook-secret-env", "sql": "the statement",
}  # fmt: skip
"""What people call the fields of `Saved` that they have given."""


def _saved(fields: dict[str, Any]) -> Saved:
    try:
        return Saved.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        why = first["msg"].removeprefix("Value error, ")
        raise Refused(f"{OPTIONS.get(name, name)} cannot be kept: {why[:1].lower()}{why[1:]}") from None


def cautions_of(saved: Saved, session: Session) -> tuple[str, ...]:
    """What whoever adds a watch should think of, from what was fetched before, in sentences."""
    same = watches_of_the_same(session, saved)
    found = [f"watch {other!r} asks the same: each pays for its own releases" for other in same]
    return (*found, *cautions(saved, *read_statement(saved.sql, session.federation(cached=True))))


def year_plan(saved: Saved, session: Session, account: Account, *, now: int) -> YearPlan:
    """What a year costs, from what was fetched and read before.

    Args:
        account: of the watch; empty for one that is not added yet.
        now: seconds since 1970-01-01 UTC.
    """
    federation = session.federation(cached=True)
    statement, _ = read_statement(saved.sql, federation)
    year = max(utc(now).year, account.period)
    left = max(0, saved.budget.nano - account.spent(year).nano - saved.most.nano)
    first = saved.budget.nano - account.spent(year).nano >= saved.most.nano
    return YearPlan(
        releases=saved.every.most_a_year,
        rho=saved.rho,
        most=saved.most,
        budget=saved.budget,
        delta=float(federation.manifest.delta),
        covered=1 + left // saved.nano_rho if first else 0,
        begun=account.entries > 0,
        forces=at_forces(saved, statement, session),
    )


def least_seen(saved: Saved, explanation: Explanation) -> dict[str, float]:
    """By column, the difference between two releases below which no cell is told from noise, in the column's unit.

    Chance adds to it where cells have rows; where forces are lost the noise is a little larger.
    """
    found = {}
    for column in explanation.facts["columns"]:
        if column["half_width"] is not None:
            level = FALSE_ALARMS / saved.every.most_a_year / column["cells"]
            reach = NormalDist().inv_cdf(1 - level / 2) / REACH_95
            found[column["column"]] = column["half_width"] * math.sqrt(2) * reach
    return found


def share(text: str) -> float:
    """A share as people give it, e.g. `10%` or `0.1`.

    Raises:
        QuestionRefused: it is none.
    """
    percent = text.strip().endswith("%")
    number = float(exactly("--least-change", text.strip().removesuffix("%").strip()))
    value = number / 100 if percent else number
    if not 0 <= value <= 1000:
        raise QuestionRefused(f"--least-change takes a share such as 10%, got {text!r}")
    return value


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.3g} %"


def _declining(at: AtForce) -> str:
    return at.why if at.declines_at is None else f"declines release {at.declines_at}: {at.why}"
