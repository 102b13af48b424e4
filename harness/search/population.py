"""Population based training (Jaderberg et al. 2017), as pure decisions on the records of one study.

The trials of a study are its population. They train side by side to the same step; then each of the worst takes over
the weights of one of the best, with that one's values slightly changed. Since everybody waits for everybody, what is
decided depends on the records alone, never on which trial was faster, and a sweep that was killed decides alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.config import Parameter
from harness.config.space import in_order, is_active
from harness.records import TrialRecord
from harness.records.selection import criteria, merit

if TYPE_CHECKING:
    from harness.plan import StudyPlan

FACTORS = (0.8, 1.2)
"""By one of these a number is multiplied that is taken over from another trial."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """How one trial continues."""

    name: str
    donor: str
    """The trial whose weights it takes over; its own name if it keeps its own."""
    values: dict[str, Any]
    """Searched values from here on."""


def next_stop(study: "StudyPlan", step: int) -> int | None:
    """Step after `step` at which search trials wait for each other; None: they train to their end."""
    if study.scheduler.name != "pbt":
        return None
    interval = study.scheduler.perturbation_interval * int(study.base["evaluate_every"])
    stop = (step // interval + 1) * interval
    return stop if stop < study.num_steps else None


def is_gathered(study: "StudyPlan", records: Sequence[TrialRecord]) -> bool:
    """Whether nobody is still on the way to where the others wait."""
    is_one_waiting = any(record.is_waiting for record in records)
    return is_one_waiting and all(record.has_stopped for record in records) and len(records) >= study.num_trials


def moves(study: "StudyPlan", waiting: Sequence[TrialRecord]) -> list[Move]:
    """How the gathered trials continue: the worst quantile each from a trial of the best quantile, drawn at random."""
    ranked = sorted(waiting, key=lambda record: (_standing(record), -record.number))
    quantile = int(np.ceil(len(ranked) * study.scheduler.quantile_fraction)) if len(ranked) > 1 else 0
    quantile = min(quantile, len(ranked) // 2)
    worst, best = ranked[:quantile], ranked[len(ranked) - quantile :]
    result = []
    for record in waiting:
        random = np.random.default_rng(np.random.SeedSequence((study.seed, record.step, record.number)))
        if record in worst:
            donor = best[int(random.integers(len(best)))]
            values = _explored(study, current_values(donor), random)
            result.append(Move(name=record.name, donor=donor.name, values=values))
        else:
            result.append(Move(name=record.name, donor=record.name, values=current_values(record)))
    return result


def current_values(record: TrialRecord) -> dict[str, Any]:
    """The searched values by which the record trains now."""
    return dict(record.schedule[-1]["values"]) if record.schedule else dict(record.values)


def taken_over(donor: TrialRecord, move: Move) -> tuple[dict[str, Any], ...]:
    """The schedule of a trial that resumes from the weights of `donor`: that one's past, and the change now."""
    start, changes = donor.recipe
    return ({"step": 0, "values": start}, *changes, {"step": donor.step, "values": move.values})


def _standing(record: TrialRecord) -> float:
    return merit(record.evaluations[-1], criteria(record))


def _explored(study: "StudyPlan", values: Mapping[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """Values near those given; a parameter that only now becomes active is drawn anew."""
    explored: dict[str, Any] = {}
    for key, parameter in in_order(study.space).items():
        if not is_active(parameter, explored, study.fixed):
            continue
        anew = key not in values or random.random() < study.scheduler.resample_probability
        explored[key] = parameter.at(random.random()) if anew else _perturbed(parameter, values[key], random)
    return explored


def _perturbed(parameter: Parameter, value: Any, random: np.random.Generator) -> Any:
    if parameter.type == "choice":
        position = parameter.choices.index(value) + int(random.choice((-1, 1)))
        return parameter.choices[min(max(position, 0), len(parameter.choices) - 1)]
    moved = value * float(random.choice(FACTORS))
    if parameter.step is not None:
        moved = parameter.low + round((moved - parameter.low) / parameter.step) * parameter.step
    return type(value)(min(max(moved, parameter.low), parameter.high))
