"""One network that learns to answer as several do (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network").

It sees the batches that they were trained on, as augmented, and what they say of these very inputs. Legend: k teachers,
N rows of a batch, K classes.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ndcl.algorithm_configs.long_tail import ErmConfig
from ndcl.algorithms import Algorithm, Loss, Rows, SourceDomains
from ndcl.batch import Batch
from ndcl.checkpoints import content
from ndcl.config import TrainConfig
from ndcl.data.problem import Problem
from ndcl.errors import UserError
from ndcl.evaluation import Evaluation
from ndcl.evaluation.ensembles import Combination, combined
from ndcl.losses import soft_cross_entropy
from ndcl.models import Network
from ndcl.training.evaluating import evaluated
from ndcl.training.training import Training


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Trained networks that answer as one."""

    configs: tuple[TrainConfig, ...]
    """Of their trainings."""
    checkpoints: tuple[Path, ...]
    """Of each, of which the best network counts."""
    combination: Combination
    """How their logits become one answer, and the temperature that calibrates it."""


class SoftTargets(Algorithm):
    """The cross-entropy with the teachers' answer to each row in place of its label."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.answers: Tensor | None = None
        """[N, K] the teachers' logits for the rows of the step."""

    def loss(self, rows: Rows) -> Loss:
        """The loss given the logits [N, K]."""
        assert self.answers is not None, "the teachers answer before the student"
        total = soft_cross_entropy(rows.logits, self.answers, self.temperature)
        return Loss(total=total, terms={"total": total.detach()})


class Distillation(Training):
    """The training of a student, in one process."""

    def __init__(
        self, teachers: Teachers, problem: Problem, *, temperature: float, num_steps: int | None, seed: int
    ) -> None:
        """The student is trained as the first teacher was, but for its loss and seed, and for `num_steps` if given.

        Raises UserError if a checkpoint is damaged, or a teacher takes other images than the first.
        """
        first = teachers.configs[0]
        self._soft_targets = SoftTargets(temperature)
        config = replace(
            first,
            algorithm=ErmConfig(),
            num_steps=num_steps or first.num_steps,
            seed=seed,
            sharding="none",
            evaluate_target="never",
        )
        super().__init__(config, problem)
        self._combination = teachers.combination
        self._teachers = [
            self._teacher(own, path) for own, path in zip(teachers.configs, teachers.checkpoints, strict=True)
        ]

    def best_evaluation(self) -> Evaluation:
        """Of the best checkpoint so far, with the target's test images."""
        assert self.best is not None, "asked for after an evaluation"
        with self._at_best():
            logits = self.evaluation_logits()
        step = int(self.best["step"])
        return evaluated(self.problem, logits, step, self.seconds, {}, oracle=self.config.oracle)

    def _build_algorithm(self, sources: SourceDomains) -> Algorithm:
        return self._soft_targets

    def _teacher(self, config: TrainConfig, checkpoint: Path) -> Network:
        if config.image_size != self.config.image_size:
            raise UserError(
                f"checkpoint '{checkpoint}': it takes images of another size than the others, so that no batch suits "
                "all; combine runs of one size"
            )
        training = Training(replace(config, sharding="none"), self.problem)
        training.loader.close()
        state, _ = content.read(checkpoint)
        training.network.load_state_dict(state["best"]["network"])
        return training.network.eval()

    def _take_step(self, batch: Batch) -> Loss:
        self._soft_targets.answers = self._answers(batch.inputs)
        return super()._take_step(batch)

    @torch.no_grad()
    def _answers(self, inputs: Tensor) -> Tensor:
        """Calibrated logits [N, K]."""
        rows = self.config.micro_batch_size or len(inputs)
        return torch.cat([
            combined(torch.stack([self._logits_of(teacher, part) for teacher in self._teachers]), self._combination)
            for part in torch.split(inputs, rows)
        ])  # fmt: skip
