"""The studies of a sweep: one for each algorithm, data set, setting and target domain."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from harness.config import (
    AlgorithmSpec,
    Block,
    DataSpec,
    ImbalanceSpec,
    Override,
    SchedulerConfig,
    SweepConfig,
    WarmStart,
)
from harness.dotted import flat, laid_over
from harness.records import Stage, StudyKey, TrialRecord
from harness.selection import DEFAULT_OBJECTIVE, LAST_STEP, LEAVE_ONE_DOMAIN_OUT, ORACLE, best_checkpoint
from harness.space import Space, grid, in_order
from ndcl.config import ALGORITHM_CONFIGS, ImbalanceConfig, TrainConfig
from ndcl.errors import UserError, unknown_name
from ndcl.strict import from_dict


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """One search and the final runs of its best values."""

    key: StudyKey
    base: dict[str, Any]
    """TrainConfig as nested values, complete and valid."""
    space: Space
    num_trials: int
    final_seeds: tuple[int, ...]
    top_k: int = 1
    """So many of the best trials are trained with the final seeds."""
    objectives: tuple[str, ...] = (DEFAULT_OBJECTIVE,)
    """What is maximised; several make a Pareto front."""
    sampler: str
    scheduler: SchedulerConfig
    warm_start: WarmStart | None = None
    seed: int
    """Of the sampler."""

    def train_config(self, values: Mapping[str, Any], seed: int | None = None) -> TrainConfig:
        """The base with the dotted `values` laid over it, and the seed if one is given. Raises UserError."""
        seeds = {} if seed is None else {"seed": seed}
        return TrainConfig.from_dict(laid_over(self.base, {**values, **seeds}))

    def final_config(self, best: TrialRecord, seed: int) -> TrainConfig:
        """The config of a final run that repeats the search trial `best`.

        After leave-one-domain-out it trains on all source domains, for as many steps as were best without one.
        """
        config = self.train_config(best.recipe[0], seed)
        checkpoint = best_checkpoint(best)
        if LEAVE_ONE_DOMAIN_OUT not in self.objectives or checkpoint is None:
            return config
        return dataclasses.replace(config, select_by=(LAST_STEP,), num_steps=int(checkpoint["step"]))

    @property
    def fixed(self) -> dict[str, Any]:
        """What is not searched, by dotted key."""
        return {key: value for key, value in flat(self.base).items() if key not in self.space}

    @property
    def num_steps(self) -> int:
        """Optimiser steps of a trial that isn't pruned."""
        return int(self.base["num_steps"])

    @property
    def num_final(self) -> int:
        """Final runs; of fewer trials than `top_k`, as many as there can be."""
        return len(self.final_seeds) * min(self.top_k, self.num_trials)

    def num_planned(self, stage: Stage) -> int:
        """Trainings of a stage."""
        return self.num_trials if stage == "search" else self.num_final

    def continues(self, earlier: "StudyPlan") -> bool:
        """Whether this is `earlier` with nothing changed but more trials, more final seeds, or more trials repeated.

        A population can't grow once it has begun to learn from itself.
        """
        grown = dataclasses.replace(earlier, num_trials=self.num_trials, final_seeds=self.final_seeds, top_k=self.top_k)
        more_seeds = self.final_seeds[: len(earlier.final_seeds)] == earlier.final_seeds
        more = self.num_trials - earlier.num_trials
        more_trials = more == 0 if self.scheduler.name == "pbt" else more >= 0
        return grown == self and more_trials and more_seeds and self.top_k >= earlier.top_k


def studies_of(config: SweepConfig) -> tuple[StudyPlan, ...]:
    """All studies of a config whose targets are written out; those to be compared stand side by side.

    Raises UserError for an unknown algorithm, a wrong value, and an override that matches no study.
    """
    _check_overrides(config)
    return tuple(
        _study(config, data, imbalance, target, label)
        for data in config.data
        for imbalance in config.imbalance
        for target in data.targets
        for label in config.algorithms
    )


