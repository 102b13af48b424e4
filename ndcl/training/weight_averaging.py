"""Several trainings that began at the same weights as one network: the mean of theirs (DiWA, Rame et al. 2022).

The release of "Diverse Weight Averaging for Out-of-Distribution Generalization" (arXiv 2205.09739) averages parameters
and keeps BatchNorm frozen, so that its running statistics are the same in all. Here they are averaged with the weights:
frozen ones stay exactly what they were, and others are treated as a moving average (`averaging`) treats them. What that
does to a network shows on the source domains' validation images, by which the mean is taken or refused.

Legend: k members, n images, K classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

from ndcl.checkpoints import content
from ndcl.config import TrainConfig
from ndcl.criteria import DEFAULT_OBJECTIVE, LAST_STEP
from ndcl.data.inputs import delivered_shape
from ndcl.data.problem import Problem
from ndcl.evaluation import Evaluation
from ndcl.models import empty_network, put_in_context_of
from ndcl.models.adapting import merge
from ndcl.parallel import Group
from ndcl.parallel.sharding import part_like
from ndcl.training.ensembling import ensemble_evaluation, target_facts
from ndcl.training.evaluating import evaluated, measured_accuracies
from ndcl.training.training import Training

_LEAST = 1e-9
"""Differences of a merit that are rounding."""


def best_state(config: TrainConfig, problem: Problem, checkpoint: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint's best network, low-rank changes merged, as a state dict of `model.train: all`.

    Raises UserError if the checkpoint is damaged.
    """
    state, _ = content.read(checkpoint)
    best: dict[str, Tensor] = state["best"]["network"]
    if config.model.train != "lora":
        return best
    store = problem.store
    shape = delivered_shape(store, config.image_size)
    network = empty_network(config.model, shape, len(store.classes))
    put_in_context_of(network, shape, best)
    network.load_state_dict(best)
    merge(network)
    return network.state_dict()


def averaged_logits(
    config: TrainConfig, problem: Problem, state: dict[str, Tensor], group: Group | None = None
) -> list[Tensor]:
    """Logits [n, K] that the network of these weights gives each part of `evaluation_parts`.

    `config` is that of any of the trainings. Several workers must ask together.
    """
    training = Training(replace(config, model=replace(config.model, train="all")), problem, group)
    network = training.network.state_dict()
    training.network.load_state_dict({key: part_like(value, network[key]) for key, value in state.items()})
    try:
        return training.evaluation_logits()
    finally:
        training.loader.close()


def averaged_evaluation(
    configs: Sequence[TrainConfig],
    logits: Sequence[Sequence[Tensor]],
    own: Sequence[Tensor],
    problem: Problem,
    seconds: float = 0.0,
) -> tuple[Evaluation, dict[str, Any]]:
    """The evaluation of the mean of k trainings' weights, or, where that is refused, of their ensemble.

    `logits` are what `member_logits` gave for each of the k, `own` what `averaged_logits` gave for the mean. It is
    refused where its value of the trainings' criterion is below the mean of theirs. Beside the evaluation there is what
    `ensemble_evaluation` tells, with `of` weights where the mean is taken, and `averaged_weights`: by which `criteria`
    it was judged, its `value`, that of the `members`, and whether it `is_kept`.
    """
    first = configs[0]
    criteria = judged_by(first)

    def merit(outputs: Sequence[Tensor]) -> float:
        measured = measured_accuracies(problem, outputs, first.num_steps, 0.0, {}, oracle=first.oracle)
        value = measured.merit(criteria)
        return 0.0 if value is None else value

    value, members = merit(own), fmean(map(merit, logits))
    is_kept = value >= members - _LEAST
    facts = {"criteria": list(criteria), "value": value, "members": members, "is_kept": is_kept}
    if not is_kept:
        evaluation, about = ensemble_evaluation(configs, logits, problem, seconds)
        return evaluation, about | {"averaged_weights": facts}
    evaluation = evaluated(problem, own, first.num_steps, seconds, {}, oracle=first.oracle)
    assert evaluation.calibration is not None
    return evaluation, {
        "of": "weights",
        "scales": [1.0] * len(configs),
        "temperature": evaluation.calibration.temperature,
        "disagreement": {"source": None, "target": None},
        **target_facts(problem, own[len(problem.source_domains)]),
        "averaged_weights": facts,
    }


def judged_by(config: TrainConfig) -> tuple[str, ...]:
    """By what the mean of weights is judged: the criteria that chose the trainings' checkpoints.

    Where that is the last step, whatever its worth, it is the accuracy on source domains' validation images.
    """
    named = tuple(name for name in config.select_by if name != LAST_STEP)
    return named or (DEFAULT_OBJECTIVE,)
