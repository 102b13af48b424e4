"""How long a training waits for a checkpoint that is written at once, and for one that is written in the background.

    python benchmarks/checkpoints.py [--backbones small_cnn:28 resnet18:64] [--rounds 7] [--steps 6] [--place URI]

Both in turn in one run, of the same training: a checkpoint, some steps, and so on. In the background the training waits
for a copy, and its next steps share the processor with what writes it: `steps` is how much longer they take than those
after a checkpoint that was written at once. Medians over the rounds; ratios are medians of those of neighbours. The
defaults take about two minutes on two CPU cores.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))

from ndcl.checkpoints import checkpoint_folder
from ndcl.checkpoints.places import CheckpointFolder
from ndcl.config import TrainConfig
from ndcl.filesystems import join
from ndcl.training import Training
from ndcl.training.build import Background


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
    waits = statistics.median(first.call / second.call for first, second in pairs)
    slower = statistics.median(second.steps / first.steps for first, second in pairs)
    step = _median_ms(each.steps / num_steps for each in at_once)
    calls = [_median_ms(each.call for each in way) for way in (at_once, later)]
    writing = _median_ms(each.writing for each in later)
    return [
        f"{backbone}:{size}",
        f"{mebibytes:.1f}",
        step,
        *calls,
        f"{waits:.1f}",
        writing,
        f"{100 * slower - 100:+.0f} %",
    ]


def _median_ms(seconds: Iterable[float]) -> str:
    return f"{1e3 * statistics.median(seconds):.1f}"


def _tensors(state: object) -> Iterator[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from _tensors(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=["small_cnn:28", "resnet18:64"], metavar="NAME:SIZE")
    parser.add_argument("--rows", type=int, default=8, help="per source domain")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6, help="between two checkpoints")
    parser.add_argument("--place", help="a path or a URI; default: a temporary folder")
    arguments = parser.parse_args()
    table = Table(title=f"What a training waits for a checkpoint, {torch.get_num_threads()} threads")
    for name in ("network", "MiB", "step ms", "at once ms", "behind ms", "ratio", "writing ms", "steps"):
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
