"""Completion of the command line in a shell: commands, options and their values, loading only what was begun."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import EntryPoint

import typer

from cordon.errors import Refused

PROGRAM = "cordon"
VARIABLE = "_CORDON_COMPLETE"
"""Set by the shell when it asks what could stand where the cursor is."""

SHELLS = ("bash", "zsh", "fish", "powershell")
_WORDS = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
"""Where shells put what was typed so far."""


def print_script(shell: str) -> None:
    """Print what a shell must read so that it asks us, and exit.

    Raises:
        Refused: a shell that is not known.
    """
    if shell not in SHELLS:
        raise Refused(f"there is no completion for {shell!r}", hint=f"one of {', '.join(SHELLS)}")
    os.environ[VARIABLE] = f"source_{shell}"
    complete({}, {})


def complete(points: Mapping[str, EntryPoint], words: Mapping[str, str]) -> None:
    """Answer the shell and exit.

    Args:
        points: each command's entry point.
        words: what each command does.
    """
    typed = next((os.environ[name] for name in _WORDS if name in os.environ), "").split()
    begun = typed[1] if len(typed) > 1 else ""
    root = typer.Typer(add_completion=True, pretty_exceptions_enable=False)
    root.callback()(lambda: None)
    for name, point in points.items():
        _add(root, name, point.load() if name == begun else _nothing(words.get(name, "")))
    root(prog_name=PROGRAM)


def _add(root: typer.Typer, name: str, app: typer.Typer) -> None:
    only = app.registered_commands[0].callback if len(app.registered_commands) == 1 else None
    if only is not None and not app.registered_groups and app.registered_callback is None:
        root.command(name, help=app.info.help)(only)
    else:
        root.add_typer(app, name=name)


def _nothing(help_text: str) -> typer.Typer:
    app = typer.Typer(help=help_text)
    app.command()(lambda: None)
    return app
