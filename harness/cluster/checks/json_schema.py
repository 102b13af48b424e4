"""What of a file does not fit a JSON Schema, as findings."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.cluster.checks.findings import Finding, unknown

WORDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "list": "a list",
    "long": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "string": "a text",
    "structure": "a mapping",
}
"""What types of JSON Schema, and of AWS's models, are called here."""


def against(schema: Mapping[str, Any], values: Any, where: str = "", whose: str = "Ray's schema") -> Iterator[Finding]:
    """Every violation; `where` is put before the place in `values`."""
    import jsonschema

    for error in jsonschema.Draft7Validator(schema).iter_errors(values):
        place = ".".join([*([where] if where else []), *map(str, error.absolute_path)])
        yield from _findings(error, place, whose)


def _findings(error: Any, place: str, whose: str) -> Iterator[Finding]:
    """Of one of jsonschema's errors."""
    known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
    match error.validator:
        case "additionalProperties" if known:
            yield from (unknown(str(key), known, place) for key in error.instance if key not in known)
        case "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            yield from (
                Finding(where=place or "the file", what=f"'{key}' is missing", remedy="add it") for key in missing
            )
        case "enum":
            yield no_such_value(error.instance, error.validator_value, place)
        case "type":
            yield wrong_type(error.instance, error.validator_value, place or "the file")
        case _:
            yield Finding(where=place or "the file", what=error.message, remedy=f"{whose} refuses it; correct it")


def wrong_type(value: Any, expected: str | Sequence[str], where: str) -> Finding:
    """The finding for a value of another type; one that only its quotes make wrong is told with the others."""
    kind = expected if isinstance(expected, str) else expected[0]
    if kind in ("integer", "number") and isinstance(value, str) and value.isdigit():
        remedy = f"{value} without quotes"
    elif kind == "string" and isinstance(value, int | float):
        remedy = f'"{str(value).lower()}" in quotes'
    else:
        remedy = f"write {WORDS.get(kind, kind)}"
    return Finding(where=where, what=f"{value!r} is not {WORDS.get(kind, kind)}", remedy=remedy)


def no_such_value(value: Any, valid: Any, where: str) -> Finding:
    """The finding for a value that is none of a few: a typo, mostly."""
    near = difflib.get_close_matches(str(value).upper(), [str(name).upper() for name in valid], n=1)
    exact = [str(name) for name in valid if str(name).upper() in near]
    remedy = f"did you mean '{exact[0]}'?" if exact else f"one of {', '.join(map(str, valid))}"
    return Finding(where=where, what=f"{value!r} is none of its values", remedy=remedy)
