"""What people are told before they publish, and what a published document must look like."""

import json
import time

import pytest

from cordon.analyst.document import read_document
from cordon.analyst.publish import Prepared
from cordon.errors import Malformed
from cordon.units import Digest
from cordon.workbench.releases_cli import _terms

ANSWER = {"sql": "SELECT COUNT(*) FROM nominals", "rows": [{}]}


@pytest.mark.parametrize(
    ("public_from", "words"),
    [
        (0, "becomes public at once"),
        (4_102_444_800, "becomes public from 2100-01-01 on, when the embargo of its purpose ends; to auditors at once"),
        (None, "becomes public once the embargo of its purpose has passed"),
    ],
)
def test_people_are_told_what_becomes_public_and_when(public_from, words):
    """The statement, and the end of the purpose's embargo, stand in what is shown before the confirmation."""
    assert time.time() < 4_102_444_800
    lines = _terms(Prepared(Digest(bytes(32)), ANSWER, 1, public_from, added=False))
    assert words in lines[0]
    assert any(ANSWER["sql"] in line for line in lines)
    assert "not kept any more" in lines[-1]


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b"{" * 100_000, json.dumps({"version": 2}).encode()])
def test_what_is_not_a_document_is_malformed_and_named(payload):
    """No bytes of a publication raise anything else."""
    with pytest.raises(Malformed, match="published answer"):
        read_document(payload)
