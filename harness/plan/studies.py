"""The studies of a sweep: one for each algorithm, data set, setting and target domain."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from harness.config import Space, SweepConfig
from harness.config.dotted_keys import flat, laid_over
from harness.config.search import SchedulerConfig, SearchSpec, SecondLook, WarmStart
from harness.config.space import grid, in_order
from harness.config.sweep import AlgorithmSpec, Block, DataSpec, ImbalanceSpec, TopTrials
from harness.records import ENDED, TRAININGS, Stage, StudyKey, TrialRecord, best_checkpoint, select
from ndcl.algorithm_configs import config_class
from ndcl.config import ImbalanceConfig, TrainConfig
from ndcl.criteria import CROSS_VALIDATED, DEFAULT_OBJECTIVE, LAST_STEP, ORACLE
from ndcl.errors import UserError, unknown_name
from ndcl.strict import from_dict

FREEZE_BATCHNORM = "model.freeze_batchnorm"


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
    has_ensemble: bool = False
    """Whether final runs are combined."""
    ensemble_trials: int | None = None
    """Of how many of the best trials; None: of the one that the study settles on."""
    averages_weights: bool = False
    """Whether they become one network, the mean of their weights."""
    objectives: tuple[str, ...] = (DEFAULT_OBJECTIVE,)
    """What is maximised; several make a Pareto front."""
    second_look: SecondLook | None = None
    """By what the best trials of the search are judged once more, and how many."""
    sampler: str
    scheduler: SchedulerConfig
    evaluate_target: Literal["always", "selected", "final"] = "selected"
    """When a training looks at the target."""
    warm_start: WarmStart | None = None
    seed: int
    """Of the sampler."""

    def train_config(self, values: Mapping[str, Any], seed: int | None = None) -> TrainConfig:
        """The base with the dotted `values` laid over it, and the seed if one is given. Raises UserError."""
        seeds = {} if seed is None else {"seed": seed}
        return TrainConfig.from_dict(laid_over(self.base, {**values, **seeds}))

    def review_config(self, values: Mapping[str, Any], seed: int | None = None) -> TrainConfig:
        """The config of a second look at these values: one training per source domain, each without that domain."""
        assert self.second_look is not None, "asked for where there is one"
        config = self.train_config(values, seed)
        return dataclasses.replace(config, select_by=(self.second_look.by,), oracle=False)

    def final_config(self, best: TrialRecord, seed: int) -> TrainConfig:
        """The config of a final run that repeats the search trial `best`.

        After leave-one-domain-out it trains on all source domains, for as many steps as were best without one.
        """
        looks: Literal["always", "selected"] = "always" if self.evaluate_target == "always" else "selected"
        config = dataclasses.replace(self.train_config(best.recipe[0], seed), evaluate_target=looks)
        checkpoint = best_checkpoint(best)
        if set(CROSS_VALIDATED).isdisjoint(self.objectives) or checkpoint is None:
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

    @property
    def num_reviews(self) -> int:
        """Second looks; none where there is only one trial."""
        return min(self.second_look.among, self.num_trials) if self.second_look and self.num_trials > 1 else 0

    def num_reviews_of(self, own: Sequence[TrialRecord]) -> int:
        """Second looks as far as the study's records tell: there is none at a trial that did not run to its end."""
        searched = [record for record in own if record.stage == "search"]
        if len(searched) < self.num_trials or any(record.state not in ENDED for record in searched):
            return self.num_reviews
        return len(select(searched, self.num_reviews))

    @property
    def num_kept(self) -> int:
        """Search trials whose checkpoints are kept where not all are: the best ones."""
        return min(max(self.top_k, self.num_reviews), self.num_trials)

    @property
    def num_trainings(self) -> int:
        """Of all stages; a second look counts as one."""
        return sum(map(self.num_planned, TRAININGS))

    def num_planned(self, stage: Stage) -> int:
        """Trainings of a stage."""
        return {"search": self.num_trials, "review": self.num_reviews, "final": self.num_final}.get(stage, 0)

    def continues(self, earlier: "StudyPlan") -> bool:
        """Whether this is `earlier` with nothing changed but more trials, more final seeds, more trials repeated, more
        second looks, or another ensemble.

        A population can't grow once it has begun to learn from itself.
        """
        grown = dataclasses.replace(
            earlier,
            num_trials=self.num_trials,
            final_seeds=self.final_seeds,
            top_k=self.top_k,
            has_ensemble=self.has_ensemble,
            ensemble_trials=self.ensemble_trials,
            averages_weights=self.averages_weights,
            second_look=self.second_look,
        )
        more_seeds = self.final_seeds[: len(earlier.final_seeds)] == earlier.final_seeds
        more = self.num_trials - earlier.num_trials
        more_trials = more == 0 if self.scheduler.name == "pbt" else more >= 0
        more_looks = _adds(self.second_look, earlier.second_look)
        return grown == self and more_trials and more_seeds and more_looks and self.top_k >= earlier.top_k


