"""Trainings beside one that is timed: as many as a sweep would run, since they share caches and memory with it.

`python -m harness.plan.neighbours` is such a training. It reads a TrainConfig from the first line of stdin, as JSON,
prints a line once it takes steps, and ends when its stdin does.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import torch

from ndcl.config import TrainConfig
from ndcl.training import CrossValidation, build_training

STEPS_AT_ONCE = 5


@contextlib.contextmanager
def neighbours(config: TrainConfig, number: int, num_threads: int) -> Iterator[None]:
    """Have `number` other processes train by `config` for as long as the context lasts; one that can't is left out."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(_started(config, num_threads)) for _ in range(number)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield


@contextlib.contextmanager
def _started(config: TrainConfig, num_threads: int) -> "Iterator[subprocess.Popen[str]]":
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.plan.neighbours"],
        env=os.environ | {"OMP_NUM_THREADS": str(num_threads)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdin is not None
            process.stdin.write(f"{json.dumps(config.to_dict())}\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def _train_until_told(config: TrainConfig) -> None:
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    training = build_training(config)
    fold = next(iter(training.folds.values())) if isinstance(training, CrossValidation) else training
    fold.time_steps(1)
    os.write(1, b"running\n")
    while True:
        fold.time_steps(STEPS_AT_ONCE)


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _train_until_told(TrainConfig.from_dict(json.loads(sys.stdin.readline())))
