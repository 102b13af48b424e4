"""Leave-one-domain-out cross-validation (Gulrajani and Lopez-Paz 2021): what a model is worth on a domain unseen.

One training per source domain, each without that domain, advance side by side from checkpoint to checkpoint, so that
they can be stopped early as one. Nothing of the target domain is looked at, not even for the report.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ndcl.checkpoints import Parts
from ndcl.checkpoints.content import write_together
from ndcl.evaluation import Accuracies, Evaluation, accuracies
from ndcl.evaluation.evaluation import mean_accuracies
from ndcl.parallel.agreement import agreed
from ndcl.training.profiling import StepProfiler
from ndcl.training.training import InterruptedTrainingError, Training, next_checkpoint


class CrossValidation:
    """Trainings by the source domain that each leaves out, to be used as one `ndcl.training.training.Training`."""

    def __init__(self, folds: Mapping[str, Training]) -> None:
        self.folds = dict(folds)
        self.group = next(iter(self.folds.values())).group
        """The workers, which are the same for all."""

    @property
    def step(self) -> int:
        """Optimiser steps that every training has done."""
        return min(fold.step for fold in self.folds.values())

    @property
    def profiler(self) -> StepProfiler:
        """Of the first training."""
        return next(iter(self.folds.values())).profiler

    def stop_once(self, is_to_stop: Callable[[], bool]) -> None:
        """As for a single training: the one that is taking steps stops, and with it all."""
        all_stop = agreed(is_to_stop, self.group, next(iter(self.folds.values())).device)
        for fold in self.folds.values():
            fold.is_to_stop = all_stop

    def evaluations(self) -> Iterator[Evaluation]:
        """Advance all trainings to each checkpoint and yield their mean.

        Raises NonFiniteLossError, and InterruptedTrainingError as a single training does.
        """
        folds, config = self.folds.values(), next(iter(self.folds.values())).config
        try:
            while self.step < config.num_steps or self._is_between:
                step = next_checkpoint(config, max(fold.step for fold in folds), is_between=self._is_between)
                self._train_until(step)
                yield combined({domain: fold.evaluate() for domain, fold in self.folds.items()})
        finally:
            for fold in folds:
                fold.close()

    def _train_until(self, step: int) -> None:
        """Those that have come as far before an interruption wait for the others."""
        try:
            for fold in self.folds.values():
                if fold.step < step:
                    fold.train_until(step)
        except InterruptedTrainingError:
            raise InterruptedTrainingError(self) from None

    @property
    def _is_between(self) -> bool:
        return any(fold.is_between for fold in self.folds.values())

    def save(self, folder: Path) -> None:
        """Write the checkpoints of all trainings as one, as of a single training."""
        write_together(self.content(), folder, self.group)

    def content(self, *, copy: bool = False) -> Parts:
        """What a checkpoint holds now, as of a single training."""
        return Parts({name: fold.content(copy=copy) for name, fold in self._numbered().items()})

    def load(self, folder: Path, **options: Any) -> None:
        """Go on from a checkpoint; `options` as for a single training. Raises UserError."""
        for name, fold in self._numbered().items():
            fold.load(folder / name, **options)

    def _numbered(self) -> dict[str, Training]:
        """By names that are safe in paths, whatever the domains are called."""
        return {f"fold-{number}": fold for number, fold in enumerate(self.folds.values())}


def combined(parts: Mapping[str, Evaluation]) -> Evaluation:
    """One evaluation from those of all folds, by the domain that each left out and so took for its target."""
    first = next(iter(parts.values()))
    validation: dict[str, list[Accuracies]] = {domain: [] for domain in parts}
    for part in parts.values():
        for domain, measured in part.validation.items():
            validation[domain].append(measured)
    nothing = accuracies(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(len(first.target.per_class), np.int64))
    return Evaluation(
        step=first.step,
        seconds=sum(part.seconds for part in parts.values()),
        losses={name: fmean(part.losses[name] for part in parts.values()) for name in first.losses},
        validation={domain: mean_accuracies(measured) for domain, measured in validation.items()},
        target=nothing,
        held_out={domain: part.target for domain, part in parts.items()},
        held_out_nll={
            domain: part.calibration.target.nll if part.calibration else None for domain, part in parts.items()
        },
    )
