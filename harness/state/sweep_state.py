"""What a sweep has to do next. Pure: it knows the plan and the records, and neither Ray nor Optuna nor a clock.

Because everything is derived from the records, a sweep that was killed resumes where it was, and a sweep that was
extended (more trials, seeds or targets) does only what is new.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.records import ENDED, STAGES, Stage, TrialRecord
from harness.records.ensemble import ensemble_members
from harness.records.record import AVERAGED, phase_of
from harness.state.promotion import has_waited, next_promotion

if TYPE_CHECKING:
    from harness.plan import StudyPlan

MIN_ENDED_TO_JUDGE = 3
"""A study is not stopped for its failures before so many of its search trials have ended."""
MAX_FAILED_SHARE = 0.8
"""A study in which a larger share of at least 5 ended search trials failed is stopped; of fewer, all must have."""

Select = Callable[[list[TrialRecord], int], list[TrialRecord]]
"""From a study's search records and second looks, the best k trials, whose values the final runs repeat."""


@dataclass(frozen=True, kw_only=True)
class NextTrial:
    """One trial to start now."""

    study: "StudyPlan"
    stage: Stage
    number: int
    values: dict[str, Any] | None
    """None: a new search trial, whose values the study's sampler is to draw."""
    seed: int = 0
    interrupted: TrialRecord | None = None
    """The record of the trial that continues, with its own values and config."""
    repeats: TrialRecord | None = None
    """The search trial whose values a final run repeats, or to which this is a second look."""
    members: tuple[TrialRecord, ...] = ()
    """The final runs that an ensemble combines."""

    @property
    def name(self) -> str:
        """The name that its record has or will have."""
        return f"{self.study.key.name}.{self.stage}-{self.number:03d}"


