"""Each check of `cordon node doctor`, over files, machines and ends of a wire that are laid out for it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from live import ConnectProxy, tree_digest

from cordon.configfile import read_config
from cordon.identity import Identity, Role, certify, new_authority
from cordon.keyfile import new_signing_key, write_certificate, write_private_key
from cordon.manifest import Manifest, read_manifest
from demo.layout import Design, Layout, lay_out
from demo.processes import free_port
from node.config import NodeConfig
from node.joining import reach
from node.joining.background import Background, Deadline
from node.joining.doctor import examine
from node.joining.finding import Finding, Level
from node.joining.holdings import (
    Sources,
    _said_once,
    age_finding,
    budget_findings,
    ledger_findings,
    missing_columns,
    read_mappings,
)
from node.joining.introduction import clock_finding
from node.joining.machine import cores_finding, disk_findings, state_finding, swap_finding, time_finding, timer_findings
from node.joining.papers import certificate_findings, files_findings, key_findings, manifest_finding
from node.joining.reach import Way, connection_finding
from node.joining.volume import volume_of
from node.ledgerfile import create_ledger
from node.mapping import Mapping
from node.policy import Policy

FORCE, OTHER = "cumbria", "surrey"
NOW = int(time.time())
DAY = 86_400


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A federation's files, for tests that only look."""
    return lay_out(tmp_path_factory.mktemp("federation"), Design(forces=(FORCE, OTHER, "sussex"), port=free_port()))


@pytest.fixture
def layout(laid_out: Layout, tmp_path: Path) -> Layout:
    """The same, for a test that changes them."""
    shutil.copytree(laid_out.root, tmp_path / "federation")
    return Layout(tmp_path / "federation", laid_out.design, laid_out.governance_keys)


def settings_of(layout: Layout, force: str = FORCE) -> NodeConfig:
    """A force's configuration."""
    return read_config(layout.node_config(force), NodeConfig)


def manifest_of(layout: Layout) -> Manifest:
    """The federation's manifest."""
    return read_manifest(layout.root / "manifest.json", layout.governance_keys)[0]


def levels(findings: list[Finding]) -> dict[str, Level]:
    """Level by name."""
    return {finding.name: finding.level for finding in findings}


def check(finding: Finding, level: Level, words: str) -> None:
    """A finding's level and words; whatever is not well says what to do."""
    assert (finding.level, words in finding.words) == (level, True), finding
    assert (finding.level is Level.OK) == (finding.remedy == "")
    assert "\n" not in finding.sentence


# Papers


def test_files_that_others_can_write_are_named(layout: Layout) -> None:
    """Who may write the policy sets what may be spent: group and others may not."""
    settings = settings_of(layout)
    paths = [layout.node_config(FORCE), settings.policy]
    settings.policy.chmod(0o644)
    check(files_findings(paths), Level.OK, "nobody")
    settings.policy.chmod(0o664)
    check(files_findings(paths), Level.TO_DO, str(settings.policy))
    assert files_findings(paths).remedy == f"chmod go-w {settings.policy}"


def test_a_force_that_the_manifest_does_not_list_is_told_so(laid_out: Layout) -> None:
    """A manifest may be signed and whole, and still be from before this force joined."""
    check(manifest_finding(manifest_of(laid_out), FORCE), Level.OK, "version 1, signed, 3 forces")
    check(manifest_finding(manifest_of(laid_out), "kent"), Level.TO_DO, "kent is not among them")


def test_a_key_that_is_not_the_manifests_is_to_be_put_right(layout: Layout) -> None:
    """Each of both keys is compared with its own entry."""
    settings, manifest = settings_of(layout), manifest_of(layout)
    assert set(levels(key_findings(settings, manifest)).values()) == {Level.OK}
    settings.signing_key.unlink()
    new_signing_key(settings.signing_key)
    signing, seal = key_findings(settings, manifest)
    check(signing, Level.TO_DO, "not the key that the manifest lists")
    check(seal, Level.OK, "the one that the manifest lists")


def test_a_key_that_others_can_read_is_to_be_closed(layout: Layout) -> None:
    """The remedy is the command."""
    settings = settings_of(layout)
    settings.seal_key.chmod(0o640)
    _, seal = key_findings(settings, None)
    check(seal, Level.TO_DO, "can be read by others")
    assert seal.remedy == f"chmod 600 {settings.seal_key}"


