"""The README's transcript, typed as it stands against a running federation."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from live import Live, run_cordon

pytestmark = pytest.mark.xdist_group("federation")

README = Path(__file__).parents[2] / "README.md"
FORCES = re.compile(r"^(answered \(#\)|declined, [a-z ]+ \(#\)): .*")
DECLINED_BY_A_RULE = "declined, policy (#)"
"""A force of the shared federation has a rule of its own; the README's have none that matters."""

TOO_NOISY = "'?' marks"
"""Fewer forces know fewer persons: small cells are marked there that are not in the README's answers."""


def transcript() -> list[tuple[list[str], list[str]]]:
    """(command, expected lines) of the README's marked block."""
    text = README.read_text(encoding="utf-8").split("<!-- transcript", 1)[1]
    block = text.split("```console\n", 1)[1].split("```", 1)[0]
    found: list[tuple[list[str], list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ cordon "):
            found.append((shlex.split(line)[2:], []))
        else:
            found[-1][1].append(line)
    return found


def shape(lines: list[str]) -> list[str]:
    """Lines without what differs from run to run: figures, column widths, names of forces, query ids."""
    shaped = []
    for line in lines:
        bare = re.sub(r"^query [0-9a-f]+$", "query #", line.rstrip())
        bare = re.sub(r"[\d.,]*\d", "#", bare.replace(" ?", ""))
        bare = FORCES.sub(r"\1", re.sub(r"\s+", " ", re.sub(r"\^+", "^", bare)))
        shaped.append(bare.replace("under # %", "# %"))
    return shaped


@pytest.fixture(scope="module")
def newcomer(running: Live) -> Path:
    """The profile of an analyst who has read nothing yet."""
    profile = running.layout.profile()
    fresh = profile.with_name("newcomer.toml")
    text = profile.read_text(encoding="utf-8").replace('workspace = "workspace"', 'workspace = "newcomer"')
    fresh.write_text(text, encoding="utf-8")
    return fresh


@pytest.mark.parametrize(("command", "expected"), transcript(), ids=lambda item: item[0] if item else "")
def test_the_readme_shows_what_a_person_sees(
    live: Live, newcomer: Path, command: list[str], expected: list[str]
) -> None:
    """Every command of the transcript prints the lines that stand below it, but for the figures."""
    auditor = str(live.layout.auditor_profile)
    done = run_cordon(*command, CORDON_PROFILE=str(newcomer), CORDON_AUDITOR=auditor)
    lines = done.err.splitlines() if done.code else done.out.splitlines()
    found = [line for line in shape(lines) if not line.startswith((DECLINED_BY_A_RULE, TOO_NOISY))]

    assert found == shape(expected)
