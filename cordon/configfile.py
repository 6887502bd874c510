"""Read a TOML file of our own into a frozen model, with errors that name the file, place and remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

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
        key = field.alias or name
        if key in content:
            anchored[key] = _anchored_value(content[key], field.annotation, folder)
    return anchored


def _anchored_value(value: Any, annotation: Any, folder: Path) -> Any:
    arguments = get_args(annotation)
    if isinstance(value, str) and (annotation is Path or Path in arguments):
        return folder / Path(value).expanduser()
    model = next((part for part in (annotation, *arguments) if _is_model(part)), None)
    if isinstance(value, list) and get_origin(annotation) is tuple:
        return [_anchored_value(item, arguments[0], folder) for item in value]
    if model is None:
        return value
    if isinstance(value, str) and (short := getattr(model, "short_form", None)):
        value = {short: value}
    if not isinstance(value, dict):
        return value
    if get_origin(annotation) is dict:
        return {key: _anchored_value(item, model, folder) for key, item in value.items()}
    return _anchored(value, model, folder)


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)
