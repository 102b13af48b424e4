"""Strict pydantic models, and pydantic's errors as one line of our own: the key, what is wrong, the remedy."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ndcl.errors import UserError
from ndcl.strict import TYPES, unknown_key


class StrictModel(BaseModel):
    """Frozen; an unknown key is refused with the nearest valid one.

    A UserError raised by a validator begins with the key it is about, relative to the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        if isinstance(values, dict) and cls.model_config.get("extra") == "forbid":
            for key in values:
                if key not in cls.model_fields:
                    raise UserError(unknown_key(str(key), cls.model_fields, ""))
        return values


Value = TypeVar("Value")


def value_check(check: Callable[[Value], Value]) -> Callable[[Value], Value]:
    """A validator of one value by `check`, whose UserError is about that value and names no key."""

    def checked(value: Value) -> Value:
        try:
            return check(value)
        except UserError as error:
            raise ValueError(str(error)) from None

    return checked


def first_error(error: ValidationError, values: Any) -> str:
    """The first of pydantic's errors in one line; `values` is what was validated."""
    errors = error.errors()
    places = [tuple(_written(details, values)) for details in errors]
    # A value that suits none of several forms has an error for each: the one that reaches deepest says most.
    place = max((place for place in places if place[: len(places[0])] == places[0]), key=len)
    found = [details for details, other in zip(errors, places, strict=True) if other == place]
    where = ".".join(place)
    cause = found[0].get("ctx", {}).get("error")
    if isinstance(cause, UserError):
        return f"{where}.{cause}" if where else str(cause)
    if found[0]["type"] == "value_error":  # by a `value_check`
        return f"{where or 'the file'}: {cause}"
    return f"{where or 'the file'}: {_message(found)}"


def _written(details: ErrorDetails, values: Any) -> Iterator[str]:
    """The parts of its place that a user wrote: pydantic puts names of union members and list positions among them."""
    for part in details["loc"]:
        inside = isinstance(part, int) if isinstance(values, list) else isinstance(values, dict) and part in values
        if inside:
            values = values[part]
            yield str(part)
    if details["type"] == "missing":
        yield str(details["loc"][-1])


def _message(found: Sequence[ErrorDetails]) -> str:
    """What is wrong with one value, which suits none of the forms that `found` is about."""
    first = found[0]
    kind, got = first["type"], first["input"]
    if kind == "missing":
        return "a value is required; add it"
    if kind == "union_tag_not_found":
        return "a type is required; add type: float, int or choice"
    if kind == "union_tag_invalid":
        return f"unknown type {first['ctx']['tag']!r}; choose one of {_plain(first['ctx']['expected_tags'])}"
    wanted = list(dict.fromkeys(filter(None, map(_wanted, found))))
    if kind == "literal_error" and len(wanted) == 1:
        return f"{got!r} is not valid; choose one of {wanted[0]}"
    if kind in LIMITS and len(wanted) == 1:
        return f"{got!r} is out of range; it must be {wanted[0]}"
    return f"expected {' or '.join(wanted) or 'another value (docs/search_space.md)'}, got {got!r}"


def _wanted(details: ErrorDetails) -> str:
    """What was expected, by pydantic's type of error; empty for one that is not known here."""
    kind, limits = details["type"], details.get("ctx", {})
    if kind == "literal_error":
        return _plain(limits["expected"])
    if kind in LIMITS:
        bound, words = LIMITS[kind]
        return f"{words} {limits[bound]}"
    if kind == "too_short":
        return f"at least {limits['min_length']} {'entry' if limits['min_length'] == 1 else 'entries'}"
    return EXPECTED.get(kind, "")


def _plain(listed: str) -> str:
    """A list of pydantic's without its quotes and its last `or`."""
    return listed.replace("'", "").replace(" or ", ", ")


LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
LIST, MAPPING = "a list", "a mapping of keys to values"
EXPECTED = {
    **dict.fromkeys(("string_type", "string_unicode"), TYPES[str]),
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), TYPES[int]),
    **dict.fromkeys(("float_type", "float_parsing"), TYPES[float]),
    "finite_number": "a finite number",
    **dict.fromkeys(("bool_type", "bool_parsing"), TYPES[bool]),
    **dict.fromkeys(("list_type", "tuple_type"), LIST),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"), MAPPING),
    "none_required": "null",
}
"""What was expected, by the type of the error."""


def listed(values: Any) -> Any:
    """Values as a list; one alone needs no brackets."""
    return values if isinstance(values, (list, tuple)) else [values]
