"""One training: batches, steps, evaluations, and checkpoints from which it continues exactly.

Every random draw of step t depends on (seed, t) alone: batches, augmentation, mixup and dropout. So a checkpoint needs
no generator's state, and a resumed run sees what it would have seen, whatever machine or worker it resumes on. Several
workers do together what one does alone: each holds the whole training, and all call the same methods in the same order.
"""

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.algorithms import Algorithm, Loss, SourceDomains, build_algorithm, joined
from ndcl.batch import Batch, to_device
from ndcl.checkpoints import Content, content
from ndcl.checkpoints.content import copied
from ndcl.config import TrainConfig
from ndcl.data.facts import DataFacts, require_same
from ndcl.data.inputs import delivered_shape
from ndcl.data.loading.loader import Loader
from ndcl.data.loading.sampler import DomainSampler
from ndcl.data.loading.workers import keep_freed_memory
from ndcl.data.problem import Problem, build_problem, without_target_test
from ndcl.errors import NonFiniteLossError
from ndcl.evaluation import Evaluation, TargetLook
from ndcl.evaluation.calibration import negative_log_likelihood
from ndcl.features import take_vectors
from ndcl.models import HEAD, Network, network_of
from ndcl.parallel import Group, local_device, resolve_device
from ndcl.parallel.agreement import agreed
from ndcl.parallel.sharding import part_from_first, part_like, place, whole
from ndcl.training.averaging import build_averaging
from ndcl.training.evaluating import evaluated, evaluation_parts
from ndcl.training.loss_sums import LossSums
from ndcl.training.optimization import (
    build_optimizer,
    build_own_optimizer,
    clip_gradient,
    load_own_optimizer,
    rate_factor,
    without_decay,
    without_gradients,
)
from ndcl.training.profiling import StepProfiler
from ndcl.training.step import Step, autocast

STEPS_BETWEEN_CHECKS = 25
"""On a GPU the loss is looked at this often; each look waits for the device."""


