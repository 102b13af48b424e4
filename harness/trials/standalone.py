"""One training, without Ray: from a TrainConfig in YAML to its evaluations, kept in a folder."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.dotted_keys import flat, laid_over, without
from harness.config.kinds import require_kind
from harness.config.yaml_files import parse_setting, read_yaml
from harness.records.record import joined
from harness.records.sweep_files import json_of
from ndcl.checkpoint_files import damaged_checkpoints, step_of
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.files import write_whole
from ndcl.unused import refuse_unused, unused_keys

if TYPE_CHECKING:
    from ndcl.evaluation import Evaluation

EVALUATIONS = "evaluations.json"
ANEW = "delete it to continue from the checkpoint without the evaluations so far, or train anew with --fresh"
"""What to do about evaluations that can't be read."""
WRITTEN_BY_0_1 = {"model.freeze_batchnorm": True}
"""Defaults of version 0.1 that are others now."""


def load_training(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The TrainConfig in a YAML file, with `overrides` such as `optimizer.learning_rate=1e-3` laid over it.

    Raises UserError: one line with the file, the key, what is wrong and the remedy.
    """
    values = read_yaml(path, "a training's YAML file")
    require_kind("training", values, path)
    changes = dict(parse_setting(text, "optimizer.learning_rate=1e-3") for text in overrides)
    try:
        written = laid_over(laid_over({}, flat(values)), changes)
        config = TrainConfig.from_dict(written)
        refuse_unused(config, _chosen_in_vain(written, config))
        return config
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _chosen_in_vain(written: dict[str, Any], config: TrainConfig) -> list[str]:
    """Keys that change nothing and are no defaults, all of which stand in a config that the harness has written."""
    unused = unused_keys(config)
    return [
        key
        for key, value in flat(written).items()
        if key in unused and value != WRITTEN_BY_0_1.get(key) and TrainConfig.from_dict(without(written, key)) != config
    ]


def looked_at(config: TrainConfig, folder: Path) -> list[str]:
    """What is wrong with an earlier training in `folder` that this config continues, in a line each.

    Raises UserError if it has more steps than `config` asks for, or its evaluations can't be read.
    """
    damaged = damaged_checkpoints(folder)
    lines = [f"checkpoint {path} is damaged and is not used" for path in damaged]
    whole = [step_of(path) for path in folder.glob("step-*") if path not in damaged]
    done = max(whole, default=0)
    if done > config.num_steps:
        raise UserError(
            f"num_steps: {config.num_steps} is less than the {done} steps that {folder} has; raise it, or train in "
            "another folder by --results or a YAML file of another name; --fresh deletes the earlier training"
        )
    path = folder / EVALUATIONS
    known = max((each["step"] for each in json_of(path, ANEW)), default=0) if path.exists() else 0
    if known < done:
        lines.append(
            f"{path} does not have the evaluations up to step {done}, where the checkpoint continues; the best "
            "checkpoint is told of those after it alone"
        )
    return lines


def run_training(config: TrainConfig, folder: Path, *, fresh: bool = False) -> Iterator[dict[str, Any]]:
    """As `trained`; `fresh` deletes what `folder` holds, as soon as there is an evaluation in its place."""
    with earlier_kept(folder, fresh) as forget:
        for evaluation in trained(config, folder):
            forget()
            yield evaluation


@contextmanager
def earlier_kept(folder: Path, fresh: bool) -> Iterator[Callable[[], None]]:
    """If `fresh`, put aside what `folder` holds, until what is given is called; if it never is, put it back."""
    aside = folder.with_name(f".{folder.name}.earlier")
    if aside.exists():  # of a process that was killed
        shutil.rmtree(folder if not (folder / EVALUATIONS).exists() else aside, ignore_errors=True)
        if aside.exists():
            aside.rename(folder)
    if fresh and folder.exists():
        folder.rename(aside)
    try:
        yield lambda: shutil.rmtree(aside, ignore_errors=True)
    finally:
        if aside.exists():
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)


def trained(config: TrainConfig, folder: Path) -> Iterator[dict[str, Any]]:
    """Train, or continue what `folder` holds, and yield all evaluations, the earlier ones included.

    Where torch.distributed is initialised, all its processes must call this, with a folder that all of them see.
    Raises UserError if the folder belongs to another config or can't be written, and NonFiniteLossError.
    """
    from ndcl.parallel import Group  # these import torch
    from ndcl.training import train

    path = folder / EVALUATIONS
    done: list[dict[str, Any]] = json_of(path, ANEW) if path.exists() else []

    def keep(evaluation: "Evaluation") -> None:
        done[:] = joined(done, evaluation.to_dict())
        if Group.current().is_first:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(done))

    shown = 0
    for _ in train(config, folder, before_checkpoint=keep):
        yield from done[shown:]
        shown = len(done)
    yield from done[shown:]
