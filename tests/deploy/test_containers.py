"""The container files name only what exists, pin what they install, and keep the hardening of every service.

No container engine is needed: the files are read, not run. A parser of YAML is not among the project's
dependencies, so compose.yaml is read line by line, in the plain style that it is written in.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from coordinator.cli import app as coordinator_app
from node.cli import app as node_app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERFILE = (DEPLOY / "container" / "Containerfile").read_text(encoding="utf-8")
COMPOSE = (DEPLOY / "container" / "compose.yaml").read_text(encoding="utf-8")
PARTIES = ("node", "coordinator", "analyst")


def blocks(text: str, indent: int) -> dict[str, str]:
    """The keys that stand at one indentation, each with the lines below it."""
    found = re.split(rf"^ {{{indent}}}(?=[a-z-]+:)", text, flags=re.MULTILINE)[1:]
    return {block.split(":", 1)[0]: block.split(":", 1)[1] for block in found}


def services() -> dict[str, str]:
    """The services of compose.yaml."""
    return blocks(blocks(COMPOSE, 0)["services"], 2)


def test_what_is_copied_into_the_image_exists() -> None:
    """Every file and folder that the build copies from the release is in it."""
    copied = [line.split()[1:-1] for line in CONTAINERFILE.splitlines() if re.match(r"COPY (?!--from)", line)]
    assert copied
    for source in (name for names in copied for name in names):
        assert (ROOT / source).exists(), source


def test_every_package_of_the_wheel_that_a_party_runs_is_copied() -> None:
    """The image holds each package that the command line's entry points load."""
    for package in ("cordon", "node", "coordinator", "contracts"):
        assert f"COPY {package}/ /src/{package}/" in CONTAINERFILE


def test_nothing_is_installed_without_a_hash() -> None:
    """Each installation of a distribution from an index demands hashes; our own comes from no index."""
    installs = re.findall(r"pip install (.*)", CONTAINERFILE)
    assert len(installs) == 3
    for options in installs:
        assert "--require-hashes" in options or ("--no-index" in options and "--no-deps" in options)


def test_the_image_runs_as_nobody_in_particular() -> None:
    """The last stage gives up root before its entry point."""
    last = CONTAINERFILE.split("\nFROM ")[-1]
    assert re.search(r"^USER 65532:65532$.*^ENTRYPOINT", last, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["coordinator", "kent", "surrey", "sussex", "analyst"])
def test_each_service_is_hardened_and_has_folders_of_its_own(name: str) -> None:
    """A service takes the shared restrictions over and mounts its own folders, configuration read-only."""
    service = services()[name]
    assert re.search(r"<<: \*(hardened|node)\n", service)
    mounts = re.findall(r"- (\S+)", service.split("volumes:")[1])
    assert mounts == [f"./parties/{name}/etc:/etc/cordon:ro", f"./parties/{name}/state:/var/lib/cordon"]


def test_there_are_no_other_services() -> None:
    """The test above has looked at every service."""
    assert set(services()) == {"coordinator", "kent", "surrey", "sussex", "analyst"}


def test_the_shared_restrictions_are_complete() -> None:
    """Read-only, without capabilities, core files, swap or new privileges, on a network without a way out."""
    hardened, node = blocks(COMPOSE, 0)["x-hardened"], blocks(COMPOSE, 0)["x-node"]
    for line in (
        "read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]', "ulimits: {core: 0}",
        'user: "65532:65532"',
    ):  # fmt: skip
        assert f"\n  {line}\n" in hardened
    assert re.search(r"mem_limit: (\S+)\n  memswap_limit: \1\n", hardened)
    assert "<<: *hardened" in node
    assert "federation: {internal: true}" in COMPOSE
    assert "ports:" not in COMPOSE


def test_commands_of_the_services_exist() -> None:
    """What a service starts is a command of today's command line."""
    apps = {"node": node_app, "coordinator": coordinator_app}
    started = re.findall(r'command: \["(node|coordinator)", "([a-z-]+)", "--config"', COMPOSE)
    assert sorted(started) == [("coordinator", "serve"), ("node", "serve")]
    for party, command in started:
        assert command in typer.main.get_group(apps[party]).commands


def test_images_are_built_from_files_that_exist() -> None:
    """Each build names this release's folder, its Containerfile, and a party that has pinned requirements."""
    builds = re.findall(r"build: \{context: (\S+), dockerfile: (\S+), args: \{PARTY: (\w+)\}\}", COMPOSE)
    assert sorted(party for _, _, party in builds) == sorted(PARTIES)
    for context, file, party in builds:
        assert (DEPLOY / "container" / context).resolve() == ROOT
        assert (ROOT / file).is_file()
        assert (DEPLOY / "requirements" / f"{party}.txt").is_file()


def test_requirements_of_each_party_are_those_that_its_extra_needs() -> None:
    """Writing the parties' requirements anew gives the files that are there."""
    texts: Callable[[], dict[str, str]] = runpy.run_path(str(DEPLOY / "write_requirements.py"))["texts"]
    assert texts() == {path.name: path.read_text(encoding="utf-8") for path in (DEPLOY / "requirements").iterdir()}


def test_every_pin_of_a_distribution_is_taken_over() -> None:
    """A distribution that is pinned once for each of several Python versions keeps all its pins."""
    pinned = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    for path in (DEPLOY / "requirements").iterdir():
        text = path.read_text(encoding="utf-8")
        for name in set(re.findall(r"^(\S+)==", text, re.MULTILINE)):
            pins = rf"^{re.escape(name)}==.*$"
            assert re.findall(pins, text, re.MULTILINE) == re.findall(pins, pinned, re.MULTILINE)


@pytest.mark.parametrize("party", PARTIES)
def test_a_party_installs_no_tools_of_development(party: str) -> None:
    """What tests and checks need is not installed where records are."""
    text = (DEPLOY / "requirements" / f"{party}.txt").read_text(encoding="utf-8")
    names = set(re.findall(r"^(\S+)==", text, re.MULTILINE))
    assert not names & {"pytest", "ruff", "mypy", "hypothesis", "scipy", "trustme", "grpcio-tools"}
    assert ("duckdb" in names) == (party == "node")
    assert ("tenseal" in names) == (party in ("node", "analyst"))
