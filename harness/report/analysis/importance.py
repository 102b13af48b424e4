"""How much each searched value matters to a study's objective: PED-ANOVA, on the study rebuilt from its records.

Unlike fANOVA it also judges values that only some trials have (`when` in the search space), by conditional PED-ANOVA,
and it needs no forest. It looks at finished trials; those that were pruned have no value to compare.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.records import TrialRecord

if TYPE_CHECKING:
    from harness.plan import StudyPlan

METHOD = "PED-ANOVA (Watanabe et al. 2023)"
FEWEST_TRIALS = 5
"""Of fewer finished trials, nothing is said."""
NUM_GOOD = 5
"""What is explained is how to be among so many best trials, as far as they are a tenth to half of all."""


def importance_of(plan: "StudyPlan", study: Sequence[TrialRecord]) -> Mapping[str, float] | None:
    """The share of each searched value by dotted key, the largest first; None with too few finished trials.

    Shares sum to 1. With several objectives they are of being near the Pareto front.
    """
    import optuna

    from harness.search.frozen_trials import best_values, study_in_memory

    ended = [record for record in study if record.stage == "search" and record.state == "finished"]
    finished = [record for record in ended if all(map(math.isfinite, best_values(record, plan)))]
    if len(finished) < FEWEST_TRIALS or not plan.space:
        return None
    quantile = min(0.5, max(0.1, NUM_GOOD / len(finished)))
    with warnings.catch_warnings():  # of its being experimental, and of values that next to no trial has
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
        return optuna.importance.get_param_importances(study_in_memory(plan, finished), evaluator=evaluator)
