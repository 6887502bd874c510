"""The guides' own commands, section by section, against the shared federation.

Commands run within this process, so that nothing is loaded twice. Sections that say `slow` in a comment restart a
node or wait for one, and so take up to half a minute.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

import pytest
from live import PURPOSE, Asking, Live, start_cordon, wait_until

from cordon.cli import run

pytestmark = pytest.mark.xdist_group("federation")

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
FORCE = "city-of-london"
"""Whose node the force's guide is typed at."""

ASKED = (
    "SELECT object, COUNT(*) AS searches FROM stop_search WHERE outcome = 'arrest' "
    "GROUP BY object ORDER BY searches DESC LIMIT 3"
)
"""What the guides' `ID` is, where a section does not ask by itself; published, so nobody else may ask it."""

WAITING = [f"SELECT COUNT(*) FROM stop_search WHERE outcome = '{outcome}'" for outcome in ("caution", "summons")]
ANYTHING = "…"
STEP = re.compile(
    r"^ *```(?P<kind>console|toml)\n(?P<text>.*?)^ *```$|^<!-- (?P<word>exits with|then:|slow:) ?(?P<note>.*?) -->$",
    re.DOTALL | re.MULTILINE,
)


@dataclass
class Command:
    """A line that somebody types, and the lines that stand below it."""

    words: list[str]
    shown: list[str]


@dataclass
class Section:
    """What stands below one heading of a guide."""

    guide: str
    title: str
    text: str

    @property
    def name(self) -> str:
        """For the test's name."""
        return f"{self.guide}: {self.title}"

    @property
    def is_slow(self) -> bool:
        """Whether it says so."""
        return "<!-- slow:" in self.text


def sections() -> list[Section]:
    """Every section with commands."""
    found = []
    for path in sorted(GUIDES.glob("*.md")):
        for part in re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            title, text = part.split("\n", 1)
            if "```console" in text:
                found.append(Section(path.stem, title, text))
    return found


def commands(block: str) -> list[Command]:
    """The commands of a block; a block that is indented in a list is read as if it were not."""
    found: list[Command] = []
    for line in block.splitlines():
        bare = line.removeprefix("   ") if block.startswith("   ") else line
        if bare.startswith("$ "):
            name, *words = shlex.split(bare[2:])
            assert name == "cordon", bare
            found.append(Command(words, []))
        elif bare:
            found[-1].shown.append(bare)
    return found


def shape(line: str) -> str:
    """A line without what differs from run to run: figures, hexadecimal, widths, rules of tables, paths."""
    bare = re.sub(r"\b[0-9a-f]{12,}\b|\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\dZ)?)?\b", "#", line)
    bare = re.sub(r"\S*/node\.toml", "node.toml", bare.replace(" ?", ""))
    return re.sub(r"\s+", " ", re.sub(r"[\d.,]*\d(?:e[+-]\d+)?", "#", bare)).strip()


def is_shown(said: str, shown: list[str]) -> bool:
    """Whether the shown lines are what was said; `…` stands for any lines, and at a line's end for any text."""
    pattern = ""
    for line in shown:
        if line == ANYTHING:
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(shape(line.removesuffix(ANYTHING))) + (".*\n" if line.endswith(ANYTHING) else "\n")
    text = "".join(f"{shape(line)}\n" for line in said.splitlines())
    return re.fullmatch(pattern, text) is not None