class Authority:
    """An authority of the test's own."""

    def __init__(self, name: str = "Test") -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.certificate = new_authority(name, self.private)

    def issue(self, folder: Path, identity: Identity, *hosts: str, days: int = 825) -> tuple[Path, Path]:
        """Write a certificate and its key; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        found = certify(
            identity, key.public_key(), authority=self.certificate, private=self.private, hosts=hosts, days=days
        )
        for path in (folder / "tls.pem", folder / "tls.key"):
            path.unlink(missing_ok=True)
        write_certificate(folder / "tls.pem", found)
        write_private_key(folder / "tls.key", key)
        return folder / "tls.pem", folder / "tls.key"

    def write(self, path: Path) -> Path:
        """Write the authority's own certificate."""
        path.unlink(missing_ok=True)
        write_certificate(path, self.certificate)
        return path


def certificate_of(settings: NodeConfig, now: int = NOW) -> Finding:
    """What is found of our own certificate."""
    return certificate_findings(settings, None, now)[1]


def test_a_certificate_is_told_by_issuer_party_key_and_time(layout: Layout) -> None:
    """What is wrong with a certificate is named: another authority, force or key, not yet, soon over, or over."""
    settings = settings_of(layout)
    folder, authority = settings.tls.key.parent, Authority()
    authority.write(settings.tls.authority)
    check(certificate_of(settings), Level.TO_DO, "not by the authority")
    authority.issue(folder, Identity(Role.FORCE, OTHER))
    check(certificate_of(settings), Level.TO_DO, f"is for cordon://force/{OTHER}, not for cordon://force/{FORCE}")
    authority.issue(folder, Identity(Role.FORCE, FORCE))
    check(certificate_of(settings), Level.OK, "by the authority, for this force and key")
    check(certificate_of(settings, NOW - DAY), Level.TO_DO, "holds only from")
    check(certificate_of(settings, NOW + 800 * DAY), Level.WARNING, "it ends on")
    check(certificate_of(settings, NOW + 900 * DAY), Level.TO_DO, "it ended on")
    settings.tls.key.unlink()
    write_private_key(settings.tls.key, ec.generate_private_key(ec.SECP256R1()))
    check(certificate_of(settings), Level.TO_DO, "for another key")
    settings.tls.certificate.unlink()
    check(certificate_of(settings), Level.TO_DO, "cannot read the certificate")


def test_a_signing_key_is_no_key_for_tls(layout: Layout) -> None:
    """The two are easily mixed up."""
    settings = settings_of(layout)
    settings.tls.key.unlink()
    write_private_key(settings.tls.key, Ed25519PrivateKey.generate())
    check(certificate_of(settings), Level.TO_DO, "for another key")


def test_the_authority_is_compared_with_the_manifests(layout: Layout) -> None:
    """An authority that governance has not signed would let a stranger be the coordinator."""
    settings, manifest = settings_of(layout), manifest_of(layout)
    check(certificate_findings(settings, manifest, NOW)[0], Level.OK, "as the manifest names it")
    Authority().write(settings.tls.authority)
    check(certificate_findings(settings, manifest, NOW)[0], Level.TO_DO, "not the authority that the manifest names")


# The way to the coordinator


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that wait for a third of a second."""
    monkeypatch.setattr(reach, "STAGE_SECONDS", 0.3)


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A port that serves each connection by `serve`, one after another; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                opened, _ = listener.accept()
            except OSError:
                return
            with opened, suppress(OSError):
                serve(opened)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def speaking_tls(
    files: tuple[Path, Path], *, clients: Path | None = None, says: bytes = b"\0\0\0\4\0\0\0\0\0"
) -> Callable[[socket.socket], None]:
    """A server's end as the coordinator's: TLS, perhaps with clients of an authority only, then the first frame."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)

    def serve(opened: socket.socket) -> None:
        opened.settimeout(5)
        with context.wrap_socket(opened, server_side=True) as secure:
            secure.recv(64)
            secure.sendall(says)

    return serve


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Authority, Path]:
    """An authority, and a folder with its certificate, the coordinator's and a force's."""
    authority = Authority("Federation")
    authority.write(tmp_path / "authority.pem")
    authority.issue(tmp_path / "coordinator", Identity(Role.COORDINATOR, "coordinator"), "127.0.0.1")
    authority.issue(tmp_path / "force", Identity(Role.FORCE, FORCE))
    return authority, tmp_path


