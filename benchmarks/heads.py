"""How long does a head on frozen features train? 200 steps of each algorithm on one core, and an evaluation.

    python benchmarks/heads.py [--steps 200] [--repeats 3]

Vectors of 4 domains, 7 classes and 60 rows in each (float16 on disk), 3 x 32 rows in a batch, a linear head. Prints a
Markdown table: seconds to build a training from its config, for its steps, and for one evaluation on 539 rows; the
fastest of the repeats, since what else runs on the machine can only slow them down. Takes about 30 seconds.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from ndcl.config import TrainConfig
from ndcl.data.store.writer import write_store
from ndcl.training import Training

DOMAINS, CLASSES, ROWS_PER_CELL = 4, 7, 60
WIDTHS = (512, 2048)
ALGORITHMS = ("erm", "ndcl")


def make_vectors(folder: Path, num_features: int) -> None:
    """Classes and domains as shifted clouds."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.repeat(np.arange(CLASSES), ROWS_PER_CELL), DOMAINS)
    domain_ids = np.repeat(np.arange(DOMAINS), CLASSES * ROWS_PER_CELL)
    centres, shifts = rng.normal(size=(CLASSES, num_features)), rng.normal(size=(DOMAINS, num_features))
    inputs = centres[labels] + shifts[domain_ids] + 4 * rng.normal(size=(len(labels), num_features))
    write_store(
        folder,
        name=folder.name,
        classes=[f"class {k}" for k in range(CLASSES)],
        domains=[f"domain {e}" for e in range(DOMAINS)],
        inputs=inputs.astype(np.float16),
        labels=labels,
        domain_ids=domain_ids,
    )


def config_of(folder: Path, algorithm: str, standardize: bool, num_steps: int) -> TrainConfig:
    return TrainConfig.from_dict(
        {
            "data": {
                "name": folder.name,
                "folder": str(folder.parent),
                "target": "domain 0",
                "standardize": standardize,
            },
            "algorithm": {"name": algorithm},
            "imbalance": {"setting": "long_tail", "ratio": 20},
            "model": {"backbone": "linear"},
            "num_steps": num_steps,
            "evaluate_every": num_steps,
            "device": "cpu",
        }
    )


def measure(config: TrainConfig) -> tuple[float, float, float]:
    """Seconds to build the training, for its steps, and for the evaluation."""
    started = time.perf_counter()
    training = Training(config)
    built = time.perf_counter()
    *_, last = training.evaluations()
    ended = time.perf_counter()
    return built - started, last.seconds, ended - built - last.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| features | algorithm | standardised | build, s | {arguments.steps} steps, s | evaluation, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as root:
        for width in WIDTHS:
            folder = Path(root) / f"vectors{width}"
            make_vectors(folder, width)
            measure(config_of(folder, "ndcl", False, 5))  # the first training of a process imports and warms up
            for algorithm in ALGORITHMS:
                for standardize in (False, True):
                    config = config_of(folder, algorithm, standardize, arguments.steps)
                    times = np.min([measure(config) for _ in range(arguments.repeats)], axis=0)
                    cells = " | ".join(f"{seconds:.3f}" for seconds in times)
                    print(f"| {width} | {algorithm} | {'yes' if standardize else 'no'} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
