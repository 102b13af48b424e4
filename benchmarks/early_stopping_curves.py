"""Learning curves of random trials that no scheduler stopped, one JSON line each, for `early_stopping.py` to replay.

The studies of `search_spaces/digits.yaml`: NDCL and ERM, every domain unseen in turn, values drawn at random from its
ranges. A trial is longer here, 243 steps, and evaluated 27 times, so that it has rungs at 1, 3 and 9 of 27 evaluations.
"""

import itertools
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna
import torch
from rich.progress import track

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from harness.config.space import suggest
from harness.config.sweep import load_sweep
from harness.plan import StudyPlan
from harness.plan.studies import studies_of
from ndcl.data import domains_of, open_dataset
from ndcl.training import train

NUM_EVALUATIONS, STEPS_PER_EVALUATION = 27, 9


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One trial that ran to its end: class-balanced accuracies by evaluation."""

    study: str
    number: int
    validation: Sequence[float]
    """On source domains, by which trials are compared."""
    target: Sequence[float]
    """On the unseen domain, which no search sees."""


def studies() -> list[StudyPlan]:
    """Those of the sweep of the digits, with longer trials."""
    settings = (
        f"data.targets=[{', '.join(domains_of('digits'))}]",
        f"train.num_steps={NUM_EVALUATIONS * STEPS_PER_EVALUATION}",
        f"train.evaluate_every={STEPS_PER_EVALUATION}",
        "search.evaluate_target=always",
    )
    return list(studies_of(load_sweep(ROOT / "search_spaces" / "digits.yaml", settings)))


def curves_in(path: Path) -> list[Curve]:
    """Those that were recorded there."""
    return [Curve(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def record(path: Path, num_trials: int, num_processes: int) -> None:
    """Train what the file lacks of `num_trials` a study, a line for each trial as it ends."""
    open_dataset("digits")  # made once, before the processes
    path.parent.mkdir(parents=True, exist_ok=True)
    had = {(curve.study, curve.number) for curve in curves_in(path)}
    jobs = [
        (place, number)
        for number, (place, study) in itertools.product(range(num_trials), enumerate(studies()))
        if (study.key.name, number) not in had
    ]
    with ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(_trained, *job) for job in jobs]
        for done in track(as_completed(running), total=len(running), description="training"):
            with path.open("a") as file:
                file.write(json.dumps(asdict(done.result())) + "\n")


def _trained(place: int, number: int) -> Curve:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = studies()[place]
    sampler = optuna.samplers.RandomSampler(seed=1000 * place + number)
    values = suggest(optuna.create_study(sampler=sampler).ask(), study.space, study.fixed)
    evaluations = list(train(study.train_config(values)))
    return Curve(
        study=study.key.name,
        number=number,
        validation=[evaluation.validation_accuracy for evaluation in evaluations],
        target=[evaluation.target.balanced or 0.0 for evaluation in evaluations],
    )