def way(folder: Path, address: str, *, proxy: str | None = None, certified: bool = True) -> Way:
    """The way of a force whose files lie in a folder."""
    own = (folder / "force" / "tls.pem", folder / "force" / "tls.key") if certified else (None, None)
    return Way(address, proxy, folder / "authority.pem", *own)


def tried(one: Way) -> Finding:
    """Where the way ends."""
    return connection_finding(one, Deadline(5))


def files_in(folder: Path) -> tuple[Path, Path]:
    """Certificate and key."""
    return folder / "tls.pem", folder / "tls.key"


def test_a_coordinator_that_takes_us_in_is_ok(ends: tuple[Authority, Path]) -> None:
    """Both certificates are verified by both ends; without ours, it is only looked whether the coordinator is there."""
    folder = ends[1]
    serve = speaking_tls(files_in(folder / "coordinator"), clients=folder / "authority.pem")
    with listening(serve) as address:
        check(tried(way(folder, address)), Level.OK, "both certificates are accepted")
        check(tried(way(folder, address, certified=False)), Level.OK, "without our certificate")


def test_tls_inspection_is_named_with_who_signs(ends: tuple[Authority, Path]) -> None:
    """A certificate by a foreign authority is inspection, and the finding says whose."""
    folder = ends[1]
    foreign = Authority("Acme Web Gateway").issue(
        folder / "gateway", Identity(Role.COORDINATOR, "coordinator"), "127.0.0.1"
    )
    with listening(speaking_tls(foreign)) as address:
        found = tried(way(folder, address))
        check(found, Level.TO_DO, "TLS inspection")
        assert "Acme Web Gateway authority" in found.words
        assert f"exempt {address}" in found.remedy


def test_tls_inspection_behind_a_proxy_is_named_too(ends: tuple[Authority, Path]) -> None:
    """The proxy connects, and what is at the other end is not the coordinator."""
    folder = ends[1]
    foreign = Authority("Acme").issue(folder / "gateway", Identity(Role.COORDINATOR, "coordinator"), "127.0.0.1")
    with listening(speaking_tls(foreign)) as address:
        proxy = ConnectProxy({"c.example.org:7443": int(address.rpartition(":")[2])})
        check(tried(way(folder, "c.example.org:7443", proxy=f"http://127.0.0.1:{proxy.port}")), Level.TO_DO, "TLS insp")
        proxy.close()


def test_our_certificate_refused_is_told_apart(ends: tuple[Authority, Path]) -> None:
    """A coordinator whose authority is another one refuses us, and that is not inspection."""
    folder = ends[1]
    other = Authority("Other").write(folder / "other.pem")
    with listening(speaking_tls(files_in(folder / "coordinator"), clients=other)) as address:
        check(tried(way(folder, address)), Level.TO_DO, "does not accept our certificate")


def test_a_name_that_the_certificate_lacks_is_said(ends: tuple[Authority, Path]) -> None:
    """Dialled by another name than it was certified for."""
    authority, folder = ends
    files = authority.issue(folder / "elsewhere", Identity(Role.COORDINATOR, "coordinator"), "c.example.org")
    with listening(speaking_tls(files)) as address:
        check(tried(way(folder, address)), Level.TO_DO, "but not for 127.0.0.1")


def test_a_name_that_does_not_exist_is_said(ends: tuple[Authority, Path]) -> None:
    """`.invalid` is nobody's (RFC 6761)."""
    found = tried(way(ends[1], "coordinator.invalid:7443"))
    check(found, Level.TO_DO, "coordinator.invalid")
    assert "/etc/resolv.conf" in found.remedy


def test_a_port_where_nobody_listens_is_said(ends: tuple[Authority, Path]) -> None:
    """Refused is not timed out: something answered."""
    check(tried(way(ends[1], f"127.0.0.1:{free_port()}")), Level.TO_DO, "refused the connection")


def test_an_address_that_is_none_is_said(ends: tuple[Authority, Path]) -> None:
    """A port beyond the last one, and a proxy without a port, pass for settings and lead nowhere."""
    check(tried(way(ends[1], "c.example.org:99999")), Level.TO_DO, "not host:port")
    check(tried(way(ends[1], "c.example.org:1", proxy="http://proxy.example.org")), Level.TO_DO, "not host:port")


