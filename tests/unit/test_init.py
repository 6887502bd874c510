"""What `cordon node init` lays out, and what it leaves alone."""

from __future__ import annotations

import multiprocessing
import os
import pty
import re
import stat
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from cordon.cli import run
from cordon.configfile import read_config
from cordon.errors import Misconfigured
from cordon.identity import Identity, Role, read_request
from cordon.keyfile import read_private_key, read_seal_key, read_signing_key
from cordon.manifest import Force, read_manifest
from demo.layout import Design, Layout, lay_out
from node.config import NodeConfig
from node.joining.setup import Answers, Made, next_steps, set_up
from node.joining.texts import CAREFUL, filled, policy_text, sample
from node.policy import Policy

SAMPLES = Path(__file__).parents[2] / "deploy" / "config"
KEYS = ("1" * 64, "2" * 64, "3" * 64)
ANSWERS = Answers(force="kent", name="Kent Police", coordinator="coordinator.example.org:7443", governance_keys=KEYS)


def mode(path: Path) -> int:
    """Permission bits of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A federation whose signed manifest a new force may have."""
    return lay_out(tmp_path_factory.mktemp("federation"), Design(forces=("cumbria", "surrey", "sussex")))


@pytest.fixture(scope="module")
def kent(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A new node, for tests that only look."""
    return set_up(tmp_path_factory.mktemp("kent"), ANSWERS)


@pytest.mark.parametrize("name", ["node.toml", "policy.toml"])
def test_the_packaged_samples_are_those_of_the_deployment(name: str) -> None:
    """What is filled in is the sample that people read in deploy/config, byte for byte."""
    assert (files("node.joining") / name).read_bytes() == (SAMPLES / name).read_bytes()


def test_the_configuration_is_valid_and_keeps_every_comment(kent: Made) -> None:
    """The written node.toml says what was answered, points at the keys beside it, and explains every key."""
    folder, settings = kent.config.parent, read_config(kent.config, NodeConfig)
    assert (settings.force, settings.coordinator, settings.governance_keys) == ("kent", ANSWERS.coordinator, KEYS)
    assert (settings.proxy, settings.mappings) == (None, ())
    assert (settings.state, mode(settings.state)) == (folder / "state", 0o700)
    assert (folder / "mappings").is_dir()
    written = kent.config.read_text(encoding="utf-8").replace(f"{folder}/", "/etc/cordon/")
    comments = [line for line in sample("node.toml").splitlines() if line.startswith("# ")]
    assert [line for line in written.splitlines() if line.startswith("# ")] == comments


def test_every_answer_gets_where_it_belongs(tmp_path: Path) -> None:
    """A proxy, a state folder elsewhere, mappings and budgets that are known already are all written."""
    answers = Answers(
        force="west-yorkshire",
        coordinator="c.example.org:1",
        governance_keys=KEYS[:1],
        proxy="http://proxy.example.org:3128",
        state=tmp_path / 'a "state"',
        mappings={"stop_search.toml": "# to be written\n"},
        budgets={"stop_records": ("10", "100")},
    )
    made = set_up(tmp_path / "node", answers)
    settings = read_config(made.config, NodeConfig)
    assert (settings.proxy, settings.state) == (answers.proxy, answers.state)
    assert [path.read_text() for path in settings.mappings] == ["# to be written\n"]
    assert set(read_config(settings.policy, Policy).budget) == {"stop_records"}
    assert 'name = "West Yorkshire"' in made.block


def test_the_keys_are_private_and_those_of_the_block_and_the_request(kent: Made) -> None:
    """Governance gets the public halves of exactly the keys that only their owner can read."""
    settings = read_config(kent.config, NodeConfig)
    assert {mode(path) for path in (settings.signing_key, settings.seal_key, settings.tls.key)} == {0o600}
    (block,) = tomllib.loads(kent.block_file.read_text(encoding="utf-8"))["force"]
    force = Force.model_validate(block)
    assert (force.id, force.name) == ("kent", "Kent Police")
    assert force.signing_key == read_signing_key(settings.signing_key).public_key().public_bytes_raw().hex()
    assert force.seal_key == read_seal_key(settings.seal_key).public_key().public_bytes_raw().hex()
    requested = read_request(kent.request.read_bytes())
    assert requested.identity == Identity(Role.FORCE, "kent")
    assert requested.key == read_private_key(settings.tls.key).public_key()
    assert not any(b"PRIVATE" in content for content in contents(kent.request.parent).values())


def test_the_policy_begins_careful_and_without_a_budget(tmp_path: Path) -> None:
    """Until officers have entered a budget the policy is refused; with one, it is stricter than the defaults."""
    made = set_up(tmp_path, ANSWERS)
    path = made.config.parent / "policy.toml"
    with pytest.raises(Misconfigured, match="budget"):
        read_config(path, Policy)
    path.write_text(path.read_text() + '[budget.stop_records]\nepsilon_per_year = "1"\nepsilon_lifetime = "9"\n')
    policy, plain = read_config(path, Policy), Policy.model_validate({"budget": {"x": {"epsilon_per_year": "1", "epsilon_lifetime": "1"}}})  # fmt: skip
    assert set(policy.budget) == {"stop_records"}
    assert all(getattr(policy, key) != getattr(plain, key) for key in CAREFUL)
    assert policy.officers == ()


def test_every_rule_of_the_policy_can_be_switched_on_where_it_stands() -> None:
    """What is commented out is the sample's own, and valid when all of it is taken."""
    text = re.sub(r"^#(?=[a-z_]+ = |\[)", "", policy_text({}), flags=re.MULTILINE)
    assert set(Policy.model_validate(tomllib.loads(text)).budget) == {"stop_records", "nominal_records"}


def test_a_key_that_the_sample_does_not_have_is_not_filled_in() -> None:
    """A renamed key is noticed rather than left at the sample's value."""
    with pytest.raises(ValueError, match="no key 'misspelt'"):
        filled(sample("node.toml"), {"misspelt": '"x"'})


@pytest.mark.parametrize(
    ("changed", "flag"),
    [
        ({"force": "Kent Police"}, "--force"),
        ({"coordinator": "https://c.example.org"}, "--coordinator"),
        ({"proxy": "proxy:3128"}, "--proxy"),
        ({"governance_keys": ("12",)}, "--governance-key"),
        ({"governance_keys": ()}, "--governance-key"),
        ({"governance_keys": (KEYS[0], KEYS[0])}, "--governance-key"),
        ({"coordinator": "c.example.org:65536"}, "--coordinator"),
        ({"coordinator": "c.example.org:0"}, "--coordinator"),
        ({"proxy": "http://p.example.org:70000"}, "--proxy"),
    ],
)
def test_an_answer_that_cannot_be_used_is_named_by_its_flag(
    tmp_path: Path, changed: dict[str, object], flag: str
) -> None:
    """Nothing is written, not even the folder."""
    values = {name: getattr(ANSWERS, name) for name in ("force", "coordinator", "governance_keys")} | changed
    with pytest.raises(Misconfigured, match=f"^{flag}: "):
        set_up(tmp_path / "kent", Answers(**values))
    assert not (tmp_path / "kent").exists()


def test_a_manifest_at_hand_is_verified_and_brings_the_authority(tmp_path: Path, layout: Layout) -> None:
    """A manifest that the governance keys have signed is copied with the authority in it; any other is refused."""
    path = layout.root / "manifest.json"
    known = {"force": "kent", "coordinator": "c.example.org:1", "manifest": path}
    made = set_up(tmp_path / "kent", Answers(**known, governance_keys=layout.governance_keys))
    manifest, _ = read_manifest(made.manifest, layout.governance_keys)
    assert made.authority.read_text(encoding="utf-8") == manifest.authority
    with pytest.raises(Misconfigured, match="manifest"):
        set_up(tmp_path / "other", Answers(**known, governance_keys=KEYS))
    assert not (tmp_path / "other").exists()


def test_a_state_folder_elsewhere_needs_the_folder_that_it_is_to_lie_in(tmp_path: Path) -> None:
    """A volume that is not mounted does not become a folder on the machine's own disk; inside the node's it may."""
    answers = Answers(**{name: getattr(ANSWERS, name) for name in ("force", "coordinator", "governance_keys")})
    for state in (tmp_path / "volume" / "state", Path("../volume/state")):
        with pytest.raises(Misconfigured, match=f"^--state: there is no folder {tmp_path / 'volume'}"):
            set_up(tmp_path / "kent", replace(answers, state=state))
    assert not list(tmp_path.iterdir())
    assert set_up(tmp_path / "kent", replace(answers, state=Path("held/state"))).state.is_dir()


# What stands in the way


@pytest.mark.parametrize("name", ["node.toml", "policy.toml", "keys/signing.key", "state/ledger.sqlite"])
def test_nothing_that_exists_is_overwritten(tmp_path: Path, name: str) -> None:
    """One file in the way is named, stays as it is, and nothing is put beside it."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(Misconfigured, match=re.escape(str(tmp_path / name.removesuffix("/ledger.sqlite")))):
        set_up(tmp_path, ANSWERS)
    assert contents(tmp_path) == {name: b"mine"}


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """Run again with the same answers, it names what there is, and every byte stays."""
    set_up(tmp_path, ANSWERS)
    before = contents(tmp_path)
    with pytest.raises(Misconfigured, match=r"signing\.key"):
        set_up(tmp_path, ANSWERS)
    assert contents(tmp_path) == before


def test_a_policy_that_was_there_survives_although_it_is_alike(tmp_path: Path) -> None:
    """A file that equals what would be written is somebody's all the same: it is not taken away."""
    (tmp_path / "policy.toml").write_text(policy_text({}), encoding="utf-8")
    for _ in range(2):
        with pytest.raises(Misconfigured, match=r"policy\.toml"):
            set_up(tmp_path, ANSWERS)
    assert set(contents(tmp_path)) == {"policy.toml"}


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    """When one file cannot be put in place, those before it are taken away again."""
    (tmp_path / "to-governance").write_bytes(b"a file where a folder is needed")
    with pytest.raises(Misconfigured, match="cannot write in"):
        set_up(tmp_path, ANSWERS)
    assert set(contents(tmp_path)) == {"to-governance"}


def _dying(folder: Path, after: int) -> None:
    """Run `set_up`, and end the process like a power cut when so many files have got their names."""
    left = [after]

    def watch(event: str, _: object) -> None:
        if event == "os.link":
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)

    sys.addaudithook(watch)
    set_up(folder, ANSWERS)


