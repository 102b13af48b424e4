"""How long a training waits for a checkpoint that is written at once, and for one that is written in the background.

    python benchmarks/checkpoints.py [--backbones small_cnn:28 resnet18:64] [--rounds 7] [--steps 6] [--place URI]

Both in turn in one run, of the same training: some steps, a checkpoint, and so on. In the background a step waits for
the copy, and for its share of the processor while the copy is written: `cost` is the wait for the call, and what the
steps after it take longer than those after a checkpoint that was written at once. Medians over the rounds. The defaults
take about two minutes on two CPU cores.
"""

import argparse
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))

from ndcl.background import Background
from ndcl.checkpoint_folders import CheckpointFolder, checkpoint_folder
from ndcl.config import TrainConfig
from ndcl.data.remote import join
from ndcl.training import Training


def training_of(backbone: str, size: int, rows: int) -> Training:
    """A training of NDCL on the embedded digits."""
    config = {
        "data": {"name": "digits", "target": "sign", "image_size": size},
        "imbalance": {"ratio": 20},
        "algorithm": {"name": "ndcl"},
        "model": {"backbone": backbone},
        "batch_size": rows,
        "num_steps": 10**6,
        "evaluate_every": 1,
    }
    return Training(TrainConfig.from_dict(config))


class Measured:
    """Seconds of each checkpoint: the call, the steps after it, and the writing from the call on."""

    def __init__(self, training: Training, folder: CheckpointFolder, num_steps: int, in_background: bool) -> None:
        background, done = Background(), [0.0]
        started = time.perf_counter()
        add = partial(folder.add, training.step, training.content(copy=in_background))

        def write() -> None:
            add()
            done[0] = time.perf_counter()

        background.start(write) if in_background else write()
        self.call = time.perf_counter() - started
        self.steps = training.time_steps(num_steps)
        background.wait()
        self.writing = done[0] - started


def measure(backbone: str, size: int, rows: int, rounds: int, num_steps: int, place: str) -> list[str]:
    """A row of the table."""
    training, folder = training_of(backbone, size, rows), checkpoint_folder(place)
    evaluations = training.evaluations()
    next(evaluations)  # so that there are moments, and best weights
    mebibytes = sum(value.numel() * value.element_size() for value in _tensors(training.content().state)) / 2**20
    pairs = [[Measured(training, folder, num_steps, way) for way in (False, True)] for _ in range(rounds + 1)][1:]
    at_once, later = zip(*pairs, strict=True)
    evaluations.close()
    quiet = statistics.median(each.steps for each in at_once)
    costs = [statistics.median(each.call + each.steps for each in ways) - quiet for ways in (at_once, later)]
    calls = [statistics.median(each.call for each in ways) for ways in (at_once, later)]
    writing = statistics.median(each.writing for each in later)
    times = [quiet / num_steps, *calls, writing, *costs]
    return [
        f"{backbone} {size} px",
        f"{mebibytes:.0f}",
        *(f"{1e3 * t:.1f}" for t in times),
        f"{costs[0] / costs[1]:.1f}",
    ]


def _tensors(state: object) -> list[torch.Tensor]:
    if isinstance(state, dict | list):
        return [
            tensor for value in (state.values() if isinstance(state, dict) else state) for tensor in _tensors(value)
        ]
    return [state] if isinstance(state, torch.Tensor) else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=["small_cnn:28", "resnet18:64"], metavar="NAME:SIZE")
    parser.add_argument("--rows", type=int, default=8, help="per source domain")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6, help="between two checkpoints")
    parser.add_argument("--place", help="a path or a URI; default: a temporary folder")
    arguments = parser.parse_args()
    table = Table(title=f"What a training waits for a checkpoint, {torch.get_num_threads()} threads")
    for name in ("network", "MiB", "ms a step", "call", "in background", "writing", "cost", "in background", "ratio"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as name:
        for number, backbone in enumerate(arguments.backbones):
            backbone, _, size = backbone.partition(":")
            place = join(arguments.place or name, str(number))
            row = measure(backbone, int(size), arguments.rows, arguments.rounds, arguments.steps, place)
            table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