@pytest.mark.usefixtures("hasty")
def test_a_port_that_drops_what_it_gets_is_said(ends: tuple[Authority, Path]) -> None:
    """A listener whose queue is full answers nothing, as behind a firewall that drops."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        found = tried(way(ends[1], f"127.0.0.1:{full.getsockname()[1]}"))
        for one in waiting:
            one.close()
    check(found, Level.TO_DO, "timed out")
    assert "outgoing rule" in found.remedy


@pytest.mark.usefixtures("hasty")
def test_a_port_that_stays_silent_is_said(ends: tuple[Authority, Path]) -> None:
    """The connection is made, and TLS is not answered."""
    with listening(lambda opened: time.sleep(0.5)) as address:
        check(tried(way(ends[1], address)), Level.TO_DO, "does not answer TLS: timed out")


def test_what_does_not_speak_tls_is_said(ends: tuple[Authority, Path]) -> None:
    """A web server in the clear, at the address that was mistyped."""
    with listening(lambda opened: opened.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address:
        check(tried(way(ends[1], address)), Level.TO_DO, "does not speak the coordinator's TLS")


def answering(text: bytes) -> Callable[[socket.socket], None]:
    """A proxy that says one thing to all."""

    def serve(opened: socket.socket) -> None:
        opened.recv(4096)
        opened.sendall(text)

    return serve


@pytest.mark.parametrize(
    ("says", "words", "remedy"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refused to connect to c.example.org:1: HTTP/1.1 403", "allow CONNECT"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407", "name and password"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502", "cannot reach the coordinator"),
        (b"220 mail.example.org ESMTP\r\n", "refused to connect", "allow CONNECT"),
        (b"", "no answer", "allow CONNECT"),
    ],
)
def test_a_proxy_that_refuses_is_told_apart(ends: tuple[Authority, Path], says: bytes, words: str, remedy: str) -> None:
    """The proxy's own words are shown, and what to ask of whoever runs it."""
    with listening(answering(says)) as address:
        found = tried(way(ends[1], "c.example.org:1", proxy=f"http://{address}"))
    check(found, Level.TO_DO, words)
    assert remedy in found.remedy


def test_a_proxys_password_is_not_shown(ends: tuple[Authority, Path]) -> None:
    """A proxy that is configured with a password is sent it, and no finding repeats it."""
    heard: list[bytes] = []

    def serve(opened: socket.socket) -> None:
        heard.append(opened.recv(4096))
        opened.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with listening(serve) as address:
        found = tried(way(ends[1], "c.example.org:1", proxy=f"http://kent:hunter2@{address}"))
    assert b"Proxy-Authorization: Basic a2VudDpodW50ZXIy" in heard[0]
    assert "hunter2" not in found.sentence


def test_without_the_authority_the_port_is_tried_all_the_same(ends: tuple[Authority, Path]) -> None:
    """On the first day a firewall can be opened before any certificate has come."""
    folder = ends[1]
    (folder / "authority.pem").unlink()
    with listening(lambda opened: None) as address:
        check(tried(way(folder, address)), Level.TO_DO, "is reached")


# Clock


@pytest.mark.parametrize(
    ("off", "level", "words"),
    [
        (0, Level.OK, "same second"),
        (-20, Level.OK, "20 seconds behind"),
        (40, Level.WARNING, "40 seconds ahead"),
        (-61, Level.TO_DO, "61 seconds behind"),
    ],
)
def test_the_clock_is_held_against_the_tolerance(off: int, level: Level, words: str) -> None:
    """Beyond the manifest's tolerance the coordinator does not let a node in."""
    check(clock_finding(off, 60), level, words)


@pytest.mark.parametrize(("state", "level"), [(0, Level.OK), (5, Level.WARNING), (None, Level.WARNING)])
def test_whether_the_clock_is_kept_right_is_the_kernels_word(state: int | None, level: Level) -> None:
    """A clock that nothing keeps right is well today and off in a month."""
    assert time_finding(state).level is level


# The machine


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


# What is held


