"""What `cordon node init` has to know: each question, the form of its answer, and who is asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from cordon.errors import Misconfigured
from cordon.units import FORCE_ID
from node.joining.setup import named, port_fault

_INTERRUPTED, _INPUT_ENDED = 130, 1
"""Exit codes of Ctrl-C and Ctrl-D at a question."""

_KEY = re.compile(r"[0-9a-f]{64}")


def _force_fault(text: str) -> str:
    return "" if FORCE_ID.fullmatch(text) else "it looks like this: kent"


def _coordinator_fault(text: str) -> str:
    if not re.fullmatch(r"[^:/\s]+:\d{1,5}", text):
        return "it looks like this: coordinator.example.org:7443"
    return port_fault(text)


def _proxy_fault(text: str) -> str:
    if not re.fullmatch(r"http://[^/\s]+", text):
        return "it looks like this: http://proxy.kent.example.org:3128"
    return port_fault(text)


def _keys_fault(text: str) -> str:
    keys = text.split()
    if not keys or not all(_KEY.fullmatch(key) for key in keys):
        return "it looks like this: 64 hexadecimal digits each, in lower case"
    return "" if len(set(keys)) == len(keys) else "the same key is given twice; each member of governance has one"


def _manifest_fault(text: str) -> str:
    path = Path(text).expanduser()
    return "" if path.is_file() else f"there is no file {path}"


def _nothing_wrong(_: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that `init` asks for, by flag or at a terminal."""

    flag: str
    words: str
    fault: Callable[[str], str]
    """What is wrong with an answer, in words; empty where nothing is. Never asked about an empty one."""

    default: str | None = None
    """None where an answer is needed."""


QUESTIONS = (
    Question("force", "Your force's id in the federation: lower-case letters, digits and hyphens.", _force_fault),
    Question("name", "Your force's name, as people read it; made from its id if you give none.", _nothing_wrong, ""),
    Question(
        "coordinator",
        "Where the coordinator is reached, the only address that your node will dial.",
        _coordinator_fault,
    ),
    Question(
        "proxy",
        "The HTTP proxy on the way there, which must not inspect TLS; leave it empty if there is none.",
        _proxy_fault,
        "",
    ),
    Question(
        "governance-key",
        "The governance's public keys, with blanks between: get them by telephone or on paper, not with the manifest.",
        _keys_fault,
    ),
    Question(
        "manifest",
        "The federation's signed manifest, if you have the file already: it is verified and copied.",
        _manifest_fault,
        "",
    ),
    Question(
        "state",
        "The folder of ledger and snapshots: on an encrypted volume, and left out of machine snapshots.",
        _nothing_wrong,
        "state",
    ),
)
"""In the order in which they are asked."""


def completed(given: Mapping[str, str | None], ask: Callable[[Question], str] | None) -> dict[str, str]:
    """Every answer: as given, else asked for, else its default.

    Args:
        ask: asks a person; None where there is none.

    Raises:
        Misconfigured: an answer has not the form that it needs, or nobody can be asked, and something that is needed
            was not given.
    """
    _check_given(given)
    missing = [q.flag for q in QUESTIONS if given[q.flag] is None and q.default is None]
    if missing and ask is None:
        raise Misconfigured(
            f"not given: {', '.join(f'--{flag}' for flag in missing)}",
            hint="give them, or run this in a terminal, where it asks",
        )
    told: dict[str, str] = {}
    for question in QUESTIONS:
        value = given[question.flag]
        # The same name by flag and at a prompt: the one that is made from the id.
        open_question = replace(question, default=named(told["force"])) if question.flag == "name" else question
        if value is None:
            value = (open_question.default or "") if ask is None else ask(open_question)
        told[question.flag] = value.strip()
    return told


def _check_given(given: Mapping[str, str | None]) -> None:
    for question in QUESTIONS:
        value = (given[question.flag] or "").strip()
        needed = question.default is None and given[question.flag] is not None
        fault = question.fault(value) if value or needed else ""
        if fault:
            raise Misconfigured(f"--{question.flag}: {fault}", hint=question.words)


def asked(question: Question) -> str:
    """A person's answer at the terminal, asked for until it has the form that it needs.

    Raises:
        Exit: the person would rather stop.
    """

    def checked(text: str) -> str:
        text = text.strip()
        fault = question.fault(text) if text or question.default is None else ""
        if fault:
            raise typer.BadParameter(fault)
        return text

    typer.echo(question.words)
    with stopped_in_one_line():
        answer: str = typer.prompt(
            f"  {question.flag}", default=question.default, value_proc=checked, show_default=bool(question.default)
        )
    return answer


@contextmanager
def stopped_in_one_line() -> Iterator[None]:
    """What is asked inside may be stopped with Ctrl-C or Ctrl-D, before anything was written.

    Raises:
        Exit: the person would rather stop.
    """
    try:
        yield
    except typer.Abort as stopped:
        typer.echo("\nstopped; nothing was written", err=True)
        raise typer.Exit(_INPUT_ENDED if isinstance(stopped.__context__, EOFError) else _INTERRUPTED) from None
