"""What several trainings of one problem are worth together: their best networks answer as one.

Legend: k members, n images, K classes.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ndcl.checkpoints import content
from ndcl.config import TrainConfig
from ndcl.data.problem import Problem
from ndcl.errors import UserError
from ndcl.evaluation import Evaluation
from ndcl.evaluation.ensembles import Combination, chosen_combination, combined, disagreement
from ndcl.imbalance.shots import SHOT_GROUPS
from ndcl.parallel import Group
from ndcl.parallel.sharding import part_like
from ndcl.training.evaluating import evaluated
from ndcl.training.training import Training

_ROWS = 4096
"""Images whose k answers are combined at once."""


def member_logits(config: TrainConfig, problem: Problem, checkpoint: Path, group: Group | None = None) -> list[Tensor]:
    """Logits [n, K] that the best network of a training's checkpoint gives each part of `evaluation_parts`.

    Several workers must ask together. Raises UserError if the checkpoint is damaged, or holds several networks.
    """
    if config.is_cross_validation:
        raise UserError(f"checkpoint '{checkpoint}': of leave-one-domain-out there is no single network to combine")
    training = Training(config, problem, group)
    state, _ = content.read(checkpoint)
    network = training.network.state_dict()
    best = state["best"]["network"]
    training.network.load_state_dict({key: part_like(value, network[key]) for key, value in best.items()})
    try:
        return training.evaluation_logits()
    finally:
        training.loader.close()


def ensemble_evaluation(
    configs: Sequence[TrainConfig], logits: Sequence[Sequence[Tensor]], problem: Problem, seconds: float = 0.0
) -> tuple[Evaluation, dict[str, Any]]:
    """The evaluation of k trainings as one model, and what else is known of it, in JSON form.

    `logits` are what `member_logits` gave for each of the k. How they are combined is chosen on the validation images
    of the source domains; nothing of the target is looked at for it. The evaluation's step is that of the first
    config's end. Besides it: `of`, `scales` and `temperature` of the `Combination`; `disagreement`, its mean on
    `source` and `target`; and of the target's test images `target_hits`, which are right (bits in base64), for tests
    that compare images, `target_counts` [K] and each class's group in `shots` [K].
    """
    oracle = configs[0].oracle
    parts = [torch.stack(list(part)) for part in zip(*logits, strict=True)]
    num_domains = len(problem.source_domains)
    labels = [torch.from_numpy(problem.store.labels[rows]) for rows in problem.validation]
    chosen = chosen_combination(parts[:num_domains], labels, are_heads=are_heads(configs))
    plain = Combination(of=chosen.of, scales=chosen.scales)
    answers = [torch.cat([combined(rows, plain) for rows in torch.split(part, _ROWS, dim=1)]) for part in parts]
    evaluation = evaluated(problem, answers, configs[0].num_steps, seconds, {}, oracle=oracle)
    apart = [torch.cat([disagreement(rows) for rows in torch.split(part, _ROWS, dim=1)]) for part in parts]
    return evaluation, {
        "of": chosen.of,
        "scales": list(chosen.scales),
        "temperature": chosen.temperature,
        "disagreement": {
            "source": _mean(torch.cat(apart[:num_domains])),
            "target": _mean(apart[num_domains]),
        },
        **target_facts(problem, answers[num_domains]),
    }


def target_facts(problem: Problem, logits: Tensor) -> dict[str, Any]:
    """Of logits [n, K] on the target's test images what `ensemble_evaluation` tells of each image and class."""
    labels = problem.store.labels[problem.target_test]
    hits = logits.argmax(dim=1).numpy() == labels
    return {
        "target_hits": base64.b64encode(np.packbits(hits).tobytes()).decode(),
        "target_counts": np.bincount(labels, minlength=len(problem.groups)).tolist(),
        "shots": [SHOT_GROUPS[group] for group in problem.groups],
    }


def are_heads(configs: Sequence[TrainConfig]) -> bool:
    """Whether all are linear heads on the same inputs, so that averaged logits are those of one head."""
    inputs = {(config.data.standardize, config.data.transform) for config in configs}
    return all(config.model.backbone == "linear" for config in configs) and len(inputs) == 1


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