FILES = 7
"""Each is made beside its place first, and then put there."""


@pytest.mark.parametrize("after", [3, FILES, FILES + 2, 2 * FILES - 1, 2 * FILES])
def test_after_a_crash_at_any_file_it_is_run_again(tmp_path: Path, after: int) -> None:
    """Wherever a run broke off, the next one makes a whole node with keys that fit together; a whole one it leaves."""
    process = multiprocessing.get_context("fork").Process(target=_dying, args=(tmp_path, after))
    process.start()
    process.join()
    assert process.exitcode == (0 if after == 2 * FILES else 9)
    if after == 2 * FILES:
        with pytest.raises(Misconfigured, match="nothing was written"):
            set_up(tmp_path, ANSWERS)
        return
    made = set_up(tmp_path, ANSWERS)
    assert made.signing_key in made.block_file.read_text(encoding="utf-8")
    assert read_signing_key(tmp_path / "keys" / "signing.key").public_key().public_bytes_raw().hex() == made.signing_key
    assert not list(tmp_path.rglob(".*"))


# The command


@pytest.fixture
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard input as a script has it."""
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield


FLAGS = ("--force", "kent", "--coordinator", "c.example.org:7443", "--governance-key", KEYS[0])


@pytest.mark.usefixtures("no_terminal")
def test_without_a_terminal_the_missing_flags_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A script that forgets something is told all of it at once, and nothing is made."""
    assert run(["node", "init", str(tmp_path / "kent"), "--proxy", "http://p:1"]) == 6
    assert "not given: --force, --coordinator, --governance-key" in capsys.readouterr().err
    assert not (tmp_path / "kent").exists()


