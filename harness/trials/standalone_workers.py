"""One training on several workers under Ray Train: each does what `single.py` does, and the first writes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch

from harness.cluster.local_ray import local_ray
from harness.config import Workers
from harness.config.demand import room_on
from harness.trials.messages import EVALUATION, FAILURE
from harness.trials.rank_logs import kept_log
from harness.trials.standalone import earlier_kept, trained
from harness.trials.worker_group import WorkerRun, errors_handed_in
from ndcl.config import TrainConfig
from ndcl.errors import UnusableGpuError, UserError
from ndcl.gpus import require_usable_gpu
from ndcl.parallel import Group
from ndcl.processors import num_processors

LOG_FILE = "ray.log"


def run_on_workers(
    config: TrainConfig, folder: Path, num_workers: int, *, fresh: bool = False
) -> Iterator[dict[str, Any]]:
    """As `run_training`, on `num_workers` of one CPU each, and of one GPU where there are any and `device` is not cpu.

    A checkpoint of any number of workers continues any other. Raises UserError for what went wrong with the
    training, and if there is no room for the workers.
    """
    with earlier_kept(folder, fresh) as forget:
        for evaluation in _trained(config, folder, num_workers):
            forget()
            yield evaluation


def _trained(config: TrainConfig, folder: Path, num_workers: int) -> Iterator[dict[str, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    with local_ray(folder / LOG_FILE, with_dashboard=True) as nodes:
        workers = _workers(config, num_workers, nodes)
        values = {"train": config.to_dict(), "folder": str(folder.resolve()), "num_gpus": workers.gpus}
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
            kind, _, reason = report[FAILURE].partition(": ")
            raise UserError(reason if kind in (UserError.__name__, UnusableGpuError.__name__) else report[FAILURE])
        evaluation = report.get(EVALUATION)
        if evaluation is not None and evaluation["step"] > shown:
            shown = evaluation["step"]
            yield evaluation


def train_worker(config: dict[str, Any]) -> None:
    """What each worker does, with its share of its node's cores."""
    mailbox, group = config["mailbox"], Group.current()
    torch.set_num_threads(max(1, num_processors() // ray.train.get_context().get_local_world_size()))
    with kept_log(config["logs"]), errors_handed_in(mailbox):
        if config["num_gpus"]:
            require_usable_gpu()
        for evaluation in trained(TrainConfig.from_dict(config["train"]), Path(config["folder"])):
            if group.is_first:
                ray.get(mailbox.hand_in.remote({EVALUATION: evaluation}))
