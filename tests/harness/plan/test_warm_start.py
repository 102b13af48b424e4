"""Values from an earlier sweep: which studies they may come from, and which of them fit."""

from pathlib import Path
from typing import Any

import pytest

from harness.config.parameters import FloatParameter
from harness.config.search import WarmStart
from harness.plan.warm_start import matches, warm_values
from harness.records import Journal, StudyKey, TrialRecord
from harness.records.record import WARM_STARTED
from ndcl.errors import UserError
from tests.harness.sweep.test_controller import Stage
from tests.made.made_records import RATE, key, record, study


def other(**changes: str) -> StudyKey:
    return StudyKey(**{**vars(key()), **changes})


def journal(results: Path, *records: TrialRecord) -> None:
    for made in records:
        Journal(results / "earlier").write(made)


def spec(**changes: Any) -> WarmStart:
    return WarmStart(sweep="earlier", **changes)


@pytest.mark.parametrize(
    ("found", "changes", "allowed"),
    [
        (key(), {}, True),
        (other(setting="natural"), {}, True),
        (other(dataset="pacs", target="photo"), {}, True),
        (other(target="sign"), {}, False),  # there, this study's target domain was a source domain
        (other(target="sign"), {"from_other_targets": True}, True),
        (other(algorithm="ndcl"), {}, False),
        (other(algorithm="ndcl"), {"algorithm": "ndcl"}, True),
    ],
)
def test_labels_of_the_target_domain_come_in_only_when_asked_for(found: Any, changes: Any, allowed: bool) -> None:
    assert matches(spec(**changes), key(), found) is allowed


def test_the_best_of_each_study_in_turn(tmp_path: Path) -> None:
    second = other(setting="natural")
    journal(
        tmp_path,
        record(0, accuracy=0.5, rate=1e-3),
        record(1, accuracy=0.9, rate=2e-3),
        record(2, "pruned", accuracy=0.99, rate=9e-3),
        record(0, accuracy=0.3, rate=3e-3, of=second),
        record(1, accuracy=0.2, rate=2e-3, of=second),
    )
    plan = study(warm_start=spec(num_trials=9))
    assert [values[RATE] for values in warm_values(plan, tmp_path)] == [2e-3, 3e-3, 1e-3]
    plan = study(warm_start=spec(num_trials=2))
    assert [values[RATE] for values in warm_values(plan, tmp_path)] == [2e-3, 3e-3]


def test_values_out_of_range_or_not_searched_are_left_out(tmp_path: Path) -> None:
    journal(tmp_path, record(0, rate=5e-3))
    narrow = {RATE: FloatParameter(type="float", low=1e-4, high=1e-3)}
    assert warm_values(study(warm_start=spec(), space=narrow), tmp_path) == []
    elsewhere = {"algorithm.alpha": FloatParameter(type="float", low=0, high=1)}
    assert warm_values(study(warm_start=spec(), space=elsewhere), tmp_path) == []


def test_without_a_warm_start_nothing_is_read(tmp_path: Path) -> None:
    assert warm_values(study(), tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ((), "there is no sweep 'earlier'"),
        ((record(0, of=other(target="sign")),), "no study of sweep 'earlier' that has finished a trial suits"),
        ((record(0, "failed"),), "no study of sweep 'earlier' that has finished a trial suits"),
    ],
)
def test_nothing_to_start_from_is_told(tmp_path: Path, records: Any, message: str) -> None:
    journal(tmp_path, *records)
    with pytest.raises(UserError, match=message):
        warm_values(study(warm_start=spec()), tmp_path)


@pytest.mark.parametrize("allowed", [False, True])
def test_trials_that_began_with_other_targets_values_say_so(tmp_path: Path, allowed: bool) -> None:
    journal(tmp_path, record(0, rate=5e-3))
    stage = Stage(tmp_path, study(warm_start=spec(from_other_targets=allowed)))
    values = [stage.record(stage.start()) for _ in range(2)]
    assert [made.values[RATE] for made in values] == [1e-3, 5e-3], "the default, then what was found earlier"
    assert {made.notes.get(WARM_STARTED) for made in values} == {"earlier" if allowed else None}
