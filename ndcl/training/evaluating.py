"""From logits to an evaluation: the images of a problem that are looked at, and what is measured on them.

Legend: n images, K classes, D source domains.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ndcl.data.problem import Problem
from ndcl.evaluation import Evaluation, accuracies
from ndcl.evaluation.calibration import calibration_of
from ndcl.evaluation.diagnostics import diagnose


def evaluation_parts(problem: Problem, *, oracle: bool) -> list[NDArray[np.int64]]:
    """Indices of the images: validation of each of D domains, the target's test, and with `oracle` its validation."""
    return [*problem.validation, problem.target_test, *([problem.target_oracle] if oracle else [])]


def evaluated(
    problem: Problem, logits: Sequence[Tensor], step: int, seconds: float, losses: dict[str, float], *, oracle: bool
) -> Evaluation:
    """The evaluation of a network by its logits [n, K] of each part of `evaluation_parts`."""
    measured = measured_accuracies(problem, logits, step, seconds, losses, oracle=oracle)
    size = len(measured.validation) + 1
    labels = [problem.store.labels[part] for part in evaluation_parts(problem, oracle=oracle)]
    *source, target = zip(logits[:size], labels[:size], strict=True)
    return replace(
        measured,
        diagnostics=diagnose(source, target, problem.groups),
        calibration=calibration_of(source, target),
    )


def measured_accuracies(
    problem: Problem, logits: Sequence[Tensor], step: int, seconds: float, losses: dict[str, float], *, oracle: bool
) -> Evaluation:
    """The same without diagnostics and calibration."""
    labels = [problem.store.labels[part] for part in evaluation_parts(problem, oracle=oracle)]
    measured = [
        accuracies(own, outputs.argmax(dim=1).numpy(), problem.groups)
        for own, outputs in zip(labels, logits, strict=True)
    ]
    validation = dict(zip(problem.source_domains, measured, strict=False))
    return Evaluation(
        step=step,
        seconds=seconds,
        losses=losses,
        validation=validation,
        target=measured[len(validation)],
        oracle=measured[-1] if oracle else None,
    )
