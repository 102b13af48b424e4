"""One training on several workers under Ray Train: each does what `single.py` does, and the first writes."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch

from harness.local_ray import local_ray
from harness.single import run_training
from harness.trial import EVALUATION, FAILURE
from harness.worker_run import WorkerRun, errors_handed_in
from harness.workers import Workers, room_on
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.parallel import Group

LOG_FILE = "ray.log"


def run_on_workers(
    config: TrainConfig, folder: Path, num_workers: int, *, fresh: bool = False
) -> Iterator[dict[str, Any]]:
    """As `run_training`, on `num_workers` of one CPU each, and of one GPU where there are any and `device` is not cpu.

    A checkpoint of any number of workers goes on with any other. Raises UserError for what went wrong with the
    training, and if there is no room for the workers.
    """
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    with local_ray(folder / LOG_FILE, with_dashboard=True) as nodes:
        workers = _workers(config, num_workers, nodes)
        values = {"train": config.to_dict(), "folder": str(folder.resolve())}
        yield from _evaluations(WorkerRun(train_worker, values, workers, str(folder.resolve()), "ray"))


def _workers(config: TrainConfig, number: int, nodes: Sequence[Mapping[str, float]]) -> Workers:
    has_gpus = config.device != "cpu" and any(node.get("GPU") for node in nodes)
    workers = Workers(least=number, most=number, gpus=int(has_gpus))
    room = sum(room_on(node, workers.needed) for node in nodes)
    if room < number:
        kind = "a GPU" if has_gpus else "a CPU core"
        raise UserError(f"--workers: {number} need {kind} each, but there is room for {room}; ask for fewer")
    return workers


def _evaluations(run: WorkerRun) -> Iterator[dict[str, Any]]:
    """Each evaluation once: workers that were started again begin with the first."""
    shown = 0
    for report in run.reports():
        if FAILURE in report:
            raise UserError(report[FAILURE].removeprefix(f"{UserError.__name__}: "))
        evaluation = report.get(EVALUATION)
        if evaluation is not None and evaluation["step"] > shown:
            shown = evaluation["step"]
            yield evaluation


def train_worker(config: dict[str, Any]) -> None:
    """What each worker does, with its share of its node's cores."""
    desk, group = config["desk"], Group.current()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // ray.train.get_context().get_local_world_size()))
    with errors_handed_in(desk):
        for evaluation in run_training(TrainConfig.from_dict(config["train"]), Path(config["folder"])):
            if group.is_first:
                ray.get(desk.hand_in.remote({EVALUATION: evaluation}))
