"""The password of a source's account: from the environment or a file, and never in a message."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pydantic import SecretStr

from cordon.errors import Misconfigured
from node.source.model import Source

_LONGEST = 4096


def password_of(source: Source) -> SecretStr | None:
    """The password that a source names; None where it names none.

    Raises:
        Misconfigured: the variable is not set, or the file is missing, another's, readable by others, or not one line.
    """
    if source.password_env is not None:
        value = os.environ.get(source.password_env)
        if not value:
            raise Misconfigured(
                f"the environment variable {source.password_env}, which should hold a password, is not set",
                hint="set it where the node is started, or name a password_file",
            )
        return SecretStr(value)
    if source.password_file is not None:
        return SecretStr(_line(source.password_file))
    return None


def hidden(text: str, password: SecretStr | None) -> str:
    """A driver's message without the password, should it hold that."""
    secret = password.get_secret_value() if password else ""
    return text.replace(secret, "…") if secret else text


def _line(path: Path) -> str:
    try:
        # What is opened is what is checked: a name could come to mean another file in between.
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise Misconfigured(f"cannot read the password file {path}: {error.strerror}") from None
    if os.name == "posix":
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Misconfigured(f"the password file {path} is open to others than its owner", hint=f"chmod 600 {path}")
        if status.st_uid != os.geteuid():
            raise Misconfigured(
                f"the password file {path} belongs to another account than the one that runs this",
                hint="give it to the node's own account",
            )
    try:
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Misconfigured(f"the password file {path} is not text in UTF-8") from None
    if not text or len(content) > _LONGEST or "\n" in text or "\0" in text:
        raise Misconfigured(f"the password file {path} must hold one line: the password, and nothing else")
    return text
