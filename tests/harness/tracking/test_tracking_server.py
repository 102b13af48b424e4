"""Many trials at once, on sqlite and on a real tracking server that is killed: no error, and every point once."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from harness.config.tracking_uri import store_uri
from harness.records import TrialRecord
from harness.tracking import tracker as tracker_module
from harness.tracking.client import open_client
from harness.tracking.tracker import Tracker
from tests.made.made_records import evaluation, record
from tests.servers.mlflow_server import Server

SECONDS = 300
STEPS = (2, 4, 6)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    yield made
    made.kill()


def trials(number: int) -> list[TrialRecord]:
    return [record(n, "running", steps=()) for n in range(number)]


class Sweep:
    """What a driver tells its tracker of trials that run at once."""

    def __init__(self, results: Path, name: str, num_trials: int, uri: str | None) -> None:
        self.name, self.records, self.lines = name, trials(num_trials), list[str]()
        self.tracker = Tracker(results, name, "one", uri=uri, warn=self.lines.append)
        self.tracker.start()
        self._push()

    def evaluate(self, step: int) -> None:
        self.records = [one.with_evaluation(evaluation(step)) for one in self.records]
        self._push()

    def end(self) -> None:
        self.records = [replace(one, state="finished", ended=2000.0) for one in self.records]
        self._push()
        self.tracker.close(SECONDS)

    def _push(self) -> None:
        for one in self.records:
            self.tracker.push(one)


def check(client: MlflowClient, sweeps: list[Sweep]) -> None:
    """Every trial is there once, with every point once."""
    for sweep in sweeps:
        assert sweep.tracker.problem is None
        runs = {run.data.tags["ndcl.name"]: run for run in found(client, sweep.name)}
        assert set(runs) == {one.name for one in sweep.records} | {sweep.records[0].study.name}
        for one in sweep.records:
            run = runs[one.name]
            assert run.info.status == "FINISHED"
            for metric in ("validation_accuracy", "target/overall", "losses/total"):
                points = client.get_metric_history(run.info.run_id, metric)
                assert [point.step for point in points] == list(STEPS), (one.name, metric)


def found(client: MlflowClient, sweep: str) -> list[Run]:
    experiment = client.get_experiment_by_name(sweep)
    runs = list(client.search_runs([experiment.experiment_id], max_results=1000))
    assert len({run.data.tags["ndcl.name"] for run in runs}) == len(runs), "a run was made twice"
    return runs


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def num_at_once(sweeps: list[Sweep], step: int | None) -> None:
    """All drivers tell of their trials at the same time."""
    calls = [sweep.end if step is None else lambda sweep=sweep: sweep.evaluate(step) for sweep in sweeps]
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_sixteen_trials_of_four_sweeps_on_one_sqlite_store(tmp_path: Path) -> None:
    sweeps = [Sweep(tmp_path, f"sweep-{n}", 4, None) for n in range(4)]
    for step in (*STEPS, None):
        num_at_once(sweeps, step)
    check(MlflowClient(store_uri(tmp_path)), sweeps)
    assert [sweep.lines for sweep in sweeps] == [[]] * 4


@pytest.mark.soak
def test_64_trials_of_four_sweeps_on_a_server_that_is_killed_while_they_are_written(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_module, "PATIENCE_SECONDS", SECONDS)
    results = tmp_path / "results"
    sweeps = [Sweep(results, f"sweep-{n}", 16, server.uri) for n in range(4)]
    num_at_once(sweeps, 2)
    client = open_client(results, server.uri)
    wait_until(lambda: has_some(client, sweeps[0].name))
    server.kill()
    num_at_once(sweeps, 4)
    wait_until(lambda: all(sweep.lines for sweep in sweeps))
    num_at_once(sweeps, 6)
    server.start()
    num_at_once(sweeps, None)
    check(client, sweeps)
    for sweep in sweeps:
        assert len(sweep.lines) == 1
        assert f"MLflow at {server.uri} can't be reached (" in sweep.lines[0]


def has_some(client: MlflowClient, sweep: str) -> bool:
    """Whether some of its 16 trials have points, and others have none yet."""
    if client.get_experiment_by_name(sweep) is None:
        return False
    return 0 < sum(bool(run.data.metrics) for run in found(client, sweep)) < 16
