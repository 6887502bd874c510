"""Start, watch, kill and stop the processes of a laid-out federation: one coordinator, one node a force."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from cordon.analyst.client import Client
from cordon.analyst.profile import read_profile
from cordon.errors import CordonError
from demo.layout import Layout

START_SECONDS = 90.0
STOP_SECONDS = 15.0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Federation:
    """The running processes; use as a context manager, which stops them all."""

    def __init__(self, layout: Layout, *, node_module: str = "cordon") -> None:
        """Nothing is started yet.

        Args:
            node_module: what a node's process runs; measurements put another program in its place.
        """
        self.layout = layout
        self._node_module = node_module
        self._coordinator: subprocess.Popen[bytes] | None = None
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Nothing is started before it is asked for."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop every process."""
        self.stop()

    def start_coordinator(self) -> None:
        """Start the coordinator, making its store if there is none, and wait until it listens."""
        config = self.layout.coordinator_config
        if not (config.parent / "store.sqlite").exists():
            subprocess.run([*_command("coordinator", "init", "--config", str(config))], check=True, capture_output=True)
        self._coordinator = _start(config.parent, "coordinator", "serve", "--config", str(config))
        deadline = time.monotonic() + START_SECONDS
        while not _listens(self.layout.design.port):
            self._check_alive(self._coordinator, config.parent)
            if time.monotonic() > deadline:
                raise TimeoutError("the coordinator does not listen")
            time.sleep(0.05)

    def start_nodes(self, *forces: str) -> None:
        """Start the nodes of these forces, or of all; they connect by themselves."""
        for force in forces or self.layout.design.forces:
            config = self.layout.node_config(force)
            self._nodes[force] = _start(
                config.parent, "node", "serve", "--config", str(config), module=self._node_module
            )

    def wait_connected(self, count: int | None = None, *, told: Callable[[int], None] = lambda _: None) -> None:
        """Wait until `count` forces, or all that were started, are connected."""
        wanted = len(self._nodes) if count is None else count
        deadline = time.monotonic() + START_SECONDS
        with Client(read_profile(self.layout.profile())) as client:
            while True:
                connected = _connected(client)
                told(connected)
                if connected >= wanted:
                    return
                for force, process in self._nodes.items():
                    self._check_alive(process, self.layout.force_folder(force))
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{connected} of {wanted} nodes have connected")
                time.sleep(0.2)

    def kill(self, force: str) -> None:
        """Kill one node as a power cut would."""
        process = self._nodes.pop(force)
        process.kill()
        process.wait()

    def kill_coordinator(self) -> None:
        """Kill the coordinator as a power cut would."""
        if self._coordinator is not None:
            self._coordinator.kill()
            self._coordinator.wait()
            self._coordinator = None

    @property
    def running(self) -> frozenset[str]:
        """Forces whose nodes were started and neither stopped nor killed."""
        return frozenset(self._nodes)

    def node(self, force: str) -> subprocess.Popen[bytes]:
        """A node's process."""
        return self._nodes[force]

    @property
    def coordinator(self) -> subprocess.Popen[bytes]:
        """The coordinator's process."""
        if self._coordinator is None:
            raise RuntimeError("the coordinator is not running")
        return self._coordinator

    def publish(self, folder: Path) -> None:
        """Write the register as static files, beside the serving coordinator."""
        config = str(self.layout.coordinator_config)
        command = _command("coordinator", "publish", str(folder), "--config", config)
        subprocess.run(command, check=True, capture_output=True)

    def stop_nodes(self, *forces: str) -> None:
        """Stop these nodes, or all, in good order."""
        chosen = {force: self._nodes.pop(force) for force in (forces or tuple(self._nodes))}
        _stop(list(chosen.values()))

    def stop(self) -> None:
        """Stop every process in good order; kill what does not stop."""
        running = [*self._nodes.values(), *([self._coordinator] if self._coordinator else [])]
        self._nodes, self._coordinator = {}, None
        _stop(running)

    def _check_alive(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        if process.poll() is not None:
            errors = (folder / "stderr").read_text(encoding="utf-8", errors="replace").strip()
            raise RuntimeError(f"{folder.name} has stopped with {process.returncode}: {errors[-2000:]}")


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _connected(client: Client) -> int:
    try:
        return len(client.federation().holdings)
    except CordonError:
        return 0


def _command(*arguments: str, module: str = "cordon") -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _start(folder: Path, *arguments: str, module: str = "cordon") -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    with (folder / "stderr").open("ab") as errors:
        return subprocess.Popen(
            _command(*arguments, module=module), stdout=errors, stderr=errors, env=environment, start_new_session=True
        )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
