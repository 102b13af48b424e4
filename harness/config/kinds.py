"""What a YAML file is for, by its keys, where a user gives it to another command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from harness.config.commands import ndcl_command
from ndcl.errors import UserError

Kind = Literal["sweep", "training", "cluster"]


def require_kind(wanted: Kind, values: Mapping[str, Any], path: Path) -> None:
    """Raise UserError if the keys are those of a file of another kind: it names the command for that."""
    kind = kind_of(values)
    if kind is None or kind == wanted:
        return
    commands: dict[Kind, str] = {
        "sweep": ndcl_command("sweep", path),
        "training": ndcl_command("train", path),
        "cluster": ndcl_command("cluster", "check", path),
    }
    raise UserError(f"{path}: it is the file of a {kind}, not of a {wanted}; use: {commands[kind]}")


def kind_of(values: Mapping[str, Any]) -> Kind | None:
    """What a file with these keys is; None if the keys do not tell."""
    if "search" in values:
        return "sweep"
    if "algorithm" in values and "algorithms" not in values:
        return "training"
    return "cluster" if "provider" in values or "apiVersion" in values else None
