"""The documents agree with the code and with one another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from coordinator.cli import app as coordinator_app
from cordon import envelope
from cordon.auditor.cli import app as audit_app
from cordon.cli import COMMANDS
from cordon.keys_cli import app as keys_app
from cordon.manifest import parse_manifest
from cordon.register.leaf import DeclineCode, EndReason
from cordon.wire.services import METHODS
from cordon.wire.signed import PAYLOAD_TYPES
from node.cli import app as node_app
from node.policy import Budget, Policy

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCES = ("cordon", "node", "coordinator", "demo", "protos", "contracts", "deploy", "bench", "tests")
TEXTS = sorted([*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"])

_CITATION = re.compile(r"docs/(?P<document>[a-z-]+\.md)(?P<sections>(?:,? (?:and )?§\d+(?:\.\d+)?)*)")
_SECTION = re.compile(r"§(\d+(?:\.\d+)?)")
_HEADING = re.compile(r"^#{2,3} §(\d+(?:\.\d+)?) ", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_LINKED_SECTION = re.compile(r"\]\((?P<document>[a-z-]+\.md)\) §(?P<section>\d+(?:\.\d+)?)")
_COMMAND = re.compile(r"(?:^\$ |`)cordon (?P<name>[a-z-]+)(?: (?P<sub>[a-z][a-z-]*))?", re.MULTILINE)

GROUPS = {"audit": audit_app, "keys": keys_app, "node": node_app, "coordinator": coordinator_app}


def _sources() -> list[Path]:
    found = [path for folder in SOURCES for path in (ROOT / folder).rglob("*")]
    return [path for path in found if path.suffix in {".py", ".proto", ".toml", ".service"} and path != Path(__file__)]


def _headings(document: str) -> set[str]:
    return set(_HEADING.findall((DOCS / document).read_text(encoding="utf-8")))


def _citations() -> list[tuple[str, str, str]]:
    """(where, document, section or '') of every citation in code."""
    cited: list[tuple[str, str, str]] = []
    for path in _sources():
        # A citation may break over two lines of a comment or docstring.
        text = re.sub(r"\s*\n\s*(?:#|//)?\s*", " ", path.read_text(encoding="utf-8"))
        for match in _CITATION.finditer(text):
            where, document = str(path.relative_to(ROOT)), match["document"]
            cited += [(where, document, section) for section in _SECTION.findall(match["sections"]) or [""]]
    return cited


def test_every_section_that_code_cites_exists() -> None:
    """`docs/x.md §n` in code is a heading `§n` of that document."""
    cited = _citations()
    assert {"protocol.md", "privacy.md"} <= {document for _, document, section in cited if section}
    generated = {"performance.md"}
    missing = [
        (where, document, section)
        for where, document, section in cited
        if document not in generated
        and (not (DOCS / document).is_file() or (section and section not in _headings(document)))
    ]
    assert missing == []


def test_every_section_that_documents_cite_exists() -> None:
    """A link to a document with a section behind it names a heading of that document."""
    missing = [
        (path.name, match["document"], match["section"])
        for path in DOCS.glob("*.md")
        for match in _LINKED_SECTION.finditer(path.read_text(encoding="utf-8"))
        if match["section"] not in _headings(match["document"])
    ]
    assert missing == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_resolves(path: Path) -> None:
    """A link that is not a web address leads to a file or folder of the repository."""
    targets = [match["target"].split("#")[0] for match in _LINK.finditer(path.read_text(encoding="utf-8"))]
    broken = [t for t in targets if t and "://" not in t and not (path.parent / t).exists()]
    assert broken == []


def test_every_glossary_term_stands_once_and_in_order() -> None:
    """One word for one thing: no term is explained twice, and each can be found."""
    lines = (DOCS / "glossary.md").read_text(encoding="utf-8").splitlines()
    terms = [line.split("|")[1].strip().casefold() for line in lines if line.startswith("| ")][1:]
    terms = [term for term in terms if not term.startswith("---")]
    assert len(terms) > 50
    assert terms == sorted(set(terms), key=lambda term: term.replace("-", " "))


def test_every_command_in_the_documents_exists() -> None:
    """`cordon x y` in a document is a command that the command line has."""
    known = {name: set(typer.main.get_command(app).commands) for name, app in GROUPS.items()}
    found = [
        (path.name, match["name"], match["sub"])
        for path in TEXTS
        for match in _COMMAND.finditer(path.read_text(encoding="utf-8"))
    ]
    assert {"query", "node"} <= {name for _, name, _ in found}
    strange = [
        (where, name, sub)
        for where, name, sub in found
        if name not in COMMANDS or (name in known and sub is not None and sub not in known[name])
    ]
    assert strange == []


def test_every_decline_code_is_in_the_protocol() -> None:
    """The table of decline codes has each code with its number, and no other."""
    text = (DOCS / "protocol.md").read_text(encoding="utf-8")
    listed = {(int(value), name) for value, name in re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", text, re.MULTILINE)}
    assert listed == {(code.value, code.name) for code in DeclineCode}


def test_every_end_reason_is_in_the_protocol() -> None:
    """The table of end reasons has each reason with its number, and no other."""
    text = (DOCS / "protocol.md").read_text(encoding="utf-8")
    listed = {(int(value), name) for name, value in re.findall(r"^\| ([A-Z_]+) \| (\d+) \|", text, re.MULTILINE)}
    assert listed == {(reason.value, reason.name) for reason in EndReason}


def test_every_payload_type_is_in_the_protocol() -> None:
    """The table of payload types has each type that is signed, and no other."""
    text = (DOCS / "protocol.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(application/vnd\.cordon\.[^`]+)` \|", text, re.MULTILINE))
    assert listed == {*PAYLOAD_TYPES.values(), envelope.MANIFEST, envelope.ANSWER}


def test_every_method_is_in_the_protocol() -> None:
    """The table of methods has each remote call with its service, and no other."""
    text = (DOCS / "protocol.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| (Federation|Analysis|Register) \| ([A-Za-z]+) \|", text, re.MULTILINE))
    assert listed == {(method.service, method.name) for method in METHODS}


def test_every_hash_tag_is_in_the_protocol() -> None:
    """A second implementation finds every domain tag that stands in code."""
    text = (DOCS / "protocol.md").read_text(encoding="utf-8")
    code = "".join(
        path.read_text(encoding="utf-8") for name in ("cordon", "node") for path in (ROOT / name).rglob("*.py")
    )
    tags = set(re.findall(r"cordon/v1/[a-z-]+", code))
    assert len(tags) >= 10
    assert {tag for tag in tags if tag not in text} == set()


def test_every_key_of_a_policy_is_in_its_document() -> None:
    """docs/policy.md names each rule, budget and approval key, so that a decline's rule can be looked up."""
    text = (DOCS / "policy.md").read_text(encoding="utf-8")
    keys = {name for model in (Policy, Budget) for name in model.model_fields} - {"budget", "officers"}
    assert {key for key in keys if not re.search(rf"`(budget\.X\.)?{key}`", text)} == set()


