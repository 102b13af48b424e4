"""Strict conversion between plain dictionaries (YAML, JSON) and frozen configuration dataclasses."""

import dataclasses
import difflib
import types
import typing
from typing import Any, TypeVar

from ndcl.errors import UserError

T = TypeVar("T")
TYPES: dict[type, str] = {
    str: "text (in quotes, if it looks like something else)",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
"""Types in a user's words."""


def from_dict(cls: type[T], values: Any, where: str = "") -> T:
    """Build the dataclass `cls` from `values`.

    `where` is the dotted path shown in messages. Raises UserError for an unknown or missing key (naming the
    nearest valid one), a value of the wrong type, or a value that the dataclass itself refuses.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where or cls.__name__}: expected a mapping of keys to values, got {values!r}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise UserError(unknown_key(str(key), fields, where))
    arguments = {key: _convert(hints[key], value, _join(where, key)) for key, value in values.items()}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in arguments:
            raise UserError(f"{_join(where, name)}: a value is required; add it")
    try:
        return cls(**arguments)
    except UserError as error:
        raise UserError(f"{where}.{error}" if where else str(error)) from None


def to_dict(config: Any) -> dict[str, Any]:
    """The inverse of `from_dict`: nested plain dictionaries with JSON types only (tuples become lists)."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def unknown_key(key: str, valid: typing.Iterable[str], where: str) -> str:
    """The one line for a key that does not exist."""
    names = sorted(valid)
    near = difflib.get_close_matches(key, names, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"valid keys: {', '.join(names)}"
    return f"{_join(where, key)}: unknown key; {hint}"


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise UserError(f"{where}: {value!r} is not valid; choose one of {', '.join(map(str, arguments))}")
        return value
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, where)  # type: ignore[arg-type]
    if origin in (tuple, list):
        return _convert_sequence(origin, arguments, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where}: expected a mapping, got {value!r}")
        return {key: _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return _convert_scalar(hint, value, where)


def _convert_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    problem = UserError(f"{where}: {value!r} is not valid")
    for option in rest:
        try:
            return _convert(option, value, where)
        except UserError as error:
            problem = error
    raise problem


def _convert_sequence(origin: Any, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise UserError(f"{where}: expected a list, got {value!r}")
    return origin(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 (without a dot) as text
        try:
            return float(value)
        except ValueError:
            pass
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is str and isinstance(value, int) and not isinstance(value, bool):  # a name such as 2, without quotes
        return str(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    if hint not in TYPES:
        raise UserError(
            f"{where}: a config can't have a value of type {getattr(hint, '__name__', hint)}; make it int, float, "
            "bool, str, Literal or a tuple of them"
        )
    raise UserError(f"{where}: expected {TYPES[hint]}, got {value!r}")
