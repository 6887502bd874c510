"""A folder for each force of a download: its records, its mappings, and with them a whole new node."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from cordon.errors import Misconfigured
from cordon.keyfile import write_new
from node.joining.setup import Answers, Made, set_up
from node.opendata.download import Download, Piece
from node.opendata.holding import Holding, mapping_text

_PUBLIC = 0o644
_STAGING = ".placing-"


@dataclass(frozen=True, slots=True)
class LaidOut:
    """What was made for one force."""

    force: str
    folder: Path
    made: Made | None
    """The node's keys and configuration; None where only records and mappings were laid out."""


def lay_out(
    into: Path,
    held: Sequence[Holding],
    download: Download,
    *,
    as_at: date,
    answers: Answers | None,
    progress: Callable[[str], None],
) -> tuple[LaidOut, ...]:
    """Lay out a folder `into`/<force> for each force: records first, what makes it a node last.

    A run that broke off can be run again: records that lie there already are kept if they are the download's.

    Args:
        answers: what the nodes have in common; None leaves keys and configuration to `cordon node init`.

    Raises:
        Misconfigured: something else is in the way, or cannot be written.
    """
    forces = sorted({holding.force for holding in held})
    _check_way_is_free(into, forces)
    done = []
    for force in forces:
        own = [holding for holding in held if holding.force == force]
        folder = into / force
        try:
            for holding in own:
                _place_records(folder / "records" / holding.kind, holding, download, progress)
        except OSError as error:
            raise Misconfigured(f"cannot write in {folder}: {error.strerror}") from None
        texts = {
            f"{holding.contract.dataset}.toml": mapping_text(holding, as_at=as_at, folder=f"../records/{holding.kind}")
            for holding in own
        }
        done.append(LaidOut(force, folder, _finish(folder, force, texts, answers)))
    return tuple(done)


def _check_way_is_free(into: Path, forces: Sequence[str]) -> None:
    there = [force for force in forces if (into / force / "node.toml").exists()]
    if there:
        raise Misconfigured(
            f"{into} has nodes of {', '.join(there)} already; nothing was written",
            hint="give another folder, or name the other forces with --force",
        )


def _finish(folder: Path, force: str, texts: dict[str, str], answers: Answers | None) -> Made | None:
    if answers is not None:
        return set_up(folder, replace(answers, force=force, mappings=texts))
    mappings = folder / "mappings"
    mappings.mkdir(exist_ok=True)
    for name, text in texts.items():
        path = mappings / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_new(path, text.encode(), mode=_PUBLIC)
    return None


def _place_records(folder: Path, holding: Holding, download: Download, progress: Callable[[str], None]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for broken_off in folder.glob(f"{_STAGING}*"):
        shutil.rmtree(broken_off)
    wanted = {piece.name for piece in holding.pieces}
    # The whole folder is the source: another month's file in it would be loaded too.
    strange = sorted(path.name for path in folder.iterdir() if path.name not in wanted)
    if strange:
        raise Misconfigured(f"{folder} has other files already: {', '.join(strange[:5])}", hint="give another folder")
    for piece in holding.pieces:
        progress(piece.words)
        _place(folder, piece, download)


def _place(folder: Path, piece: Piece, download: Download) -> None:
    target = folder / piece.name
    # Made beside its place, so that a half of a file never bears its name.
    with TemporaryDirectory(prefix=_STAGING, dir=folder) as staging:
        new = Path(staging) / piece.name
        download.place(piece, new)
        if target.exists():
            if not filecmp.cmp(new, target, shallow=False):
                raise Misconfigured(f"{target} exists already, and is not the download's", hint="give another folder")
            return
        new.rename(target)