@pytest.mark.usefixtures("no_terminal")
def test_it_prints_what_governance_needs_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Public keys, the manifest's block and numbered steps are printed; no private key is."""
    assert run(["node", "init", str(tmp_path / "kent"), *FLAGS, "--name", "Kent Police"]) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "kent" / "to-governance" / "force-kent.toml").read_text() in said
    assert [int(number) for number in re.findall(r"^ +(\d+)\. ", said, re.MULTILINE)] == list(range(1, 10))
    assert "PRIVATE" not in said


def test_at_a_terminal_it_asks_for_what_is_not_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question has a sentence; an answer of the wrong form is asked for again; Enter takes the default."""
    master, slave = pty.openpty()
    with os.fdopen(slave, encoding="utf-8") as terminal:
        answers = ["Kent!", "kent", "Kent Police", "c.example.org:7443", "", f"{KEYS[0]} {KEYS[1]}", "", ""]
        os.write(master, "".join(f"{answer}\n" for answer in answers).encode())
        monkeypatch.setattr(sys, "stdin", terminal)
        assert run(["node", "init", str(tmp_path / "kent")]) == 0
    os.close(master)
    said = capsys.readouterr().out
    assert "it looks like this: kent" in said
    assert said.count("Your force's id in the federation") == 1
    settings = read_config(tmp_path / "kent" / "node.toml", NodeConfig)
    assert (settings.force, settings.governance_keys, settings.proxy) == ("kent", KEYS[:2], None)
    assert settings.state == tmp_path / "kent" / "state"


@pytest.mark.usefixtures("no_terminal")
@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--force", "Kent!", "it looks like this: kent"),
        ("--coordinator", "c.example.org", "it looks like this: coordinator.example.org:7443"),
        ("--coordinator", "c.example.org:65536", "a port is a number from 1 to 65535"),
        ("--proxy", "p:1", "it looks like this: http://proxy.kent.example.org:3128"),
        ("--governance-key", KEYS[0], "the same key is given twice"),
        ("--manifest", "none.json", "there is no file none.json"),
    ],
)
def test_a_flag_is_refused_in_the_words_of_the_prompt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str, words: str
) -> None:
    """A script reads of a wrong answer what a person at the terminal reads, and nothing is made."""
    assert run(["node", "init", str(tmp_path / "kent"), *FLAGS, flag, value]) == 6
    assert f"error: {flag}: {words}" in capsys.readouterr().err
    assert not (tmp_path / "kent").exists()


@pytest.mark.usefixtures("no_terminal")
def test_a_single_governance_key_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One key makes a node all the same, and its officers read what it means; two keys say nothing."""
    assert run(["node", "init", str(tmp_path / "one"), *FLAGS]) == 0
    assert "warning: with one governance key its holder alone" in capsys.readouterr().err
    assert run(["node", "init", str(tmp_path / "two"), *FLAGS, "--governance-key", KEYS[1]]) == 0
    assert "warning" not in capsys.readouterr().err


