"""From a sweep's config to the studies it consists of: pure, printable, and checked before anything starts."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import DataSpec, SweepConfig
from harness.dotted import flat
from harness.plan_studies import StudyPlan, studies_of
from harness.population import CHANGEABLE_OF_MODEL
from harness.records import Stage
from harness.space import extremes
from harness.warm_start import warm_values
from harness.workers import Occupied
from ndcl.config import TrainConfig
from ndcl.errors import UserError, unknown_name
from ndcl.strict import unknown_key

__all__ = ["Plan", "StudyPlan", "buildable", "difference", "extends", "make_plan", "plan_of"]

DomainsOf = Callable[[str, str | None], tuple[str, ...]]
Check = Callable[[TrainConfig], None]
STRUCTURE = ("model.backbone", "model.mlp_depth", "model.freeze_stages")
"""Values on which it depends, together, whether there is such a network."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a sweep will run, and where."""

    name: str
    studies: tuple[StudyPlan, ...]
    results: Path
    """Shared by all sweeps."""
    occupied: Mapping[Stage, Occupied]
    """By a training of each stage."""
    keep_checkpoints: str = "all"
    """`all`, or `selected`: of search trials only those that final runs repeat."""
    tracking_uri: str | None = None
    """As the sweep's file has it."""
    draws_figures: bool = True
    """Optuna's, of each study that is done."""
    resolved: dict[str, Any]
    """The sweep's config with every default and target written out, in plain YAML types."""

    @property
    def folder(self) -> Path:
        """The sweep's own folder."""
        return self.results / self.name

    def num_trainings(self, stage: Stage) -> int:
        """Of a stage, in all studies."""
        return sum(study.num_planned(stage) for study in self.studies)

    @property
    def takes_gpus(self) -> bool:
        """Whether any training occupies one."""
        return any(occupied.gpus for occupied in self.occupied.values())

    @property
    def phases(self) -> tuple[tuple[Stage, ...], ...]:
        """The stages that there are, those together whose trainings run side by side since they occupy the same."""
        if not self.num_trainings("final"):
            return (("search",),)
        if self.occupied["search"] == self.occupied["final"]:
            return (("search", "final"),)
        return ("search",), ("final",)


def make_plan(
    config: SweepConfig, results: Path, *, domains: DomainsOf | None = None, check: Check | None = None
) -> Plan:
    """The plan of a sweep, with every mistake of the user's found.

    `domains` tells a data set's domains (default: `ndcl.data.domains_of`); `check` builds what a training needs and
    raises UserError if it can't be built (default: `buildable`); it is called once per problem and model.
    Raises UserError: one line with the file, the study or key, what is wrong and the remedy.
    """
    try:
        config = _resolved(config, domains or _domains_of)
        studies = studies_of(config)
        _check_studies(studies)
        for study in studies:
            warm_values(study, results)
        _check_problems(studies, check or buildable)
    except UserError as error:
        raise UserError(f"{config.source}: {error}" if config.source else str(error)) from None
    return plan_of(config, studies, results)


def plan_of(config: SweepConfig, studies: tuple[StudyPlan, ...], results: Path) -> Plan:
    """The plan of a sweep whose targets are written out, and of its studies."""
    return Plan(
        name=config.name,
        studies=studies,
        results=results,
        occupied=config.occupied,
        keep_checkpoints=config.resources.keep_checkpoints,
        tracking_uri=config.tracking.uri,
        draws_figures=config.tracking.figures,
        resolved=config.model_dump(mode="json"),
    )


def buildable(config: TrainConfig) -> None:
    """Find out whether the data and the model of a training exist and fit each other. Raises UserError."""
    # Imported here because they import torch, which the rest of a plan can do without.
    from ndcl.data.problem import build_problem
    from ndcl.data.transforms import delivered_shape
    from ndcl.features import require_vectors
    from ndcl.models import require_fit

    store = build_problem(config.data, config.imbalance).store
    require_fit(config.model, delivered_shape(store, config.image_size))
    if config.data.standardize:
        require_vectors(store)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed between two resolved sweeps, a line each: `search.num_trials: 8 -> 12`."""
    before, after = _lines(old), _lines(new)
    keys = [*before, *(key for key in after if key not in before)]
    return [
        f"{key}: {_text(before, key)} -> {_text(after, key)}" for key in keys if _text(before, key) != _text(after, key)
    ]


def extends(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the new resolved sweep has all the old one's studies, unchanged but for more trials or seeds.

    What was run for the old sweep is then valid in the new one. Resources may change.
    """
    try:
        before, after = (
            {study.key: study for study in studies_of(SweepConfig.model_validate(dict(values)))}
            for values in (old, new)
        )
    except ValueError:  # written by an earlier version, with other keys
        return False
    same_name = old["name"] == new["name"]
    return same_name and all(key in after and after[key].continues(study) for key, study in before.items())


