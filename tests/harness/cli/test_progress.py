"""What is shown of a sweep, from states made by hand."""

import io
import re

import pytest
from rich.console import Console

from harness.cli.progress import (
    LOG_LINES_SHOWN,
    MOST_FAILURES,
    Progress,
    failure_lines,
    progress_line,
    study_table,
    trial_line,
)
from harness.cli.train import evaluation_line, result_line
from harness.records import select
from harness.state import StudySummary, SweepState
from harness.state.study_summary import summary_of
from harness.terminal.numbers import duration
from tests.made.made_records import evaluation, key, record, study


def state(ended: int, planned: int = 5, stage: str = "search") -> StudySummary:
    return StudySummary(key=key(), stage=stage, counts={"finished": ended}, num_planned=planned)


def test_a_study_state_counts_and_names_the_best() -> None:
    one = study(num_trials=3)
    records = [record(0, accuracy=0.5), record(1, accuracy=0.7), record(2, "pruned", steps=(2,))]
    finals = [record(0, stage="final", rate=2e-3, seed=1, accuracy=0.6), record(1, "running", stage="final", rate=2e-3)]
    shown = summary_of(SweepState((one,), [*records, *finals], select), one)
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
    shown = summary_of(SweepState((one,), [record(0), record(1, "running")], select), one)
    assert shown.best == record(0)
    assert not shown.is_selected


def test_lines() -> None:
    assert progress_line([state(2), state(1)], 200.0) == "[3/10 trials, about 3 min left]"
    assert progress_line([state(5)], 0.0) == "[5/5 trials]"
    assert trial_line(record(0, accuracy=0.612)).endswith("search-000 finished, objective 61.2 %")
    assert trial_line(record(0, "failed", steps=(), reason="it broke")).endswith("search-000 failed: it broke")
    assert evaluation_line(evaluation(50), 300) == "step 50/300: loss 1.5, validation 50.0 %"
    best = result_line([evaluation(2, 0.5), evaluation(4, 0.7), evaluation(6, 0.7)])
    assert best == "best checkpoint: step 4, validation 70.0 %, target 25.0 %"
    unseen = {**evaluation(2, 0.5), "target": {"overall": None}}
    assert result_line([unseen]) == "best checkpoint: step 2, validation 50.0 %", "nobody looked, or there is no target"


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
        progress.show([state(1)], 200.0)
        assert key().name in out.getvalue()
        assert not progress.is_due(), "it was drawn a moment ago"
        progress.ended(record(0), [state(1)])
        assert trial_line(record(0)) not in out.getvalue()


def test_the_table_has_a_row_per_study() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(study_table([state(1), state(2)]))
    assert out.getvalue().count(key().name) == 2
