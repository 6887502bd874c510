"""What a person with a damaged ledger is told does not hand out budget again."""

from __future__ import annotations

from pathlib import Path

import pytest

from cordon.errors import Misconfigured
from node.ledger import Ledger

RUNBOOK = Path(__file__).parents[2] / "deploy" / "RUNBOOK.md"


def test_a_damaged_ledger_leads_to_the_runbook_and_not_to_a_backup(tmp_path: Path) -> None:
    """The hint forbids an older copy, and the section that it names is about exactly this."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a ledger" * 100)
    with pytest.raises(Misconfigured) as damaged:
        Ledger(path, force="kent")
    assert "an older copy must not be put back" in damaged.value.hint
    assert "section 2.9" in damaged.value.hint
    assert "### 2.9 Backups, and why no old ledger is ever restored" in RUNBOOK.read_text(encoding="utf-8")
