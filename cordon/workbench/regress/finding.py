"""Coefficients with intervals from noised sums: a corrected score, and the interval of all values that it allows.

With A = Σ zz' and b = Σ zv as released, least squares are b = Aβ. The residual b − Aβ is linear in what was released,
so at the true β it is noise of a known covariance plus the rows' own scatter, however large the noise in A is. For
one coefficient the others are profiled out; what is left of it, as a function of the coefficient's value t, is a
line, and its variance a parabola: noise(t) + scatter. The 95 % interval is every t at which the line lies within
1.96 deviations of zero, as in Fieller (1954), whose interval it is where there is nothing to profile out; the
estimate is where the line is zero. Profiling by the noised A moves the line by the covariance of its noise with the
score's, which is known to second order and taken off (a corrected score: Nakamura 1990).

docs/analysis/regress.md has the derivation, the coverage by simulation, and what the intervals do not cover.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cordon.errors import Refused
from cordon.estimate.interval import REACH_95
from cordon.units import exact_text
from cordon.workbench.regress.model import Condition, Moment
from cordon.workbench.regress.result import Coefficient, Regression
from cordon.workbench.regress.scatter import largest_scatters, rows_alike
from cordon.workbench.regress.sums import Sums

Array = npt.NDArray[np.float64]

STEADY = 4.0
"""Deviations of noise by which a coefficient's information should exceed zero; for advice where nothing can be told."""


@dataclass(frozen=True)
class _Fit:
    """Least squares, and what each released value's noise does to them."""

    sums: Sums
    matrix: Array
    inverse: Array
    """Of A."""
    solved: Array
    """β by plain least squares."""

    @property
    def residual(self) -> Array:
        """(β, −1): its products with (z, v) are what is not explained, with the sign turned."""
        return np.append(self.solved, -1.0)

    def moved(self, vector: Array) -> Array:
        """By one deviation of each released value, how b − Aβ moves: shape (released, size of β). Of (β, −1)."""
        found = [
            -self.sums.deviations[moment][:, None] * self.sums.times(moment, vector)[:, :-1]
            for moment in self.sums.released
        ]
        return np.concatenate(found)


def fit(sums: Sums) -> Regression:
    """Fit a model.

    Raises:
        Refused: the noise hides how much a term varies, so that nothing can be said.
    """
    solved = _solved(sums)
    moved = solved.moved(solved.residual)
    left = _unexplained(solved, moved)
    unexplained = max(left, 0.0)
    scatter = unexplained / max(sums.rows - len(solved.solved), 1.0)
    percent = 100.0 if isinstance(sums.model.response, Condition) else 1.0
    names = _names(sums)
    scatters = _scatters(solved, scatter)
    lines = [_line(at, solved, moved, scatters, scatter) for at in range(len(names))]
    coefficients = [_coefficient(line, name, percent) for line, name in zip(lines, names, strict=True)]
    _check_one_ends(coefficients[1:], lines[1:])
    coefficients[0] = _uncentred(coefficients[0], sums)
    deviation = REACH_95 * math.sqrt(float((sums.deviations[Moment()] ** 2).sum()))
    response = sums.model.response
    total = float(solved.matrix[-1, -1] - solved.matrix[0, -1] ** 2 / sums.rows)
    return Regression(
        sums.model.formula,
        f"whether {response.name} is {response.label}" if isinstance(response, Condition) else response.name,
        sums.model.unit,
        tuple(coefficients),
        _base(sums),
        sums.rows,
        sums.rows - deviation,
        sums.rows + deviation,
        _share(1 - left / total) if total > 0 else math.nan,
        percent * math.sqrt(scatter) if left >= 0 else math.nan,
        sums.left_out,
    )


def _solved(sums: Sums) -> _Fit:
    matrix = sums.matrix()
    scale = np.sqrt(np.maximum(np.diag(matrix)[:-1], 0.0))
    if (scale <= 0).any() or np.linalg.eigvalsh(matrix[:-1, :-1] / np.outer(scale, scale)).min() <= 1e-9:
        raise Refused(
            "too noisy to fit: the noise hides how much the terms vary, or two of them say the same",
            hint=f"{MORE}; {SAME}",
        )
    inverse = np.linalg.inv(matrix[:-1, :-1] / np.outer(scale, scale)) / np.outer(scale, scale)
    return _Fit(sums, matrix, inverse, inverse @ matrix[:-1, -1])


def _unexplained(fit: _Fit, moved: Array) -> float:
    """Σ of squared residuals: least squares make it too small by what they fit to the noise, which is added back.

    Below zero where noise makes it so.
    """
    fitted = float(fit.residual @ fit.matrix @ fit.residual)
    return fitted + float(np.einsum("ri,ij,rj->", moved, fit.inverse, moved))


def _share(value: float) -> float:
    """R², which noise can take out of 0 to 1, where it says nothing; what rounding does is no noise."""
    return min(max(value, 0.0), 1.0) if -ROUNDING <= value <= 1 + ROUNDING else math.nan


class _Line(NamedTuple):
    """One coefficient's score, by τ = t − least squares: `−slope·τ − shift`, and its variance's parabola."""

    solved: float
    slope: float
    shift: float
    noise: tuple[float, float, float]
    """Of τ⁰, τ¹ and τ²."""
    scatter: float

    @property
    def estimate(self) -> float:
        """Where the score is zero."""
        return self.solved - self.shift / self.slope

    @property
    def steadiness(self) -> float:
        """Deviations of its noise by which the slope exceeds zero."""
        return self.slope / math.sqrt(self.noise[2]) if self.noise[2] > 0 else math.inf

    def variance(self, step: float) -> tuple[float, float]:
        """What noise and scatter add, at a value of τ."""
        constant, linear, square = self.noise
        return max(constant + linear * step + square * step**2, 0.0), self.scatter

    def ends(self) -> tuple[float, float]:
        """Where the score is 1.96 deviations from zero; infinite where the noise allows any value."""
        reach = REACH_95**2
        square = self.slope**2 - reach * self.noise[2]
        if self.slope <= 0 or square <= 0:
            return -math.inf, math.inf
        half = self.slope * self.shift - reach * self.noise[1] / 2
        constant = self.shift**2 - reach * (self.noise[0] + self.scatter)
        root = math.sqrt(max(half**2 - square * constant, 0.0))
        return self.solved + (-half - root) / square, self.solved + (-half + root) / square


