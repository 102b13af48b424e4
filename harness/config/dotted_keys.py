"""Dotted keys, such as `optimizer.learning_rate`, for nested mappings."""

import copy
from collections.abc import Mapping
from typing import Any

from ndcl.errors import UserError


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys; an empty mapping and a list are values."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            result.update(flat(value, f"{prefix}{key}."))
        else:
            result[f"{prefix}{key}"] = value
    return result


def laid_over(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the nested `base` in which the dotted `values` are set.

    Raises UserError where a dotted key leads through a plain value.
    """
    result: dict[str, Any] = copy.deepcopy(dict(base))
    for key, value in values.items():
        *path, last = key.split(".")
        node = result
        for depth, part in enumerate(path):
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise UserError(f"{key}: {'.'.join(path[: depth + 1])} holds the value {node!r} and has no keys")
        node[last] = value
    return result


def without(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A copy of nested mappings without the dotted key."""
    first, _, rest = key.partition(".")
    if not rest:
        return {name: value for name, value in values.items() if name != first}
    return {**values, first: without(values[first], rest)}
