"""Read a TOML file of our own into a frozen model, with errors that name the file, place and remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from cordon.errors import Misconfigured


class ConfigModel(BaseModel):
    """Frozen; unknown keys are errors, so that a misspelt limit is never a missing one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Model = TypeVar("Model", bound=ConfigModel)


def read_config(path: Path, kind: type[Model]) -> Model:
    """Read the TOML file at `path` as a `kind`; relative paths in it count from its folder.

    Raises:
        Misconfigured: missing, truncated, or a key is missing, unknown or wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} is not TOML, or is truncated: {error}") from None
    try:
        return kind.model_validate(_anchored(content, kind, path.resolve().parent))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Misconfigured(f"{path}: {place or 'file'}: {first['msg']}") from None


def _anchored(content: dict[str, Any], kind: type[BaseModel], folder: Path) -> dict[str, Any]:
    anchored = dict(content)
    for name, field in kind.model_fields.items():
        value = content.get(field.alias or name)
        is_path = field.annotation is Path or Path in get_args(field.annotation)
        if is_path and isinstance(value, str):
            anchored[field.alias or name] = folder / Path(value).expanduser()
        elif field.annotation == tuple[Path, ...] and isinstance(value, list):
            anchored[field.alias or name] = [folder / Path(str(item)).expanduser() for item in value]
        elif isinstance(value, dict) and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            anchored[field.alias or name] = _anchored(value, field.annotation, folder)
    return anchored
