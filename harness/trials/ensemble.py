"""The ensemble of a study's final runs, as a trial that trains nothing: it evaluates what they have left."""

import time
from typing import Any

from harness.storage.checkpoints import CHECKPOINT_GONE, TRAINING, fetched, is_whole
from harness.trials.messages import to_json
from ndcl.config import TrainConfig
from ndcl.data.problem import Problem
from ndcl.errors import UserError
from ndcl.evaluation.evaluation import with_confusion
from ndcl.filesystems import shown
from ndcl.training.ensembling import ensemble_evaluation, member_logits

ENSEMBLE = "ensemble"
"""Key of an evaluation: the names of the `members`, and how they are combined."""


def evaluated_ensemble(members: list[dict[str, Any]], problem: Problem, besides: dict[str, Any]) -> str:
    """The evaluation (JSON) of these final runs as one model, with what stands `besides`.

    Raises UserError if a checkpoint is gone or damaged.
    """
    started = time.perf_counter()
    configs = [TrainConfig.from_dict(member["train"]) for member in members]
    logits = [_logits(member, config, problem) for member, config in zip(members, configs, strict=True)]
    evaluation, about = ensemble_evaluation(configs, logits, problem, time.perf_counter() - started)
    names = [member["name"] for member in members]
    return to_json(with_confusion(evaluation) | {ENSEMBLE: {"members": names, **about}} | besides)


def _logits(member: dict[str, Any], config: TrainConfig, problem: Problem) -> list[Any]:
    if member["checkpoint"] is None:
        raise UserError(f"{member['name']}: {CHECKPOINT_GONE}, so that it can't be combined with others")
    with fetched(member["checkpoint"]) as folder:
        if not is_whole(folder):
            raise UserError(f"{member['name']}: {CHECKPOINT_GONE}: {shown(member['checkpoint'])}")
        return member_logits(config, problem, folder / TRAINING)
