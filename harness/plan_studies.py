"""The studies of a sweep: one for each algorithm, data set, setting and target domain."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config import AlgorithmSpec, Block, DataSpec, ImbalanceSpec, Override, PrunerConfig, SweepConfig
from harness.dotted import laid_over
from harness.records import StudyKey
from harness.space import Space
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
    sampler: str
    pruner: PrunerConfig
    seed: int
    """Of the sampler."""

    def train_config(self, values: Mapping[str, Any], seed: int | None = None) -> TrainConfig:
        """The base with the dotted `values` laid over it, and the seed if one is given. Raises UserError."""
        seeds = {} if seed is None else {"seed": seed}
        return TrainConfig.from_dict(laid_over(self.base, {**values, **seeds}))

    @property
    def num_steps(self) -> int:
        """Optimiser steps of a trial that isn't pruned."""
        return int(self.base["num_steps"])

    @property
    def num_final(self) -> int:
        """Final runs."""
        return len(self.final_seeds)

    def continues(self, earlier: "StudyPlan") -> bool:
        """Whether this is `earlier` with nothing changed but more trials or more final seeds."""
        grown = dataclasses.replace(earlier, num_trials=self.num_trials, final_seeds=self.final_seeds)
        more_seeds = self.final_seeds[: earlier.num_final] == earlier.final_seeds
        return grown == self and self.num_trials >= earlier.num_trials and more_seeds


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
        base = TrainConfig.from_dict(laid_over(problem, train)).to_dict()
    except UserError as error:
        raise UserError(f"study {key.name}: {error}") from None
    return StudyPlan(
        key=key,
        base=base,
        space=space,
        # Without anything to search, all trials would be the same training.
        num_trials=config.search.num_trials if space else 1,
        final_seeds=tuple(range(1, config.final.seeds + 1)),
        sampler=config.search.sampler,
        pruner=config.search.pruner,
        seed=config.search.seed,
    )


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
