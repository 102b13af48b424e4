"""What does the harness cost a trial? The same trainings through `ndcl sweep` and bare, in one process, in turn.

    python benchmarks/overhead.py [--trials 20] [--steps 12]

ERM on the embedded digits as in search_spaces/digits.yaml, with six evaluations a trial as there, nothing pruned, one
trial at a time on one thread. The trainings are short, so that their own noise does not hide what is added to them.
Three measurements follow each other: the sweep, the bare trainings of exactly its configs, the sweep again, so that a
machine whose load drifts favours neither. The bare trainings write no checkpoints, no journal and no MLflow. The first
trial is left out on both sides: it holds the start of Ray and the imports of torch, which are told apart. Takes about a
minute on 2 cores.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from harness.records import Journal, TrialRecord
from ndcl.config import TrainConfig
from ndcl.training import train

SWEEP = "digits"
NUM_EVALUATIONS = 6
LIMIT_SECONDS = 0.5
"""What a trial may cost above the bare training."""


def settings(num_trials: int, num_steps: int) -> list[str]:
    """What differs from search_spaces/digits.yaml."""
    values = (
        "data.targets=[scan]",
        "algorithms={erm: }",
        "overrides=[]",
        f"train.num_steps={num_steps}",
        f"train.evaluate_every={max(1, num_steps // NUM_EVALUATIONS)}",
        f"search.num_trials={num_trials}",
        "search.sampler=random",
        "search.scheduler={name: none}",
        "final.seeds=0",
        "resources.max_concurrent=1",
    )
    return [part for value in values for part in ("--set", value)]


def swept(results: Path, num_trials: int, num_steps: int) -> tuple[float, list[TrialRecord]]:
    """Run the sweep anew: when it was started, and its trials."""
    command = [sys.executable, "-m", "harness.cli", "sweep", str(ROOT / "search_spaces" / "digits.yaml")]
    options = ["--results", str(results), "--fresh", "--quiet", *settings(num_trials, num_steps)]
    started = time.time()
    subprocess.run(command + options, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return started, Journal(results / SWEEP).read()


def seconds_each(records: list[TrialRecord]) -> float:
    """Mean time from the end of one trial to the end of the next."""
    ends = [record.ended or 0.0 for record in records]
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def bare_seconds_each(configs: list[TrainConfig]) -> float:
    """The same for trainings in this process, one after the other."""
    ends = []
    for config in configs:
        for _ in train(config):
            pass
        ends.append(time.time())
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--steps", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="ndcl-overhead-") as name:
        started, first = swept(Path(name), arguments.trials, arguments.steps)
        bare = bare_seconds_each([TrainConfig.from_dict(record.config) for record in first])
        _, second = swept(Path(name), arguments.trials, arguments.steps)
    sweeps = [seconds_each(records) for records in (first, second)]
    overhead = sum(sweeps) / 2 - bare
    start_up = (first[0].ended or 0.0) - started - sweeps[0]
    print(f"{arguments.trials} trials of {arguments.steps} steps, seconds a trial, one at a time on one thread")
    print(f"sweep {sweeps[0]:.2f}, bare {bare:.2f}, sweep {sweeps[1]:.2f}; start-up, once a sweep: {start_up:.1f} s")
    verdict = "met" if overhead <= LIMIT_SECONDS else "MISSED"
    print(f"overhead {overhead:.2f} s a trial; aim: at most {LIMIT_SECONDS} s: {verdict}")


if __name__ == "__main__":
    main()
