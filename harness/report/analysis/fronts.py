"""The Pareto fronts of studies that were searched for several objectives at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records import StudyKey, TrialRecord, best_checkpoint
from harness.records.selection import criteria, pareto_front, value_of
from harness.report.analysis.cells import shown_records


@dataclass(frozen=True, kw_only=True)
class FrontTrial:
    """One search trial, at its best checkpoint."""

    number: int
    values: Mapping[str, float]
    """By objective."""
    selected: bool
    """Whether the report's numbers are those of its values."""


@dataclass(frozen=True, kw_only=True)
class Front:
    """The trials of one study that no other equals or betters in every objective and betters in one."""

    study: StudyKey
    objectives: tuple[str, ...]
    trials: tuple[FrontTrial, ...]
    """By falling value of the first objective."""
    num_finished: int
    """Search trials that ran to their end, from which the front was taken."""


def fronts_of(records: Sequence[TrialRecord], top_k: int) -> tuple[Front, ...]:
    """The front of every study with several objectives, in order of first appearance; `top_k` as in `compare`."""
    studies: dict[StudyKey, list[TrialRecord]] = {}
    for record in records:
        studies.setdefault(record.study, []).append(record)
    fronts = (_front(study, own, top_k) for study, own in studies.items())
    return tuple(front for front in fronts if len(front.objectives) > 1 and front.trials)


def _front(study: StudyKey, records: Sequence[TrialRecord], top_k: int) -> Front:
    searched = [record for record in records if record.stage == "search"]
    objectives = tuple(dict.fromkeys(name for record in searched for name in criteria(record)))
    shown = shown_records(records, top_k)
    trials = [
        FrontTrial(
            number=record.number,
            values={name: value_of(best, name) for name in objectives},
            selected=any(record.recipe == other.recipe for other in shown),
        )
        for record in pareto_front(searched)
        if (best := best_checkpoint(record))
    ]
    return Front(
        study=study,
        objectives=objectives,
        trials=tuple(sorted(trials, key=lambda trial: [-value for value in trial.values.values()])),
        num_finished=sum(record.state == "finished" for record in searched),
    )
