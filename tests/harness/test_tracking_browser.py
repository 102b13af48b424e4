"""The MLflow UI of a made sweep in a real browser: `ndcl ui` serves it, runs nest, and it shows the store's numbers."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from harness.study_state import StudyState
from harness.tracking import Tracker, store_uri
from tests.harness.browsers import Tab, needs_chromium, open_tab
from tests.harness.made_records import key, record
from tests.ports import free_port

pytestmark = [pytest.mark.slow, needs_chromium]
ROOT = Path(__file__).parents[2]
SECONDS = 300
ACCURACIES = (0.4375, 0.5625, 0.6875)
MARKER = "validation_accuracy"
OF_MLFLOW = "/mlflow/users/current"
"""MLflow's own page asks for it, and its server has no users unless it was started with some."""
ROWS = """[...document.querySelectorAll('.ag-row')].map(row => [row.getAttribute('row-index'), row.innerText])"""
CHOOSE_COLUMN = """(() => {
  const key = Object.keys(localStorage).find(key => key.includes('ExperimentPage-'));
  const state = JSON.parse(localStorage[key]);
  state.selectedColumns.push('metrics.`%s`');
  localStorage[key] = JSON.stringify(state);
  location.reload();
})()"""
"""As a user does by the menu `Columns`; the browser keeps what was chosen."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a sweep of one study with three trials."""
    results = tmp_path_factory.mktemp("results")
    trials = [record(number, accuracy=accuracy) for number, accuracy in enumerate(ACCURACIES)]
    tracker = Tracker(results, "made", "one")
    tracker.start()
    for item in (*trials, StudyState(key=key(), stage="done", num_planned=3, best=trials[-1], updated=time.time())):
        tracker.push(item)
    tracker.close(SECONDS)
    assert tracker.problem is None
    return results


@pytest.fixture(scope="module")
def address(results: Path) -> Iterator[str]:
    """Where `ndcl ui` serves the store, on a port that was free a moment ago."""
    port = free_port()
    command = [sys.executable, "-m", "harness.cli", "ui", "--results", str(results), "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.2)
    raise AssertionError(f"{url}: waited in vain")


@pytest.fixture(scope="module")
def tab(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_tab(tmp_path_factory.mktemp("profile"), "--window-size=1600,1200") as tab:
        yield tab


@pytest.fixture
def runs(results: Path) -> dict[str, Run]:
    """What the store has, by the run's name."""
    client = MlflowClient(store_uri(results))
    found = client.search_runs([client.get_experiment_by_name("made").experiment_id])
    return {run.info.run_name: run for run in found}


def shown_rows(tab: Tab) -> dict[str, str]:
    """The table's rows as they read, by their number; a row has parts, of which some stay when others scroll."""
    rows: dict[str, str] = {}
    for number, words in tab.value(ROWS):
        rows[number] = f"{rows.get(number, '')} {words}"
    return rows


def test_trials_open_below_their_study_with_the_numbers_of_the_store(
    tab: Tab, address: str, runs: dict[str, Run]
) -> None:
    children = {name: run for name, run in runs.items() if "mlflow.parentRunId" in run.data.tags}
    (parent,) = set(runs) - set(children)
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {runs[parent].info.run_id}
    tab.visit(f"{address}/#/experiments/{runs[parent].info.experiment_id}/runs")
    tab.wait_for("!!document.querySelector('.ag-row button')")
    assert len(shown_rows(tab)) == 1, "a study is one row"
    assert parent in tab.text()
    tab.value("document.querySelector('.ag-row button').click()")
    tab.wait_for(f"new Set({ROWS}.map(row => row[0])).size === {len(runs)}")
    tab.value(CHOOSE_COLUMN % MARKER)
    tab.wait_for(f"document.readyState === 'complete' && document.body.innerText.includes('{ACCURACIES[0]}')")
    rows = shown_rows(tab).values()
    for name, run in children.items():
        (row,) = [row for row in rows if name in row]
        assert str(run.data.metrics[MARKER]) in row
    assert sorted(run.data.metrics[MARKER] for run in children.values()) == list(ACCURACIES)
    assert [problem for problem in tab.problems if OF_MLFLOW not in problem] == []


def test_a_trial_shows_its_values_and_leads_to_its_study(tab: Tab, address: str, runs: dict[str, Run]) -> None:
    trial = next(run for run in runs.values() if run.data.metrics.get(MARKER) == ACCURACIES[1])
    parent = trial.data.tags["mlflow.parentRunId"]
    tab.visit(f"{address}/#/experiments/{trial.info.experiment_id}/runs/{trial.info.run_id}")
    link = f"document.querySelector('a[href*=\"{parent}\"]')"
    tab.wait_for(f"document.body.innerText.includes('Parent run') && !!{link}")
    told = {**trial.data.metrics, **trial.data.params}
    for name in (MARKER, "target/overall", "optimizer.learning_rate", "num_steps"):
        assert re.search(rf"\b{name}\s+{told[name]}\b", tab.text()), name
    assert [problem for problem in tab.problems if OF_MLFLOW not in problem] == []
