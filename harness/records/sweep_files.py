"""The files of a sweep: written whole, and read as what a full disk or another program may have damaged."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from ndcl.errors import UserError


def unreadable(path: Path, reason: str, remedy: str) -> UserError:
    """The error for a file that is not as it was written."""
    return UserError(f"{path}: it can't be read ({reason}); {remedy}")


def text_of(path: Path, remedy: str) -> str:
    """What a text file holds. Raises UserError, with the remedy, also for an empty one."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise unreadable(path, "it is no text", remedy) from None
    except OSError as error:
        raise unreadable(path, os.strerror(error.errno or 0), remedy) from None
    if not text.strip("\0 \n"):
        raise unreadable(path, "it is empty", remedy)
    return text


def json_of(path: Path, remedy: str) -> Any:
    """The value in a JSON file. Raises UserError, with the remedy."""
    text = text_of(path, remedy)
    try:
        return json.loads(text)
    except ValueError as error:
        raise unreadable(path, f"it is cut off or damaged: {error}", remedy) from None


def yaml_fault(error: yaml.YAMLError) -> str:
    """What is wrong with a YAML text, and where: `line 2, column 2: expected ',' or ']'`."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    problem = " ".join(str(getattr(error, "problem", None) or "it can't be read").split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def mapping_of(path: Path, remedy: str) -> dict[str, Any]:
    """The mapping in a YAML file that ndcl wrote. Raises UserError, with the remedy."""
    text = text_of(path, remedy)
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise unreadable(path, f"it is cut off or damaged: {yaml_fault(error)}", remedy) from None
    if not isinstance(values, dict):
        raise unreadable(path, "it holds no mapping of keys to values", remedy)
    return values
