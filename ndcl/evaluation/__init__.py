"""What is measured of a model on the domains."""

from ndcl.evaluation.evaluation import CRITERIA, Accuracies, Evaluation, TargetLook, accuracies

__all__ = ["CRITERIA", "Accuracies", "Evaluation", "TargetLook", "accuracies"]
