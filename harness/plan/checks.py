"""What is wrong with a plan, before it costs anything."""

import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from harness.config.search import WITHOUT_SCHEDULER
from harness.config.space import extremes
from harness.plan.rungs import num_brackets, num_evaluations, promotes, rungs
from harness.plan.shared_start import require_shared_start
from harness.plan.studies import StudyPlan
from ndcl.algorithm_configs import config_class
from ndcl.compatibility import require_fit, require_steps
from ndcl.config import TrainConfig
from ndcl.data.inputs import augments_on_gpu, delivered_shape, require_vectors
from ndcl.data.problem import build_problem
from ndcl.data.vectors import require_transformable
from ndcl.errors import UserError
from ndcl.measurable import require_measurable
from ndcl.names import require_text
from ndcl.strict import unknown_key
from ndcl.unused import unused_for_vectors

Check = Callable[[TrainConfig], None]
STRUCTURE = (
    *("model.backbone", "model.mlp_depth", "model.freeze_stages", "model.train"),
    *("data.augment", "data.transform"),
)
"""Values on which it depends, together, whether there is such a network, and whether its data are used so."""
CHANGEABLE_OF_MODEL = ("model.dropout", "model.stochastic_depth")
"""Values of the model that can change while it is trained."""
LEARNS_FROM_FINISHED = ("gp", "cmaes", "nsga2")
"""Samplers that make nothing of a trial that waits at a rung."""
UNCHANGEABLE = ("optimizer.name", "optimizer.weight_decay_of", "averaging.name")
"""What decides on the form of the optimiser's state, or of the averages."""


def buildable(config: TrainConfig, *, may_have_unused: bool = False, on_several: bool = False) -> None:
    """Find out whether the data and the model of a training exist and fit, and what it is judged by can be measured.

    Raises UserError, also for values that change nothing with these data, unless it `may_have_unused` ones, and for
    what does not work `on_several` workers.
    """
    problem = build_problem(config.data, config.imbalance)
    store = problem.store
    shape = delivered_shape(store, config.image_size)
    _require_room(config, len(problem.source_domains), shape)
    require_measurable(problem, config.select_by)
    unused = unused_for_vectors(config) if store.kind == "vectors" else None
    if unused and not may_have_unused:
        raise UserError(unused)
    require_fit(config.model, shape)
    require_steps(config, on_several=on_several)
    augments_on_gpu(store, config.data, on_gpu=True)
    if config.data.standardize:
        require_vectors(store)
    if config.data.transform != "none":
        require_transformable(store)


def _require_room(config: TrainConfig, num_sources: int, shape: Sequence[int]) -> None:
    """Refuse a batch whose inputs alone are more than this machine can hold: as stored, or as the network sees them."""
    rows = config.batch_size * num_sources
    num_bytes = max(rows, 4 * min(rows, config.micro_batch_size or rows)) * math.prod(shape)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if num_bytes > memory:
        raise UserError(
            f"batch_size: {config.batch_size} rows from each of {num_sources} source domains take "
            f"{num_bytes / 1e9:,.0f} GB as inputs alone, and this machine has {memory / 1e9:,.0f} GB; lower it"
        )


def readable(target: str) -> str:
    """A name of a domain, if it is one that can be shown and typed. Raises UserError."""
    try:
        return require_text(target)
    except UserError as error:
        raise UserError(f"data.targets: {error}, and import the data set anew") from None


def check_studies(studies: Sequence[StudyPlan]) -> None:
    """Refuse studies of the same name, and values out of range at the ends of a search range."""
    for key, count in Counter(study.key for study in studies).items():
        if count > 1:
            raise UserError(f"study {key.name} would run {count} times; leave one out, or give its imbalance a label")
    _check_file_names(studies)
    for study in studies:
        _check_space(study)
        _check_scheduler(study)
        require_shared_start(study)


def _check_file_names(studies: Sequence[StudyPlan]) -> None:
    """Refuse two studies whose files would be one, on a file system that takes `A` for `a` if not on all."""
    seen: dict[str, StudyPlan] = {}
    for study in studies:
        other = seen.setdefault(study.key.name.casefold(), study)
        if other is not study:
            raise UserError(
                f"studies {other.key.title} and {study.key.title} would have files of the same names; give them "
                "other labels, or move one to another sweep"
            )


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
    evaluations, scheduler = num_evaluations(study), study.scheduler
    if scheduler.name == "pbt":
        _check_population(study, evaluations)
    elif scheduler.name != "none" and scheduler.min_resource > evaluations:
        raise UserError(
            f"search.scheduler.min_resource: {scheduler.min_resource} is more than the {evaluations} evaluations "
            f"of a trial, so nothing would be pruned; lower it, or give {WITHOUT_SCHEDULER}"
        )
    elif promotes(study) and study.space and study.sampler in LEARNS_FROM_FINISHED:
        raise UserError(
            f"search.scheduler.mode: promote leaves sampler {study.sampler} few trials that end before the last ones "
            "begin, and it learns from those alone; take sampler tpe, or mode stop"
        )
    elif promotes(study) and not rungs(study, 0):
        raise UserError(
            f"search.scheduler.min_resource: {scheduler.min_resource} leaves no rung before the end of a trial's "
            f"{evaluations} evaluations from which it could be promoted; lower it, or give {WITHOUT_SCHEDULER}"
        )
    elif scheduler.name == "hyperband" and num_brackets(study) == 1:
        raise UserError(
            f"search.scheduler: with min_resource {scheduler.min_resource} and reduction_factor "
            f"{scheduler.reduction_factor} hyperband has one bracket within the {evaluations} evaluations of a trial; "
            "lower one of them, or take asha"
        )


def _check_population(study: StudyPlan, evaluations: int) -> None:
    own = {f"algorithm.{key}" for key in config_class(str(study.base["algorithm"]["name"])).structure}
    for key in study.space:
        of_network = (key.startswith("model.") and key not in CHANGEABLE_OF_MODEL) or key in own
        if of_network or key in UNCHANGEABLE:
            what = "network" if of_network else "training"
            raise UserError(
                f"study {study.key.name}: space.{key}: a {what} can't change it while it trains, as scheduler pbt "
                "would have it; fix it under train, or take another scheduler"
            )
    if study.num_trials == 1 and study.space:
        raise UserError(
            "search.num_trials: with 1 trial scheduler pbt has nothing to exchange; raise it, or give "
            f"{WITHOUT_SCHEDULER}"
        )
    if study.scheduler.perturbation_interval >= evaluations:
        raise UserError(
            f"search.scheduler.perturbation_interval: {study.scheduler.perturbation_interval} leaves no exchange "
            f"within the {evaluations} evaluations of a trial; lower it, or lower train.evaluate_every"
        )


def check_problems(studies: Sequence[StudyPlan], check: Check) -> None:
    """Check each different problem once, with each different model, fixed or searched."""
    seen = []
    for study in studies:
        for values in extremes(study.space, study.fixed, STRUCTURE):
            config = study.train_config(values)
            memory = (config.batch_size, config.micro_batch_size, config.activation_checkpointing)
            parts = (config.data, config.imbalance, config.model, memory, config.algorithm.context is None)
            if parts in seen:
                continue
            seen.append(parts)
            try:
                check(config)
                if study.num_reviews:
                    check(study.review_config(values))
            except UserError as error:
                raise UserError(f"study {study.key.name}: {'space: ' if values else ''}{error}") from None
