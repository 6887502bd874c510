"""Run a command under the restrictions of a systemd unit that need no systemd to apply.

`python restricted.py UNIT COMMAND …` applies, then replaces itself by the command: no new privileges, no core
file, the umask, no memory that is both writable and executable (the kernel's own switch, Linux 6.3), and the
unit's system call filter (where libseccomp and systemd-analyze are at hand). What could not be applied is said
on standard error; a runner that lacks a part runs the rest.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
SCMP_ACT_ALLOW, SCMP_ACT_ERRNO = 0x7FFF0000, 0x00050000


def settings(unit: Path) -> dict[str, list[str]]:
    """Every setting of a unit, with its values in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def allowed_calls(filters: list[str]) -> set[str]:
    """The system calls that are left by a unit's SystemCallFilter lines."""
    allowed: set[str] = set()
    for line in filters:
        calls = {call for name in line.lstrip("~").split() for call in _expanded(name)}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    # What systemd always leaves: without it nothing could be started at all.
    return allowed | _expanded("@default")


def _expanded(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True
    )
    lines = [line.strip() for line in listed.stdout.splitlines() if line.startswith("  ")]
    return {call for line in lines if not line.startswith("#") for call in _expanded(line)}


def filter_calls(calls: set[str]) -> None:
    """Let every system call but these fail with EPERM, from here on and in every child."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(SCMP_ACT_ERRNO | errno.EPERM)))
    for name in sorted(calls):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0 and library.seccomp_rule_add(context, ctypes.c_uint32(SCMP_ACT_ALLOW), number, 0) != 0:
            raise OSError(f"cannot allow {name}")
    if library.seccomp_load(context) != 0:
        raise OSError("cannot load the system call filter")


def restrict(unit: Path) -> list[str]:
    """Apply a unit's restrictions to this process; returns what could not be applied."""
    wanted, missing = settings(unit), []
    os.umask(int(wanted["UMask"][-1], 8))
    core = int(wanted["LimitCORE"][-1])
    resource.setrlimit(resource.RLIMIT_CORE, (core, core))
    calls: set[str] = set()
    try:
        calls = allowed_calls(wanted["SystemCallFilter"])
    except FileNotFoundError:
        missing.append("SystemCallFilter: there is no systemd-analyze")
    kernel = ctypes.CDLL(None, use_errno=True)
    if wanted["NoNewPrivileges"] == ["yes"] and kernel.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        missing.append("NoNewPrivileges")
    if calls:
        try:
            filter_calls(calls)
        except OSError as error:
            missing.append(f"SystemCallFilter: {error}")
    # After the filter: systemd sets it by a filter of its own, and ctypes itself must still be able to load here.
    if wanted["MemoryDenyWriteExecute"] == ["yes"] and kernel.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
        missing.append("MemoryDenyWriteExecute: the kernel is older than 6.3")
    return missing


if __name__ == "__main__":
    for lacking in restrict(Path(sys.argv[1])):
        sys.stderr.write(f"not applied: {lacking}\n")
    os.execvp(sys.argv[2], sys.argv[2:])