def test_a_ledger_is_there_ours_and_whole(layout: Layout) -> None:
    """None, a whole one, another force's, and a damaged one are told apart."""
    settings, manifest = settings_of(layout), manifest_of(layout)
    check(ledger_findings(settings, manifest)[0], Level.TO_DO, "there is none")
    create_ledger(settings.ledger, force=FORCE, now=NOW)
    check(ledger_findings(settings, manifest)[0], Level.OK, "whole, of this force, 0 receipts")
    other = settings_of(layout, OTHER)
    shutil.copy(settings.ledger, other.ledger)
    check(ledger_findings(other, manifest)[0], Level.TO_DO, f"the ledger of {FORCE}, not of {OTHER}")
    settings.ledger.write_bytes(settings.ledger.read_bytes()[:5000])
    (damaged,) = ledger_findings(settings, manifest)
    assert damaged.level is Level.TO_DO
    assert "2.9" in damaged.remedy


@pytest.mark.parametrize(
    ("age", "limits", "level"),
    [
        (400, [], Level.OK),
        (30, [45, 100], Level.OK),
        (44, [45, 100], Level.WARNING),
        (46, [100, 45], Level.TO_DO),
    ],
)
def test_a_snapshots_age_is_held_against_the_shorter_limit(age: int, limits: list[int], level: Level) -> None:
    """The mapping's and the policy's limit both hold."""
    today = date(2026, 11, 28)
    as_at = date.fromordinal(today.toordinal() - age)
    found = age_finding("snapshot", as_at, today, limits, "cordon node load")
    assert found.level is level
    assert level is Level.OK or found.remedy.endswith("cordon node load")


def test_mappings_are_read_and_held_against_the_manifest(layout: Layout) -> None:
    """A mapping that cannot be read, or whose contract is not listed, is named by its file."""
    settings = settings_of(layout)
    path = settings.mappings[0]
    path.write_text(path.read_text() + "\nmisspelt = 1\n")
    read, findings = read_mappings(settings, {})
    assert (read, len(findings)) == ([], len(settings.mappings))
    assert "misspelt" in findings[0].words
    assert "the manifest does not list" in findings[1].words
    assert all(str(p) in f.sentence for p, f in zip(settings.mappings, findings, strict=True))


def test_a_domain_without_a_budget_is_said(laid_out: Layout) -> None:
    """It is never answered from, and nothing else would say why."""
    mapping = read_config(settings_of(laid_out).mappings[0], Mapping)
    policy = Policy.model_validate({"budget": {"other": {"epsilon_per_year": "1", "epsilon_lifetime": "1"}}})
    (found,) = budget_findings([mapping], policy, Path("policy.toml"))
    check(found, Level.TO_DO, mapping.domain)
    assert found.remedy == f"add [budget.{mapping.domain}] to policy.toml"


def test_columns_that_the_source_lacks_are_found_by_name(laid_out: Layout) -> None:
    """A column that vanished from the extract is named before a load fails on it."""
    mapping = read_config(settings_of(laid_out).mappings[0], Mapping)
    named = {column.source for column in mapping.columns.values() if column.source}
    assert missing_columns(mapping, dict.fromkeys(named, "VARCHAR")) == set()
    gone = min(named)
    assert missing_columns(mapping, dict.fromkeys(named - {gone}, "VARCHAR")) == {gone}


def source_finding(layout: Layout, tmp_path: Path, text: str, seconds: float = 20.0) -> Finding:
    """What is found of the source of a mapping, which is given as TOML."""
    path = settings_of(layout).mappings[0]
    path.write_text(re.sub(r"^source = .*$", lambda _: text, path.read_text(), count=1, flags=re.MULTILINE))
    (found,) = Sources([read_config(path, Mapping)], tmp_path).findings(Deadline(seconds))
    return found


def test_a_source_is_opened_and_held_against_the_mappings_columns(layout: Layout, tmp_path: Path) -> None:
    """A source that is gone, one that lacks a column, and a whole one; of records nothing is looked at."""
    named = {c.source for c in read_config(settings_of(layout).mappings[0], Mapping).columns.values() if c.source}
    check(source_finding(layout, tmp_path, f'source = "{tmp_path}/none.csv"'), Level.TO_DO, "none.csv")
    records = tmp_path / "records.csv"
    records.write_text(",".join(sorted(named)[1:]) + "\n" + "secret," * 3 + "\n")
    lacking = source_finding(layout, tmp_path, f'source = "{records}"')
    check(lacking, Level.TO_DO, f"has no column {min(named)!r}, and none of its ")
    assert "secret" not in lacking.sentence
    records.write_text(",".join([min(named).lower(), *sorted(named)[1:]]) + "\n")
    lacking = source_finding(layout, tmp_path, f'source = "{records}"')
    check(lacking, Level.TO_DO, f"has no column {min(named)!r}, and the nearest name there is {min(named).lower()!r}")
    records.write_text("N. Clerk,M,34\nA. Other,F,35\n")
    bare = source_finding(layout, tmp_path, f'source = "{records}"')
    check(bare, Level.TO_DO, "its first line does not look like a header")
    assert "Clerk" not in bare.sentence
    records.write_text(",".join(named))
    cut = source_finding(layout, tmp_path, f'source = "{records}"')
    check(cut, Level.WARNING, "it may be cut off")
    assert cut.sentence.count(str(records)) == 1
    assert "account" not in cut.remedy
    records.write_text(",".join(named) + "\n")
    check(source_finding(layout, tmp_path, f'source = "{records}"'), Level.OK, "opens")


