"""What builds a training of a config, and runs it to its end."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from ndcl.checkpoints import checkpoint_folder as open_folder
from ndcl.checkpoints.places import CheckpointFolder
from ndcl.config import TrainConfig
from ndcl.data.problem import Problem, build_problem, without_domain
from ndcl.evaluation import Evaluation
from ndcl.filesystems import filesystem_of, is_uri, join
from ndcl.parallel import Group
from ndcl.training.cross_validation import CrossValidation
from ndcl.training.profiling import TRACE
from ndcl.training.training import Training


class Background:
    """One job at a time. What a job raises is raised when the next one is started, or at `wait`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._job: Future[object] | None = None

    def start(self, job: Callable[[], object]) -> None:
        """Start `job` as soon as the one before it is done."""
        self.wait()
        self._job = self._pool.submit(job)

    def wait(self) -> None:
        """Until nothing is under way."""
        job, self._job = self._job, None
        if job is not None:
            job.result()


def build_training(
    config: TrainConfig, problem: Problem | None = None, group: Group | None = None
) -> Training | CrossValidation:
    """The training that `config` asks for: one, or with leave-one-domain-out one per source domain.

    By `group`, or all processes of torch.distributed, if there are any.
    Raises UserError for anything in `config` that does not exist or does not fit.
    """
    if not config.is_cross_validation:
        return Training(config, problem, group)
    problem = problem or build_problem(config.data, config.imbalance)
    return CrossValidation({domain: _fold(config, problem, domain, group) for domain in problem.source_domains})


def _fold(config: TrainConfig, problem: Problem, domain: str, group: Group | None) -> Training:
    data = replace(config.data, target=domain)
    # the domain left out is what the fold is judged by
    single = replace(config, select_by=("last_step",), data=data, oracle=False, evaluate_target="always")
    return Training(single, without_domain(problem, domain), group)


def train(
    config: TrainConfig,
    checkpoint_folder: Path | str | None = None,
    *,
    write_in_background: bool = False,
    before_checkpoint: Callable[[Evaluation], None] | None = None,
) -> Iterator[Evaluation]:
    """Train by `config`, yielding an Evaluation at each checkpoint.

    With `checkpoint_folder`, a path or a URI (s3://, gs://, abfs://, file://), the training resumes from its newest
    whole checkpoint, if any, and saves one there before each yield, keeping the previous until the new one is whole.
    With `write_in_background` a copy is made before the yield and written while the training continues, one at a time;
    what a write raises is raised at the next checkpoint or at the end, and the last one is written when this is over.
    A training that resumes doesn't yield what it had yielded up to its checkpoint: `before_checkpoint` gets each
    evaluation before its checkpoint is written, so that a caller who keeps it there misses none, whenever it is killed.
    With `config.profile` the trace lies there as `trace.json.gz`.

    Where torch.distributed is initialised, all its processes must call this, get the same evaluations, and need the
    same folder. Raises UserError and NonFiniteLossError.
    """
    training = build_training(config)
    if checkpoint_folder is None:
        yield from training.evaluations()
        return
    yield from resumed(
        training, checkpoint_folder, write_in_background=write_in_background, before_checkpoint=before_checkpoint
    )


def resumed(
    training: Training | CrossValidation,
    checkpoint_folder: Path | str,
    *,
    write_in_background: bool = False,
    before_checkpoint: Callable[[Evaluation], None] | None = None,
) -> Iterator[Evaluation]:
    """Advance a training from the newest checkpoint in the folder, if there is one, to its end; as `train` does."""
    folder, background = open_folder(checkpoint_folder), Background()
    _load_newest(training, folder)
    has_trace = False
    try:
        for evaluation in training.evaluations():
            if before_checkpoint is not None:
                before_checkpoint(evaluation)
            _save(training, folder, background if write_in_background else None)
            if training.profiler.trace is not None and not has_trace:
                _write(training.profiler.trace, str(checkpoint_folder))
                has_trace = True
            yield evaluation
    finally:
        background.wait()


def _save(training: Training | CrossValidation, folder: CheckpointFolder, background: Background | None) -> None:
    """Add a checkpoint to `folder`, now or in the background."""
    content = training.content(copy=background is not None)
    if training.group.is_first:
        add = partial(folder.add, training.step, content)
        add() if background is None else background.start(add)
    if background is None:
        training.group.barrier()


def _write(trace: bytes, folder: str) -> None:
    """Lay a trace into a folder, a path or a URI."""
    if not is_uri(folder):
        (Path(folder) / TRACE).write_bytes(trace)
        return
    filesystem, path = filesystem_of(join(folder, TRACE))
    with filesystem.open_output_stream(path) as stream:
        stream.write(trace)


def _load_newest(training: Training | CrossValidation, folder: CheckpointFolder) -> None:
    """Go on from the checkpoint in `folder` that is the newest to the first worker, if there is any."""
    newest = folder.newest() if training.group.is_first else None
    [step] = training.group.from_first([-1 if newest is None else newest])
    if step >= 0:
        with folder.fetched(int(step)) as path:
            training.load(path)
