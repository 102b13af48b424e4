"""Strict pydantic models, and pydantic's errors as one line: the key, what is wrong, the remedy."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ndcl.errors import UserError
from ndcl.strict import unknown_key


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


def first_error(error: ValidationError, values: Any) -> str:
    """The first of pydantic's errors in one line; `values` is what was validated."""
    details = error.errors()[0]
    where = ".".join(_written(details["loc"], values))
    if details["type"] == "missing":
        where = f"{where}.{details['loc'][-1]}" if where else str(details["loc"][-1])
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, UserError):
        return f"{where}.{cause}" if where else str(cause)
    return f"{where or 'the file'}: {_message(details)}"


def _written(loc: tuple[int | str, ...], values: Any) -> Iterator[str]:
    """The parts of `loc` that a user wrote: pydantic puts names of union members and of list positions among them."""
    for part in loc:
        inside = isinstance(part, int) if isinstance(values, list) else isinstance(values, dict) and part in values
        if inside:
            values = values[part]
            yield str(part)


def _message(details: ErrorDetails) -> str:
    match details["type"]:
        case "missing":
            return "a value is required; add it"
        case "union_tag_not_found":
            return "a type is required; add type: float, int or choice"
        case "union_tag_invalid":
            return f"unknown type {details['ctx']['tag']!r}; valid: {details['ctx']['expected_tags']}"
    text = details["msg"]
    return f"{text[0].lower()}{text[1:]}, got {details['input']!r}"
