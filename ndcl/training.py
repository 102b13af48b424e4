"""One training: batches, steps, evaluations, and checkpoints from which it goes on exactly.

Every random draw of step t depends on (seed, t) alone: batches, augmentation, mixup and dropout. So a checkpoint needs
no generator's state, and a resumed run sees what it would have seen, whatever machine or worker it resumes on. Several
workers do together what one does alone: each holds the whole training, and all call the same methods in the same order.
"""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl import checkpoints
from ndcl.algorithms import Loss, Sources, build_algorithm
from ndcl.background import Background
from ndcl.batch import Batch
from ndcl.checkpoint_folders import CheckpointFolder
from ndcl.checkpoint_folders import checkpoint_folder as open_folder
from ndcl.checkpoints import Content, copied
from ndcl.config import TrainConfig
from ndcl.cross_validation import CrossValidation
from ndcl.data.loader import Loader
from ndcl.data.problem import Problem, build_problem, without_domain
from ndcl.data.sampler import DomainSampler
from ndcl.data.transforms import delivered_shape
from ndcl.data.workers import keep_freed_memory
from ndcl.diagnostics import diagnose
from ndcl.errors import NonFiniteLossError, UserError
from ndcl.evaluation import Evaluation, accuracies
from ndcl.features import standardize
from ndcl.models import build_network
from ndcl.optimization import parameter_groups
from ndcl.parallel import Group, local_device
from ndcl.sharding import part_like, place, whole
from ndcl.step import Step, autocast

STEPS_BETWEEN_CHECKS = 25
"""On a GPU the loss is looked at this often; each look waits for the device."""


