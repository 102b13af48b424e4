"""YAML as users write it: read once, at the edge, safely and strictly."""

import re
from pathlib import Path
from typing import Any

import yaml

from harness.records.sweep_files import yaml_fault
from ndcl.errors import UserError


def read_yaml(path: Path, what: str = "a sweep's YAML file") -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError: one line with the file, what is wrong and the remedy."""
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise UserError(f"{path}: it can't be read ({reason}); give the path of {what}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: it is not valid YAML: {yaml_fault(error)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping of keys to values, got {values!r}; give {what}")
    return values


def parse_yaml(text: str) -> Any:
    """A YAML value, read strictly and safely. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_StrictLoader)


def parse_documents(text: str) -> list[Any]:
    """The values of all YAML documents in a text, read strictly and safely. Raises yaml.YAMLError."""
    return list(yaml.load_all(text, Loader=_StrictLoader))


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, and reads 1e-3 as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (pair[0] for pair in node.value if isinstance(pair[0], yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key '{key.value}' is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _StrictDumper(yaml.SafeDumper):
    """Puts quotes around a text that the loader would read as a number."""


for _reader_or_writer in (_StrictLoader, _StrictDumper):
    _reader_or_writer.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )


def yaml_text(value: Any, **options: Any) -> str:
    """A value as YAML that `parse_yaml` reads as the same; `options` are those of yaml.dump."""
    return str(yaml.dump(value, Dumper=_StrictDumper, sort_keys=False, **options))


def parse_setting(text: str, example: str) -> tuple[str, Any]:
    """The dotted key and the YAML value of one `--set` argument.

    Raises UserError, showing `example`, if it is not of the form key=value.
    """
    key, equals, written = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: expected key=value, such as {example}")
    try:
        return key.strip(), parse_yaml(written)
    except yaml.YAMLError:
        raise UserError(f"--set {text}: the value is not valid YAML; put quotes around it") from None
