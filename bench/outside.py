"""Peers in an environment of their own, for their pins are not ours: installed once, asked by JSON over pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ENVIRONMENT = ROOT / ".venv-peers"
SCRIPTS = Path(__file__).parent / "peers"
REQUIREMENTS = SCRIPTS / "requirements.txt"
LAST_CHARACTERS = 400


class PeerFailed(Exception):
    """A peer could not be installed or did not answer."""


def installed() -> Path:
    """The environment's Python, after installing what is pinned if that was not done yet.

    Raises:
        PeerFailed: with the end of what pip said.
    """
    python, done = ENVIRONMENT / "bin" / "python", ENVIRONMENT / ".ready"
    pinned = REQUIREMENTS.read_bytes()
    if not done.is_file() or done.read_bytes() != pinned:
        _run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)])
        done.write_bytes(pinned)
    return python


def answered(python: Path, peer: str, task: dict[str, Any]) -> dict[str, Any]:
    """What a peer's script answers to a task.

    Raises:
        PeerFailed: with the end of what it said.
    """
    answer: dict[str, Any] = json.loads(_run([str(python), str(SCRIPTS / f"{peer}.py")], json.dumps(task)))
    return answer


def _run(command: list[str], given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip()[-LAST_CHARACTERS:]
        raise PeerFailed(f"{Path(command[-1]).name} ended with {done.returncode}: {said}")
    return done.stdout
