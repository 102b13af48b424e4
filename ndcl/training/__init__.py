"""One training: the step, the evaluations, the checkpoints. Start at `build.py`."""

from ndcl.training.build import build_training, train
from ndcl.training.cross_validation import CrossValidation
from ndcl.training.training import InterruptedTrainingError, Training

__all__ = ["CrossValidation", "InterruptedTrainingError", "Training", "build_training", "train"]
