"""Answers as an analyst's own disk keeps them: damage is named wherever they are read, and nothing else is."""

import json
import os
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cordon.analyst.client import Client
from cordon.analyst.document import read_answer
from cordon.analyst.profile import read_profile
from cordon.analyst.publish import prepare
from cordon.analyst.workspace import StoredQuery, Workspace
from cordon.cli import run
from cordon.envelope import QUERY, KeySigner, seal
from cordon.errors import Malformed, Misconfigured, Refused, Unsupported
from cordon.query.model import Measure, MeasureKind, Query, Question, SealedSeed, Terms
from cordon.query.plan import SMALL
from cordon.units import Digest, Rho
from cordon.wire.signed import sign
from cordon.workbench.history import Standing, history_of, recalled
from demo.layout import Design, lay_out

DOCUMENT = json.loads((Path(__file__).resolve().parents[1] / "golden" / "answer.json").read_text())
QUERY_HASH = Digest(bytes.fromhex(DOCUMENT["query"]))
SIGNER = KeySigner(Ed25519PrivateKey.generate())


def changed(**fields):
    """The golden answer with other fields."""
    return DOCUMENT | fields


def with_value(**parts):
    """The golden answer with another first estimate."""
    row = DOCUMENT["rows"][0]
    return changed(rows=[row | {"values": [row["values"][0] | parts]}])


class Reader(Client):
    """A client that has read no profile: only its workspace and its signer are used."""

    def __init__(self, workspace):
        self._workspace, self._signer = workspace, SIGNER


@pytest.fixture
def workspace(tmp_path):
    """With one query that was asked and opened."""
    found = Workspace(tmp_path / "workspace")
    found.add(StoredQuery(QUERY_HASH, DOCUMENT["sql"], seal(QUERY, b"payload", SIGNER), b"secret", b"seed"))
    found.close(QUERY_HASH, DOCUMENT)
    return found


DAMAGED = [
    b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000,
    json.dumps(DOCUMENT).encode()[:-100],
    json.dumps(changed(version="4")).encode(),
    json.dumps(changed(epsilon={})).encode(),
    json.dumps(with_value(estimate="12")).encode(),
    json.dumps(with_value(estimate=float("nan"))).encode(),
    json.dumps(changed(rows=[DOCUMENT["rows"][0] | {"values": []}])).encode(),
    json.dumps(changed(rows=[DOCUMENT["rows"][0] | {"keys": ["essex"]}])).encode(),
    json.dumps(changed(query="cd" * 32)).encode(),
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_answer_is_named_wherever_it_is_read(workspace, content):
    """Shown again, followed, published and listed: the file is named, and nothing raises anything else."""
    path = workspace.path / QUERY_HASH.hex() / "answer.json"
    path.write_bytes(content)
    client = Reader(workspace)
    for read in (
        lambda: recalled(workspace, QUERY_HASH.hex()),
        lambda: client.follow(QUERY_HASH, None, on_event=lambda _: None),
        lambda: prepare(client, None, QUERY_HASH),
    ):
        with pytest.raises(Misconfigured, match=re.escape(str(path))):
            read()
    assert [asking.standing for asking in history_of(workspace)] == [Standing.DAMAGED]


@pytest.mark.parametrize("name", ["query.json", "statement.sql"])
def test_a_damaged_statement_is_named(workspace, name):
    """Bytes that are no text are no bug of ours."""
    (workspace.path / QUERY_HASH.hex() / name).write_bytes(b"\xff\xfe")
    with pytest.raises(Misconfigured, match=re.escape(name)):
        workspace.signed(QUERY_HASH)
    assert [asking.standing for asking in history_of(workspace)] == [Standing.DAMAGED]


@pytest.mark.parametrize("content", [b"", b"\xff", b"xy", b"ab"])
def test_a_damaged_note_of_what_was_opened_is_named(workspace, content):
    """An empty one too: no sum has such a hash."""
    (workspace.path / QUERY_HASH.hex() / "opening").write_bytes(content)
    with pytest.raises(Misconfigured, match="opening is damaged"):
        workspace.opened(QUERY_HASH)


def asked(workspace, number, decide_by):
    """A query of the workspace, on terms that say until when people may decide."""
    terms = Terms(
        rho=Rho(10**6), block_rho=(Rho(10**6 - 1),), attempts=1, purpose="research", manifest_version=1,
        nonce=bytes(32), decide_by=decide_by, expires=decide_by + 600, parameter_set=SMALL.name,
        bfv_key_hash=Digest(bytes(32)), seed_hash=Digest(bytes(32)), sealed_seeds=(SealedSeed("kent", bytes(80)),),
    )  # fmt: skip
    question = Question("nominals", 1, (Measure(MeasureKind.COUNT),), None, (), ("kent",))
    query_hash = Digest(bytes([number]) * 32)
    workspace.add(StoredQuery(query_hash, "SELECT 1", sign(Query(question, terms), SIGNER), b"secret", b"seed"))
    return query_hash


def test_a_query_keeps_its_time_when_its_folder_is_copied(tmp_path):
    """A copy's files are of today; the terms were signed when it was asked, and order the list."""
    workspace = Workspace(tmp_path / "workspace")
    first, last = asked(workspace, 1, 1_700_000_060), asked(workspace, 2, 1_800_000_060)
    os.utime(workspace.path / last.hex() / "query.json", (1_800_000_000, 1_800_000_000))
    assert [(asking.query_id, asking.asked_at) for asking in history_of(workspace)] == [
        (last.hex(), "2027-01-15T08:00:00+00:00"),
        (first.hex(), "2023-11-14T22:13:20+00:00"),
    ]


@pytest.mark.parametrize("query_id", ["", "0a0a", "0a0a0a0"])
def test_publishing_takes_more_of_an_id(query_id, tmp_path, monkeypatch, capsys):
    """It cannot be taken back: an id that was cut off names nothing, also where there is one query only."""
    layout = lay_out(tmp_path / "federation", Design(("kent",)))
    workspace = Workspace(read_profile(layout.profile()).workspace)
    asked(workspace, 10, 1_700_000_060)
    monkeypatch.setenv("CORDON_PROFILE", str(layout.profile()))
    assert run(["publish", query_id, "--yes"]) == Refused.exit_code
    assert "at least 8 hexadecimal digits" in capsys.readouterr().err


def test_what_an_analyst_has_named_or_computed_is_no_damage(workspace):
    """A column's name may be anything that SQL lets it be, and a figure as large as it comes."""
    own = with_value(estimate=1e300, low=None, high=1e301)
    own["columns"] = [column | {"name": "a\n\u200b" + "x" * 3000} for column in own["columns"]]
    own["notes"] = ["a\n\u200b is a count"]
    assert read_answer(json.dumps(own)) == own
    assert recalled(workspace, QUERY_HASH.hex()[:4]) == DOCUMENT


@pytest.mark.parametrize("version", [1, 5])
def test_another_version_s_answer_is_told_from_damage(version):
    """It says which versions are read."""
    with pytest.raises(Unsupported, match=f"version {version}, and this version of Cordon reads 2, 3, 4"):
        read_answer(json.dumps({"version": version}))
    with pytest.raises(Malformed, match="cut off"):
        read_answer("{")