def _domains_of(name: str, folder: str | None) -> tuple[str, ...]:
    from ndcl.data import domains_of

    return domains_of(name, folder)


def _resolved(config: SweepConfig, domains: DomainsOf) -> SweepConfig:
    """The config with `all` replaced by the names of the domains."""
    return config.model_copy(update={"data": tuple(_with_targets(spec, domains) for spec in config.data)})


def _with_targets(spec: DataSpec, domains: DomainsOf) -> DataSpec:
    try:
        valid = domains(spec.name, spec.folder)
    except UserError as error:
        raise UserError(f"data.name: {error}") from None
    for target in () if spec.targets == "all" else spec.targets:
        if target not in valid:
            raise UserError(f"data.targets: {unknown_name('target domain', target, valid)}")
    return spec.model_copy(update={"targets": valid}) if spec.targets == "all" else spec


def _check_studies(studies: Sequence[StudyPlan]) -> None:
    """Refuse studies of the same name, and values out of range at the ends of a search range."""
    for name, count in Counter(study.key.name for study in studies).items():
        if count > 1:
            raise UserError(f"study {name} would run {count} times; leave one out, or give its imbalance a label")
    for study in studies:
        _check_space(study)
        _check_scheduler(study)


def _check_space(study: StudyPlan) -> None:
    for key, parameter in study.space.items():
        _check_condition(study, key)
        for value in parameter.probes():
            try:
                study.train_config({key: value})
            except UserError as error:
                raise UserError(f"study {study.key.name}: space: {error}") from None


def _check_condition(study: StudyPlan, key: str) -> None:
    """Refuse a condition that can never hold."""
    fixed = study.fixed
    for other, accepted in (study.space[key].when or {}).items():
        where = f"study {study.key.name}: space.{key}.when"
        if other not in study.space and other not in fixed:
            raise UserError(f"{where}: {unknown_key(other, {**study.space, **fixed}, '')}")
        if not any(_is_possible(study, other, value) for value in accepted):
            raise UserError(
                f"{where}.{other}: it never has {' or '.join(map(repr, accepted))}; give values that it can have"
            )


def _is_possible(study: StudyPlan, key: str, value: Any) -> bool:
    return study.space[key].accepts(value) if key in study.space else bool(study.fixed[key] == value)


def _check_scheduler(study: StudyPlan) -> None:
    evaluations = -(-study.num_steps // int(study.base["evaluate_every"]))
    if study.scheduler.name == "pbt":
        _check_population(study, evaluations)
    elif study.scheduler.name != "none" and study.scheduler.min_resource > evaluations:
        raise UserError(
            f"search.scheduler.min_resource: {study.scheduler.min_resource} is more than the {evaluations} evaluations "
            "of a trial, so nothing would be pruned; lower it, or set search.scheduler.name to none"
        )


def _check_population(study: StudyPlan, evaluations: int) -> None:
    for key in study.space:
        if key.startswith("model.") and key not in CHANGEABLE_OF_MODEL:
            raise UserError(
                f"study {study.key.name}: space.{key}: a network can't change it while it trains, as scheduler pbt "
                "would have it; fix it under train, or take another scheduler"
            )
    if study.scheduler.perturbation_interval >= evaluations:
        raise UserError(
            f"search.scheduler.perturbation_interval: {study.scheduler.perturbation_interval} leaves no exchange "
            f"within the {evaluations} evaluations of a trial; lower it, or lower train.evaluate_every"
        )


def _check_problems(studies: Sequence[StudyPlan], check: Check) -> None:
    """Check each different problem once, with each different model, fixed or searched."""
    seen = []
    for study in studies:
        for values in extremes(study.space, study.fixed, STRUCTURE):
            config = study.train_config(values)
            parts = (config.data, config.imbalance, config.model)
            if parts in seen:
                continue
            seen.append(parts)
            try:
                check(config)
            except UserError as error:
                raise UserError(f"study {study.key.name}: {'space: ' if values else ''}{error}") from None


def _lines(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys to values, also through lists of mappings (`imbalance.0.ratio`)."""
    result: dict[str, Any] = {}
    for key, value in flat(values).items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            result.update(_lines({f"{key}.{position}": item for position, item in enumerate(value)}))
        else:
            result[key] = value
    return result


def _text(lines: Mapping[str, Any], key: str) -> str:
    return repr(lines[key]) if key in lines else "(absent)"
