"""Rungs and brackets of successive halving: at which steps a search trial is compared, and with which others. Pure.

asha (Li et al. 2020) has one bracket. hyperband (Li et al. 2018) has several, each with a higher first rung; how many,
and how many trials each has, is as in Optuna's `HyperbandPruner`: with R evaluations in a trial, r granted and factor F
there are n = floor(log_F(R / r)) + 1 brackets; bracket b has its first rung at r F^b, and a share of the trials
proportional to ceil(n F^s / (s + 1)), s = n - 1 - b. Optuna draws a trial's bracket by a hash; here it follows from the
trial's number, so that short studies have these shares, too.
"""

from functools import cache
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.plan.studies import StudyPlan

HALVING = ("asha", "hyperband")
"""Schedulers that have rungs."""


def promotes(study: "StudyPlan") -> bool:
    """Whether a search trial waits at each rung until it is promoted."""
    return study.scheduler.name in HALVING and study.scheduler.mode == "promote"


def rungs(study: "StudyPlan", number: int) -> tuple[int, ...]:
    """The steps, rising, at which search trial `number` is compared with others of its bracket; all before its end."""
    if study.scheduler.name not in HALVING:
        return ()
    factor, found = study.scheduler.reduction_factor, []
    step = first_rung(study, bracket_of(study, number))
    while step < study.num_steps:
        found.append(step)
        step *= factor
    return tuple(found)


def first_rung(study: "StudyPlan", bracket: int) -> int:
    """The step at which trials of a bracket are first compared; not before their end if nothing stops them."""
    resource: int = study.scheduler.min_resource * study.scheduler.reduction_factor**bracket
    return resource * int(study.base["evaluate_every"])


def num_evaluations(study: "StudyPlan") -> int:
    """Of a trial that runs to its end."""
    return ceil(study.num_steps / int(study.base["evaluate_every"]))


def num_brackets(study: "StudyPlan") -> int:
    """Groups of trials that are compared among themselves."""
    if study.scheduler.name != "hyperband":
        return 1
    found, resource = 1, study.scheduler.min_resource
    while (resource := resource * study.scheduler.reduction_factor) <= num_evaluations(study):
        found += 1
    return found


def bracket_of(study: "StudyPlan", number: int) -> int:
    """The bracket of search trial `number`; 0 is the one whose first rung is the lowest."""
    cycle = _cycle(num_brackets(study), study.scheduler.reduction_factor)
    return cycle[number % len(cycle)]


def bracket_sizes(count: int, factor: int) -> tuple[int, ...]:
    """Trials of each of `count` brackets in one round of hyperband."""
    return tuple(ceil(count * factor**s / (s + 1)) for s in reversed(range(count)))


@cache
def _cycle(count: int, factor: int) -> tuple[int, ...]:
    """The brackets of one round's trials, in which each beginning has each bracket's share as nearly as it can."""
    sizes = bracket_sizes(count, factor)
    given, order = [0] * count, []
    for number in range(1, sum(sizes) + 1):
        lacking = [size * number - had * sum(sizes) for size, had in zip(sizes, given, strict=True)]
        bracket = lacking.index(max(lacking))
        given[bracket] += 1
        order.append(bracket)
    return tuple(order)


def least_steps(study: "StudyPlan") -> list[int]:
    """The steps that the study's search trials take at the least, the longest first.

    At least one of each bracket runs to its end; by promotion one in so many of each rung goes on besides.
    """
    sizes = [0] * num_brackets(study)
    for number in range(study.num_trials):
        sizes[bracket_of(study, number)] += 1
    own = _least_by_promotion if promotes(study) else _least_by_stopping
    steps = [own(study, bracket, size) for bracket, size in enumerate(sizes) if size]
    return sorted(chain.from_iterable(steps), reverse=True)


def _least_by_stopping(study: "StudyPlan", bracket: int, size: int) -> list[int]:
    """The first to reach a rung is the best there."""
    return [study.num_steps] + [min(study.num_steps, first_rung(study, bracket))] * (size - 1)


def _least_by_promotion(study: "StudyPlan", bracket: int, size: int) -> list[int]:
    """The shortest first, of which the last goes to its end whatever the rungs are."""
    steps: list[int] = []
    rung = first_rung(study, bracket)
    while size and rung < study.num_steps:
        going_on = size // study.scheduler.reduction_factor
        steps += [rung] * (size - going_on)
        size, rung = going_on, rung * study.scheduler.reduction_factor
    steps += [study.num_steps] * size
    return [*steps[:-1], study.num_steps]
