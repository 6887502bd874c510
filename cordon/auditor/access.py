"""From the command line's words to a source, a mirror and a verified result."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cordon.auditor.profile import Profile, default_path, read_profile
from cordon.errors import Misconfigured
from cordon.reading.members import Membership, members_of
from cordon.reading.mirror import FILE, Mirror
from cordon.reading.read import Options, Progress, Reader
from cordon.reading.remote import CoordinatorSource
from cordon.reading.source import Source
from cordon.reading.static import folder_source, url_source
from cordon.reading.verdict import Result
from cordon.wire.channel import Channel

_HTTP = re.compile(r"https?://[^/]")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says about where to read, and whom to trust."""

    source: str | None
    """A folder or an http(s) address; None for the profile's coordinator."""
    profile: Path | None
    governance_keys: tuple[str, ...]
    mirror: Path | None
    offline: bool
    jobs: int


@dataclass(frozen=True)
class Opened:
    """A mirror that was brought up to its source, and what came of it."""

    mirror: Mirror
    members: Membership
    result: Result


@contextlib.contextmanager
def opened(wanted: Wanted, progress: Progress) -> Iterator[Opened]:
    """Bring the mirror up to the source, verify everything, and keep it open.

    Raises:
        Misconfigured: it is not said whom to trust, or where to read.
        Unavailable: the source cannot be reached.
    """
    profile = _profile(wanted)
    keys = wanted.governance_keys or (profile.governance_keys if profile is not None else ())
    jobs = wanted.jobs or os.cpu_count() or 1
    with contextlib.ExitStack() as stack:
        stack.enter_context(_told())
        folder = _mirror_folder(wanted, profile, stack)
        mirror = stack.enter_context(Mirror(folder / FILE))
        source = None if wanted.offline else _source(wanted, profile, stack)
        result = Reader(mirror, source, Options(keys, jobs, int(time.time()), progress)).read()
        yield Opened(mirror, members_of(mirror, keys), result)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Tell of a mirror that fails while it is used as of any other file of one's own."""
    try:
        yield
    except sqlite3.Error as error:
        raise Misconfigured(
            f"the mirror cannot be used: {error}",
            hint="another `cordon audit` may be using it; if it is damaged, remove it, and it is read anew",
        ) from None


def _profile(wanted: Wanted) -> Profile | None:
    bad = [key for key in wanted.governance_keys if not _KEY.fullmatch(key)]
    if bad:
        raise Misconfigured(f"{bad[0]!r} is no governance key", hint="write 64 lower-case hexadecimal digits")
    needs_none = wanted.governance_keys and (wanted.source is not None or (wanted.offline and wanted.mirror))
    if needs_none and wanted.profile is None and not default_path().is_file():
        return None
    return read_profile(wanted.profile)


def _source(wanted: Wanted, profile: Profile | None, stack: contextlib.ExitStack) -> Source:
    if wanted.source is not None:
        if _HTTP.match(wanted.source):
            return url_source(wanted.source)
        if "://" in wanted.source or not Path(wanted.source).is_dir():
            raise Misconfigured(f"{wanted.source!r} is neither a folder nor an http(s) address")
        return folder_source(Path(wanted.source))
    if profile is None:
        raise Misconfigured("there is nothing to read from", hint="name a folder or an address, or a profile")
    channel = Channel(profile.coordinator, profile.tls.read(), proxy=profile.proxy)
    stack.callback(channel.close)
    return CoordinatorSource(channel, opens_at_once=True)


def _mirror_folder(wanted: Wanted, profile: Profile | None, stack: contextlib.ExitStack) -> Path:
    """Where the mirror lies; a published register that is read without a profile leaves none behind."""
    if wanted.mirror is not None:
        return wanted.mirror
    if profile is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cordon-audit-")))
    if wanted.source is None:
        return profile.mirror
    # Another source has its own copy: what it lacks must show, though the coordinator's has it.
    return profile.mirror / hashlib.sha256(wanted.source.encode()).hexdigest()[:16]