class Terminal:
    """A terminal at which somebody types a few lines, and then stops."""

    def __init__(self, lines: list[str], end: type[BaseException]) -> None:
        self._lines, self._end = lines, end

    def isatty(self) -> bool:
        return True

    def readline(self, _: int = -1) -> str:
        if not self._lines:
            raise self._end
        return self._lines.pop(0) + "\n"


@pytest.mark.parametrize(("end", "code"), [(KeyboardInterrupt, 130), (EOFError, 1)])
def test_whoever_stops_at_a_prompt_reads_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    end: type[BaseException],
    code: int,
) -> None:
    """Ctrl-C and Ctrl-D leave nothing behind; a manifest that is not there, and blanks, are asked for again."""
    answers = ["kent", "", "c.example.org:99999", "c.example.org:7443", "", "  ", KEYS[0], str(tmp_path / "none.json")]
    monkeypatch.setattr(sys, "stdin", Terminal(answers, end))
    assert run(["node", "init", str(tmp_path / "kent")]) == code
    said = capsys.readouterr()
    assert said.err.split("\n") == ["", "stopped; nothing was written", ""]
    assert said.out.count("there is no file") == 1
    assert "a port is a number from 1 to 65535" in said.out
    assert "name [Kent]" in said.out
    assert not (tmp_path / "kent").exists()


def test_steps_name_files_that_are_there_or_are_to_come(kent: Made) -> None:
    """What is to be sent exists; the authority is not asked for where the manifest brought it."""
    send, put = next_steps(kent)[:2]
    assert all(str(path) in send and path.is_file() for path in (kent.block_file, kent.request))
    assert str(kent.authority) in put
    kent.authority.write_text("there")
    assert str(kent.authority) not in next_steps(kent)[1]