def _study(config: SweepConfig, data: DataSpec, imbalance: ImbalanceSpec, target: str, label: str) -> StudyPlan:
    algorithm = config.algorithms[label]
    key = StudyKey(algorithm=label, dataset=data.name, setting=_setting_label(imbalance), target=target)
    train, space = _merged([config, algorithm, *_matching(config.overrides, data.name, target, label)])
    problem = {
        "data": {**data.model_dump(exclude={"targets"}), "target": target},
        "imbalance": imbalance.values,
        "algorithm": {"name": _algorithm_name(label, algorithm)},
    }
    try:
        base = TrainConfig.from_dict(laid_over(problem, train | _judged_by(config.search.objective))).to_dict()
        in_order(space)
        num_trials = _num_trials(config, space, base)
    except UserError as error:
        raise UserError(f"study {key.name}: {error}") from None
    return StudyPlan(
        key=key,
        base=base,
        space=space,
        num_trials=num_trials,
        final_seeds=tuple(range(1, config.final.seeds + 1)),
        top_k=config.final.top_k,
        objectives=config.search.objective,
        sampler=config.search.sampler,
        scheduler=config.search.scheduler,
        warm_start=config.search.warm_start,
        seed=config.search.seed,
    )


def _judged_by(objectives: Sequence[str]) -> dict[str, Any]:
    """What a training needs to be told so that its checkpoints are judged by the objectives."""
    oracle = {"oracle": True} if ORACLE in objectives else {}
    return {"select_by": list(objectives), **oracle}


def _num_trials(config: SweepConfig, space: Space, base: Mapping[str, Any]) -> int:
    """Trials of a study's search: without anything to search one, of a grid no more than there are."""
    wanted = config.search.num_trials
    if not space:
        return 1
    if config.search.sampler != "grid":
        assert wanted is not None, "the config requires it"
        return wanted
    return sum(1 for _ in islice(grid(space, flat(base)), wanted))


def _algorithm_name(label: str, spec: AlgorithmSpec) -> str:
    name = spec.algorithm or label
    if name not in ALGORITHM_CONFIGS:
        raise UserError(f"algorithms.{label}: {unknown_name('algorithm', name, ALGORITHM_CONFIGS)}")
    return name


def _setting_label(spec: ImbalanceSpec) -> str:
    """`long_tail-65`: the setting with the imbalance ratio where it has one."""
    if spec.label:
        return spec.label
    config = from_dict(ImbalanceConfig, spec.values)
    present = [count for count in config.counts or () if count > 0]
    ratio = max(present) / min(present) if present else config.ratio
    return config.setting if ratio is None else f"{config.setting}-{ratio:g}"


def _matching(overrides: Sequence[Override], data: str, target: str, algorithm: str) -> Iterator[Override]:
    for override in overrides:
        asked = ((override.data, data), (override.target, target), (override.algorithm, algorithm))
        if all(wanted in (None, name) for wanted, name in asked):
            yield override


def _merged(blocks: Sequence[Block]) -> tuple[dict[str, Any], Space]:
    """The blocks' values and spaces, the later winning: one that fixes a value takes it out of the search."""
    train: dict[str, Any] = {}
    space: Space = {}
    for block in blocks:
        train.update(block.train)
        space = {key: parameter for key, parameter in space.items() if key not in block.train} | block.space
    return train, space


def _check_overrides(config: SweepConfig) -> None:
    """Refuse an override that matches no study."""
    names = {
        "data": [data.name for data in config.data],
        "target": [target for data in config.data for target in data.targets],
        "algorithm": list(config.algorithms),
    }
    for position, override in enumerate(config.overrides):
        for kind, valid in names.items():
            name = getattr(override, kind)
            if name is not None and name not in valid:
                raise UserError(f"overrides.{position}.{kind}: {unknown_name(kind, name, valid)}")
