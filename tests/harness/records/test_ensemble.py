"""Which ensemble counts."""

from typing import Any

from harness.records import TrialRecord
from harness.records.ensemble import shown_ensemble
from tests.made.made_records import record

SEARCHED = [record(0, accuracy=0.9), record(1)]


def finals(num: int) -> list[TrialRecord]:
    return [record(n, stage="final", rate=1e-3, seed=n + 1) for n in range(num)]


def ensemble(number: int, of: list[TrialRecord], state: Any = "finished") -> TrialRecord:
    return record(number, state, stage="ensemble", rate=1e-3, members=tuple(one.name for one in of))


def test_the_newest_that_has_all_final_runs_counts() -> None:
    runs = finals(2)
    both = [ensemble(0, runs), ensemble(1, runs)]
    assert shown_ensemble([*SEARCHED, *runs, *both], 1) == both[1]


def test_one_without_the_newest_seed_counts_no_more() -> None:
    assert shown_ensemble([*SEARCHED, *finals(3), ensemble(0, finals(2))], 1) is None


def test_one_of_more_trials_counts() -> None:
    other = record(9, stage="final", rate=2e-3, seed=1)
    more = ensemble(0, [*finals(2), other])
    assert shown_ensemble([*SEARCHED, *finals(2), other, more], 1) == more


def test_one_that_failed_or_runs_does_not() -> None:
    runs = finals(2)
    for state in ("failed", "running", "interrupted"):
        assert shown_ensemble([*SEARCHED, *runs, ensemble(0, runs, state)], 1) is None
    assert shown_ensemble([*SEARCHED], 1) is None
