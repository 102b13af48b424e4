"""Whether what a training is judged by can be measured with its images: asked before it starts."""

from collections.abc import Sequence

import numpy as np

from ndcl.criteria import CROSS_VALIDATED, FEW_SHOT, Criterion
from ndcl.data.problem import Problem
from ndcl.errors import UserError
from ndcl.imbalance.shots import SHOT_GROUPS

FEW = SHOT_GROUPS.index("few")


def require_measurable(problem: Problem, criteria: Sequence[Criterion]) -> None:
    """Raise UserError if there is nothing to classify, or no image by which one of the criteria is measured."""
    trained = np.flatnonzero(problem.counts.sum(axis=0))
    if len(trained) < 2:
        [only] = trained
        raise UserError(
            f"imbalance: class '{problem.store.classes[only]}' is the only one with training images, so that there is "
            "nothing to classify; use data or a setting with at least two classes"
        )
    for criterion in criteria:
        reason = _reason(problem, criterion)
        if reason:
            raise UserError(f"objective {criterion} can't be measured with target '{problem.target_domain}': {reason}")


def _reason(problem: Problem, criterion: Criterion) -> str | None:
    """Why a criterion can't be measured, with the remedy; None if it can."""
    if criterion == FEW_SHOT:
        labels = problem.store.labels[np.concatenate(problem.validation)]
        if FEW not in problem.groups[labels]:
            return (
                "no class with validation images is few-shot; raise imbalance.few_below, choose a setting with rarer "
                "classes, or take another objective"
            )
    if criterion in CROSS_VALIDATED and len(problem.source_domains) < 2:
        return "there is only one source domain; add a domain, or take another objective"
    if criterion == "oracle_accuracy" and not len(problem.target_test):
        return "no domain is left out, so that there is nothing to look at; take another objective"
    if criterion == "oracle_accuracy" and not len(problem.target_oracle):
        return "the target domain has no class of two images, of which one could be kept; take another objective"
    return None
