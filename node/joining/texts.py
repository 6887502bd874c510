"""The files that a new force begins with, as texts; pure.

They are made from the samples of deploy/config, which lie in this package too, so that every key keeps its comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

_STATEMENT = re.compile(r"#?(?P<key>[a-z_]+) = (?P<value>.*)")
_NO_BUDGET = """
# No domain has a budget yet, so this node answers nothing and does not start. Once your officers have decided, add one
# table for each `domain` of your mappings, as explained above:
#
#   [budget.stop_records]
#   epsilon_per_year = "10"
#   epsilon_lifetime = "100"
"""

CAREFUL: dict[str, str] = {
    "allow_by_force": "false",
    "most_epsilon_per_attempt": '"1"',
    "most_epsilon_alone": '"8"',
}
"""Rules that a new force's policy begins with, stricter than the defaults: to loosen one is a decision."""


def sample(name: str) -> str:
    """The text of a sample configuration, `node.toml` or `policy.toml`."""
    return (files("node.joining") / name).read_text(encoding="utf-8")


def literal(value: str | Sequence[str]) -> str:
    """A text, or a list of texts, as TOML writes it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if not value:
        return "[]"
    return "[\n" + "".join(f"  {literal(item)},\n" for item in value) + "]"


def filled(text: str, values: Mapping[str, str]) -> str:
    """A sample with other values in the place of its own; comments stay, and an option that is given is switched on.

    Args:
        values: TOML by key, of keys that stand above the first table.

    Raises:
        ValueError: the sample has no such key.
    """
    lines, left, inside = [], dict(values), False
    for line in text.splitlines():
        if inside:
            inside = line != "]"
            continue
        found = _STATEMENT.fullmatch(line)
        if found is None or found["key"] not in left:
            lines.append(line)
            continue
        inside = found["value"] == "["
        lines.append(f"{found['key']} = {left.pop(found['key'])}")
    if left:
        raise ValueError(f"the sample has no key {min(left)!r}")
    return "\n".join(lines) + "\n"


def policy_text(budgets: Mapping[str, tuple[str, str]]) -> str:
    """A new force's policy: every rule explained, the careful ones switched on, and no domain but those given.

    Args:
        budgets: epsilon a year and over the lifetime, by budget domain.
    """
    # The sample's own domains and officers are nobody's: they stay as examples.
    examples = [line if line.startswith("#") or not line else f"#{line}" for line in sample("policy.toml").splitlines()]
    text = filled("\n".join(examples), CAREFUL)
    tables = [
        f"\n[budget.{domain}]\nepsilon_per_year = {literal(year)}\nepsilon_lifetime = {literal(lifetime)}\n"
        for domain, (year, lifetime) in budgets.items()
    ]
    return text + ("".join(tables) or _NO_BUDGET)


def force_block(force: str, name: str, *, signing_key: str, seal_key: str) -> str:
    """What governance enters in the manifest for a new force."""
    return (
        f"[[force]]\nid = {literal(force)}\nname = {literal(name)}\n"
        f"signing_key = {literal(signing_key)}\nseal_key = {literal(seal_key)}\n"
    )
