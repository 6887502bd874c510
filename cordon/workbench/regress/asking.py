"""From a formula to a regression through a session, for programs and for the command line.

from cordon.workbench.regress.asking import fitted, prepared

with cordon.connect() as federation:
    wanted = prepared(federation, "loss_gbp ~ age + gender", "nominals")
    answer = federation.query(wanted.sql, weights=wanted.weights, epsilon=1, purpose="research")
    print(fitted(answer, wanted).coefficients)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cordon.analyst.offers import find_contract
from cordon.errors import Refused
from cordon.workbench.answer import Answer
from cordon.workbench.regress.finding import fit
from cordon.workbench.regress.formula import read_model
from cordon.workbench.regress.model import Model
from cordon.workbench.regress.result import Regression
from cordon.workbench.regress.statement import statement_of
from cordon.workbench.regress.sums import read_sums
from cordon.workbench.regress.weighing import weights_of
from cordon.workbench.session import Session


@dataclass(frozen=True)
class Wanted:
    """A model, and what to ask for it."""

    model: Model
    sql: str

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
    return Wanted(model, statement_of(model, f"{contract.dataset}.v{contract.version}", where))


def fitted(answer: Answer, wanted: Wanted) -> Regression:
    """Fit a model from an answer; costs nothing.

    Raises:
        Refused: the answer is about something else, lacks a sum, or is too noisy.
    """
    contract = wanted.model.contract
    if answer.dataset != f"{contract.dataset} v{contract.version}":
        raise Refused(
            f"query {answer.query_id[:16]} is about {answer.dataset}, not {contract.dataset} v{contract.version}",
            hint=f"the data set {answer.dataset.replace(' ', '.')}",
        )
    return fit(read_sums(answer, wanted.model))
