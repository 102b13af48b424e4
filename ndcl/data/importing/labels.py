"""What the values of a label or domain column are called: text as it is, numbers by a list of names."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from ndcl.data.importing.names import clean_name
from ndcl.errors import UserError

NO_LABEL = -1
"""Label or domain of an item that has none."""

Form = Literal["text", "named", "numbers", "nothing"]
"""Text; numbers with a list of names; numbers that are their own names; or no value at all."""


def is_label(value: object) -> bool:
    """Whether a value stands for a class or domain; null, an empty text and numbers below 0 stand for none."""
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and not (isinstance(value, int) and value < 0)


def naming(where: str, what: str, values: Iterable[Any], names: Sequence[str]) -> tuple[Form, dict[Any, str]]:
    """The name of each value that is a label; `names` are those of the numbers 0, 1, ..., if there are any.

    `where` (`a.parquet: column label`) and `what` (`class`) are for messages. Raises UserError for values that are
    neither all text nor all whole numbers, and numbers without a name.
    """
    labels = [value for value in values if is_label(value)]
    if not labels:
        return "nothing", {}
    if all(isinstance(value, str) for value in labels):
        return "text", {value: clean_name(value) for value in labels}
    odd = [value for value in labels if not isinstance(value, int)]
    if odd:
        raise UserError(f"{where} must hold text or whole numbers, not {type(odd[0]).__name__} such as {odd[0]!r}")
    if not names:
        return "numbers", {value: str(value) for value in labels}
    if max(labels) >= len(names):
        raise UserError(
            f"{where} holds {what} numbers from {min(labels)} to {max(labels)}, and {len(names)} names were given; "
            "give one for each number from 0"
        )
    return "named", {value: clean_name(names[value]) for value in labels}


def require_distinct(where: str, names: Sequence[str]) -> None:
    """Raise UserError if a list of names holds one twice or an empty one: two numbers would share a name."""
    cleaned = [clean_name(name) for name in names]
    for number, name in enumerate(cleaned):
        if not name:
            raise UserError(f"{where}: number {number} has an empty name; give it one")
        if cleaned.index(name) < number:
            raise UserError(
                f"{where}: '{name}' is the name of both {cleaned.index(name)} and {number}; give each number its own"
            )
