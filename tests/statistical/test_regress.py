"""Regressions: how often intervals hold the truth, over records drawn anew and noise drawn anew. docs/analysis/regress.md."""

from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
import pytest
from regressions import AGE, CONTRACT, FEMALE, INTERCEPT, ONE_ROW, OTHER, Asked, simulated, with_losses
from scipy.stats import binomtest
from statistical.releases import pooled

from cordon.errors import Refused
from cordon.workbench.regress.finding import fit
from cordon.workbench.regress.sums import read_sums

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
"""Each case draws 2,000 sets of records, sums them in DuckDB and fits them: one to two minutes."""

TIMES = 2_000
ALARM = 1e-6
"""False-alarm rate of one coefficient in one case."""


@dataclass(frozen=True)
class Held:
    """Of one coefficient: how often its interval held the truth, also if it were a fifth shorter."""

    held: int
    by_shorter: int
    of: int
    noise: float
    """Mean share of the variance."""
    endless: int
    """Intervals without ends."""

    def __str__(self) -> str:
        share, shorter = self.held / self.of, self.by_shorter / self.of
        return (
            f"{share:.1%} ({shorter:.1%}), {self.noise:.0%} noise, {self.endless / self.of:.1%} endless, of {self.of}"
        )


def coverage(asked, draw, truth, *, seed):
    """What became of 2,000 sets of records.

    Args:
        draw: (generator) → records as a frame.
        truth: by the coefficient's label.
    """
    generator = np.random.default_rng(seed)
    database = duckdb.connect()
    found = {label: [] for label in truth}
    refused = 0
    for _ in range(TIMES):
        database.register("nominals", draw(generator))
        try:
            regression = fit(read_sums(asked.answer(asked.exact(database), generator), asked.model))
        except Refused:
            refused += 1
            continue
        for coefficient in regression.coefficients:
            if coefficient.label in truth:
                found[coefficient.label].append(coefficient)
    print(f"\n{asked.formula}, rho {asked.rho / 1e9:g}: refused {refused} of {TIMES}")
    held = {label: held_of(coefficients, truth[label]) for label, coefficients in found.items() if coefficients}
    for label, of in held.items():
        print(f"  {label}: {of}")
    return held


def held_of(coefficients, truth):
    """Counts over the releases of one coefficient."""
    low, high = (np.array([getattr(c, end) for c in coefficients]) for end in ("low", "high"))
    ends = np.isfinite(low)
    half = (high - low) / 2
    middle = np.where(ends, high, 0.0) - np.where(ends, half, 0.0)
    return Held(
        held=int(((low <= truth) & (truth <= high)).sum()),
        by_shorter=int((abs(middle - truth) <= 0.8 * half).sum()),
        of=len(coefficients),
        noise=float(np.mean([c.noise_share for c in coefficients])),
        endless=int((~ends).sum()),
    )


def is_right(of):
    """Whether an interval holds the truth 95 % of the time, and one a fifth shorter would be found out."""
    exact = binomtest(of.held, of.of, 0.95).pvalue >= ALARM
    return exact and binomtest(of.by_shorter, of.of, 0.95, alternative="less").pvalue < ALARM


def is_enough(of):
    """Whether an interval holds the truth at least 95 % of the time."""
    return binomtest(of.held, of.of, 0.95, alternative="less").pvalue >= ALARM


def is_near(of):
    """Whether an interval holds the truth at least 95 % of the time, and one a fifth shorter would be found out."""
    return is_enough(of) and binomtest(of.by_shorter, of.of, 0.95, alternative="less").pvalue < ALARM


def losses(rows):
    """Losses that are linear in age and gender."""
    return lambda generator: pd.DataFrame(with_losses(simulated(rows, generator), generator))


LOSSES = {"intercept": INTERCEPT, "gender: Female": FEMALE, "gender: Other": OTHER, "age": AGE}
SHARES = {"intercept": 35.0, "gender: Female": 10.0, "gender: Other": -15.0, "age": 0.3}
CATEGORIES = {
    "intercept": 35.0,
    "gender: Female": 10.0,
    "gender: Other": -15.0,
    "offence: Fraud": -20.0,
    "offence: Theft": 10.0,
}


def shares(rows):
    """Suspects, whose share is linear in age and gender."""

    def draw(generator):
        records = simulated(rows, generator)
        gender = np.select([records["gender"] == "female", records["gender"] == "other"], [0.1, -0.15], 0.0)
        share = 0.35 + gender + 0.003 * (records["age"] - 55)
        role = np.where(generator.random(rows) < share, "suspect", "victim")
        return pd.DataFrame(records | {"role": role})

    return draw


def categories(rows):
    """Suspects, whose share differs by gender and offence."""

    def draw(generator):
        records = simulated(rows, generator)
        offence = generator.choice(["burglary", "fraud", "theft"], rows)
        gender = np.select([records["gender"] == "female", records["gender"] == "other"], [0.1, -0.15], 0.0)
        share = 0.35 + gender + np.select([offence == "fraud", offence == "theft"], [-0.2, 0.1], 0.0)
        role = np.where(generator.random(rows) < share, "suspect", "victim")
        return pd.DataFrame(records | {"offence": offence, "role": role})

    return draw


