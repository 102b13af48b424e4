"""Trainings of a few steps with their checkpoints, to be exported."""

from pathlib import Path
from typing import Any

from ndcl.config import TrainConfig
from ndcl.training import Training

DIGITS: dict[str, Any] = {
    "data": {"name": "digits", "target": "scan"},
    "algorithm": {"name": "erm"},
    "imbalance": {"setting": "long_tail", "ratio": 20, "validation": 2},
    "num_steps": 6,
    "evaluate_every": 2,
    "batch_size": 4,
    "device": "cpu",
}


def trained(folder: Path, config: TrainConfig) -> Training:
    """A training that has ended, its checkpoint in `folder`, and its network the best one."""
    training = Training(config)
    for _ in training.evaluations():
        pass
    training.save(folder)
    assert training.best is not None
    training.network.load_state_dict(training.best["network"])
    return training
