"""`cordon`: loads only the command that was called, and prints foreseen errors as people read them."""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint, entry_points, version

from cordon.errors import CordonError, Misconfigured, QuestionRefused

GROUP = "cordon.commands"

COMMANDS = {
    "query": ("Ask the federation a question in SQL.", "analyst"),
    "explain": ("Show a question's plan, expected error and cost; sends nothing about it.", "analyst"),
    "datasets": ("List data sets, their columns and codes, and who holds them.", "analyst"),
    "follow": ("Follow a query again by its id, and open its answer.", "analyst"),
    "history": ("List your own queries and answers, or show one again at no cost.", "analyst"),
    "disparity": ("Compare groups' rates with a reference group's, and say what can be concluded.", "analyst,stats"),
    "regress": ("Fit a line through records, and say what can be concluded.", "analyst"),
    "trend": ("Show what grows and what falls, and what noise would not explain.", "analyst,stats"),
    "watch": ("Ask a saved question again on a schedule, and tell of significant change.", "analyst"),
    "publish": ("Publish an opened answer for everybody.", "analyst"),
    "releases": ("List and show published answers.", "analyst"),
    "audit": ("Verify the register, and read from it who asked and spent what.", ""),
    "node": ("Run one force's node.", "node"),
    "coordinator": ("Run the coordinator.", "coordinator"),
    "keys": ("Make and inspect keys, certificates and manifests.", ""),
    "completion": ("Print what makes your shell complete commands and options: bash, zsh, fish or powershell.", ""),
}
"""What each command does, and the extra of the distribution that it needs."""

COMPLETING = "_CORDON_COMPLETE"
"""Set by a shell that asks what could stand where the cursor is."""

_COMPLETION = "completion"
_INTERRUPTED = 130
_USAGE = 2


def main() -> None:
    """Run the command line; exits with 0, 2 for wrong usage, or a `CordonError`'s exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except OSError as error:
        if not _is_of_standard_output(error):
            raise
        if isinstance(error, BrokenPipeError):
            return 1
        failed = Misconfigured(f"cannot write to standard output: {error.strerror}")
        sys.stderr.write(_described(failed))
        return failed.exit_code
    return code


def _run(arguments: list[str]) -> int:
    if COMPLETING in os.environ:
        _complete()
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help", "--version"):
        sys.stdout.write(f"cordon {version('cordon')}\n" if name == "--version" else _help())
        return 0 if arguments else _USAGE
    found = _points()
    if name not in (*found, _COMPLETION):
        sys.stderr.write(f"error: there is no command {name!r}\n\n{_help()}")
        return _USAGE
    try:
        return _print_completion(arguments[1:]) if name == _COMPLETION else _run_command(found[name], arguments[1:])
    except CordonError as error:
        sys.stderr.write(_described(error))
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return _INTERRUPTED


def _is_of_standard_output(error: OSError) -> bool:
    try:
        # What could not be written may be lost already: another byte tells whether more could be.
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), b"\n")
    except OSError as again:
        if again.errno is None or again.errno != error.errno:
            return False
        # The interpreter writes once more what is left as it leaves.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return True
    return False


def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _complete() -> None:
    # Not at the top: every command would wait for it.
    from cordon.completion import complete  # noqa: PLC0415

    complete(_points(), {name: words for name, (words, _) in COMMANDS.items()})


def _print_completion(arguments: list[str]) -> int:
    from cordon.completion import SHELLS, print_script  # noqa: PLC0415

    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stdout.write(f"usage: cordon completion {'|'.join(SHELLS)}\n\nFor example, in ~/.bashrc:\n\n")
        sys.stdout.write('  eval "$(cordon completion bash)"\n')
        return 0 if arguments in (["-h"], ["--help"]) else _USAGE
    print_script(arguments[0])
    return 0


def _run_command(point: EntryPoint, arguments: list[str]) -> int:
    try:
        app = point.load()
    except ModuleNotFoundError as error:
        extra = COMMANDS.get(point.name, ("", ""))[1]
        raise Misconfigured(
            f"'{point.name}' needs {error.name}, which is not installed",
            hint=f"pip install 'cordon[{extra}]'" if extra else "install Cordon anew",
        ) from None
    try:
        app(args=arguments, prog_name=f"cordon {point.name}")
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 0
    return 0


def _described(error: CordonError) -> str:
    text = f"error: {error}\n"
    if isinstance(error, QuestionRefused) and error.end > error.start:
        text += _caret(error)
    return text + (f"hint: {error.hint}\n" if error.hint else "")


def _caret(error: QuestionRefused) -> str:
    before = error.sql[: error.start]
    line_start = before.rfind("\n") + 1
    line = error.sql[line_start:].split("\n", 1)[0]
    column = error.start - line_start
    width = max(1, min(error.end - error.start, len(line) - column))
    return f"  {line}\n  {' ' * column}{'^' * width}\n"


def _help() -> str:
    lines = "\n".join(f"  {name:<12} {words}" for name, (words, _) in COMMANDS.items())
    return (
        "usage: cordon COMMAND [OPTIONS]\n\n"
        "Answers over many police forces' records, without any record leaving its force.\n\n"
        f"commands:\n{lines}\n\n"
        "'cordon COMMAND --help' says more; 'cordon --version' prints the version.\n"
    )
