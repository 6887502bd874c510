"""Write what each party installs, hash-pinned: the part of requirements/dev.txt that its extra needs.

`python deploy/write_requirements.py` writes deploy/requirements/ anew, from the environment that it runs in. A
force then installs no test tools; the pins and hashes are those that the tests ran with.
"""

# ruff: noqa: INP001 - a script beside the files that it writes, not a package

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).parent
PINNED = HERE.parent / "requirements" / "dev.txt"
PARTIES = {party: f"cordon[{party}]" for party in ("node", "coordinator", "analyst", "auditor")} | {
    "node-postgresql": "cordon[node,postgresql]",
    "analyst-workbench": "cordon[analyst,frames,plot,stats]",
}
BUILD = ("setuptools", "wheel")
"""What makes the wheel; stays out of the image that runs."""


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """The lines of each pinned distribution, by canonical name."""
    blocks = re.split(r"^(?=\S+==)", PINNED.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: dict[str, str] = {}
    for block in (block for block in blocks if "==" in block):
        # One distribution may be pinned once for each of several Python versions.
        name = canonical(block.split("==", 1)[0])
        found[name] = "\n".join([*([found[name]] if name in found else []), block.rstrip("\n")])
    return found


def closure(*wanted: str) -> set[str]:
    """Canonical names of everything that requirements need, directly or not."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in wanted]
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *sorted(requirement.extras)):
            if (canonical(requirement.name), extra) in found:
                continue
            found.add((canonical(requirement.name), extra))
            needed = [Requirement(text) for text in requires(requirement.name) or ()]
            waiting += [item for item in needed if item.marker is None or item.marker.evaluate({"extra": extra})]
    return {name for name, _ in found} - {"cordon"}


def texts() -> dict[str, str]:
    """What belongs into each file."""
    pinned = pins()
    names = {party: closure(requirement) for party, requirement in PARTIES.items()} | {"build": closure(*BUILD)}
    return {
        f"{party}.txt": "\n".join(pinned[name] for name in sorted(wanted)) + "\n" for party, wanted in names.items()
    }


if __name__ == "__main__":
    (HERE / "requirements").mkdir(exist_ok=True)
    for name, text in texts().items():
        (HERE / "requirements" / name).write_text(text, encoding="utf-8")
