"""One training, without Ray: from a TrainConfig in YAML to its evaluations, kept in a folder."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.dotted import flat, laid_over
from harness.yaml_files import parse_setting, read_yaml
from ndcl.config import TrainConfig
from ndcl.errors import UserError

EVALUATIONS = "evaluations.json"


def load_training(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The TrainConfig in a YAML file, with `overrides` such as `optimizer.learning_rate=1e-3` laid over it.

    Raises UserError: one line with the file, the key, what is wrong and the remedy.
    """
    values = read_yaml(path, "a training's YAML file")
    changes = dict(parse_setting(text, "optimizer.learning_rate=1e-3") for text in overrides)
    try:
        return TrainConfig.from_dict(laid_over(laid_over({}, flat(values)), changes))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def run_training(config: TrainConfig, folder: Path, *, fresh: bool = False) -> Iterator[dict[str, Any]]:
    """Train, or go on with what `folder` holds, and yield all evaluations, the earlier ones included.

    Where torch.distributed is initialised, all its processes must call this, with a folder that all of them see.
    Raises UserError if the folder belongs to another config or can't be written, and NonFiniteLossError.
    """
    from ndcl.parallel import Group  # these import torch
    from ndcl.training import train

    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    path = folder / EVALUATIONS
    done: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    shown = 0
    for evaluation in train(config, folder):
        values = evaluation.to_dict()
        done = [earlier for earlier in done if earlier["step"] < values["step"]] + [values]
        if Group.current().is_first:
            _write(path, done)
        yield from done[shown:]
        shown = len(done)
    yield from done[shown:]


def _write(path: Path, evaluations: list[dict[str, Any]]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(evaluations))
    partial.replace(path)
