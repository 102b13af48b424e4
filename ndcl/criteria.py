"""What checkpoints and trials are judged by: the one table of names.

All but the oracle look at source domains only. `ndcl.evaluation.CRITERIA` says how each is measured.
"""

from typing import Final, Literal, get_args

Objective = Literal[
    "validation_accuracy",
    "worst_domain_accuracy",
    "few_shot_accuracy",
    "leave_one_domain_out_accuracy",
    "leave_one_domain_out_likelihood",
    "oracle_accuracy",
]
"""What a search may maximise."""
CrossValidated = Literal["leave_one_domain_out_accuracy", "leave_one_domain_out_likelihood"]
"""Those for which each source domain is left out in turn."""
Criterion = Literal[Objective, "last_step"]
"""What the best checkpoint of a training may be chosen by."""

DEFAULT_OBJECTIVE: Final = "validation_accuracy"
"""Mean over source domains of the accuracy on their class-balanced validation images: the release's criterion."""
WORST_DOMAIN: Final = "worst_domain_accuracy"
"""The lowest of these accuracies."""
FEW_SHOT: Final = "few_shot_accuracy"
"""Mean over source domains of the few-shot classes' accuracy on their validation images."""
LEAVE_ONE_DOMAIN_OUT: Final = "leave_one_domain_out_accuracy"
"""Mean over source domains of the class-balanced accuracy on a domain that the training has not seen."""
LEAVE_ONE_DOMAIN_OUT_LIKELIHOOD: Final = "leave_one_domain_out_likelihood"
"""exp(-NLL) there: the geometric mean of the true class's probability, class-balanced. It ranks as the negative
log-likelihood does, and is a share as all others are."""
CROSS_VALIDATED: tuple[CrossValidated, ...] = get_args(CrossValidated)
"""The same by name."""
ORACLE: Final = "oracle_accuracy"
"""Class-balanced accuracy on validation images of the target domain, which nobody has in practice."""
LAST_STEP: Final = "last_step"
"""The newest checkpoint is the best."""

OBJECTIVES: tuple[str, ...] = get_args(Objective)
