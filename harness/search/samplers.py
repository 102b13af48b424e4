"""Optuna's samplers and pruners, as a sweep names them."""

import math
import warnings
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import optuna

from harness.plan.rungs import bracket_of, promotes
from harness.search.frozen_trials import number_of
from harness.search.halving import HalvingPruner
from harness.search.hyperband import HyperbandPruner
from harness.search.no_repeats import NoRepeatSampler
from harness.search.paused_trials import with_paused_as_pruned
from harness.search.space_filling import num_startup

if TYPE_CHECKING:
    from harness.plan import StudyPlan

TRIALS_PER_JOINT_VALUE = 5
"""With fewer trials for each value that is searched, TPE models each separately: the joint density of the good would
be that of two or three points."""


def no_repeat_sampler(plan: "StudyPlan", drawn: int) -> optuna.samplers.BaseSampler:
    """The sampler, seeded so that a study that continues does not repeat the `drawn` draws it has made."""
    seed = int(np.random.SeedSequence((plan.seed, drawn)).generate_state(1)[0]) if drawn else plan.seed
    seen = partial(with_paused_as_pruned, plan) if plan.sampler == "tpe" and promotes(plan) else None
    return NoRepeatSampler(_sampler(plan, seed), plan.space, plan.fixed, seed, seen)


def _sampler(plan: "StudyPlan", seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler."""
    startup = num_startup(plan)
    is_joint = plan.num_trials >= TRIALS_PER_JOINT_VALUE * len(plan.space)
    with warnings.catch_warnings():  # Optuna calls some of these options experimental, and says so at every start
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)  # `gamma` goes with Optuna 6
        match plan.sampler:
            case "tpe":
                return optuna.samplers.TPESampler(
                    multivariate=is_joint,
                    group=is_joint,
                    constant_liar=True,
                    n_startup_trials=startup,
                    gamma=_num_good,
                    seed=seed,
                )
            case "gp":
                return optuna.samplers.GPSampler(n_startup_trials=startup, seed=seed, warn_independent_sampling=False)
            case "cmaes":
                return optuna.samplers.CmaEsSampler(
                    n_startup_trials=startup, seed=seed, warn_independent_sampling=False
                )
            case "nsga2":
                # Ten generations in the budget, as far as a generation of four and one of fifty allow it.
                population = max(4, min(50, plan.num_trials // 10))
                return optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _num_good(num_trials: int) -> int:
    """How many of the trials TPE takes as good: a quarter, at most 25.

    Optuna's tenth is a single trial of a short study, whose neighbourhood is then all that is searched.
    """
    return min(math.ceil(num_trials / 4), 25)


def pruner_of(plan: "StudyPlan") -> optuna.pruners.BasePruner:
    """The pruner; the config counts evaluations, Optuna counts optimiser steps."""
    config, evaluate_every = plan.scheduler, int(plan.base["evaluate_every"])
    match config.name:
        case "asha" | "hyperband" if config.mode == "promote":
            return optuna.pruners.NopPruner()  # `harness.state.promotion` decides
        case "asha":
            min_steps = config.min_resource * evaluate_every
            return HalvingPruner(min_steps=min_steps, reduction_factor=config.reduction_factor)
        case "hyperband":
            return HyperbandPruner(
                min_steps=config.min_resource * evaluate_every,
                reduction_factor=config.reduction_factor,
                bracket_of=lambda trial: bracket_of(plan, number_of(trial)),
            )
        case "median":
            min_steps = config.min_resource * evaluate_every
            return optuna.pruners.MedianPruner(n_warmup_steps=min_steps, interval_steps=evaluate_every)
    return optuna.pruners.NopPruner()  # also for a population, whose trials learn instead of ending
