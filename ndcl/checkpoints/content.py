"""Checkpoint folders: written whole or not at all, verified by digest, read without executing what they hold."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ndcl.checkpoint_files import MANIFEST, STATE, digest_of, is_checkpoint
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.parallel import Group
from ndcl.unused import unused_keys

_MAY_DIFFER = {
    ("num_steps",),
    ("evaluate_every",),
    ("evaluate_target",),
    ("device",),
    ("micro_batch_size",),
    ("activation_checkpointing",),
    ("sharding",),
    ("compile",),
    ("profile",),
    ("profile", "from_step"),
    ("profile", "steps"),
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
        _put(partial, folder)


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
    manifest = {"format": 1, **facts, "sha256": digest_of(partial / STATE)}
    with (partial / MANIFEST).open("w") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    _put(partial, folder)


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """State and facts of the checkpoint at `folder`. Raises UserError if it is not whole."""
    if not is_checkpoint(folder):
        raise UserError(f"checkpoint '{folder}': missing or damaged; start again without it, or give another one")
    state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    return state, json.loads((folder / MANIFEST).read_text())


def folder_name(step: int) -> str:
    """Name of the checkpoint after `step` steps; names sort by step."""
    return f"step-{step:08d}"


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

    The number of steps, the evaluation interval, where and how the network is computed, where the data lie, who
    prepares them, and values that change nothing may differ.
    """
    config = TrainConfig.from_dict(wanted)
    unused, saved = unused_keys(config), _with_defaults(saved)
    by_length = _goes_by_length(config)
    fixed = {("num_steps",)} if by_length else set()
    for path in sorted(_paths(saved) | _paths(wanted)):
        before, now = _at(saved, path), _at(wanted, path)
        if path not in _MAY_DIFFER - fixed and ".".join(path) not in unused and before != now:
            why = f", and {by_length} by it" if path in fixed else ""
            raise UserError(
                f"checkpoint '{folder}': made with {'.'.join(path)} = {before!r}, but the config says {now!r}{why}; "
                "use that value, or another folder: of ndcl train by --results, or by a YAML file of another name; "
                "--fresh deletes the earlier training"
            )


def _goes_by_length(config: TrainConfig) -> str | None:
    """What of each step follows from the length of the training, in a user's words."""
    if config.optimizer.schedule != "constant":
        return f"the learning rate goes (optimizer.schedule: {config.optimizer.schedule})"
    shares = config.algorithm.shares_in_use
    return f"algorithm.{shares[0]} goes" if shares else None


def _with_defaults(saved: dict[str, Any]) -> dict[str, Any]:
    """A config with the keys that it did not have yet when it was written, at the values that were the only ones."""
    try:
        return TrainConfig.from_dict(saved).to_dict()
    except UserError:  # of a later version, or by other code
        return saved


def copied(state: Any) -> Any:
    """Nested dicts and lists with copies in the host's memory of all tensors, from which the originals can continue."""
    result = _copied(state)
    if torch.cuda.is_available():
        torch.cuda.current_stream().synchronize()
    return result


def _copied(state: Any) -> Any:
    if isinstance(state, Tensor):
        # into pinned memory: the copies are queued on the GPU without waiting
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


def _put(partial: Path, folder: Path) -> None:
    """Give what has been made its name, in place of a damaged checkpoint."""
    if folder.exists() and not is_checkpoint(folder):
        shutil.rmtree(folder)
    partial.rename(folder)


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
