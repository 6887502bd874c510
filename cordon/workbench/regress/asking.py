"""From a formula to a regression through a session, for programs and for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from cordon.analyst.federation import Federation
from cordon.analyst.offers import find_contract
from cordon.errors import Refused
from cordon.workbench.answer import Answer
from cordon.workbench.captions import captions_of
from cordon.workbench.finding import Finding
from cordon.workbench.pricing import Figure
from cordon.workbench.regress.drawing import captions_lines, drawing_of
from cordon.workbench.regress.finding import fit
from cordon.workbench.regress.formula import read_model
from cordon.workbench.regress.matching import narrowed
from cordon.workbench.regress.model import Model
from cordon.workbench.regress.result import Regression
from cordon.workbench.regress.showing import print_notes, print_regression, sheet_of
from cordon.workbench.regress.statement import statement_of
from cordon.workbench.regress.sums import read_sums
from cordon.workbench.regress.weighing import weights_of
from cordon.workbench.session import Session


@dataclass(frozen=True)
class Wanted:
    """A model, and what to ask for it."""

    model: Model
    sql: str
    federation: Federation = field(repr=False)
    """By whose contracts an answer's statement is read."""

    @property
    def weights(self) -> tuple[float, ...]:
        """How much each column of the statement matters."""
        return weights_of(self.model)


def prepared(
    opened: Session,
    formula: str,
    dataset: str,
    *,
    references: Sequence[str] = (),
    where: str | None = None,
    cached: bool = False,
) -> Wanted:
    """Read a formula by the federation's contract; tells nobody.

    Args:
        dataset: or one version of it, as `nominals.v2`.
        references: `column=code`, each what a category's other levels are compared with.
        where: conditions that narrow the records, as in SQL.
        cached: by what was fetched last.

    Raises:
        QuestionRefused: it is no formula, or there are no such columns.
    """
    federation = opened.federation(cached=cached)
    contract = find_contract(dataset, federation)
    model = read_model(formula, contract, references, tuple(sorted(federation.manifest.by_id)))
    # With its version: the model was read by this one.
    return Wanted(model, statement_of(model, f"{contract.dataset}.v{contract.version}", where), federation)


def regress(
    opened: Session,
    formula: str,
    dataset: str,
    *,
    references: Sequence[str] = (),
    where: str | None = None,
    answer: Answer | None = None,
    purpose: str = "",
    epsilon: Figure | None = None,
    attempts: int | None = None,
    wait_days: int = 0,
    anew: bool = False,
) -> Finding[Regression]:
    """Fit a linear regression, with intervals that know noise and sampling.

    Args:
        formula: `y ~ x1 + x2`.
        dataset: its name, or one version of it as `nominals.v2`.
        references: `column=code`, each what a category's other levels are compared with.
        where: conditions that narrow the records, as in SQL.
        answer: take this one instead of asking; the rest of the arguments is about asking, as `Session.query`.

    Raises:
        CordonError: as `Session.query`, and where the formula cannot be read or fitted.
    """
    check_where(where, again=answer is not None)
    wanted = prepared(opened, formula, dataset, references=references, where=where, cached=answer is not None)
    if answer is None:
        answer = opened.query(
            wanted.sql,
            weights=wanted.weights, purpose=purpose, epsilon=epsilon, attempts=attempts, wait_days=wait_days, anew=anew,
        )  # fmt: skip
    return fitted(answer, wanted)


def check_where(where: str | None, *, again: bool) -> None:
    """Refuse to narrow the records of an answer that is there already.

    Raises:
        Refused: conditions are given with an earlier answer.
    """
    if again and where is not None:
        raise Refused(
            "an answer's records cannot be narrowed afterwards",
            hint="leave out the condition, and read which records it is of; or ask anew",
        )


def fitted(answer: Answer, wanted: Wanted) -> Finding[Regression]:
    """Fit a model from an answer; costs nothing, and asks nobody.

    Raises:
        Refused: the answer is about something else, was asked for other sums, or is too noisy.
    """
    contract, model = wanted.model.contract, wanted.model
    if answer.dataset != f"{contract.dataset} v{contract.version}":
        raise Refused(
            f"query {answer.query_id[:16]} is about {answer.dataset}, not {contract.dataset} v{contract.version}",
            hint=f"the data set {answer.dataset.replace(' ', '.')}",
        )
    only = narrowed(answer, model, wanted.federation)
    found = replace(fit(read_sums(answer, model)), only=only)
    captions = captions_of(answer, found.formula, more=captions_lines(found))
    return Finding(
        found, answer, sheet_of(found, model, answer),
        reading=partial(print_regression, found, model, answer), notes=partial(print_notes, found, model, answer),
        drawing=partial(drawing_of, found, model, captions),
    )  # fmt: skip