class Training:
    """A training in progress. Build it, `load` a checkpoint if there is one, and iterate over `evaluations`."""

    def __init__(self, config: TrainConfig, problem: Problem | None = None, group: Group | None = None) -> None:
        """One worker's part in a training by `group`; by default all processes of torch.distributed, if there are any.

        Raises UserError for anything in `config` that does not exist or does not fit.
        """
        self.config = config
        self.group = group or Group.current()
        self.problem = problem or build_problem(config.data, config.imbalance)
        self.device = local_device(resolve_device(config.device), self.group)
        if self.device.type == "cpu":
            keep_freed_memory()  # each step makes and frees the same large tensors
        store, source_labels = self.problem.store, [self.problem.store.labels[rows] for rows in self.problem.train]
        self.sampler = DomainSampler(
            source_labels, config.batch_size, config.seed, config.resampling_ratio, num_classes=len(store.classes)
        )
        self.loader = Loader(self.problem, self.sampler, config, self.device, self.group.share)
        input_shape = delivered_shape(store, config.image_size)
        self.network = build_network(config.model, input_shape, len(store.classes), config.seed)
        if config.data.standardize:
            standardize(self.network, self.problem)
        place(self.network, self.device, self.group, config)
        sources = Sources(frequencies=self.sampler.frequencies, batch_size=config.batch_size, seed=config.seed)
        self.algorithm = build_algorithm(config.algorithm, sources).to(self.device)
        self._step = Step(self.network, self.algorithm, config, len(store.classes), self.group)
        if config.compile:
            self.network.compile()
        self.optimizer = torch.optim.Adam(
            parameter_groups(self.network, config.optimizer),
            lr=config.optimizer.learning_rate,
            weight_decay=config.optimizer.weight_decay,
            fused=True,
        )
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, Any] | None = None
        """`step`, `merit` and `network` of the best checkpoint so far by `config.select_by`: the first maximum.

        A network in parts is whole on the first worker alone."""

    def evaluations(self) -> Generator[Evaluation, None, None]:
        """Train from the current step to `num_steps`, yielding at each checkpoint.

        Raises NonFiniteLossError as soon as the loss is known to be NaN or infinite.
        """
        try:
            while self.step < self.config.num_steps:
                interval = self.config.evaluate_every
                losses = self._train_until(min(self.config.num_steps, (self.step // interval + 1) * interval))
                evaluation = self._evaluate(losses)
                self._keep_best(evaluation)
                yield evaluation
        finally:
            self.loader.close()

    def save(self, folder: Path) -> None:
        """Write a checkpoint folder, as `checkpoints.write_together` does. All workers must call it."""
        checkpoints.write_together(self.content(), folder, self.group)

    def content(self, *, copy: bool = False) -> Content:
        """What a checkpoint holds now; with `copy` it does not change when the training goes on.

        All workers must call it. A network in parts is whole in the first one's alone.
        """
        state = {
            "network": whole(self.network.state_dict(), self.group),
            "optimizer": whole(self.optimizer.state_dict(), self.group),
        }
        facts = {"config": self.config.to_dict(), "step": self.step, "seconds": self.seconds}
        # the best weights are never written to, only replaced
        return Content({**(copied(state) if copy else state), "best": self.best}, facts)

    def load(self, folder: Path, *, take_over: bool = False) -> None:
        """Go on from a checkpoint, made by any number of workers; each of several reads it.

        With `take_over` a checkpoint made with other values is taken too, and this config's values hold from here on,
        as population based training (Jaderberg et al. 2017) needs it. Raises UserError if the checkpoint is damaged or
        belongs to a different config.
        """
        state, facts = checkpoints.read(folder)
        if not take_over:
            checkpoints.require_same_training(folder, facts["config"], self.config.to_dict())
        network = self.network.state_dict()
        self.network.load_state_dict({key: part_like(value, network[key]) for key, value in state["network"].items()})
        values = [{key: group[key] for key in ("lr", "weight_decay")} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"] | {"state": self._parts(state["optimizer"]["state"])})
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            group.update(value)
        self.step, self.seconds, self.best = facts["step"], facts["seconds"], state["best"]

    def _parts(self, state: dict[int, dict[str, Tensor]]) -> dict[int, dict[str, Tensor]]:
        """Of the optimiser's whole `state`, by parameter, what this worker keeps."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        return {
            number: {key: part_like(value, parameters[number]) for key, value in values.items()}
            for number, values in state.items()
        }

    def time_steps(self, number: int) -> float:
        """Take `number` steps without an evaluation; returns the seconds that they took. For measurements."""
        before = self.seconds
        self._train_until(self.step + number)
        return self.seconds - before

    def _train_until(self, step: int) -> dict[str, float]:
        """Take steps until `step` are done; returns the mean of the loss and its terms."""
        self.network.train()
        started, first = time.perf_counter(), self.step
        sums: dict[str, Tensor] = {}
        host_sums: dict[str, float] = {}
        for batch in self.loader.batches(first, step):
            loss = self._take_step(batch)
            for name, value in loss.terms.items():
                sums[name] = sums[name] + value if name in sums else value
            for name, number in loss.host_terms.items():
                host_sums[name] = host_sums.get(name, 0.0) + number
            if self.device.type == "cpu" or self.step % STEPS_BETWEEN_CHECKS == 0:
                self._require_finite(sums["total"])
        self._require_finite(sums["total"])
        values = torch.stack([value.double() for value in sums.values()]).tolist()
        self.seconds += time.perf_counter() - started
        means = {name: value / (step - first) for name, value in zip(sums, values, strict=True)}
        return means | {name: value / (step - first) for name, value in host_sums.items()}

    def _take_step(self, batch: Batch) -> Loss:
        loss = self._step.gradient(batch, self.step)
        self.optimizer.step()
        self.step += 1
        return loss

    def batch(self, step: int) -> Batch:
        """The batch of a step: `batch_size` rows of each source domain, in domain order, and this worker's inputs."""
        return self.loader.batch(step)

    def _require_finite(self, total: Tensor) -> None:
        if not math.isfinite(float(total)):
            raise NonFiniteLossError(f"the loss became NaN or infinite by step {self.step}; try a lower learning rate")

    def _evaluate(self, losses: dict[str, float]) -> Evaluation:
        problem = self.problem
        parts = [*problem.validation, problem.target_test]
        if self.config.oracle:
            parts.append(problem.target_oracle)
        labels = [problem.store.labels[part] for part in parts]
        logits = torch.split(self.logits(np.concatenate(parts)), [len(part) for part in parts])
        measured = [
            accuracies(own, outputs.argmax(dim=1).numpy(), problem.groups)
            for own, outputs in zip(labels, logits, strict=True)
        ]
        seconds, *values = self.group.from_first([self.seconds, *losses.values()])
        validation = dict(zip(problem.source_domains, measured, strict=False))
        *source, target = zip(logits[: len(validation) + 1], labels[: len(validation) + 1], strict=True)
        return Evaluation(
            step=self.step,
            seconds=seconds,
            losses=dict(zip(losses, values, strict=True)),
            validation=validation,
            target=measured[len(validation)],
            oracle=measured[-1] if self.config.oracle else None,
            diagnostics=diagnose(source, target, problem.groups),
        )

    def predict(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Predicted class [n] of the store's images `indices` [n], with the network as it is now.

        Several workers must ask for the same, and each predicts its share.
        """
        return self.logits(indices).argmax(dim=1).numpy()

    @torch.no_grad()  # and not inference mode, whose tensors a sharded network could not train with afterwards
    def logits(self, indices: NDArray[np.int64]) -> Tensor:
        """Logits float32 [n, K] of the store's images `indices` [n], with the network as it is now, on the CPU.

        Several workers must ask for the same, and each computes its share.
        """
        own = indices[self.group.share.rows(len(indices))]
        # as many passes on all workers: those through a sharded network are collectives
        padded = np.append(own, indices[: self.group.share.longest(len(indices)) - len(own)])
        none = torch.empty((0, len(self.problem.store.classes)), device=self.device)
        self.network.eval()
        parts = [self._logits(inputs) for inputs in self.loader.evaluation_inputs(padded)]
        self.network.train()
        return self.group.gather(torch.cat([none, *parts])[: len(own)], len(indices)).cpu()

    def _logits(self, inputs: Tensor) -> Tensor:
        with autocast(self.device, self.config.precision):
            return cast(Tensor, self.network(inputs)).float()

    def _keep_best(self, evaluation: Evaluation) -> None:
        merit = evaluation.merit(self.config.select_by)
        merit = -math.inf if merit is None or math.isnan(merit) else merit
        if self.best is None or merit > self.best["merit"]:
            weights = whole(self.network.state_dict(), self.group)
            self.best = {"step": evaluation.step, "merit": merit, "network": copied(weights)}


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
    single = replace(config, select_by=("last_step",), data=replace(config.data, target=domain), oracle=False)
    return Training(single, without_domain(problem, domain), group)


def train(
    config: TrainConfig, checkpoint_folder: Path | str | None = None, *, write_in_background: bool = False
) -> Iterator[Evaluation]:
    """Train by `config`, yielding an Evaluation at each checkpoint.

    With `checkpoint_folder`, a path or a URI (s3://, gs://, abfs://, file://), the training goes on from its newest
    whole checkpoint, if any, and saves one there before each yield, keeping the previous until the new one is whole.
    With `write_in_background` a copy is made before the yield and written while the training goes on, one at a time;
    what a write raises is raised at the next checkpoint or at the end, and the last one is written when this is over.

    Where torch.distributed is initialised, all its processes must call this, get the same evaluations, and need the
    same folder. Raises UserError and NonFiniteLossError.
    """
    training = build_training(config)
    if checkpoint_folder is None:
        yield from training.evaluations()
        return
    folder, background = open_folder(checkpoint_folder), Background()
    _load_newest(training, folder)
    try:
        for evaluation in training.evaluations():
            _save(training, folder, background if write_in_background else None)
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


def _load_newest(training: Training | CrossValidation, folder: CheckpointFolder) -> None:
    """Go on from the checkpoint in `folder` that is the newest to the first worker, if there is any."""
    newest = folder.newest() if training.group.is_first else None
    [step] = training.group.from_first([-1 if newest is None else newest])
    if step >= 0:
        with folder.fetched(int(step)) as path:
            training.load(path)


def resolve_device(name: str) -> torch.device:
    """The device that `name` (auto, cpu, cuda) stands for. Raises UserError for cuda where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device: 'cuda' was asked for, but torch sees no GPU; set device to auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
