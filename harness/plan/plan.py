"""From a sweep's config to the studies it consists of: pure, printable, and checked before anything starts."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.config import Demand, SweepConfig
from harness.config.commands import sweep_command
from harness.config.sweep import DataSpec
from harness.plan.changes import difference, extends
from harness.plan.checks import Check, buildable, check_problems, check_studies, readable
from harness.plan.studies import StudyPlan, as_begun, studies_of
from harness.plan.sweep_file import recorded_values
from harness.plan.unused import refuse_unused
from harness.plan.warm_start import warm_values
from harness.records import Journal, Stage
from harness.records.places import SWEEP_FILE
from ndcl.config import NO_TARGET
from ndcl.errors import UserError, unknown_name

__all__ = ["Plan", "StudyPlan", "buildable", "difference", "extends", "make_plan", "plan_of"]
DomainsOf = Callable[[str, str | None], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a sweep will run, and where."""

    name: str
    studies: tuple[StudyPlan, ...]
    results: Path
    """Shared by all sweeps; as it was given, and so fit to be printed."""
    occupied: Mapping[Stage, Demand]
    """By a training of each stage."""
    keep_checkpoints: str = "all"
    """`all`, or `selected`: of search trials only those that final runs repeat."""
    tracking_uri: str | None = None
    """As the sweep's file has it."""
    draws_figures: bool = True
    """Optuna's, of each study that is done."""
    resolved: dict[str, Any]
    """The sweep's config with every default and target written out, in plain YAML types."""
    command: str = field(default="", compare=False)
    """What a user types to run it."""

    @property
    def folder(self) -> Path:
        """The sweep's own folder: one path, by whatever path the results were given."""
        return self.results.resolve() / self.name

    def num_trainings(self, stage: Stage) -> int:
        """Of a stage, in all studies."""
        return sum(study.num_planned(stage) for study in self.studies)

    @property
    def is_for_deployment(self) -> bool:
        """Whether its unseen domains tell what a model of all of them is worth on another one: at least two."""
        return len({study.key.target for study in self.studies if study.key.target != NO_TARGET}) > 1

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
        check_studies(studies)
        resumes = _resumes(config, results)
        if not resumes:
            refuse_unused(config, studies)
        for study in studies:
            warm_values(study, results)
        begun = as_begun(studies, Journal(results / config.name).read() if resumes else ())
        check_problems(begun, check or partial(buildable, may_have_unused=resumes, on_several=_is_on_several(config)))
    except UserError as error:
        raise UserError(f"{config.source}: {error}" if config.source else str(error)) from None
    return plan_of(config, studies, results)


def require_suitable_data(config: SweepConfig) -> None:
    """Raise UserError unless the data sets have the sweep's targets, and its imbalance settings and models suit them.

    Results of earlier runs are not looked at.
    """
    try:
        config = _resolved(config, _domains_of)
        check = partial(buildable, may_have_unused=True, on_several=_is_on_several(config))
        check_problems(studies_of(config), check)
    except UserError as error:
        raise UserError(f"{config.source}: {error}" if config.source else str(error)) from None


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
        command=sweep_command(config.source or str(results / config.name / SWEEP_FILE), config.settings, results),
    )


def _is_on_several(config: SweepConfig) -> bool:
    """Whether any training has several workers."""
    return any(each.workers for stage, each in config.occupied.items() if stage == "search" or config.final.seeds)


def _resumes(config: SweepConfig, results: Path) -> bool:
    """Whether the results folder has this sweep already: it then continues as it was begun, by whatever version."""
    try:
        earlier = recorded_values(results / config.name)
        return earlier is not None and extends(earlier, config.model_dump(mode="json"))
    except (OSError, UserError, TypeError, KeyError):  # a damaged one, found elsewhere
        return False


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
    targets = (
        list(valid)
        if spec.targets == ALL_TARGETS
        else [  # in a list it may be a domain's name
            each
            for target in spec.targets
            for each in (valid if target == ALL_TARGETS and target not in valid else (_found(target, valid),))
        ]
    )
    return spec.model_copy(update={"targets": tuple(map(readable, targets))})


ALL_TARGETS = "all"
"""In a sweep's file: each domain in turn."""


def _found(target: str, valid: Sequence[str]) -> str:
    """The domain that is meant: `é` has two forms in Unicode, which look alike. Raises UserError."""
    same = [name for name in valid if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", target)]
    if target == NO_TARGET and not same:
        return target
    if target in valid or len(same) == 1:
        return target if target in valid else same[0]
    quotes = "; put quotes around a name of digits" if target.replace(".", "").isdecimal() else ""
    unknown = unknown_name("target domain", target, valid)
    raise UserError(f"data.targets: {unknown}, all, or {NO_TARGET} for a study that leaves none out{quotes}")
