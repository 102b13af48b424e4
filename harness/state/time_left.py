"""How long a sweep still takes, by what its trials have taken so far: study by study and step by step. Pure.

Trials differ: NDCL's steps take twice as long as ERM's, a trial that is stopped early takes few of them, and a study's
final runs come after its search. So each trial that is open counts with the steps it is expected to take, at the pace
of the trials of its study.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from harness.plan.cost import Kind, ended_in_one_go, least_left, num_of, open_trials
from harness.plan.rungs import promotes
from harness.records import TRAININGS, Stage, StudyKey, TrialRecord

if TYPE_CHECKING:
    from harness.plan import StudyPlan


def seconds_left(studies: Sequence["StudyPlan"], records: Iterable[TrialRecord], at_once: int) -> float | None:
    """Of the `studies` that are not over, with `at_once` trials side by side; None before any trial tells its pace.

    At the end slots stand empty, so that it is never less than the longest trial takes.
    """
    records = list(records)
    paces, all_shares = _Paces(records), _shares(records)
    of_study: dict[StudyKey, list[TrialRecord]] = {}
    for record in records:
        of_study.setdefault(record.study, []).append(record)
    parts: list[float] = []
    for study in studies:
        own = of_study.get(study.key, [])
        shares = _shares(own) or all_shares
        for stage in TRAININGS:
            if not study.num_planned(stage):
                continue
            pace = paces.of(study, stage)
            if pace is None:
                return None
            parts += [pace * steps for steps in _steps_left(study, stage, own, shares)]
    return max(sum(parts) / max(1, at_once), max(parts, default=0.0))


class _Paces:
    """Seconds that a step takes, with all that a trial does besides.

    A driver asks at each end of a trial, of thousands, so that each record is looked at once.
    """

    def __init__(self, records: Sequence[TrialRecord]) -> None:
        whole, training = defaultdict[Hashable, list[float]](list), defaultdict[Hashable, list[float]](list)
        for record in records:
            if not record.evaluations or not record.is_training:
                continue
            kind = Kind.of(record.config)
            groups: tuple[Hashable, ...] = (
                (record.study, record.stage),
                (record.study, kind),
                record.study,
                kind,
                None,
            )
            ended, seconds = ended_in_one_go(record), float(record.evaluations[-1]["seconds"])
            for group in groups:
                training[group].append(seconds / record.step)
                if ended:
                    whole[group].append((ended - record.started) / record.step)
        self._whole = {group: fmean(paces) for group, paces in whole.items()}
        self._training = {group: fmean(paces) for group, paces in training.items()}

    def of(self, study: "StudyPlan", stage: Stage) -> float | None:
        """Of the study's trials of that stage, else of those of its kind, else of all.

        By trials that ran from their start to their end in one go; only where there is none by the time of training.
        """
        kind = Kind.of(study.base).of_stage(stage)
        found = (
            self._whole.get((study.key, stage)),
            self._whole.get((study.key, kind)),
            self._whole.get(kind),
            self._training.get(kind),
            self._whole.get(study.key),
            self._whole.get(None),
            self._training.get(None),
        )
        return next((pace for pace in found if pace is not None), None)


def _steps_left(study: "StudyPlan", stage: Stage, own: Sequence[TrialRecord], shares: Sequence[float]) -> list[float]:
    """Of each open trial of the study's stage: the steps to its end, less what early stopping is expected to save."""
    open_ones = open_trials(own, stage, num_of(study, stage, own))
    if stage != "search":
        return [float(study.num_steps - done) for done in open_ones]
    if promotes(study):  # trials end together here, so that none of them tells how far others come
        finished = sum(record.stage == "search" and record.state == "finished" for record in own)
        return [float(steps) for steps in least_left(study, finished, open_ones)]
    left = {done: study.num_steps * _share_left(done / study.num_steps, shares) for done in set(open_ones)}
    return [left[done] for done in open_ones]


def _shares(records: Sequence[TrialRecord]) -> list[float]:
    """How far the search trials came that have ended, as shares of all their steps."""
    ended = [r for r in records if r.stage == "search" and r.state in ("finished", "pruned") and r.step]
    return [record.step / int(record.config["num_steps"]) for record in ended]


def _share_left(done: float, shares: Sequence[float]) -> float:
    """What a trial that is so far has before it: as those that went further had, or all the rest if none did."""
    further = [share for share in shares if share > done]
    return (fmean(further) if further else 1.0) - done
