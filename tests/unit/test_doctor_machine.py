"""Each check of `cordon node doctor` of the machine, over machines that are laid out for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from doctors import check, levels

from node.joining.finding import Level
from node.joining.machine import cores_finding, disk_findings, state_finding, swap_finding, timer_findings
from node.joining.volume import volume_of


class Machine:
    """A machine's /proc and /sys, as files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc" / "self").mkdir(parents=True)
        (root / "sys" / "dev" / "block").mkdir(parents=True)
        (root / "sys" / "class" / "block").mkdir(parents=True)
        self.mounts: list[str] = []

    def mount(self, point: str, device: str, kind: str, source: str) -> None:
        """Add a line of mountinfo."""
        self.mounts.append(f"36 35 {device} / {point} rw,relatime shared:1 - {kind} {source} rw\n")
        (self.root / "proc" / "self" / "mountinfo").write_text("".join(self.mounts))

    def device(
        self, name: str, number: str, *, uuid: str = "", on: tuple[str, ...] = (), partition_of: str = ""
    ) -> None:
        """Add a block device."""
        parent = self.root / "sys" / "devices" / partition_of if partition_of else self.root / "sys" / "devices"
        folder = parent / name
        (folder / "slaves").mkdir(parents=True)
        if partition_of:
            (folder / "partition").write_text("1\n")
        if uuid:
            (folder / "dm").mkdir()
            (folder / "dm" / "uuid").write_text(f"{uuid}\n")
        for below in on:
            (folder / "slaves" / below).symlink_to((self.root / "sys" / "class" / "block" / below).resolve())
        (self.root / "sys" / "dev" / "block" / number).symlink_to(folder)
        (self.root / "sys" / "class" / "block" / name).symlink_to(folder)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with one plain disk, `vda`, and a partition on it."""
    made = Machine(tmp_path / "root")
    made.device("vda", "8:0")
    made.device("vda1", "8:1", partition_of="vda")
    made.mount("/", "8:1", "ext4", "/dev/vda1")
    return made


STATE = Path("/var/lib/cordon-node")


def encrypted(machine: Machine) -> bool | None:
    """What is found of the state folder's volume."""
    return volume_of(STATE, machine.root).encrypted


def test_a_plain_partition_is_not_encrypted(machine: Machine) -> None:
    """The root volume holds the folder, and nothing encrypts it."""
    assert encrypted(machine) is False


def test_luks_is_encrypted_and_only_what_lies_on_it(machine: Machine) -> None:
    """The volume that is mounted nearest to the folder counts, not its neighbour."""
    machine.device("dm-0", "253:0", uuid="CRYPT-LUKS2-abc-state", on=("vda1",))
    machine.mount("/var/lib/other", "253:0", "ext4", "/dev/mapper/other")
    assert encrypted(machine) is False
    machine.mount(str(STATE), "253:0", "ext4", "/dev/mapper/state")
    assert encrypted(machine) is True


def test_a_logical_volume_over_luks_is_encrypted(machine: Machine) -> None:
    """LVM over LUKS is what installers lay out."""
    machine.device("dm-0", "253:0", uuid="CRYPT-LUKS2-abc-pv", on=("vda1",))
    machine.device("dm-1", "253:1", uuid="LVM-xyz", on=("dm-0",))
    machine.mount("/var", "253:1", "xfs", "/dev/mapper/vg-var")
    assert encrypted(machine) is True


def test_a_partition_of_an_encrypted_disk_is_encrypted(machine: Machine) -> None:
    """A partition has no layers of its own; its disk has."""
    machine.device("dm-0", "253:0", uuid="CRYPT-PLAIN-disk")
    machine.device("dm-0p1", "253:1", partition_of="dm-0")
    machine.mount("/var", "253:1", "ext4", "/dev/mapper/disk1")
    assert encrypted(machine) is True


def test_a_mirror_with_one_plain_half_is_not_encrypted(machine: Machine) -> None:
    """All of what a volume is made of has to be encrypted."""
    machine.device("dm-0", "253:0", uuid="CRYPT-LUKS2-abc-half", on=("vda1",))
    machine.device("md0", "9:0", on=("dm-0", "vda"))
    machine.mount("/var", "9:0", "ext4", "/dev/md0")
    assert encrypted(machine) is False


def test_a_file_system_with_devices_of_its_own_is_told_by_its_source(machine: Machine) -> None:
    """Btrfs shows a number that no device has; the source names the volume."""
    machine.device("dm-0", "253:0", uuid="CRYPT-LUKS2-abc-state", on=("vda1",))
    (machine.root / "dev" / "mapper").mkdir(parents=True)
    (machine.root / "dev" / "dm-0").touch()
    (machine.root / "dev" / "mapper" / "state").symlink_to("../dm-0")
    machine.mount("/var", "0:42", "btrfs", "/dev/mapper/state")
    assert encrypted(machine) is True