@pytest.mark.parametrize(
    ("formula", "rho", "draw", "truth"),
    [
        ("loss_gbp ~ age + gender", 10**10, losses(4000), LOSSES),
        ("loss_gbp ~ age + gender", 10**9, losses(4000), LOSSES),
        ("loss_gbp ~ age + gender", 10**8, losses(4000), LOSSES),
        ("role = suspect ~ gender + offence", 10**9, categories(4000), CATEGORIES),
        ("role = suspect ~ gender + offence", 10**8, categories(4000), CATEGORIES),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(formula, rho, draw, truth):
    """95 % of the time for every coefficient, from little noise to nearly nothing else; a fifth shorter is found out."""
    held = coverage(Asked(formula, rho, contract=ONE_ROW), draw, truth, seed=rho % 1009)
    assert held.keys() == truth.keys()
    assert {label: str(of) for label, of in held.items() if not is_right(of)} == {}


@pytest.mark.parametrize("rho", [10**9, 10**8])
def test_shares_along_a_line_are_held_by_wide_intervals(rho):
    """With a condition on the left and a number on the right, at least 95 %: scatter is taken where it is largest."""
    asked = Asked("role = suspect ~ age + gender", rho, contract=ONE_ROW)
    held = coverage(asked, shares(4000), SHARES, seed=rho % 1009)
    assert {label: str(of) for label, of in held.items() if not is_enough(of)} == {}
    assert is_near(held["age"]), str(held["age"])


def test_a_rare_condition_with_a_skewed_number_is_held():
    """Where a share is 1 % at most ages and 40 % at the highest: by the mean scatter one in seven would be missed."""

    def rare(generator):
        age = np.clip(np.rint(generator.exponential(12, 4000)), 0, 110)
        share = np.clip(0.005 + 0.004 * age, 0, 1)
        return pd.DataFrame({"age": age, "role": np.where(generator.random(4000) < share, "suspect", "victim")})

    held = coverage(Asked("role = suspect ~ age", 10**10, contract=ONE_ROW), rare, {"age": 0.4}, seed=3)
    assert is_enough(held["age"]), str(held["age"])


def test_rows_of_one_person_may_all_be_the_same():
    """Three identical rows of each person, where the contract keeps three: the most that rows can be alike."""

    def alike(generator):
        records = with_losses(simulated(1300, generator), generator)
        return pd.DataFrame({name: np.repeat(values, 3) for name, values in records.items()})

    held = coverage(Asked("loss_gbp ~ age + gender", 10**10, contract=CONTRACT), alike, LOSSES, seed=4)
    assert {label: str(of) for label, of in held.items() if not is_right(of)} == {}


@pytest.mark.parametrize(
    ("formula", "rho", "draw", "truth"),
    [
        ("loss_gbp ~ age + gender", 2 * 10**7, losses(4000), LOSSES),
        ("role = suspect ~ age + gender", 2 * 10**7, shares(4000), SHARES),
    ],
)
def test_where_the_noise_hides_a_term_intervals_are_no_shorter_than_they_say(formula, rho, draw, truth):
    """Down to where many of a slope's intervals have no ends, at least 95 % hold the truth, those without ends included."""
    held = coverage(Asked(formula, rho, contract=ONE_ROW), draw, truth, seed=5)
    assert held["age"].endless > 0
    assert {label: str(of) for label, of in held.items() if not is_enough(of)} == {}


@pytest.fixture(scope="module")
def persons(tmp_path_factory):
    """The bundled synthetic nominals of six forces, as their contract means them."""
    database = pooled(tmp_path_factory.mktemp("nominals"))
    frame = database.execute("SELECT * FROM nominals").df()
    database.close()
    return frame.dropna(subset=["age", "loss_gbp"])[lambda of: of.gender != "unknown"]


@pytest.mark.parametrize(
    ("formula", "rho", "response"),
    [
        ("loss_gbp ~ age + gender", 10**9, lambda of: of.loss_gbp),
        ("loss_gbp ~ age + gender", 10**8, lambda of: of.loss_gbp),
        ("role = suspect ~ age + gender", 10**9, lambda of: 100.0 * (of.role == "suspect")),
    ],
)
def test_they_do_over_the_bundled_nominals_too(persons, formula, rho, response):
    """Records drawn with replacement from the bundled ones: the truth is least squares over all of these."""
    known = persons[persons.role != "unknown"] if formula.startswith("role") else persons
    x = np.column_stack([np.ones(len(known)), known.gender == "female", known.gender == "other", known.age - 55])
    solved = np.linalg.lstsq(x.astype(float), np.asarray(response(known), dtype=float), rcond=None)[0]
    truth = dict(zip(("intercept", "gender: Female", "age"), solved[[0, 1, 3]], strict=True))

    def draw(generator):
        return known.sample(len(known), replace=True, random_state=generator)

    held = coverage(Asked(formula, rho, contract=ONE_ROW), draw, truth, seed=7)
    enough = is_enough if formula.startswith("role") else is_right
    assert {label: str(of) for label, of in held.items() if not enough(of)} == {}
