"""A force's own rules. Each has a public text; the federation cannot override one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cordon.accounting import rho_for_epsilon
from cordon.configfile import ConfigModel
from cordon.contract import FORCE
from cordon.errors import Declined
from cordon.manifest import Manifest
from cordon.query.model import Question, Terms, atoms
from cordon.register.leaf import DeclineCode
from cordon.register.spending import Limits
from cordon.units import Name, Positive, Rho


class Budget(ConfigModel):
    """What one budget domain may spend, at the federation's delta."""

    epsilon_per_year: Positive
    epsilon_lifetime: Positive


class Policy(ConfigModel):
    """What this force answers. Read once at start-up."""

    datasets: tuple[Name, ...] = ()
    """Data sets that may be asked about; empty for all that are held."""

    purposes: tuple[Name, ...] = ()
    """Purposes that may be asked for; empty for all that the manifest lists."""

    closed_columns: tuple[Name, ...] = ()
    """Columns that may be neither grouped nor filtered by."""

    allow_by_force: bool = True
    """Whether the force's own line may be asked for."""

    allow_small_roster: bool = False
    """Whether rosters of 3 to c+1 forces are taken part in; masks may not hold there."""

    approval: Literal["automatic", "manual"] = "automatic"
    """`manual`: a person decides about every query."""

    most_epsilon_per_attempt: Positive | None = None
    most_epsilon_alone: Positive | None = None
    """Cap on what protects the force's records if every other party colludes (`max_rho_local`)."""

    budget: Annotated[dict[Name, Budget], Field(min_length=1)]
    """By budget domain: the force's source records, as named in its mappings."""

    def limits(self, domain: str, manifest: Manifest) -> Limits | None:
        """What a budget domain may spend; None where the policy has no budget for it."""
        budget = self.budget.get(domain)
        if budget is None:
            return None
        delta = float(manifest.delta)
        year = rho_for_epsilon(budget.epsilon_per_year, delta)
        lifetime = rho_for_epsilon(budget.epsilon_lifetime, delta)
        return Limits(year, lifetime, analyst=year, purpose=year, query=year, failed=Rho(year.nano // 5))

    def check(self, question: Question, terms: Terms, manifest: Manifest) -> None:
        """Check a query against every rule that does not depend on the roster.

        Raises:
            Declined: with the public text of the first rule that forbids it.
        """
        if self.datasets and question.dataset not in self.datasets:
            raise _forbidden(f"this force does not answer questions about {question.dataset}")
        if self.purposes and terms.purpose not in self.purposes:
            raise _forbidden(f"this force does not answer for the purpose {terms.purpose}")
        if question.by_force and not self.allow_by_force:
            raise _forbidden("this force does not show its own line")
        used = {key.column for key in question.keys} | {atom.column for atom in atoms(question.where)}
        for column in sorted(used & set(self.closed_columns) - {FORCE}):
            raise _forbidden(f"this force does not let {column} be grouped or filtered by")
        cap = self.most_epsilon_per_attempt
        if cap is not None and terms.rho > rho_for_epsilon(cap, float(manifest.delta)):
            raise _forbidden(f"this force allows epsilon {float(cap):g} per attempt")

    def check_roster(self, roster: int, question: Question, rho: Rho, manifest: Manifest) -> None:
        """Check what depends on the roster's size; called again when the roster is fixed.

        Raises:
            Declined: with the public text of the rule.
        """
        honest = max(1, roster - manifest.colluders)
        alone = self.most_epsilon_alone
        if alone is not None and rho * honest > rho_for_epsilon(alone, float(manifest.delta)):
            raise _forbidden(f"this force allows epsilon {float(alone):g} if every other party colludes")
        if roster >= manifest.smallest_roster:
            return
        named = len(question.forces)
        if roster == 1 and named == 1 and self.allow_by_force:
            return
        if roster >= 3 and named < manifest.smallest_roster and self.allow_small_roster:
            return
        raise _forbidden(f"this force takes part in rosters of {manifest.smallest_roster} or more forces")


def _forbidden(text: str) -> Declined:
    return Declined(DeclineCode.POLICY.words, text)
