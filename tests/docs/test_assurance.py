"""What a force is given to sign agrees with the code, names tests that exist, and claims no law."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from coordinator.config import CoordinatorConfig
from cordon.register.leaf import Ground
from cordon.wire.services import METHODS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ASSURANCE = DOCS / "assurance"
PAGES = sorted([*ASSURANCE.glob("*.md"), *(DOCS / "guides").glob("*.md")])

MARKER = "*to be checked by counsel*"
LAW = re.compile(
    r"\bAct (?:19|20)\d\d|GDPR|\b[Ss]ections? \d|\bArticles? \d|\bSchedule \d|\bPart [23]\b|Code of Practice|\bRegulations \d"
)
"""What a line that states law names. NIST's sections stand behind §, and so do those of our own documents."""

NAMED_TEST = re.compile(r"`(?P<file>tests/[\w/]+\.py)::(?P<test>test_\w+)`")
TEST_LIKE = re.compile(r"tests/[\w/]+\.py::\S*|`test_\w+`")
CREATED = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+) \(")
LINKED_SECTION = re.compile(r"\]\((?P<path>[\w./-]+\.md)\) (?P<sections>§\d+(?:\.\d+)?(?:, §\d+(?:\.\d+)?)*)")
HEADING = re.compile(r"^#{2,3} §?(\d+(?:\.\d+)?)[. ]", re.MULTILINE)

LIKELIHOOD = {"remote", "possible", "probable"}
SEVERITY = {"minimal", "significant", "severe"}
OVERALL = {"low", "medium", "high"}
CLASSES = {"OFFICIAL", "OFFICIAL-SENSITIVE", "PUBLIC"}


def page(name: str) -> str:
    """The text of an assurance page."""
    return (ASSURANCE / name).read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """Cells of every row of every table, heads and rules left out."""
    lines = text.splitlines()
    found = []
    for at, line in enumerate(lines):
        rule = line.startswith("| ---")
        head = at + 1 < len(lines) and lines[at + 1].startswith("| ---")
        if line.startswith("|") and not rule and not head:
            found.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return found


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level."""
    level = heading.split(" ", 1)[0]
    below = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"^{level} ", below, maxsplit=1, flags=re.MULTILINE)[0]


def test_the_pages_are_listed_with_their_status() -> None:
    """README.md lists every page beside it, each with whom it is for and where it stands."""
    listed = re.findall(r"^\| \[([a-z-]+\.md)\]\(\1\) \| [^|]+ \| [^|]+ \|$", page("README.md"), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in ASSURANCE.glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_statement_of_law_is_marked(path: Path) -> None:
    """A line or row that names an Act, the GDPR, a section or an Article says that counsel has yet to check it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    unmarked = [line for line in lines if LAW.search(line) and MARKER not in line]
    assert unmarked == []


def test_law_would_be_found() -> None:
    """The look itself works: it knows citations, and takes our own documents' and NIST's sections for none."""
    for cited in ("the Equality Act 2010", "UK GDPR", "Section 64 says", "Articles 9 and 10", "Part 3 applies"):
        assert LAW.search(cited), cited
    for other in ("[privacy.md](../privacy.md) §3", "the section on verifying", "part of it", "an act", "(§2.3)"):
        assert not LAW.search(other), other


def test_every_test_that_is_named_exists() -> None:
    """`tests/file.py::test` is a test function of that file, and no test is named in any other way."""
    missing, seen = [], 0
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for match in NAMED_TEST.finditer(text):
            seen += 1
            if match["test"] not in functions(ROOT / match["file"]):
                missing.append((path.name, match[0]))
        assert len(NAMED_TEST.findall(text)) == len(TEST_LIKE.findall(text)), path.name
    assert missing == []
    assert seen > 100


@cache
def functions(path: Path) -> frozenset[str]:
    """Names of a file's test functions, or none where there is no such file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return frozenset(re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE))


def test_every_hazard_says_how_it_is_what_tests_it_and_what_is_left() -> None:
    """Hazards are numbered without a gap; each has the three parts, filled in, and at least one test."""
    hazards = re.split(r"^### ", page("hazards.md"), flags=re.MULTILINE)[1:]
    names = [hazard.split(" ", 1)[0] for hazard in hazards]
    counted = {"H": 24, "I": 7, "F": 6}
    assert names == [f"{kind}{at}" for kind, count in counted.items() for at in range(1, count + 1)]
    for name, hazard in zip(names, hazards, strict=True):
        parts = {row[0]: row[1] for row in rows(hazard) if row[0]}
        assert list(parts) == ["here", "tests", "left"], name
        assert all(parts.values()), name
        assert NAMED_TEST.search(parts["tests"]), name


def test_the_assessment_has_its_seven_steps() -> None:
    """Each step has its heading, in order."""
    steps = re.findall(r"^## Step (\d):", page("dpia.md"), re.MULTILINE)
    assert steps == [str(number) for number in range(1, 8)]


def test_every_risk_has_scores_measures_evidence_and_a_residual() -> None:
    """Step 5 scores each risk in the template's words; step 6 answers each with evidence and what is left."""
    text = page("dpia.md")
    risks = {row[0]: row for row in rows(section(text, "## Step 5: Risks"))}
    measures = {row[0]: row for row in rows(section(text, "## Step 6: Measures"))}
    assert list(risks) == list(measures) == [f"R{at}" for at in range(1, len(risks) + 1)]
    for _, _, likelihood, severity, overall in risks.values():
        assert (likelihood in LIKELIHOOD, severity in SEVERITY, overall in OVERALL) == (True, True, True)
    for name, (_, _, evidence, effect, residual, approved) in measures.items():
        assert NAMED_TEST.search(evidence) or ".md" in evidence, name
        assert effect in {"reduced", "accepted", "eliminated"}, name
        assert re.match(r"(?:low|medium|high)\b", residual), name
        assert approved == "`[force: …]`", name


def test_what_the_sign_off_is_told_of_residual_risks_is_so() -> None:
    """The risks that the page calls medium are those whose residual is, and none is high."""
    text = section(page("dpia.md"), "## Step 6: Measures")
    residual = {row[0]: row[4] for row in rows(text)}
    medium = {name for name, words in residual.items() if words.startswith("medium")}
    told = re.search(r"^(R[\dR, and]+) are medium whatever", text, re.MULTILINE)
    assert told is not None
    assert set(re.findall(r"R\d+", told[1])) == medium
    assert not any(words.startswith("high") for words in residual.values())


def test_every_remote_call_is_in_a_flow() -> None:
    """Each call of the protocol is in at least one flow, no flow has another, and classes are the known ones."""
    flows = [row for row in rows(section(page("data-flows.md"), "## Flows")) if re.fullmatch(r"F\d+", row[0])]
    assert [row[0] for row in flows] == [f"F{at}" for at in range(1, len(flows) + 1)]
    called = {name for row in flows for name in re.findall(r"`([A-Z][a-z]+)`", row[2])}
    assert called == {method.name for method in METHODS}
    for row in flows:
        assert len(row) == 8, row[0]
        classes = set(re.findall(r"`([A-Z-]+)`", row[5]))
        assert classes, row[0]
        assert classes <= CLASSES, row[0]


def test_the_diagram_has_every_flow() -> None:
    """What the table lists is drawn, and nothing else."""
    text = page("data-flows.md")
    drawn: set[int] = set()
    for first, last in re.findall(r"\bF(\d+)(?:–F(\d+))?", text.split("```mermaid", 1)[1].split("```", 1)[0]):
        drawn |= set(range(int(first), int(last or first) + 1))
    flows = [row[0] for row in rows(section(text, "## Flows")) if re.fullmatch(r"F\d+", row[0])]
    assert drawn == {int(name[1:]) for name in flows}


def test_every_file_that_a_party_stores_has_a_retention() -> None:
    """Each file of the architecture's table stands in the schedule, under its party."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    stored = rows(section(text, "## What each party stores"))
    headings = {
        "node": "## A force",
        "coordinator": "## The coordinator",
        "analyst": "## An analyst",
        "auditor": "## An auditor",
    }
    assert {row[0] for row in stored} == set(headings)
    missing = []
    for party, files, _ in stored:
        scheduled = section(page("retention.md"), headings[party])
        names = re.findall(r"`([^`]+)`", files) or [files.split(",")[0]]
        missing += [(party, name) for name in names if name.casefold() not in scheduled.casefold()]
    assert missing == []


@pytest.mark.parametrize(
    ("heading", "sources"),
    [
        ("## A force", ["node/ledgerfile.py"]),
        ("## The coordinator", ["coordinator/store.py", "coordinator/register.py"]),
        ("## An auditor", ["cordon/reading/mirror.py"]),
    ],
)
def test_every_table_has_a_retention(heading: str, sources: list[str]) -> None:
    """A table that the code makes in a durable file stands in the schedule of the party that keeps it."""
    scheduled = section(page("retention.md"), heading)
    made = {name for path in sources for name in CREATED.findall((ROOT / path).read_text(encoding="utf-8"))}
    assert len(made) >= 6
    assert {name for name in made if f"`{name}`" not in scheduled} == set()


def test_periods_and_grounds_are_those_of_the_code() -> None:
    """The schedule's default days and grounds of erasure are the ones that the coordinator has."""
    days = CoordinatorConfig.model_fields["keep_contributions_days"].default
    assert f"`keep_contributions_days` ({days} by default)" in page("retention.md")
    assert f"{days} days after the query closed by default" in page("data-flows.md")
    assert f"`keep_contributions_days`, {days} by default" in page("exit.md")
    told = re.search(r"^Grounds are (.*)\.$", page("retention.md"), re.MULTILINE)
    assert told is not None
    assert set(re.findall(r"`(\w+)`", told[1])) == {ground.name.lower() for ground in Ground}


def test_sections_that_are_linked_exist() -> None:
    """A link to a document with a section behind it names a heading of that document."""
    missing = []
    for path in PAGES:
        for match in LINKED_SECTION.finditer(path.read_text(encoding="utf-8")):
            there = set(HEADING.findall((path.parent / match["path"]).read_text(encoding="utf-8")))
            sections = re.findall(r"§(\d+(?:\.\d+)?)", match["sections"])
            missing += [(path.name, match["path"], name) for name in sections if name not in there]
    assert missing == []


def test_what_only_a_force_can_say_is_marked_in_one_way() -> None:
    """`[force: …]` and its like stand in code marks, so that one search finds all of them."""
    for path in ASSURANCE.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        blanks = re.findall(r"\[(?:force|operator|governance|auditor|analyst's body): [^\]]+\]", text)
        marked = re.findall(r"`\[(?:force|operator|governance|auditor|analyst's body): [^\]]+\]`", text)
        assert len(blanks) == len(marked), path.name
