"""The time left of made-up sweeps, at each of their ends of trials, beside what they then really take."""

import dataclasses
import heapq
from collections.abc import Iterator

import pytest

from harness.plan import StudyPlan
from harness.plan.cost import Kind
from harness.records import TrialRecord, select
from harness.state import SweepState
from harness.state.time_left import seconds_left
from tests.made.made_records import base, evaluation, key, record, study

STEPS = 40


def made(algorithm: str, num_trials: int, seeds: int = 0) -> StudyPlan:
    config = base(num_steps=STEPS, algorithm={"name": algorithm})
    return study(algorithm, base=config, num_trials=num_trials, final_seeds=tuple(range(1, seeds + 1)))


def run(studies: list[StudyPlan], paces: dict[str, float], at_once: int) -> Iterator[tuple[float, list[TrialRecord]]]:
    """Each end of a trial: the time, and the records then. Of three search trials one is stopped after ten steps."""
    sweep_state, now = SweepState(studies, [], select), 0.0
    running: list[tuple[float, str]] = []
    while not sweep_state.is_done:
        while len(running) < at_once and (due := sweep_state.next()) is not None:
            begun = TrialRecord(
                study=due.study.key,
                stage=due.stage,
                number=due.number,
                values=(due.repeats.values if due.repeats else {"x": due.number}),
                config=due.study.base | {"seed": due.seed},
                started=now,
            )
            sweep_state.put(begun)
            heapq.heappush(running, (now + steps_of(begun) * paces[due.study.key.algorithm], begun.name))
        now, name = heapq.heappop(running)
        begun, steps = sweep_state.records[name], steps_of(sweep_state.records[name])
        state = "finished" if steps == STEPS else "pruned"
        sweep_state.put(dataclasses.replace(begun, state=state, ended=now, evaluations=(evaluation(steps),)))
        yield now, list(sweep_state.records.values())


def steps_of(begun: TrialRecord) -> int:
    return 10 if begun.stage == "search" and begun.number % 3 == 2 else STEPS


@pytest.mark.parametrize("at_once", [1, 3])
def test_trials_that_differ_are_each_counted_at_their_pace(at_once: int) -> None:
    studies = [made("erm", 12), made("ndcl", 12, seeds=3)]
    ends = list(run(studies, {"erm": 0.1, "ndcl": 1.0}, at_once))
    total = ends[-1][0]
    told = [(seconds_left(studies, records, at_once), total - now) for now, records in ends]
    ratios = [estimate / left for estimate, left in told[6:-at_once] if estimate is not None]
    assert len(ratios) > 15
    assert min(ratios) > 1 / 1.5
    assert max(ratios) < 1.5
    assert told[-1] == (0.0, 0.0)


def test_a_single_long_trial_is_not_divided_by_what_could_run_beside_it() -> None:
    one = made("erm", 2)
    first = dataclasses.replace(record(0, steps=(STEPS,)), config=one.base)
    running = dataclasses.replace(record(1, "running", steps=(4,)), started=1010.0)
    assert seconds_left([one], [first, running], 8) == pytest.approx((STEPS - 4) * 10 / STEPS)


def test_without_a_pace_nothing_is_said_and_a_running_trial_has_one() -> None:
    one = made("erm", 1)
    assert seconds_left([one], [], 1) is None
    assert seconds_left([one], [record(0, "running", steps=())], 1) is None
    assert seconds_left([one], [record(0, "running", steps=(4,))], 1) == pytest.approx((STEPS - 4) * 0.1)


def test_a_study_that_has_none_takes_that_of_its_kind() -> None:
    other = dataclasses.replace(made("erm", 1), key=key("erm", "sign"))
    slow = dataclasses.replace(record(0, of=key("ndcl"), steps=(4,)), ended=1400.0)
    slow = dataclasses.replace(slow, config=slow.config | {"algorithm": {"name": "ndcl"}})
    assert seconds_left([other], [record(0, steps=(4,)), slow], 1) == pytest.approx(STEPS * 2.5)


def test_each_record_is_looked_at_once_however_many_studies_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver asks at each end of a trial: of hundreds of studies with thousands of them."""
    studies = [dataclasses.replace(made("erm", 4), key=key("erm", f"target {number}")) for number in range(20)]
    records = [dataclasses.replace(record(0, of=study.key, steps=(STEPS,)), config=study.base) for study in studies]
    looked_at, of = [], Kind.of
    monkeypatch.setattr(Kind, "of", lambda config: looked_at.append(config) or of(config))
    assert seconds_left(studies, records, 2) == pytest.approx(20 * 3 * 10 / 2)
    assert len(looked_at) <= len(records) + 2 * len(studies)
