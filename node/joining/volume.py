"""What lies below a folder: its file system, and whether the volume is encrypted, as far as Linux tells.

Read from /proc and /sys alone; the root is a parameter, so that tests lay out machines of their own.
"""

from __future__ import annotations

import re
from array import array
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from os import O_RDONLY, close
from os import open as open_file
from pathlib import Path

_ENCRYPTING = frozenset({"ecryptfs", "fuse.gocryptfs", "fuse.encfs", "fuse.cryfs"})
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_DEEPEST = 8
"""Layers of devices that are looked through: LVM over encryption over RAID is three."""

_GET_FLAGS, _IS_ENCRYPTED = 0x80086601, 0x800
"""FS_IOC_GETFLAGS and FS_ENCRYPT_FL of linux/fs.h: fscrypt encrypts single folders of ext4, f2fs and UBIFS."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo."""

    point: str
    device: str
    """`major:minor`."""
    kind: str
    """File system."""
    source: str


@dataclass(frozen=True, slots=True)
class Volume:
    """What a folder lies on."""

    words: str
    """As people read it."""
    encrypted: bool | None
    """None where it cannot be told."""
    lost_at_restart: bool = False


def volume_of(folder: Path, root: Path = Path("/")) -> Volume:
    """The volume that a folder lies on.

    Args:
        root: where proc and sys are.
    """
    mount = _mount_of(folder, root)
    if mount is None:
        return Volume("a machine that lists no mounts", None)
    words = f"{mount.source} ({mount.kind})"
    if mount.kind in _ENCRYPTING or _has_encrypted_folder(folder):
        return Volume(words, encrypted=True)
    if mount.kind in _IN_MEMORY:
        return Volume(words, None, lost_at_restart=True)
    device = _device_folder(mount, root)
    return Volume(words, None if device is None else device_is_encrypted(device))


def device_is_encrypted(device: Path, depth: int = 0) -> bool:
    """Whether a block device, or all of what it is made of, is encrypted by dm-crypt.

    Args:
        device: its folder below sys.
    """
    with suppress(OSError):
        if (device / "dm" / "uuid").read_text().startswith("CRYPT-"):
            return True
    below = sorted((device / "slaves").iterdir()) if (device / "slaves").is_dir() else []
    if not below and (device / "partition").exists():
        # A partition has no slaves of its own; the device that it is cut from does.
        return depth < _DEEPEST and device_is_encrypted(device.resolve().parent, depth + 1)
    return bool(below) and depth < _DEEPEST and all(device_is_encrypted(part, depth + 1) for part in below)


def block_device(name: str, root: Path) -> Path | None:
    """Folder below sys of the block device at a path such as `/dev/mapper/state`; None where there is none."""
    found = root / "sys" / "class" / "block" / (root / name.lstrip("/")).resolve().name
    return found if found.is_dir() else None


def _device_folder(mount: Mount, root: Path) -> Path | None:
    found = root / "sys" / "dev" / "block" / mount.device
    if found.is_dir():
        return found
    # Btrfs and its like count their own devices; the source names the true one.
    return block_device(mount.source, root) if mount.source.startswith("/dev/") else None


def _mount_of(folder: Path, root: Path) -> Mount | None:
    path = folder.resolve()
    found = [mount for mount in _mounts(root) if path.is_relative_to(mount.point)]
    # Of several mounts over one another, the last one is seen.
    return max(reversed(found), key=lambda mount: len(Path(mount.point).parts), default=None)


def _mounts(root: Path) -> list[Mount]:
    try:
        lines = (root / "proc" / "self" / "mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    mounts = []
    for line in lines:
        before, _, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if len(left) >= 5 and len(right) >= 2:
            mounts.append(Mount(_unescaped(left[4]), left[2], right[0], _unescaped(right[1])))
    return mounts


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _has_encrypted_folder(folder: Path) -> bool:
    flags = array("L", [0])
    with suppress(OSError):
        handle = open_file(folder, O_RDONLY)
        try:
            ioctl(handle, _GET_FLAGS, flags)
        finally:
            close(handle)
    return bool(flags[0] & _IS_ENCRYPTED)
