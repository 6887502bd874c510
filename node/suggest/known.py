"""What records systems commonly call things: the tables of known.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from cordon.configfile import ConfigModel


class CodeTable(ConfigModel):
    """Local code in lower case → contract codes; the first that a contract has is meant."""

    sure: dict[str, tuple[str, ...]]
    likely: dict[str, tuple[str, ...]]


class Known(ConfigModel):
    """Names, codes, markers and formats that are common; known.toml explains each."""

    noise: frozenset[str]
    light: frozenset[str]
    markers: frozenset[str]
    doubtful_markers: frozenset[str]
    exclusions: frozenset[str]
    number_markers: frozenset[str]
    date_markers: frozenset[str]
    formats: tuple[str, ...]
    abbreviations: dict[str, str]
    names: dict[str, tuple[str, ...]]
    weak_names: dict[str, tuple[str, ...]]
    codes: dict[str, CodeTable]


@cache
def known() -> Known:
    """The tables, read once."""
    return Known.model_validate(tomllib.loads((files("node.suggest") / "known.toml").read_text(encoding="utf-8")))
