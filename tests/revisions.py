"""A data set in two versions, added to a laid-out federation: `events`, whose second version knows one more colour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from examples import ROW_CONTRACT

from cordon.contract import Contract
from cordon.envelope import MANIFEST, KeySigner, from_json, seal, to_json
from cordon.keyfile import read_signing_key
from demo.layout import Layout

DOMAIN = "event_records"
EVENTS = (
    ROW_CONTRACT,
    ROW_CONTRACT.replace(b"version = 1", b"version = 2").replace(
        b'{ code = "blue"', b'{ code = "green", label = "Green" }, { code = "blue"'
    ),
)
"""Version 1 and version 2."""


def events() -> tuple[Contract, Contract]:
    """The contract in both versions."""
    first, second = map(Contract.from_toml, EVENTS)
    return first, second


def add_events(layout: Layout, held: Mapping[str, tuple[int, ...]], records: Mapping[str, int]) -> None:
    """List both versions in the manifest, and give each force a mapping for those that it holds; nothing is loaded.

    Args:
        held: versions, by force.
        records: events of each colour in every force's records.
    """
    _list(layout)
    folder = layout.root / "contracts"
    folder.mkdir()
    for number, payload in enumerate(EVENTS, start=1):
        (folder / f"events.v{number}.toml").write_bytes(payload)
    # In full, because tests copy a party's folder to elsewhere.
    line = f'contracts = "{folder}"\n'
    _insert(layout.coordinator_config, line)
    rows = [f"{colour},2025-03-04\n" for colour, count in records.items() for _ in range(count)]
    for force in layout.design.forces:
        home, config = layout.force_folder(force), layout.node_config(force)
        _insert(config, line)
        (home / "records" / "events.csv").write_text("colour,day\n" + "".join(rows), encoding="utf-8")
        for version in held.get(force, ()):
            name = f"events.v{version}.toml"
            (home / name).write_text(_mapping(version), encoding="utf-8")
            text = config.read_text(encoding="utf-8")
            config.write_text(text.replace("mappings = [", f"mappings = ['{name}', "), encoding="utf-8")


def _list(layout: Layout) -> None:
    path = layout.root / "manifest.json"
    before = from_json(path.read_text(encoding="utf-8"))
    listed = "".join(
        f'[[contract]]\ndataset = "events"\nversion = {contract.version}\nsha256 = "{contract.digest}"\n'
        for contract in events()
    )
    keys = [KeySigner(read_signing_key(layout.root / "governance" / f"{number}.key")) for number in (0, 1)]
    signed = seal(MANIFEST, before.payload + listed.encode(), *keys)
    path.write_text(to_json(signed), encoding="utf-8")


def _insert(config: Path, line: str) -> None:
    config.write_text(line + config.read_text(encoding="utf-8"), encoding="utf-8")


def _mapping(version: int) -> str:
    return (
        f'dataset = "events"\nversion = {version}\ndomain = "{DOMAIN}"\nsource = "records/events.csv"\n'
        'as_at = 2025-12-31\nfirst_month = "2025-01"\nlast_month = "2025-12"\n'
        '[columns]\ncolour = { source = "colour" }\nday = { source = "day" }\n'
    )