@pytest.mark.parametrize(
    ("kind", "source", "found"),
    [("ecryptfs", "/home/.x", True), ("overlay", "overlay", None), ("nfs4", "nas:/state", None), ("zfs", "p/s", None)],
)
def test_file_systems_that_tell_or_do_not(machine: Machine, kind: str, source: str, found: bool | None) -> None:
    """What cannot be told is not called encrypted."""
    machine.mount(str(STATE.parent), "0:50", kind, source)
    assert encrypted(machine) is found


def test_a_state_folder_in_memory_is_to_be_moved(machine: Machine, tmp_path: Path) -> None:
    """A ledger that a restart takes away is a budget that is handed out again."""
    machine.mount("/var/lib", "0:60", "tmpfs", "tmpfs")
    assert volume_of(STATE, machine.root).lost_at_restart


def test_a_machine_that_tells_nothing_is_not_encrypted(tmp_path: Path) -> None:
    """No Linux, no /proc: it could not be told."""
    assert volume_of(STATE, tmp_path).encrypted is None


def test_a_mount_point_with_a_blank_is_found(machine: Machine) -> None:
    """The kernel writes blanks as octal digits."""
    machine.device("dm-0", "253:0", uuid="CRYPT-LUKS2-abc-state", on=("vda1",))
    machine.mount("/srv/cordon\\040state", "253:0", "ext4", "/dev/mapper/state")
    assert volume_of(Path("/srv/cordon state/x"), machine.root).encrypted is True


@pytest.mark.parametrize(
    ("area", "level"),
    [
        (None, Level.OK),
        ("/dev/zram0", Level.OK),
        ("/dev/dm-0", Level.OK),
        ("/dev/vda1", Level.WARNING),
        ("/swapfile", Level.WARNING),
    ],
)
def test_swap_is_off_encrypted_or_in_memory(machine: Machine, area: str | None, level: Level) -> None:
    """Exact figures exist in memory for moments; swap in the clear is a way to a disk."""
    machine.device("dm-0", "253:0", uuid="CRYPT-PLAIN-swap", on=("vda1",))
    machine.device("zram0", "252:0")
    lines = ["Filename Type Size Used Priority\n"] + ([f"{area} partition 1 0 -2\n"] if area else [])
    (machine.root / "proc" / "swaps").write_text("".join(lines))
    assert swap_finding(machine.root).level is level


@pytest.mark.parametrize(
    ("pattern", "level"),
    [
        ("core", Level.OK),
        ("|/usr/lib/systemd/systemd-coredump %P %u", Level.OK),
        ("|/opt/crash/collect %p", Level.WARNING),
    ],
)
def test_a_collector_of_crashes_is_named(machine: Machine, pattern: str, level: Level) -> None:
    """A program that is handed core files gets them whatever the process's own limit is."""
    (machine.root / "proc" / "sys" / "kernel").mkdir(parents=True)
    (machine.root / "proc" / "sys" / "kernel" / "core_pattern").write_text(f"{pattern}\n")
    assert cores_finding(machine.root).level is level


def test_a_timer_is_asked_for_only_where_systemd_runs(machine: Machine) -> None:
    """In a container somebody else schedules."""
    assert timer_findings(machine.root) == []
    (machine.root / "run" / "systemd" / "system").mkdir(parents=True)
    assert levels(timer_findings(machine.root)) == {"schedule": Level.WARNING}
    wants = machine.root / "etc" / "systemd" / "system" / "timers.target.wants"
    wants.mkdir(parents=True)
    (wants / "cordon-node-load.timer").touch()
    assert levels(timer_findings(machine.root)) == {"schedule": Level.OK}


def test_the_state_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    """It has to be there, ours, and closed to others."""
    state = tmp_path / "state"
    check(state_finding(state), Level.TO_DO, "No such file")
    state.mkdir(mode=0o755)
    check(state_finding(state), Level.TO_DO, "open to others")
    assert state_finding(state).remedy == f"chmod 700 {state}"
    state.chmod(0o700)
    check(state_finding(state), Level.OK, "for its owner only")
    if os.geteuid() == 0:
        os.chown(state, 65532, 65532)
        check(state_finding(state), Level.TO_DO, "belongs to user 65532")


def test_the_disk_has_room_for_three_times_the_snapshots(tmp_path: Path) -> None:
    """A snapshot as large as the disk, of which not a byte is written, is too large to be loaded anew."""
    assert levels(disk_findings(tmp_path)) == {"disk": Level.OK}
    total = os.statvfs(tmp_path)
    with (tmp_path / "x.v1.0.snapshot").open("wb") as file:
        file.truncate(min(total.f_blocks * total.f_frsize, 2**43))
    assert levels(disk_findings(tmp_path)) == {"disk": Level.TO_DO}
