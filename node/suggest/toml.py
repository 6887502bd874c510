"""Texts as TOML writes them."""

from __future__ import annotations

import json


def text(value: str) -> str:
    """A TOML string on one line, whatever is in it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f").replace("\u2028", "\\u2028")
