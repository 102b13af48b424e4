"""What is shown of a sweep, from states made by hand."""

import io
import re

import pytest
from rich.console import Console

from harness.agenda import Agenda
from harness.progress import (
    LOG_LINES_SHOWN,
    MOST_FAILURES,
    Estimate,
    Progress,
    duration,
    evaluation_line,
    failure_lines,
    progress_line,
    progress_of,
    result_line,
    study_table,
    trial_line,
)
from harness.selection import select
from harness.study_state import StudyState, study_state
from tests.harness.made_records import evaluation, key, record, study


def state(ended: int, planned: int = 5, stage: str = "search") -> StudyState:
    return StudyState(key=key(), stage=stage, counts={"finished": ended}, num_planned=planned)


def test_a_study_state_counts_and_names_the_best() -> None:
    one = study(num_trials=3)
    records = [record(0, accuracy=0.5), record(1, accuracy=0.7), record(2, "pruned", steps=(2,))]
    finals = [record(0, stage="final", rate=2e-3, seed=1, accuracy=0.6), record(1, "running", stage="final", rate=2e-3)]
    shown = study_state(Agenda((one,), [*records, *finals], select), one)
    assert shown.counts == {"finished": 3, "pruned": 1, "running": 1}
    assert (shown.num_ended, shown.num_planned, shown.stage) == (4, 5, "final")
    assert shown.best == records[1]
    assert shown.is_selected
    assert shown.metrics["validation_accuracy"] == 0.7
    assert shown.metrics["final/num_seeds"] == 1
    assert shown.metrics["final/target/overall"] == 0.25
    assert shown.updated == 1012.0


def test_the_best_so_far_is_not_yet_selected() -> None:
    one = study(num_trials=3)
    shown = study_state(Agenda((one,), [record(0), record(1, "running")], select), one)
    assert shown.best == record(0)
    assert not shown.is_selected


def test_time_left_is_what_is_left_at_the_rate_so_far() -> None:
    estimate = Estimate()
    assert estimate.of([state(2, 10)], now=100.0) is None, "what an earlier start did tells nothing of the rate"
    assert estimate.of([state(2, 10)], parts=0.5, now=110.0) == pytest.approx(7.5 * 10 / 0.5)
    assert estimate.of([state(6, 10)], now=140.0) == pytest.approx(4 * 40 / 4)
    assert estimate.of([state(10, 10)], now=200.0) == 0.0


def test_running_trials_count_by_their_steps() -> None:
    assert progress_of([record(0, "running", steps=(2,)), record(1, "running", steps=())]) == 0.5


def test_lines() -> None:
    assert progress_line([state(2), state(1)], 200.0) == "[3/10 trials, about 3 min left]"
    assert progress_line([state(5)], 0.0) == "[5/5 trials]"
    assert trial_line(record(0, accuracy=0.612)).endswith("search-000 finished, objective 61.2 %")
    assert trial_line(record(0, "failed", steps=(), reason="it broke")).endswith("search-000 failed: it broke")
    assert evaluation_line(evaluation(50), 300) == "step 50/300: loss 1.5, validation 50.0 %"
    best = result_line([evaluation(2, 0.5), evaluation(4, 0.7), evaluation(6, 0.7)])
    assert best == "best checkpoint: step 4, validation 70.0 %, target 25.0 %"


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_without_a_terminal_there_is_a_line_per_ended_trial() -> None:
    out = io.StringIO()
    with Progress(Console(file=out)) as progress:
        assert not progress.is_due()
        progress.ended(record(0), [state(1)])
    assert out.getvalue() == f"[1/5 trials]  {trial_line(record(0))}\n"


def test_a_failure_is_told_with_the_end_of_its_log_anywhere() -> None:
    failed = record(0, "failed", steps=(), reason="it broke", log="\n".join(f"line {n}" for n in range(20)))
    shown = "".join(f"    line {n}\n" for n in range(20 - LOG_LINES_SHOWN, 20))
    for is_terminal in (False, True):
        out = io.StringIO()
        with Progress(Console(file=out, force_terminal=is_terminal, width=140)) as progress:
            progress.ended(failed, [state(1)])
        told = re.sub(r"\x1b\[[?0-9]*[a-zA-Z]|\r", "", out.getvalue())
        assert f"{trial_line(failed)}\n{shown}" in told


def test_of_many_failures_the_latest_are_listed() -> None:
    many = [record(n, "failed", steps=(), reason=f"reason {n}") for n in range(MOST_FAILURES + 2)]
    lines = list(failure_lines([*reversed(many), record(99)]))
    assert lines[0] == f"{len(many)} trials failed; the last {MOST_FAILURES}:"
    assert lines[1:] == [f"failed: {one.name}: {one.reason}" for one in many[2:]]
    assert list(failure_lines([record(0)])) == []


def test_quiet_shows_nothing() -> None:
    out = io.StringIO()
    with Progress(Console(file=out, force_terminal=True), quiet=True) as progress:
        progress.ended(record(0), [state(1)])
        progress.say("something")
    assert out.getvalue() == ""


def test_a_terminal_gets_a_table_that_is_taken_off_at_the_end() -> None:
    out = io.StringIO()
    with Progress(Console(file=out, force_terminal=True, width=140)) as progress:
        progress.show([state(1)], [record(1, "running", steps=(2,))])
        assert key().name in out.getvalue()
        assert not progress.is_due(), "it was drawn a moment ago"
        progress.ended(record(0), [state(1)])
        assert trial_line(record(0)) not in out.getvalue()


def test_the_table_has_a_row_per_study() -> None:
    table = study_table([state(1), state(2)])
    assert table.row_count == 2
