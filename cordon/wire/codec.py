"""The only door between bytes and models; it lets nothing unknown in.

proto3 drops unknown fields silently, so an old node would answer another question under a valid
signature. Here bytes are accepted only if they are the canonical encoding (fields in order of their
numbers, defaults left out, nothing unknown) of the model that they decode to; that also gives every
model one encoding only. Models and protobuf messages have the same names and fields.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from cordon.envelope import Envelope
from cordon.errors import Malformed, Unsupported
from cordon.query.model import Predicate
from cordon.units import Digest, Rho
from cordon.wire import messages
from cordon.wire.v1 import analysis_pb2, audit_pb2, envelope_pb2, federation_pb2, query_pb2, register_pb2

Model = TypeVar("Model")

_MODULES = (envelope_pb2, query_pb2, audit_pb2, federation_pb2, analysis_pb2, register_pb2)
_MESSAGES: dict[str, type[Message]] = {
    name: getattr(module, name) for module in _MODULES for name in module.DESCRIPTOR.message_types_by_name
}


class _Union(NamedTuple):
    """A choice of models, as a protobuf message with one oneof."""

    message: type[Message]
    fields: dict[str, Any]


def _choice(message: type[Message], union: Any, **others: Any) -> _Union:
    models = [member for member in typing.get_args(union) if isinstance(member, type) and member is not bytes]
    return _Union(message, {_snake(model.__name__): model for model in models} | others)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_UNIONS: dict[Any, _Union] = {
    Predicate: _choice(query_pb2.Predicate, Predicate),
    messages.Task: _choice(federation_pb2.Task, messages.Task),
    messages.Event: _choice(analysis_pb2.Event, messages.Event),
    messages.ContributionPart: _choice(federation_pb2.ContributionPart, messages.ContributionPart, ciphertext=bytes),
}


def encode(model: Any, kind: Any = None) -> bytes:
    """The canonical encoding of a model.

    Args:
        kind: the union that `model` is sent as; None where it is sent as itself.
    """
    return _message(model, kind or type(model)).SerializeToString(deterministic=True)


def decode(kind: type[Model], data: bytes) -> Model:
    """The model that `data` is the canonical encoding of.

    Args:
        kind: a model's class, or a union such as `messages.Task`.

    Raises:
        Unsupported: a field or enum value that this version does not know.
        Malformed: not protobuf, not canonical, or not within the model's limits.
    """
    name = getattr(kind, "__name__", "message")
    message = _new(kind)
    try:
        message.ParseFromString(data)
    except (DecodeError, RecursionError, ValueError):
        raise Malformed(f"not a {name}: cannot be parsed") from None
    size = message.ByteSize()
    message.DiscardUnknownFields()
    if message.ByteSize() != size:
        raise Unsupported(f"{name} has a field that this version does not know")
    if message.SerializeToString(deterministic=True) != data:
        raise Malformed(f"{name} is not in canonical form")
    return typing.cast(Model, _model(kind, message))


def encode_envelope(envelope: Envelope) -> bytes:
    """An envelope's canonical encoding: the bytes of a register leaf."""
    return encode(envelope)


def decode_envelope(data: bytes) -> Envelope:
    """The envelope that `data` encodes.

    Raises:
        Malformed: not an envelope in canonical form.
    """
    return decode(Envelope, data)


def unexpected(payload_type: str) -> Malformed:
    """The error for a payload of another type than the one that belongs here."""
    return Malformed(f"a payload of type {payload_type[:80]!r} does not belong here")


def _new(kind: Any) -> Message:
    return _UNIONS[kind].message() if kind in _UNIONS else _MESSAGES[kind.__name__]()


@cache
def _fields(model: type) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(model)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(model))


def _message(model: Any, kind: Any) -> Message:
    message = _new(kind)
    if kind in _UNIONS:
        field = next(name for name, member in _UNIONS[kind].fields.items() if isinstance(model, member))
        _put(message, field, model, _UNIONS[kind].fields[field])
        return message
    for name, hint in _fields(kind):
        value = getattr(model, name)
        if value is not None:
            _put(message, name, value, _present(hint))
    return message


def _put(message: Message, name: str, value: Any, hint: Any) -> None:
    member = _member(hint)
    if member is not None:
        getattr(message, name).extend([_plain(item, member) for item in value])
    elif _is_message(hint):
        getattr(message, name).CopyFrom(_message(value, hint))
        getattr(message, name).SetInParent()
    else:
        setattr(message, name, _plain(value, hint))


def _plain(value: Any, hint: Any) -> Any:
    if _is_message(hint):
        return _message(value, hint)
    return value.nano if isinstance(value, Rho) else value


def _model(kind: Any, message: Message) -> Any:
    if kind in _UNIONS:
        return _chosen(kind, message)
    values = {name: _get(message, name, hint) for name, hint in _fields(kind)}
    try:
        return kind(**values)
    except ValueError as error:
        raise Malformed(f"{kind.__name__}: {error}") from None


def _chosen(kind: Any, message: Message) -> Any:
    (oneof,) = message.DESCRIPTOR.oneofs
    field = message.WhichOneof(oneof.name)
    if field is None:
        raise Unsupported(f"{message.DESCRIPTOR.name} is empty, or of a kind that this version does not know")
    return _read(getattr(message, field), _UNIONS[kind].fields[field])


def _get(message: Message, name: str, hint: Any) -> Any:
    member = _member(hint)
    if member is not None:
        return tuple(_read(item, member) for item in getattr(message, name))
    bare = _present(hint)
    if (bare is not hint or _is_message(bare)) and not message.HasField(name):
        if bare is not hint:
            return None
        raise Malformed(f"{message.DESCRIPTOR.name} has no {name}")
    return _read(getattr(message, name), bare)


def _read(value: Any, hint: Any) -> Any:
    if _is_message(hint):
        return _model(hint, value)
    if _is_enum(hint):
        try:
            return hint(value)
        except ValueError:
            raise Unsupported(f"{hint.__name__} {value} is not known to this version") from None
    try:
        return _CONVERT.get(hint, _same)(value)
    except ValueError as error:
        raise Malformed(str(error)) from None


@cache
def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, IntEnum)


def _same(value: Any) -> Any:
    return value


_CONVERT: dict[Any, Callable[[Any], Any]] = {Rho: Rho, Digest: Digest}


@cache
def _is_message(hint: Any) -> bool:
    return hint in _UNIONS or (dataclasses.is_dataclass(hint) and hint is not Rho)


@cache
def _member(hint: Any) -> Any | None:
    """`X` for the hint `tuple[X, ...]`, else None."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None


@cache
def _present(hint: Any) -> Any:
    """`X` for the hint `X | None`, else the hint itself."""
    members = typing.get_args(hint)
    if hint in _UNIONS or type(None) not in members:
        return hint
    rest = [member for member in members if member is not type(None)]
    if len(rest) == 1:
        return rest[0]
    return next(union for union in _UNIONS if set(typing.get_args(union)) == set(rest))