@dataclass
class Desk:
    """Where somebody follows a guide."""

    live: Live
    capsys: pytest.CaptureFixture[str]
    variables: dict[str, str]
    exit_code: int = 0
    policy: str = ""
    before: bytes | None = None
    """Load id of what the node served when the guide was opened."""

    def type(self, command: Command) -> None:
        """Type a command, and demand its exit code and what the guide shows below it."""
        words = [self.variables.get(word, Template(word).safe_substitute(self.variables)) for word in command.words]
        code = run(words)
        told = self.capsys.readouterr()
        assert code == self.exit_code, f"cordon {shlex.join(words)}: {told.out}{told.err}"
        assert "Traceback" not in told.err
        said = told.out if told.out and not code else told.err
        if command.shown:
            assert is_shown(said, command.shown), f"cordon {shlex.join(words)} says\n{said}"
        if words[:2] == ["keys", "signing"]:
            self.variables["officer"] = told.out.strip()
        asked = re.search(r"^query ([0-9a-f]{16})$", told.out, re.MULTILINE)
        if asked:
            self.variables["ID"] = asked[1]

    def follow(self, section: Section, stack: ExitStack) -> None:
        """Everything that a section has somebody do, in its order."""
        for step in STEP.finditer(section.text):
            if step["word"] == "exits with":
                self.exit_code = int(step["note"])
            elif step["word"] == "then:":
                stack.enter_context(self.events[step["note"]]())
            elif step["kind"] == "toml":
                self.policy = re.sub(r'key = "[0-9a-f]{64}"', f'key = "{self.variables["officer"]}"', step["text"])
            elif step["kind"] == "console":
                for command in commands(step["text"]):
                    self.type(command)
                self.exit_code = 0

    @property
    def events(self) -> dict[str, Callable[[], AbstractContextManager[None]]]:
        """What happens elsewhere while somebody follows a guide, by the guide's words."""
        return {"two questions wait": self.questions_wait, "the node serves the new snapshot": self.new_snapshot}

    @contextmanager
    def new_snapshot(self) -> Iterator[None]:
        """The node has told the coordinator of the load that the force has just made."""
        wait_until("the new snapshot is served", lambda: self.load_id() not in {None, self.before})
        yield

    def load_id(self) -> bytes | None:
        """Load id of the snapshot of stops that the force's node serves; None while it is not connected."""
        with self.live.client() as client:
            held = client.federation().holdings.get(FORCE, ())
        return next((item.load_id for item in held if item.dataset == "stop_search"), None)

    @contextmanager
    def questions_wait(self) -> Iterator[None]:
        """The guide's policy is in force at the node, and two questions wait for its officer."""
        with self.live.policy(FORCE, self.policy), ExitStack() as asking:
            for sql in WAITING:
                arguments = ("query", sql, "--epsilon", "1/2", "--purpose", PURPOSE, "--wait", "1", *self.live.profile)
                process = start_cordon(*arguments)
                asking.callback(process.communicate)
                asking.callback(process.kill)
            wait_until("two queries wait for the officer", lambda: len(self.pending()) == len(WAITING))
            self.variables["ID"], self.variables["OTHER"] = self.pending()
            yield
            wait_until("the officer has decided about both", lambda: not self.pending())

    def pending(self) -> list[str]:
        """Ids of the queries that the force's ledger has waiting."""
        statement = "SELECT query_hash FROM query WHERE outcome = 'AWAITING_APPROVAL'"
        return [row[0].hex()[:16] for row in self.live.ledger(FORCE, statement)]


@pytest.fixture(scope="module")
def asked(running: Live) -> str:
    """The beginning of the id of a query that was answered."""
    found: str = Asking(running, ASKED, epsilon="1").ended()["query"]
    return found[:16]


@pytest.fixture(scope="module")
def register(running: Live, asked: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published files, the asked question among them."""
    folder = tmp_path_factory.mktemp("published") / "register"
    assert run(["coordinator", "publish", str(folder), "--config", str(running.layout.coordinator_config)]) == 0
    return folder


@pytest.fixture
def desk(
    live: Live, asked: str, register: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:  # fmt: skip
    """A folder of one's own with the published register in it, and the configuration of each role in place."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(register, tmp_path / "register")
    settings = {
        "CORDON_PROFILE": live.layout.profile(),
        "CORDON_AUDITOR": live.layout.auditor_profile,
        "CORDON_NODE_CONFIG": live.layout.node_config(FORCE),
        "COLUMNS": "400",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    keys = {f"G{number}": key for number, key in enumerate(live.layout.governance_keys, start=1)}
    return Desk(live, capsys, {"ID": asked, **keys})


@pytest.mark.parametrize(
    "section",
    [
        pytest.param(section, id=section.name, marks=[pytest.mark.slow] if section.is_slow else [])
        for section in sections()
    ],
)
def test_a_guide_is_followed(section: Section, desk: Desk) -> None:
    """Every command of the section does what the guide says, and prints the lines that it shows."""
    with ExitStack() as stack:
        desk.before = desk.load_id() if section.is_slow else None
        desk.follow(section, stack)


def test_every_command_of_the_guides_is_in_a_block_that_is_followed() -> None:
    """What stands in a console block is below a heading, so that the test above comes to it."""
    for path in GUIDES.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        followed = "".join(section.text for section in sections() if section.guide == path.stem)
        assert text.count("\n$ cordon ") + text.count("   $ cordon ") == followed.count("$ cordon ")
        assert "```sh" not in text


def test_what_is_not_said_is_not_taken_for_shown() -> None:
    """The comparison can fail: another word, a line too many and a missing one are noticed."""
    said = "register x: 34 leaves\nok  form\nno discrepancy\n"
    assert is_shown(said, ["register x: 7 leaves", "…", "no discrepancy"])
    assert not is_shown(said, ["register x: 7 leaves", "no discrepancy"])
    assert not is_shown(said, ["register y: 7 leaves", "…"])
    assert not is_shown(said, ["…", "one discrepancy"])
