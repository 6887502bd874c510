"""The systemd units are well formed, harden what they start, and start what the command line has."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from deploy.restricted import allowed_calls, settings

from coordinator.cli import app as coordinator_app
from node.cli import app as node_app

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
MOST_EXPOSED = 1.1
"""Of 10, as `systemd-analyze security` counts; a service that must speak to a network cannot come to 0."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The units, with this environment's `cordon` in the place of the installed one."""
    here = str(Path(sys.executable).with_name("cordon"))
    for path in (*UNITS.glob("*.service"), *UNITS.glob("*.timer")):
        text = path.read_text(encoding="utf-8").replace("/opt/cordon/bin/cordon", here)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    return sorted(tmp_path.iterdir())


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, which looks at files only."""
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(installed: list[Path]) -> None:
    """`systemd-analyze verify` accepts every unit without a word."""
    found = analyze("verify", "--man=no", *map(str, installed))
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@needs_systemd
def test_systemd_would_find_a_misspelt_setting(installed: list[Path]) -> None:
    """The check above fails on a setting that systemd does not know."""
    unit = next(path for path in installed if path.name == "cordon-node.service")
    unit.write_text(unit.read_text(encoding="utf-8").replace("ProtectHome=", "ProtectHouse="), encoding="utf-8")
    assert "ProtectHouse" in analyze("verify", "--man=no", str(unit)).stderr


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_exposure_is_low_by_systemd_own_measure(name: str) -> None:
    """`systemd-analyze security` counts no service above the stated exposure."""
    found = analyze("security", "--no-pager", "--offline=true", str(UNITS / name))
    (level,) = re.findall(r"exposure level for \S+: ([\d.]+)", found.stdout)
    assert float(level) <= MOST_EXPOSED


@pytest.mark.parametrize("name", SERVICES)
def test_no_exact_figure_can_reach_a_disk_by_a_crash(name: str) -> None:
    """Neither core files nor swap are written, and new files are for their owner only."""
    unit = settings(UNITS / name)
    assert (unit["LimitCORE"], unit["MemorySwapMax"], unit["UMask"]) == (["0"], ["0"], ["0077"])
    assert unit["StateDirectoryMode"] == ["0700"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_starts_a_command_that_exists(name: str) -> None:
    """ExecStart names a command of today's command line, and the configuration's default path."""
    (line,) = settings(UNITS / name)["ExecStart"]
    program, party, command, option, path = line.split()
    app = {"node": node_app, "coordinator": coordinator_app}[party]
    parameters = typer.main.get_group(app).commands[command].params
    (config,) = [parameter for parameter in parameters if option in parameter.opts]
    assert (program, path) == ("/opt/cordon/bin/cordon", str(config.default))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_never_starts_over_a_missing_ledger_or_store(name: str) -> None:
    """The file that must not be made anew by accident is asserted to exist, in the folder that must be mounted."""
    unit = settings(UNITS / name)
    (asserted,) = unit["AssertPathExists"]
    assert f"/var/lib/{unit['StateDirectory'][0]}" in unit["RequiresMountsFor"][0].split()
    assert asserted.startswith(f"/var/lib/{unit['StateDirectory'][0]}/")


def test_whoever_reads_the_sources_has_neither_network_nor_keys() -> None:
    """The load job is cut off from networks and keys; the serving node from the sources."""
    load, serve = settings(UNITS / "cordon-node-load.service"), settings(UNITS / "cordon-node.service")
    assert load["PrivateNetwork"] == ["yes"]
    assert load["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert load["InaccessiblePaths"] == ["-/etc/cordon/keys"]
    assert serve["InaccessiblePaths"] == ["-/srv/cordon-sources"]


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_the_call_filter_leaves_no_way_to_trace_mount_or_reboot(name: str) -> None:
    """The system calls that are left include those of files, and none of debugging, mounts or the kernel."""
    left = allowed_calls(settings(UNITS / name)["SystemCallFilter"])
    assert {"read", "fsync", "execve"} <= left
    assert not {"ptrace", "mount", "reboot", "init_module", "bpf", "setuid", "perf_event_open"} & left


def test_users_of_the_services_are_those_that_are_made() -> None:
    """Each service's user stands in the sysusers file."""
    made = re.findall(r"^u (\S+)", (UNITS / "cordon.sysusers.conf").read_text(encoding="utf-8"), re.MULTILINE)
    assert {settings(UNITS / name)["User"][0] for name in SERVICES} == set(made)


@pytest.mark.parametrize("name", SERVICES)
def test_restrictions_are_really_applied_by_the_runner_of_the_runbook(name: str) -> None:
    """Under the runner that test_runbook.py starts services with, memory cannot be writable and executable."""
    probe = (
        "import mmap, os, resource\n"
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
        "assert os.umask(0) == 0o077\n"
        "try: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "except PermissionError: print('refused')\n"
    )
    runner = str(Path(__file__).with_name("restricted.py"))
    done = subprocess.run(
        [sys.executable, runner, str(UNITS / name), sys.executable, "-c", probe],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if "MemoryDenyWriteExecute" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stdout == "refused\n"