def _adds(now: SecondLook | None, earlier: SecondLook | None) -> bool:
    """Whether all second looks that there were are still wanted."""
    return earlier is None or (now is not None and now.by == earlier.by and now.among >= earlier.among)


def as_begun(studies: Sequence[StudyPlan], records: Iterable[TrialRecord]) -> tuple[StudyPlan, ...]:
    """The studies with what a file leaves open as the trials so far have it: version 0.1 froze BatchNorm always."""
    kept = {record.study: record.config["model"]["freeze_batchnorm"] for record in records if "model" in record.config}
    return tuple(
        dataclasses.replace(study, base=laid_over(study.base, {FREEZE_BATCHNORM: kept[study.key]}))
        if kept.get(study.key) is not None and study.fixed.get(FREEZE_BATCHNORM, False) is None
        else study
        for study in studies
    )


def studies_of(config: SweepConfig) -> tuple[StudyPlan, ...]:
    """All studies of a config whose targets are written out; those to be compared stand side by side.

    Raises UserError for an unknown algorithm, a wrong value, and an override that matches no study.
    """
    _check_overrides(config)
    studies = tuple(
        _study(config, data, imbalance, target, label)
        for data in config.data
        for imbalance in config.imbalance
        for target in data.targets
        for label in config.algorithms
    )
    for position, override in enumerate(config.overrides):
        if not any(override.matches(study.key) for study in studies):
            raise UserError(f"overrides.{position}: no study has all of these names; correct one, or remove it")
    return studies


def _place(config: SweepConfig, key: StudyKey, problem: str) -> str:
    """The override, if any, that has the key of which a `problem` tells first."""
    wrong = problem.partition(":")[0]
    for position, override in enumerate(config.overrides):
        if override.matches(key) and wrong in {*override.train, *override.space}:
            return f"overrides.{position}: "
    return ""


def _study(config: SweepConfig, data: DataSpec, imbalance: ImbalanceSpec, target: str, label: str) -> StudyPlan:
    algorithm = config.algorithms[label]
    key = StudyKey(algorithm=label, dataset=data.name, setting=_setting_label(imbalance), target=target)
    train, space = _merged([config, algorithm, *(each for each in config.overrides if each.matches(key))])
    problem = {
        "data": {**data.model_dump(exclude={"targets"}), "target": target},
        "imbalance": imbalance.values,
        "algorithm": {"name": _algorithm_name(label, algorithm)},
    }
    try:
        base = TrainConfig.from_dict(laid_over(problem, train | _judged_by(config.search))).to_dict()
        in_order(space)
        num_trials = _num_trials(config, space, base)
    except UserError as error:
        raise UserError(f"{_place(config, key, str(error))}study {key.name}: {error}") from None
    return StudyPlan(
        key=key,
        base=base,
        space=space,
        num_trials=num_trials,
        final_seeds=tuple(range(1, config.final.seeds + 1)),
        top_k=config.final.top_k,
        has_ensemble=config.final.ensemble != "none",
        ensemble_trials=config.final.ensemble.top_k if isinstance(config.final.ensemble, TopTrials) else None,
        averages_weights=config.final.ensemble == "weights",
        objectives=config.search.objective,
        second_look=config.search.select,
        sampler=config.search.sampler,
        scheduler=config.search.scheduler,
        evaluate_target=config.search.evaluate_target,
        warm_start=config.search.warm_start,
        seed=config.search.seed,
    )


def _judged_by(search: SearchSpec) -> dict[str, Any]:
    """What a search trial needs in its config so that its checkpoints are judged by the objectives, and reported."""
    oracle = {"oracle": True} if ORACLE in search.objective else {}
    looks = "never" if search.evaluate_target == "final" else search.evaluate_target
    return {"select_by": list(search.objective), "evaluate_target": looks, **oracle}


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
    try:
        config_class(name)
    except UserError as error:
        raise UserError(f"algorithms.{label}: {error}") from None
    return name


def _setting_label(spec: ImbalanceSpec) -> str:
    """`long_tail-65`: the setting with the imbalance ratio where it has one."""
    if spec.label:
        return spec.label
    config = from_dict(ImbalanceConfig, spec.values)
    present = [count for count in config.counts or () if count > 0]
    ratio = max(present) / min(present) if present else config.ratio
    return config.setting if ratio is None else f"{config.setting}-{ratio:g}"


def _merged(blocks: Sequence[Block]) -> tuple[dict[str, Any], Space]:
    """The blocks' values and spaces, the later winning: one that fixes a value takes it out of the search."""
    train: dict[str, Any] = {}
    space: Space = {}
    for block in blocks:
        train.update(block.train)
        space = {key: parameter for key, parameter in space.items() if key not in block.train} | block.space
    return train, space


def _check_overrides(config: SweepConfig) -> None:
    """Refuse an override that gives a name of no study."""
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
