"""Values of a YAML file changed where they stand: comments, anchors and all other lines stay as they are. Pure."""

from collections.abc import Callable, Iterator
from typing import Any

import yaml

Path = tuple[str, ...]
"""Keys from the top; an entry of a list has its number, and what stands as `{Key: k, Value: v}` has `k`."""


def with_values(text: str, value_of: Callable[[Path, str], str | None]) -> str:
    """`text` with other scalars: `value_of` gets the path and the value of each, and gives another, or None to keep it.

    What an alias repeats is changed once, where it is defined. Raises yaml.YAMLError if `text` is no YAML.
    """
    changes = []
    for path, node in _scalars(yaml.compose(text, Loader=yaml.SafeLoader), (), set()):
        value = value_of(path, node.value)
        if value is not None and value != node.value:
            changes.append((node.start_mark.index, node.end_mark.index, _written(value)))
    for start, end, value in sorted(changes, reverse=True):
        text = text[:start] + value + text[end:]
    return text


def _scalars(node: Any, path: Path, seen: set[int]) -> Iterator[tuple[Path, yaml.ScalarNode]]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        yield path, node
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _scalars(item, (*path, str(number)), seen)
    elif isinstance(node, yaml.MappingNode):
        named = {key.value: value.value for key, value in node.value}
        for key, value in node.value:
            is_tag = key.value == "Value" and set(named) == {"Key", "Value"}
            yield from _scalars(value, (*path, str(named["Key"]) if is_tag else str(key.value)), seen)


def _written(value: str) -> str:
    """A scalar as it stands in YAML, quoted if it has to be."""
    return yaml.safe_dump(value, width=10_000).removesuffix("\n").removesuffix("\n...")