def _line(at: int, fit: _Fit, moved: Array, scatters: Array, alike: float) -> _Line:
    column = fit.inverse[:, at]
    information = 1 / float(column[at])
    along = column * information
    # What is left of A's inverse where this coefficient is held.
    others = fit.inverse - np.outer(column, column) * information
    turned = fit.moved(np.append(along, 0.0))
    here, slope = moved @ along, turned @ along
    shift = float(np.einsum("ri,ij,rj->", turned, others, moved))
    # The information is too small by as much as profiling fits to the noise.
    steeper = information + float(np.einsum("ri,ij,rj->", turned, others, turned))
    noise = (float(here @ here), 2 * float(here @ slope), float(slope @ slope))
    held = np.append(along, 0.0)
    products = (values * (fit.sums.times(moment, held) @ held) for moment, values in fit.sums.released.items())
    # What profiling has fitted to the noise scatters as all rows do.
    scatter = float(scatters @ sum(products, np.zeros(len(scatters)))) + alike * (steeper - information)
    scatter = rows_alike(fit.sums.model.contract) * max(scatter, 0.0)
    return _Line(float(fit.solved[at]), steeper, shift, noise, scatter)


def _scatters(fit: _Fit, alike: float) -> Array:
    """The variance of the rows' own scatter in every cell, after White (1980).

    Each cell's own squares tell it. With numbers among the terms a quotient is needed, which a cell whose squares
    the noise has much to say in does not give: there it is taken to be that of all rows.
    """
    sums = fit.sums
    products = {moment: sums.times(moment, fit.residual) @ fit.residual for moment in sums.released}
    squares = sum((values * products[moment] for moment, values in sums.released.items()), np.zeros(len(sums.levels)))
    rows = sums.released[Moment()]
    noise = np.sqrt(sum(np.square(sums.deviations[moment] * of) for moment, of in products.items()))
    clear = (noise < CLEAR * squares) & (rows > FEWEST) if sums.model.numbers else rows != 0
    found = np.where(clear, squares / np.where(clear, rows, 1.0), alike)
    return np.maximum(found, largest_scatters(sums, fit.solved))


def _check_one_ends(terms: list[Coefficient], lines: list[_Line]) -> None:
    """Refuse where the noise allows any value of every term.

    One term whose interval ends is enough to go on: to fit only where the noise happens to be kind would make the
    intervals of what is fitted too short.
    """
    if not terms:
        raise Refused("there is nothing to fit: no category has two levels with rows enough", hint=MORE)
    if any(term.is_told for term in terms):
        return
    steadiest = max(line.steadiness for line in lines)
    # Noise goes down as epsilon goes up, nearly in proportion where epsilon is small.
    times = STEADY / max(steadiest, 0.5)
    raise Refused(
        "too noisy to fit: the noise allows any value of every term",
        hint=f"ask with about {times:.2g} times the epsilon, or drop a term; {SAME}",
    )


MORE = "ask with a larger --epsilon, or of fewer terms"
SAME = "of two terms that say the same, drop one: then no epsilon helps"
INTERCEPT = "intercept"

ROUNDING = 1e-9
"""By how much R² may leave 0 to 1 without noise."""

CLEAR = 0.1
"""Share of a cell's squares that noise may be, for its scatter to be told by itself."""

FEWEST = 30.0
"""Rows of a cell whose scatter is told by itself."""


def _names(sums: Sums) -> list[tuple[str, str, str]]:
    """Term, level and reference of each coefficient."""
    names = [(INTERCEPT, "", "")]
    for group in sums.groups:
        names += [(group.name, level, group.levels[0]) for level in group.levels[1:]]
    return names + [(quantity.name, "", "") for quantity in sums.model.numbers]


def _coefficient(line: _Line, name: tuple[str, str, str], percent: float) -> Coefficient:
    low, high = line.ends()
    noise, scatter = line.variance(line.estimate - line.solved)
    at_zero = sum(line.variance(-line.solved))
    score = line.slope * line.solved - line.shift
    p_value = math.erfc(abs(score) / math.sqrt(2 * at_zero)) if at_zero > 0 else 0.0
    share = noise / (noise + scatter) if noise + scatter > 0 else 0.0
    if not math.isfinite(low):
        return Coefficient(*name, math.nan, low, high, share, math.nan)
    return Coefficient(*name, percent * line.estimate, percent * low, percent * high, share, p_value)


def _uncentred(intercept: Coefficient, sums: Sums) -> Coefficient:
    """The intercept in the response's own zero; of no interest is whether it is zero."""
    response = sums.model.response
    middle = 0.0 if isinstance(response, Condition) else float(response.middle)
    return Coefficient(
        intercept.term, "", "", intercept.estimate + middle, intercept.low + middle, intercept.high + middle,
        intercept.noise_share, math.nan,
    )  # fmt: skip


def _base(sums: Sums) -> str:
    """What the intercept is of."""
    parts = [f"{group.name} {group.levels[0]}" for group in sums.groups]
    parts += [f"{number.name} {exact_text(number.middle)} {number.column.unit}" for number in sums.model.numbers]
    return ", ".join(parts)
