"""Checkpoint folders: written whole or not at all, verified by digest, read without executing what they hold."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ndcl.errors import UserError
from ndcl.parallel import Group

STATE, MANIFEST = "state.pt", "checkpoint.json"
_MAY_DIFFER = {
    ("num_steps",),
    ("evaluate_every",),
    ("device",),
    ("micro_batch_size",),
    ("activation_checkpointing",),
    ("sharding",),
    ("compile",),
    ("data", "folder"),
    ("data", "workers"),
    ("data", "augment_on"),
}


@dataclass(frozen=True)
class Content:
    """What a checkpoint of one training holds."""

    state: dict[str, Any]
    """Tensors, in nested dictionaries."""
    facts: dict[str, Any]
    """JSON."""

    def write(self, folder: Path) -> None:
        """As `checkpoints.write`."""
        write(folder, self.state, self.facts)


@dataclass(frozen=True)
class Parts:
    """What a checkpoint of several trainings holds, by names that are safe in paths."""

    parts: dict[str, Content]

    def write(self, folder: Path) -> None:
        """Write all as one checkpoint at `folder`, which must not exist yet: whole or not at all."""
        partial = _partial(folder)
        for name, content in self.parts.items():
            content.write(partial / name)
        (partial / MANIFEST).write_text(json.dumps({"format": 1, "parts": list(self.parts)}))
        partial.rename(folder)


def write_together(content: Content | Parts, folder: Path, group: Group) -> None:
    """Write what all workers of `group` hold at `folder`, which must not exist yet, whole or not at all.

    The first of several workers writes; when this returns, it is written.
    """
    if group.is_first:
        content.write(folder)
    group.barrier()


def write(folder: Path, state: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write `state` (tensors) and `facts` (JSON) as a checkpoint at `folder`, which must not exist yet."""
    partial = _partial(folder)
    torch.save(state, partial / STATE)
    manifest = {"format": 1, **facts, "sha256": _digest(partial / STATE)}
    with (partial / MANIFEST).open("w") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(folder)


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """State and facts of the checkpoint at `folder`. Raises UserError if it is not whole."""
    if not is_checkpoint(folder):
        raise UserError(f"checkpoint '{folder}': missing or damaged; start again without it, or give another one")
    state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    return state, json.loads((folder / MANIFEST).read_text())


def is_checkpoint(folder: Path) -> bool:
    """Whether `folder` holds a whole, undamaged checkpoint."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if "parts" in manifest:
            return all(is_checkpoint(folder / part) for part in manifest["parts"])
        return bool(manifest["sha256"] == _digest(folder / STATE))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def folder_name(step: int) -> str:
    """Name of the checkpoint after `step` steps; names sort by step."""
    return f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """The step in the name of a checkpoint's folder."""
    return int(folder.name.removeprefix("step-"))


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint below `folder`, or None."""
    return next((path for path in sorted(folder.glob("step-*"), reverse=True) if is_checkpoint(path)), None)


def remove_older(folder: Path, step: int) -> None:
    """Remove the checkpoints before `step`, once that one is whole."""
    for path in folder.glob("step-*"):
        if path.name < folder_name(step):
            shutil.rmtree(path, ignore_errors=True)


def require_same_training(folder: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise UserError, naming the first difference, unless both configs mean the same training.

    The number of steps, the evaluation interval, where and how the network is computed, where the data lie and who
    prepares them may differ.
    """
    for path in sorted(_paths(saved) | _paths(wanted)):
        before, now = _at(saved, path), _at(wanted, path)
        if path not in _MAY_DIFFER and before != now:
            raise UserError(
                f"checkpoint '{folder}': made with {'.'.join(path)} = {before!r}, but the config says {now!r}; "
                "use that value or another checkpoint folder"
            )


def copied(state: Any) -> Any:
    """Nested dicts and lists with copies in the host's memory of all tensors, from which the originals can go on."""
    result = _copied(state)
    if torch.cuda.is_available():
        torch.cuda.current_stream().synchronize()
    return result


def _copied(state: Any) -> Any:
    if isinstance(state, Tensor):
        # into memory that a GPU writes to by itself, one tensor after the other without waiting
        copy = torch.empty_like(state, device="cpu", pin_memory=state.is_cuda)
        return copy.copy_(state.detach(), non_blocking=True)
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    return [_copied(value) for value in state] if isinstance(state, list) else state


def _partial(folder: Path) -> Path:
    """A new, empty folder in which `folder` is made."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _paths(values: dict[str, Any], prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    paths: set[tuple[str, ...]] = set()
    for key, value in values.items():
        nested = isinstance(value, dict) and value
        paths |= _paths(value, (*prefix, key)) if nested else {(*prefix, key)}
    return paths


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values
