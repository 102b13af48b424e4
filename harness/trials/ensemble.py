"""The ensemble of a study's final runs, as a trial that trains nothing: it evaluates what they have left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.storage.checkpoints import CHECKPOINT_GONE, TRAINING, fetched, is_whole
from harness.trials.messages import to_json
from ndcl.config import TrainConfig
from ndcl.data.problem import Problem
from ndcl.errors import UserError
from ndcl.evaluation.evaluation import with_confusion
from ndcl.filesystems import shown
from ndcl.models.mean import MeanState
from ndcl.training.ensembling import ensemble_evaluation, member_logits
from ndcl.training.weight_averaging import averaged_evaluation, averaged_logits, best_state

ENSEMBLE = "ensemble"
"""Key of an evaluation: the names of the `members`, and how they are combined."""


def evaluated_ensemble(
    members: list[dict[str, Any]], problem: Problem, besides: dict[str, Any], *, averages_weights: bool = False
) -> str:
    """The evaluation (JSON) of these final runs as one model, with what stands `besides`.

    With `averages_weights` it is the network whose weights are the mean of theirs, unless that is worse on the source
    domains. Raises UserError if a checkpoint is gone or damaged.
    """
    started = time.perf_counter()
    configs, logits, mean = [TrainConfig.from_dict(member["train"]) for member in members], [], MeanState()
    for member, config in zip(members, configs, strict=True):
        with _checkpoint_of(member) as checkpoint:
            logits.append(member_logits(config, problem, checkpoint))
            if averages_weights:
                mean.add(best_state(config, problem, checkpoint))
    if averages_weights:
        own = averaged_logits(configs[0], problem, mean.state())
        evaluation, about = averaged_evaluation(configs, logits, own, problem, time.perf_counter() - started)
    else:
        evaluation, about = ensemble_evaluation(configs, logits, problem, time.perf_counter() - started)
    names = [member["name"] for member in members]
    return to_json(with_confusion(evaluation) | {ENSEMBLE: {"members": names, **about}} | besides)


@contextmanager
def _checkpoint_of(member: dict[str, Any]) -> Iterator[Path]:
    """A final run's checkpoint on this machine. Raises UserError if it is gone or damaged."""
    if member["checkpoint"] is None:
        raise UserError(f"{member['name']}: {CHECKPOINT_GONE}, so that it can't be combined with others")
    with fetched(member["checkpoint"]) as folder:
        if not is_whole(folder):
            raise UserError(f"{member['name']}: {CHECKPOINT_GONE}: {shown(member['checkpoint'])}")
        yield folder / TRAINING
