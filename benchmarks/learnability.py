"""Does NDCL learn what ERM misses? Paired trainings on the embedded digits, every domain unseen in turn.

    python benchmarks/learnability.py [--seeds 5] [--steps 300] [--processes 2]

Long tail 65, 42, 20, 9, 5, 2, 1, 1, 1, 1 images per source domain (the class order is drawn by the seed), 32 rows a
domain in a batch, Adam at 3e-3, NDCL without class weights, else at its defaults; by rows it is balanced softmax
with a margin (alpha 0.3, temperature 0.3, negatives mixed among features). Every 25 steps is a checkpoint; as in the
release the one that is best on source-domain validation images counts (15 a class and domain).
Prints a Markdown table with 95 % bootstrap intervals over the (target, seed) pairs. Takes about 12 minutes on 2 cores.
"""

import argparse
import itertools
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent.parent))

from ndcl.config import TrainConfig
from ndcl.data import domains_of, open_dataset
from ndcl.training import train

COUNTS = (65, 42, 20, 9, 5, 2, 1, 1, 1, 1)
ALGORITHMS = {
    "ERM": {"name": "erm"},
    "ERM, balanced batches": {"name": "erm"},
    "NDCL": {"name": "ndcl", "class_weight_exponent": 0.0},
    "NDCL, features mixed": {"name": "ndcl", "class_weight_exponent": 0.0, "mixup_at": "features"},
    "balanced softmax": {"name": "balanced_softmax"},
    "NDCL by rows": {
        "name": "ndcl",
        "cross_entropy": "rows",
        "logit_adjustment": 1.0,
        "class_weight_exponent": 0.0,
        "alpha": 0.3,
        "beta": 0.0,
        "margin_temperature": 0.3,
        "mixup_at": "features",
    },
}
BALANCED = "ERM, balanced batches"
PAIRS = (
    *((name, "ERM") for name in ALGORITHMS if name != "ERM"),
    ("NDCL, features mixed", "NDCL"),
    *((name, "balanced softmax") for name in ("NDCL", "NDCL by rows")),
)
"""What is compared."""
MEASURES = ("overall", "many", "median", "few")
Job = tuple[str, str, int, int]


def run(job: Job) -> list[float]:
    """Accuracies of the selected checkpoint on the target domain, in points."""
    torch.set_num_threads(1)
    algorithm, target, seed, steps = job
    config = TrainConfig.from_dict(
        {
            "data": {"name": "digits", "target": target},
            "algorithm": ALGORITHMS[algorithm],
            "imbalance": {"counts": COUNTS, "validation": 15, "many_above": 20, "few_below": 5, "seed": seed},
            "optimizer": {"learning_rate": 3e-3},
            "batch_size": 32,
            "resampling_ratio": 1.0 if algorithm == BALANCED else None,
            "num_steps": steps,
            "evaluate_every": 25,
            "seed": seed,
            "device": "cpu",
        }
    )
    selected = max(train(config), key=lambda evaluation: evaluation.validation_accuracy)  # the first maximum
    return [100 * (getattr(selected.target, name) or 0.0) for name in MEASURES]


def interval(values: NDArray[np.float64]) -> str:
    """Mean of [n] and its 95 % percentile bootstrap interval."""
    resampled = np.random.default_rng(0).choice(values, size=(10_000, len(values))).mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return f"{values.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    arguments = parser.parse_args()
    open_dataset("digits")  # made once, before the processes
    pairs = list(
        itertools.product(domains_of("digits"), range(arguments.first_seed, arguments.first_seed + arguments.seeds))
    )
    jobs = [(algorithm, target, seed, arguments.steps) for target, seed in pairs for algorithm in ALGORITHMS]
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        done = list(track(pool.map(run, jobs), total=len(jobs), description="training"))
    results = np.array(done).reshape(len(pairs), len(ALGORITHMS), len(MEASURES))
    print(f"\n{len(pairs)} pairs of target domain and seed, {arguments.steps} steps, accuracy in %\n")
    print("| | " + " | ".join(MEASURES) + " |\n|---|" + "---|" * len(MEASURES))
    for i, name in enumerate(ALGORITHMS):
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in results[:, i].mean(axis=0)) + " |")
    places = {name: place for place, name in enumerate(ALGORITHMS)}
    for name, other in PAIRS:
        differences = results[:, places[name]] - results[:, places[other]]
        print(f"| {name} - {other} | " + " | ".join(interval(differences[:, m]) for m in range(len(MEASURES))) + " |")
    for target in domains_of("digits"):
        chosen = [i for i, (domain, _) in enumerate(pairs) if domain == target]
        overall = results[chosen][:, :, 0].mean(axis=0)
        print(f"\n{target}: " + ", ".join(f"{n} {v:.1f}" for n, v in zip(ALGORITHMS, overall, strict=True)), end="")
    print()


if __name__ == "__main__":
    main()