class InterruptedTrainingError(Exception):
    """The training stands between two evaluations, at a step from which a checkpoint continues exactly."""

    def __init__(self, training: Any) -> None:
        """`training`: the Training, or the CrossValidation that it belongs to."""
        super().__init__(f"interrupted at step {training.step}")
        self.training = training


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
            source_labels,
            config.batch_size,
            config.seed,
            config.resampling_ratio,
            num_classes=len(store.classes),
            balanced_from=config.algorithm.balanced_from(config.num_steps),
            seed_at=config.seed_at,
        )
        self.loader = Loader(self.problem, self.sampler, config, self.device, self.group.share)
        input_shape = delivered_shape(store, config.image_size)
        self.network = network_of(config, input_shape, len(store.classes), len(source_labels))
        take_vectors(self.network, self.problem, config.data)
        place(self.network, self.device, self.group, config)
        sources = SourceDomains(
            frequencies=self.sampler.frequencies,
            batch_size=config.batch_size,
            seed=config.seed,
            num_steps=config.num_steps,
            num_features=self.network.num_features,
            learning_rate=config.optimizer.learning_rate,
            weight_decay=config.optimizer.weight_decay,
            counts=np.stack([np.bincount(labels, minlength=len(store.classes)) for labels in source_labels]),
        )
        self.algorithm = self._build_algorithm(sources).to(self.device)
        self._step = Step(self.network, self.algorithm, config, len(store.classes), self.group)
        self.optimizer = build_optimizer(self.network, config.optimizer, self.algorithm)
        self.own_optimizer = build_own_optimizer(self.algorithm)
        """Of the algorithm's own networks, where they don't step with the network."""
        self.average = build_averaging(self.network, config.averaging)
        """Averages of the weights, which are then evaluated, selected and exported; the network has the newest."""
        self._rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.profiler = StepProfiler(config.profile if self.group.is_first else None, self.device)
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, Any] | None = None
        """`step`, `merit` and `network` of the best checkpoint so far by `config.select_by`: the first maximum.

        A network in parts is whole on the first worker alone."""
        self.is_to_stop: Callable[[], bool] | None = None
        """Asked after each step, as `stop_once` sets it: all workers get the same answer."""
        self._sums: LossSums | None = None
        """Of the steps that no evaluation has told yet."""

    def stop_once(self, is_to_stop: Callable[[], bool]) -> None:
        """Ask after each step: where true, `evaluations` raises InterruptedTrainingError.

        Of several workers all must call this. Each asks for itself, and all stop after the same step, the second after
        any of them was answered yes.
        """
        self.is_to_stop = agreed(is_to_stop, self.group, self.device)

    def evaluations(self) -> Generator[Evaluation, None, None]:
        """Train from the current step to `num_steps`, yielding at each checkpoint.

        Raises NonFiniteLossError as soon as the loss is known to be NaN or infinite, and InterruptedTrainingError
        as `stop_once` says, between two evaluations.
        """
        try:
            while self.step < self.config.num_steps or self.is_between:
                self.train_until(next_checkpoint(self.config, self.step, is_between=self.is_between))
                yield self.evaluate()
        finally:
            self.close()

    @property
    def is_between(self) -> bool:
        """Whether steps were taken that no evaluation has told yet."""
        return self._sums is not None

    def evaluate(self) -> Evaluation:
        """Evaluate where the training stands, after `train_until`. All workers must call it."""
        assert self._sums is not None, "no step since the last evaluation"
        losses, self._sums = self._sums.means(self.step), None
        with self._averaged(), self._answering():
            evaluation = self._evaluate(losses)
            self._keep_best(evaluation)
        if self.step >= self.config.num_steps and self.config.evaluate_target == "selected":
            evaluation = replace(evaluation, selected=self._look_at_target())
        return evaluation

    def close(self) -> None:
        """End what runs beside the training: the loading of batches, and a profile."""
        self.profiler.end()
        self.loader.close()

    def save(self, folder: Path) -> None:
        """Write a checkpoint folder, as `checkpoints.write_together` does. All workers must call it."""
        content.write_together(self.content(), folder, self.group)

    def content(self, *, copy: bool = False) -> Content:
        """What a checkpoint holds now; with `copy` it does not change when the training continues.

        All workers must call it. A network in parts is whole in the first one's alone.
        """
        state = {
            "network": whole(self.network.state_dict(), self.group),
            "optimizer": whole(self.optimizer.state_dict(), self.group),
        }
        if self.algorithm.has_state:
            state["algorithm"] = self.algorithm.state_dict()
        if self.own_optimizer is not None:
            state["own_optimizer"] = self.own_optimizer.state_dict()
        if self._sums is not None:
            state["sums"] = self._sums.to_state()
        if self.average is not None:
            state["average"] = whole(self.average.state(), self.group)
        data = DataFacts.of(self.problem.store).to_dict()
        facts = {"config": self.config.to_dict(), "data": data, "step": self.step, "seconds": self.seconds}
        # the best weights are never written to, only replaced
        return Content({**(copied(state) if copy else state), "best": self.best}, facts)

    def load(self, folder: Path, *, take_over: bool = False) -> None:
        """Go on from a checkpoint, made by any number of workers; each of several reads it.

        With `take_over` a checkpoint made with other values is taken too, and this config's values hold from here on,
        as population based training (Jaderberg et al. 2017) needs it. Raises UserError if the checkpoint is damaged or
        belongs to a different config or data set.
        """
        state, facts = content.read(folder)
        if "data" in facts:  # version 0.1 wrote none
            found = DataFacts.of(self.problem.store)
            require_same(found, facts["data"]["digest"], f"checkpoint '{folder}'", "start anew, with --fresh")
        self._keep_batchnorm_as(facts["config"]["model"])
        if not take_over:
            content.require_same_training(folder, facts["config"], self.config.to_dict())
        network = self.network.state_dict()
        self.network.load_state_dict({key: part_like(value, network[key]) for key, value in state["network"].items()})
        own = ("weight_decay", "momentum", "nesterov", "betas")
        values = [{key: group[key] for key in own if key in group} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"] | {"state": self._parts(state["optimizer"]["state"])})
        for group, value, rate in zip(self.optimizer.param_groups, values, self._rates, strict=True):
            group.update({**value, "lr": rate})
        if self.algorithm.has_state:
            self.algorithm.load_state_dict(state["algorithm"])
        if self.own_optimizer is not None:
            load_own_optimizer(self.own_optimizer, state["own_optimizer"])
        self.step, self.seconds, self.best = facts["step"], facts["seconds"], state["best"]
        self._sums = LossSums.from_state(state["sums"], self.device) if "sums" in state else None
        if self.average is not None:
            self.average.load(state["average"])

    def _keep_batchnorm_as(self, model: dict[str, Any]) -> None:
        """Go on with BatchNorm as the checkpoint says, if the config leaves it open: version 0.1 always froze it."""
        keeps = model["freeze_batchnorm"]
        if self.config.model.freeze_batchnorm is None and keeps is not None:
            self.config = replace(self.config, model=replace(self.config.model, freeze_batchnorm=keeps))
            self.network.keep_batchnorm(keeps)

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
        self.train_until(self.step + number)
        self._sums = None
        return self.seconds - before

    def _build_algorithm(self, sources: SourceDomains) -> Algorithm:
        return build_algorithm(self.config.algorithm, sources)

    def train_until(self, step: int) -> None:
        """Take steps until `step` are done. Raises NonFiniteLossError and InterruptedTrainingError."""
        self.network.train()
        started = time.perf_counter()
        sums = self._sums = self._sums or LossSums(self.step)
        for batch in self.loader.batches(self.step, step):
            self.profiler.before(self.step)
            loss = self._take_step(batch)
            self.profiler.after(self.step, self.config.num_steps)
            sums.add(loss)
            if self.device.type == "cpu" or self.step % STEPS_BETWEEN_CHECKS == 0:
                self._require_finite(sums.total)
            if self.is_to_stop is not None and self.step < step and self.is_to_stop():
                break
        self._require_finite(sums.total)
        self.seconds += time.perf_counter() - started
        if self.step < step:
            raise InterruptedTrainingError(self)

    def _take_step(self, batch: Batch) -> Loss:
        algorithm = self.algorithm
        if algorithm.looks_at_all(self.step):
            self._show_all()
        new_head = algorithm.new_head(self.step)
        if new_head is not None:
            put_head(self.network, *new_head)
        if not algorithm.trains_backbone(self.step):
            self.network[0].eval()
        if algorithm.walks:
            loss = self._step.walk(batch, self.step, self._advance)
        else:
            losses = [self._take_part(batch, part) for part in algorithm.parts or (algorithm,)]
            loss = losses[0] if len(losses) == 1 else joined(losses)
        if algorithm.has_own_head:
            put_head(self.network, *algorithm.own_head())
        self.step += 1
        if self.average is not None:
            self.average.update()
        return loss

    def _take_part(self, batch: Batch, part: Algorithm) -> Loss:
        loss = self._step.gradient(batch, self.step, part)
        if part.trains_network(self.step):
            with without_gradients(() if part.trains_head else self.network[1].parameters()):
                self._advance()
        elif self.own_optimizer is not None:
            self._advance_own(self.own_optimizer)
        return loss

    def _advance(self, decays: bool = True) -> None:
        """Step the network by its gradients; where not `decays` without weight decay."""
        algorithm, recipe = self.algorithm, self.config.optimizer
        if algorithm.restarts_optimizer(self.step):
            self.optimizer.state.clear()
        factor = rate_factor(recipe, self.step, self.config.num_steps) * algorithm.rate_factor(self.step)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        is_head_alone = self.step < self.config.model.head_warmup_steps or not algorithm.trains_backbone(self.step)
        with without_gradients(self.network[0].parameters() if is_head_alone else ()):
            if recipe.gradient_clip_norm is not None:
                own = () if self.own_optimizer is not None else algorithm.parameters()
                clip_gradient([*self.network.parameters(), *own], recipe.gradient_clip_norm)
            with nullcontext() if decays else without_decay(self.optimizer):
                self.optimizer.step()

    def _advance_own(self, optimizer: torch.optim.Adam) -> None:
        """Step the algorithm's own networks by their gradients, at a rate that goes as the network's does."""
        assert self.algorithm.own_optimizer is not None
        factor = rate_factor(self.config.optimizer, self.step, self.config.num_steps)
        for group in optimizer.param_groups:
            group["lr"] = self.algorithm.own_optimizer.learning_rate * factor
        optimizer.step()

    def _show_all(self) -> None:
        """Show the algorithm the features of all training images, as evaluations see them."""
        rows = self.problem.train
        with self.network.giving("both"):
            outputs = self.logits(np.concatenate(rows)).to(self.device)
        labels = np.concatenate([self.problem.store.labels[part] for part in rows])
        domains = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
        features = outputs[:, len(self.problem.store.classes) :]
        self.algorithm.look(features, to_device(labels, self.device), to_device(domains, self.device), self.step)

    def batch(self, step: int) -> Batch:
        """The batch of a step: `batch_size` rows of each source domain, in domain order, and this worker's inputs."""
        return self.loader.batch(step)

    def _require_finite(self, total: Tensor) -> None:
        if math.isfinite(float(total)):
            return
        if self.step == 1:
            raise NonFiniteLossError(
                "the loss is NaN or infinite at the first step, before any learning; look at the loss and at the inputs"
            )
        raise NonFiniteLossError(f"the loss became NaN or infinite by step {self.step}; try a lower learning rate")

    def _evaluate(self, losses: dict[str, float]) -> Evaluation:
        seconds, *values = self.group.from_first([self.seconds, *losses.values()])
        means = dict(zip(losses, values, strict=True))
        seen = self.problem if self.config.evaluate_target == "always" else without_target_test(self.problem)
        logits = self.evaluation_logits(seen)
        return evaluated(seen, logits, self.step, seconds, means, oracle=self.config.oracle)

    def _look_at_target(self) -> TargetLook:
        """What the target's test images say of the best checkpoint."""
        assert self.best is not None, "an evaluation is behind it"
        step = int(self.best["step"])
        with self._at_best():
            found = evaluated(self.problem, self.evaluation_logits(), step, 0.0, {}, oracle=self.config.oracle)
        assert found.diagnostics is not None
        assert found.calibration is not None
        return TargetLook(step=step, target=found.target, diagnostics=found.diagnostics, calibration=found.calibration)

    def _at_best(self) -> AbstractContextManager[None]:
        """The network with the weights of the best checkpoint."""
        assert self.best is not None
        if self.best["step"] == self.step and self.average is None and not self.algorithm.adjusts_head:
            return nullcontext()
        best = self.best["network"]
        return self._having(lambda key, now: part_from_first(best[key], now))

    def _averaged(self) -> AbstractContextManager[None]:
        """The network with the averaged weights of the checkpoint that has just been reached, if any are averaged."""
        if self.average is None:
            return nullcontext()
        self.average.observe(self._validation_loss() if self.average.needs_loss else math.nan)
        weights = self.average.weights()
        return self._having(lambda key, now: weights[key])

    def _answering(self) -> AbstractContextManager[None]:
        """The network with the head by which the algorithm answers, where that is not the one that learns."""
        if not self.algorithm.adjusts_head:
            return nullcontext()
        adjusted = dict(zip(HEAD, self.algorithm.adjusted_head(*self.network.head_weights()), strict=True))
        return self._having(lambda key, now: part_like(adjusted[key], now), HEAD)

    @contextmanager
    def _having(self, weights: Callable[[str, Tensor], Tensor], names: Iterable[str] | None = None) -> Iterator[None]:
        """The network with other weights, by default all, each by its name and what it is now, which is kept."""
        state = self.network.state_dict()
        now = {key: state[key].detach().clone() for key in names or state}
        self.network.load_state_dict({key: weights(key, value) for key, value in now.items()}, strict=names is None)
        try:
            yield
        finally:
            self.network.load_state_dict(now, strict=names is None)

    def _validation_loss(self) -> float:
        """Class-balanced cross-entropy of the newest weights on the validation images of all source domains."""
        images = np.concatenate(self.problem.validation)
        labels = torch.from_numpy(self.problem.store.labels[images])
        with self._answering():
            return negative_log_likelihood(self.logits(images), labels)

    def evaluation_logits(self, problem: Problem | None = None) -> list[Tensor]:
        """Logits [n, K] of the images that an evaluation looks at, for each part of `evaluation_parts`.

        Of `problem`, by default all that this training has. Several workers must ask together.
        """
        parts = evaluation_parts(problem or self.problem, oracle=self.config.oracle)
        return list(torch.split(self.logits(np.concatenate(parts)), [len(part) for part in parts]))

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
        none = torch.empty((0, self.network.num_outputs), device=self.device)
        self.network.eval()
        parts = [self._logits_of(self.network, inputs) for inputs in self.loader.evaluation_inputs(padded)]
        self.network.train()
        return self.group.gather(torch.cat([none, *parts])[: len(own)], len(indices)).cpu()

    def _logits_of(self, network: Network, inputs: Tensor) -> Tensor:
        with autocast(self.device, self.config.precision):
            return cast(Tensor, network(inputs)).float()

    def _keep_best(self, evaluation: Evaluation) -> None:
        merit = evaluation.merit(self.config.select_by)
        merit = -math.inf if merit is None or math.isnan(merit) else merit
        if self.best is None or merit > self.best["merit"]:
            weights = whole(self.network.state_dict(), self.group)
            self.best = {"step": evaluation.step, "merit": merit, "network": copied(weights)}


def next_checkpoint(config: TrainConfig, step: int, *, is_between: bool) -> int:
    """The step of the evaluation that comes next at `step`; this one where it is due and `is_between`: yet to come."""
    passed = step - 1 if is_between else step
    return min(config.num_steps, (passed // config.evaluate_every + 1) * config.evaluate_every)


@torch.no_grad()
def put_head(network: Network, weight: Tensor, bias: Tensor) -> None:
    """Give the network a head of `weight` [K, P] and `bias` [K]; of several workers each puts its part."""
    for now, value in zip(network[1].parameters(), (weight, bias), strict=True):
        now.copy_(part_like(value.detach().to(now.dtype), now))