def test_the_purposes_of_the_manifest_sample_are_in_the_policy_document() -> None:
    """docs/policy.md lists each sample purpose with its provisions, and no other."""
    text = (DOCS / "policy.md").read_text(encoding="utf-8")
    sample = parse_manifest((ROOT / "deploy" / "config" / "manifest.toml").read_bytes())
    rows = re.findall(r"^\| `([a-z_]+)` \| (.*(?:Part 3|UK GDPR).*) \|$", text, re.MULTILINE)
    listed: dict[str, str] = dict(rows)
    assert set(listed) == set(sample.by_purpose)
    for purpose in sample.purposes:
        regime, provision = purpose.basis.split(": ", 1)
        assert regime in listed[purpose.code]
        assert provision.removeprefix(f"{regime.split(', ')[0]}, ") in listed[purpose.code]


def test_every_attack_test_in_the_threat_model_exists() -> None:
    """The threat model names tests, and each is in a file under tests/attack."""
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", (DOCS / "threat-model.md").read_text(encoding="utf-8")))
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "attack").glob("*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)", code, re.MULTILINE))
    assert named
    assert named - there == set()


def test_every_decision_is_listed() -> None:
    """docs/adr/README.md links every page beside it, and numbers run without a gap."""
    pages = sorted(path.name for path in (DOCS / "adr").glob("0*.md"))
    listed = re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", (DOCS / "adr" / "README.md").read_text(encoding="utf-8"))
    assert pages == listed
    assert [page[:4] for page in pages] == [f"{at:04d}" for at in range(1, len(pages) + 1)]
