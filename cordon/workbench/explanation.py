"""What a question would cost and how exact its answer would be, before anybody hears of it."""

from __future__ import annotations

import html
import io
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from cordon.analyst.explain import print_facts
from cordon.analyst.known import print_budgets

WIDTH = 120
"""Characters to a line where no terminal says otherwise."""


@dataclass(frozen=True)
class Explanation:
    """A question's plan, expected error and cost."""

    facts: dict[str, Any] = field(repr=False)
    """docs/query.md says what each is."""
    budgets: dict[str, Any] | None = field(default=None, repr=False)
    """What it would leave of budgets; None where the register was not read here yet."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return self.facts | {"budgets": self.budgets}

    def print(self, out: Console) -> None:
        """Show it to a person."""
        print_facts(self.facts, out)
        print_budgets(self.budgets, out)

    def __str__(self) -> str:
        """As `cordon explain` prints it."""
        out = Console(file=io.StringIO(), width=WIDTH)
        self.print(out)
        assert isinstance(out.file, io.StringIO)  # noqa: S101 - tells the type checker
        return out.file.getvalue()

    def _repr_html_(self) -> str:
        """For notebooks."""
        return f"<pre>{html.escape(str(self))}</pre>"
