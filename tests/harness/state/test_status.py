"""The status of sweeps whose folders are made by hand: running, killed, done; nothing in them is touched."""

import dataclasses
import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from harness.cli.status_view import conclusions, headlines, status_view, watched
from harness.plan import Plan
from harness.records import Journal, TrialRecord
from harness.state import SweepStatus, read_status
from harness.storage import is_locked, locked
from harness.sweep.prepare import prepare
from ndcl.errors import UserError
from tests.integration import sweeps
from tests.made.made_records import guessing, record

ONE_STUDY: dict[str, Any] = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"erm": None},
    "final": {"seeds": 2, "ensemble": "none"},
}
HOLDER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from harness.storage.folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A sweep of one study (3 trials, 2 final runs) that has been prepared."""
    made = sweeps.planned(sweeps.written(tmp_path, **ONE_STUDY), tmp_path / "results")
    made.folder.mkdir(parents=True)
    prepare(made, fresh=False)
    return made


def write(plan: Plan, *records: TrialRecord) -> None:
    for made in records:
        Journal(plan.folder).write(dataclasses.replace(made, study=plan.studies[0].key))


@contextmanager
def run_by_another_process(plan: Plan) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLDER, str(plan.folder)]
    process = subprocess.Popen(command, cwd=sweeps.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def text_of(status: SweepStatus) -> str:
    out = io.StringIO()
    Console(file=out, width=400).print(status_view(status))
    return out.getvalue()


def test_the_lock_is_seen_from_another_process_and_gone_when_its_owner_is_killed(plan: Plan) -> None:
    assert not is_locked(plan.folder)
    with run_by_another_process(plan) as process:
        assert is_locked(plan.folder)
        with pytest.raises(UserError, match="being run by another process"), locked(plan.folder):
            pass
        process.kill()
        process.wait()
        assert not is_locked(plan.folder)


def test_asking_for_the_lock_does_not_take_it(plan: Plan) -> None:
    with locked(plan.folder):
        assert is_locked(plan.folder)
        assert is_locked(plan.folder)
    assert not is_locked(plan.folder)
    with locked(plan.folder):
        pass


def test_a_running_sweep_shows_how_far_it_is(plan: Plan) -> None:
    write(plan, record(0), record(1, "running", steps=(2,)))
    with locked(plan.folder):
        status = read_status(plan.results, "tiny")
    assert (status.word, status.is_done) == ("running", False)
    assert status.studies[0].stage == "search"
    assert status.studies[0].counts == {"finished": 1, "running": 1}
    name = f"{plan.studies[0].key.name}.search-001"
    lines = list(headlines(status, status.changed[name] + 30))
    assert lines[0].startswith("sweep tiny: running, last change ")
    assert lines[0].endswith(" [1/5 trials]")
    # 10 s took 4 steps; left are 2 of the running trial, 4 of one that is not started, 8 of the final runs
    assert status.seconds_left() == (2 + 4 + 8) * 2.5
    assert lines[1] == "time left: about 35 s"
    assert lines[2] == f"running: {name}, step 2/4, last change 30 s ago"
    assert list(conclusions(status))[-2:] == [
        f"results: {plan.folder}",
        f"next: ndcl report tiny --results {plan.results}",
    ]


def test_what_a_killed_process_left_as_running_was_interrupted(plan: Plan) -> None:
    write(plan, record(0), record(1, "running", steps=()))
    status = read_status(plan.results, "tiny")
    assert (status.word, status.is_done) == ("not running", False)
    assert status.seconds_left() is None
    assert "interrupted: " in text_of(status)
    assert f"next: ndcl sweep {plan.folder}/sweep.yaml --results {plan.results}" in text_of(status)


def test_the_file_that_goes_on_is_a_sweep_of_the_same_studies(plan: Plan) -> None:
    again = sweeps.planned(plan.folder / "sweep.yaml", plan.results)
    assert again == plan


def test_a_finished_sweep_shows_its_best_and_where_the_comparison_is(plan: Plan) -> None:
    finals = [record(n, stage="final", seed=n + 1, rate=3e-3) for n in range(2)]
    write(plan, record(0, accuracy=0.4), record(1, "pruned", steps=(2,)), record(2, accuracy=0.625), *finals)
    status = read_status(plan.results, "tiny")
    assert (status.word, status.is_done) == ("done", True)
    assert "62.5 %" in text_of(status)
    assert "next: ndcl report tiny" in text_of(status)


def test_failures_come_with_their_reasons(plan: Plan) -> None:
    write(plan, *(record(n, "failed", steps=(), reason=f"it broke [{n}]", log=f"line of {n}") for n in range(3)))
    text = text_of(read_status(plan.results, "tiny"))
    assert ".search-001: it broke [1]\n    line of 1\n" in "\n".join(line.rstrip() for line in text.splitlines())
    assert "was stopped: 3 of 3 trials failed; the last one: it broke [2]" in text


def test_a_damaged_record_is_told_beside_the_others(plan: Plan) -> None:
    write(plan, record(0), record(1))
    path = next(iter(Journal(plan.folder).files()))
    path.write_text(path.read_text()[:100])
    status = read_status(plan.results, "tiny")
    assert [each.number for each in status.records] == [1]
    [line] = status.damaged
    assert line.startswith(f"{path}: it can't be read (it is cut off or damaged: ")
    assert line.endswith("or delete it: the next ndcl sweep then trains another in its place")
    assert line in conclusions(status)
    with pytest.raises(UserError, match="cut off or damaged"):
        Journal(plan.folder).read()


def test_of_many_failures_the_last_are_shown(plan: Plan) -> None:
    write(plan, *(record(n, "failed", steps=(), reason=f"it broke [{n}]") for n in range(12)))
    lines = list(conclusions(read_status(plan.results, "tiny")))
    assert lines[0] == "12 trials failed; the last 10:"
    assert "[2]" in lines[1]
    assert "[11]" in lines[10]


def test_nothing_is_written(plan: Plan) -> None:
    write(plan, record(0), record(1, "running", steps=(2,)))
    with locked(plan.folder):
        before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in plan.results.rglob("*")}
        text_of(read_status(plan.results, "tiny"))
        assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in plan.results.rglob("*")} == before


def test_a_sweep_that_is_not_there_or_of_another_version_is_a_users_mistake(plan: Plan) -> None:
    with pytest.raises(UserError, match="there is no sweep 'other' in"):
        read_status(plan.results, "other")
    path = plan.folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "unheard_of": 1}))
    with pytest.raises(UserError, match="written by another version"):
        read_status(plan.results, "tiny")


def test_watching_looks_again_until_no_process_runs_the_sweep(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.cli.status_view.SECONDS_BETWEEN_LOOKS", 0.01)
    with locked(plan.folder):
        write(plan, record(0, "running", steps=()))
        looks = [read_status(plan.results, "tiny")]
        write(plan, record(0))
        looks.append(read_status(plan.results, "tiny"))
    looks.append(read_status(plan.results, "tiny"))
    out, left = io.StringIO(), iter(looks)
    watched(Console(file=out, force_terminal=True, width=160), lambda: next(left))
    assert [word in out.getvalue() for word in ("0/5 trials", "1/5 trials", "not running")] == [True] * 3
    assert next(left, None) is None


def test_a_study_that_has_learned_nothing_is_told(plan: Plan) -> None:
    write(plan, guessing(0), guessing(1))
    [line] = [line for line in conclusions(read_status(plan.results, "tiny")) if "at chance" in line]
    assert line.startswith("study erm.digits.long_tail-20.scan: its 2 finished trials are at chance: class-balanced")
