"""The machine that a node runs on: its disk, swap, core files and clock. Read from /proc and /sys alone."""

from __future__ import annotations

import ctypes
import os
import resource
import stat
from collections.abc import Iterable
from pathlib import Path

from node.joining.finding import Finding, ok, to_do, warning
from node.joining.volume import block_device, device_is_encrypted, volume_of

LEAST_FREE = 2**30
"""Bytes that are to be free beside the state's own, whatever has been loaded so far."""

_LEAST_INODES = 1000
_MODES_UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""

_HONOURS_LIMIT = ("systemd-coredump", "apport")
"""Programs that take core files from the kernel, and leave them out for a process whose limit is zero."""


def machine_findings(state: Path, root: Path = Path("/")) -> list[Finding]:
    """Everything about the machine.

    Args:
        state: the node's state folder.
        root: where proc and sys are.
    """
    folder = state_finding(state)
    if not state.is_dir():
        return [folder]
    return [
        folder,
        *disk_findings(state),
        encryption_finding(state, root),
        swap_finding(root),
        cores_finding(root),
        time_finding(kernel_clock_state()),
    ]


def state_finding(state: Path) -> Finding:
    """Whether the state folder is there, and for the node's user only."""
    name = "state folder"
    try:
        found = state.stat()
    except OSError as error:
        return to_do(
            name,
            f"{state} cannot be looked at: {error.strerror}",
            f"mount its volume, or correct `state` in node.toml; for a new force: install -d -m 700 {state}",
        )
    if found.st_uid != os.geteuid():
        return to_do(
            name,
            f"{state} belongs to user {found.st_uid}, and this runs as user {os.geteuid()}",
            f"run this as the node's user (sudo -u cordon-node), or: chown -R cordon-node: {state}",
        )
    if stat.S_IMODE(found.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        return to_do(name, f"{state} is open to others than its owner", f"chmod 700 {state}")
    return ok(name, f"{state} is for its owner only")


def disk_findings(state: Path) -> list[Finding]:
    """Room for the next load and for open queries."""
    held = sum(_size(path) for path in state.rglob("*") if path.suffix in {".snapshot", ".duckdb"})
    found = os.statvfs(state)
    free, needed = found.f_bavail * found.f_frsize, max(3 * held, LEAST_FREE)
    words = f"{free / 2**30:,.1f} GiB free; snapshots take {held / 2**30:,.2f} GiB"
    remedy = f"free space on the volume of {state}, other files and never the ledger, or enlarge it"
    findings = [
        to_do("disk", f"{words}; {needed / 2**30:,.1f} GiB should be free", remedy)
        if free < needed
        else ok("disk", words)
    ]
    # Some file systems count no inodes.
    if found.f_files and found.f_favail < _LEAST_INODES:
        findings.append(to_do("inodes", f"only {found.f_favail} more files fit on the volume of {state}", remedy))
    return findings


def _size(path: Path) -> int:
    return path.lstat().st_size


def encryption_finding(state: Path, root: Path = Path("/")) -> Finding:
    """Whether the volume of ledger and snapshots is encrypted."""
    name, volume = "encryption", volume_of(state, root)
    remedy = f"put {state} on an encrypted volume (cryptsetup luksFormat), or have in writing what encrypts it below"
    if volume.lost_at_restart:
        return to_do(name, f"{state} lies in memory, on {volume.words}: a restart loses the ledger", remedy)
    if volume.encrypted is None:
        return warning(name, f"could not be told: {state} lies on {volume.words}", remedy)
    if not volume.encrypted:
        return warning(name, f"{state} lies on {volume.words}, which this machine does not encrypt", remedy)
    return ok(name, f"{state} lies on {volume.words}, encrypted")


def swap_finding(root: Path = Path("/")) -> Finding:
    """Whether memory can reach a disk in the clear by way of the swap."""
    try:
        lines = (root / "proc" / "swaps").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return warning("swap", "could not be told", "see that the swap is encrypted, or off (swapoff -a)")
    areas = [line.split()[0] for line in lines if line.strip()]
    bare = [area for area in areas if not _is_safe_swap(area, root)]
    if bare:
        remedy = "encrypt it (/etc/crypttab), turn it off (swapoff -a), or keep the node out of it (MemorySwapMax=0)"
        return warning("swap", f"{', '.join(bare)} is not encrypted", remedy)
    return ok("swap", "off" if not areas else f"{', '.join(areas)}: encrypted, or in memory")


def _is_safe_swap(area: str, root: Path) -> bool:
    device = block_device(area, root) if area.startswith("/dev/") else None
    if device is not None:
        return device.resolve().name.startswith("zram") or device_is_encrypted(device)
    return volume_of(Path(area), root).encrypted is True


def cores_finding(root: Path = Path("/")) -> Finding:
    """Whether a crash could write memory into a core file. The serving node turns its own off."""
    try:
        pattern = (root / "proc" / "sys" / "kernel" / "core_pattern").read_text(encoding="utf-8").strip()
    except OSError:
        pattern = ""
    if pattern.startswith("|") and not any(name in pattern for name in _HONOURS_LIMIT):
        return warning(
            "core files",
            f"crashes are handed to {pattern[1:].split()[0]}, which need not heed that the node turns core files off",
            "sysctl kernel.core_pattern=core, or see that this program keeps nothing of the node's user",
        )
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    if soft != 0:
        return ok("core files", "the serving node turns them off for itself; this shell would write them")
    return ok("core files", "off")


def time_finding(state: int | None) -> Finding:
    """Whether the machine's clock is kept right.

    Args:
        state: what adjtimex(2) returns; None where there is no such thing.
    """
    if state is None:
        return warning("time", "could not be told whether NTP sets the clock", "see to it: timedatectl status")
    if state == _MODES_UNSYNCHRONISED:
        return warning("time", "nothing keeps this machine's clock right", "timedatectl set-ntp true, or start chronyd")
    return ok("time", "the clock is kept by NTP")


def kernel_clock_state() -> int | None:
    """What the kernel says of its clock, by adjtimex(2) with nothing to set; None where there is no such call."""
    try:
        call = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    # Larger than any struct timex; its first field, zero, says that nothing is to be changed.
    state = int(call(ctypes.create_string_buffer(1024)))
    return state if state >= 0 else None


def timer_findings(root: Path = Path("/")) -> list[Finding]:
    """Whether loads are scheduled, where systemd runs services."""
    if not (root / "run" / "systemd" / "system").is_dir():
        return []
    return [_timer_finding((root / "etc/systemd/system/timers.target.wants").glob("cordon-node-load*.timer"))]


def _timer_finding(timers: Iterable[Path]) -> Finding:
    if any(timers):
        return ok("schedule", "a timer loads new snapshots")
    return warning("schedule", "no timer loads new snapshots", "systemctl enable --now cordon-node-load.timer")
