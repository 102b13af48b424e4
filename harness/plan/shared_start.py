"""Whether a study's final runs begin at the same weights, without which their mean is no network that has learned."""

from harness.config.space import extremes
from harness.plan.studies import StudyPlan
from ndcl.errors import UserError

GOVERNING = ("model.backbone", "model.weights", "model.head_seed", "model.train")
"""Values on which it depends."""
_REMEDY = "or take final.ensemble: seeds"


def require_shared_start(study: StudyPlan) -> None:
    """Refuse to average the weights of runs that begin apart. Raises UserError."""
    if not study.averages_weights:
        return
    for values in extremes(study.space, study.fixed, GOVERNING):
        config = study.train_config(values)
        model = config.model
        where = f"study {study.key.name}: final.ensemble: weights:"
        if model.backbone == "linear":
            raise UserError(
                f"{where} final runs of backbone linear are heads, and their mean is what seeds makes of them already; "
                "take final.ensemble: seeds"
            )
        if model.weights == "none":
            raise UserError(
                f"{where} with model.weights: none runs of several seeds begin apart, and the mean of their weights "
                f"has learned nothing; give pretrained weights, {_REMEDY}"
            )
        if config.algorithm.makes_head:
            raise UserError(
                f"{where} {study.key.algorithm} puts a head of its own seed in place of the one that all runs share; "
                "take final.ensemble: seeds"
            )
        if model.head_seed is None:
            raise UserError(
                f"{where} each run has a random head of its own seed; give all one with model.head_seed: 0, {_REMEDY}"
            )