class SweepState:
    """The plan's studies and the records so far. `put` every change of a record; ask `next` for what is due."""

    def __init__(self, studies: Sequence["StudyPlan"], records: Iterable[TrialRecord], select: Select) -> None:
        self.studies = tuple(studies)
        self.records: dict[str, TrialRecord] = {}
        self._select = select
        self._of: dict[str, dict[str, TrialRecord]] = {study.key.name: {} for study in studies}
        for record in records:
            self.put(record)

    def put(self, record: TrialRecord) -> None:
        """Add or replace a record. One of a study that is not in the plan is kept, but never due."""
        self.records[record.name] = record
        self._of.setdefault(record.study.name, {})[record.name] = record

    def running(self) -> list[TrialRecord]:
        """The records of trials that have been started and have not ended."""
        return [record for record in self.records.values() if record.state == "running"]

    def next(self, stages: Sequence[Stage] = STAGES) -> NextTrial | None:
        """The trial of these stages to start now, or None if nothing is due before a running one ends.

        Interrupted trials come first, then the study of which the fewest trials were started, so that none starves; of
        its search a trial to be promoted, and then a new one.
        """
        for study in self.studies:
            for record in self._of[study.key.name].values():
                may_continue = (record.state == "interrupted" and self._is_whole(record)) or _may_go_on(record)
                if phase_of(record.stage) in stages and may_continue:
                    return self._continuing(study, record)
        for study in sorted(self.studies, key=lambda study: len(self._of[study.key.name])):
            due = self._next_search(study) or self._next_review(study) if "search" in stages else None
            due = due or (self._next_final(study) or self._next_ensemble(study) if "final" in stages else None)
            if due:
                return due
        return None

    @property
    def is_done(self) -> bool:
        """Whether nothing is running, due, or can become due."""
        return self.is_over(STAGES)

    def is_over(self, stages: Sequence[Stage]) -> bool:
        """Whether nothing is running, and nothing of these stages is due."""
        return not self.running() and self.next(stages) is None

    def stage_of(self, study: "StudyPlan") -> str:
        """`search`, `review`, `final`, `done`, or `stopped`; `stop_reason` tells why."""
        if self.stop_reason(study) is not None:
            return "stopped"
        if not self._search_is_over(study):
            return "search"
        if not self._review_is_over(study):
            return "review"
        unfinished = any(r.state not in ENDED and self._is_whole(r) for r in self._of[study.key.name].values())
        return "final" if unfinished or self._next_final(study) or self._next_ensemble(study) else "done"

    def selected(self, study: "StudyPlan") -> list[TrialRecord]:
        """The search trials that the final runs repeat, best first; none before search and second look are over."""
        return self._select(self.judged_records(study), study.top_k) if self._review_is_over(study) else []

    def stop_reason(self, study: "StudyPlan") -> str | None:
        """Why the study can't continue, in one line, or None."""
        records = self.search_records(study)
        ended = [record for record in records if record.state in ENDED]
        failed = [record for record in ended if record.state == "failed"]
        num_tried = len(ended) + sum(has_waited(record) for record in records if record.state not in ENDED)
        if _mostly_failed(len(failed), num_tried):
            return f"{len(failed)} of {num_tried} trials failed; the last one: {failed[-1].reason}"
        if self._search_is_over(study) and not self._select(ended, 1):
            return f"none of its {len(ended)} trials finished"
        reviews = self.review_records(study)
        if reviews and all(record.state == "failed" for record in reviews) and self._due_review(study) is None:
            return f"all {len(reviews)} second looks at its best trials failed; the last one: {reviews[-1].reason}"
        return None

    def search_records(self, study: "StudyPlan") -> list[TrialRecord]:
        """The study's search trials, by number."""
        records = self._of[study.key.name].values()
        return sorted((r for r in records if r.stage == "search"), key=lambda record: record.number)

    def review_records(self, study: "StudyPlan") -> list[TrialRecord]:
        """The second looks at the study's best trials, by number."""
        records = self._of[study.key.name].values()
        return sorted((r for r in records if r.stage == "review"), key=lambda record: record.number)

    def judged_records(self, study: "StudyPlan") -> list[TrialRecord]:
        """All by which the study's trials are ranked: search trials, and second looks at them."""
        return [*self.search_records(study), *self.review_records(study)]

    def final_records(self, study: "StudyPlan") -> list[TrialRecord]:
        """The study's final runs, by number; of values selected before the sweep was extended, too."""
        records = self._of[study.key.name].values()
        return sorted((r for r in records if r.stage == "final"), key=lambda record: record.number)

    def ensemble_records(self, study: "StudyPlan") -> list[TrialRecord]:
        """The study's ensembles, by number; of final runs before the sweep was extended, too."""
        records = self._of[study.key.name].values()
        return sorted((r for r in records if r.stage == "ensemble"), key=lambda record: record.number)

    def _search_is_over(self, study: "StudyPlan") -> bool:
        records = self.search_records(study)
        return len(records) >= study.num_trials and all(record.state in ENDED for record in records)

    def _review_is_over(self, study: "StudyPlan") -> bool:
        """Whether search and second look are over."""
        return (
            self._search_is_over(study)
            and self._due_review(study) is None
            and all(record.state in ENDED for record in self.review_records(study))
        )

    def _due_review(self, study: "StudyPlan") -> TrialRecord | None:
        """The next of the best trials by the search alone to which there is no second look yet."""
        if not study.num_reviews or not self._search_is_over(study):
            return None
        seen = [record.recipe for record in self.review_records(study)]
        best = self._select(self.search_records(study), study.num_reviews)
        return next((record for record in best if record.recipe not in seen), None)

    def _next_review(self, study: "StudyPlan") -> NextTrial | None:
        due = self._due_review(study)
        if due is None or self.stop_reason(study) is not None:
            return None
        number = _free_number(self.review_records(study))
        seed = due.config["seed"]
        return NextTrial(study=study, stage="review", number=number, values=due.values, seed=seed, repeats=due)

    def _is_whole(self, record: TrialRecord) -> bool:
        """Whether the members of an ensemble have records; a damaged one may have been deleted."""
        return all(name in self.records for name in record.members)

    def _continuing(self, study: "StudyPlan", record: TrialRecord) -> NextTrial:
        return NextTrial(
            study=study,
            stage=record.stage,
            number=record.number,
            values=record.values,
            seed=record.config["seed"],
            interrupted=record,
            members=tuple(self.records[name] for name in record.members),
        )

    def _next_search(self, study: "StudyPlan") -> NextTrial | None:
        records = self.search_records(study)
        due = next_promotion(study, records)
        if (due is None and len(records) >= study.num_trials) or self.stop_reason(study) is not None:
            return None
        if due is not None:
            return self._continuing(study, due)
        return NextTrial(study=study, stage="search", number=_free_number(records), values=None)

    def _next_final(self, study: "StudyPlan") -> NextTrial | None:
        if self.stop_reason(study) is not None:
            return None
        records = self.final_records(study)
        for best in self.selected(study):
            started = {record.config["seed"] for record in records if record.recipe == best.recipe}
            for seed in study.final_seeds:
                if seed not in started:
                    number = _free_number(records)
                    return NextTrial(
                        study=study,
                        stage="final",
                        number=number,
                        values=best.values,
                        seed=seed,
                        repeats=best,
                    )
        return None

    def _next_ensemble(self, study: "StudyPlan") -> NextTrial | None:
        """The ensemble of the final runs, once all have ended; one that failed is not tried again."""
        if not study.has_ensemble or not self._review_is_over(study) or self.stop_reason(study) is not None:
            return None
        final, begun = self.final_records(study), self.ensemble_records(study)
        done = [record for record in begun if self._is_whole(record)]
        if self._next_final(study) is not None or any(record.state not in ENDED for record in (*final, *done)):
            return None
        members = ensemble_members([*self.judged_records(study), *final], study.top_k, study.ensemble_trials)
        names = tuple(member.name for member in members)
        if not members or (done and _is_of(done[-1], names, study)):
            return None
        return NextTrial(
            study=study,
            stage="ensemble",
            number=_free_number(begun),
            values=members[0].values,
            seed=members[0].config["seed"],
            members=tuple(members),
        )


def _may_go_on(record: TrialRecord) -> bool:
    """Whether a trial that waited for its population knows how far to train next.

    One that waits for its promotion is told so when it continues.
    """
    return record.state == "waiting" and (record.until is None or record.until > record.step)


def _is_of(ensemble: TrialRecord, names: tuple[str, ...], study: "StudyPlan") -> bool:
    """Whether it combines these members in the way that the study wants it."""
    return ensemble.members == names and bool(ensemble.notes.get(AVERAGED)) == study.averages_weights


def _free_number(records: list[TrialRecord]) -> int:
    return max((record.number for record in records), default=-1) + 1


def _mostly_failed(failed: int, ended: int) -> bool:
    if ended < MIN_ENDED_TO_JUDGE:
        return False
    return failed == ended or (ended >= 5 and failed / ended > MAX_FAILED_SHARE)