def test_what_a_source_warns_of_is_said_once() -> None:
    """Its name stands once before its warnings, and the remedy alone says what to ask for."""
    words = "postgresql://reader@db.example.org/x (nominals)"
    assert _said_once(words, (f"{words}: the account can write; ask for one that can only read",)) == (
        f"{words}: the account can write"
    )


def test_a_source_that_does_not_answer_holds_nothing_up(layout: Layout, tmp_path: Path) -> None:
    """A database that takes the connection and says nothing is a warning, when the time is over."""
    path = settings_of(layout).mappings[0]
    with listening(lambda opened: time.sleep(0.8)) as address:
        text = re.sub(r"^source = .*\n", "", path.read_text(), count=1, flags=re.MULTILINE)
        server = f'[source]\nkind = "postgresql"\nurl = "postgresql://reader@{address}/records"\ntable = "stops"\n\n'
        path.write_text(text.replace("[columns]", f"{server}[columns]"))
        started = time.monotonic()
        (found,) = Sources([read_config(path, Mapping)], tmp_path).findings(Deadline(0.3))
        assert time.monotonic() - started < 3
    check(found, Level.WARNING, "did not open in time")


# The whole


def test_a_configuration_that_cannot_be_read_is_the_only_finding(tmp_path: Path) -> None:
    """Without it nothing else can be looked at."""
    (found,) = examine(tmp_path / "node.toml", now=time.time)
    check(found, Level.TO_DO, "cannot read")
    assert "cordon node init" in found.remedy
    assert "--config" in found.remedy
    (tmp_path / "node.toml").write_text("forse = 1\n")
    (found,) = examine(tmp_path / "node.toml", now=time.time)
    check(found, Level.TO_DO, "there is no key forse; did you mean force?")
    assert "cordon node init" not in found.remedy


def test_the_doctor_changes_nothing_and_repeats_no_secret(layout: Layout) -> None:
    """Every file is as it was, and no finding holds a line of a private key."""
    before = tree_digest(layout.root)
    findings = examine(layout.node_config(FORCE), now=time.time)
    assert tree_digest(layout.root) == before
    secrets = [line for path in layout.root.rglob("*.key") for line in path.read_text().splitlines() if "-" not in line]
    assert secrets
    assert not [line for line in secrets if any(line in finding.sentence for finding in findings)]
    assert levels(findings)["connection"] is Level.TO_DO


@pytest.mark.slow
@pytest.mark.parametrize("where", ["coordinator", "proxy"])
def test_the_doctor_ends_in_time_when_nobody_answers(layout: Layout, where: str) -> None:
    """With a peer that takes connections and says nothing, all is over within 15 seconds.

    It takes as long as the doctor is willing to wait.
    """
    path = layout.node_config(FORCE)
    with listening(lambda opened: time.sleep(60)) as address:
        text = re.sub(r'coordinator = ".*"', f'coordinator = "{address}"', path.read_text())
        path.write_text(text if where == "coordinator" else f'proxy = "http://{address}"\n{text}')
        started = time.monotonic()
        findings = examine(path, now=time.time)
        assert time.monotonic() - started < 15
    check({found.name: found for found in findings}["connection"], Level.TO_DO, "answer")


def test_work_that_hangs_is_left_alone() -> None:
    """Nobody waits longer than the deadline, and an error comes back as it was."""
    held = threading.Event()
    hanging = Background(held.wait)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        hanging.result(0.1)
    assert time.monotonic() - started < 2
    held.set()
    with pytest.raises(KeyError):
        Background(lambda: {}["x"]).result(5)
