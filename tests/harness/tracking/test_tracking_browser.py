"""MLflow's pages of a made sweep in a real browser, by `ndcl ui` and by a tracking server: list, charts, a run.

They are 1400 px wide, as on a laptop.
"""

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

from harness.records import StudyKey
from harness.state import StudySummary
from harness.tracking.tracker import Tracker
from tests.made.made_records import record
from tests.servers.browsers import Tab, needs_chromium, open_tab
from tests.servers.listening import listeners
from tests.servers.mlflow_server import Server
from tests.servers.ports import free_port

pytestmark = needs_chromium
ROOT = Path(__file__).parents[3]
SECONDS = 300
ACCURACIES = (0.4375, 0.5625, 0.6875)
MARKER = "validation_accuracy"
OF_MLFLOW = ("/mlflow/users/current", "ResizeObserver loop")
"""MLflow's own page asks for its users, of which its server has none unless it was started with some; and charts
that find their size in several steps, which Chromium remarks on."""
ROWS = """[...document.querySelectorAll('.ag-row')].map(row => [row.getAttribute('row-index'), row.innerText])"""
FITTING_NAMES = """[...document.querySelectorAll('.ag-row a')].filter(link => link.href.includes('/runs/'))
  .filter(link => link.scrollWidth <= link.clientWidth || getComputedStyle(link).display === 'inline')
  .map(link => link.innerText).sort()"""
"""Names of runs in the table that are not cut."""
OPEN_TRIALS = """[...document.querySelectorAll('.ag-row')].find(
  row => row.innerText.includes('%s') && row.querySelector('button')
).querySelector('button').click()"""
SCROLL_RIGHT = """(document.readyState === 'complete'
  && (document.querySelector('.ag-body-horizontal-scroll-viewport').scrollLeft = 9999))"""
"""The table does not draw columns that are out of sight."""
CHOOSE_COLUMN = """(() => {
  const key = Object.keys(localStorage).find(key => key.includes('ExperimentPage-'));
  const state = JSON.parse(localStorage[key]);
  state.selectedColumns.push('metrics.`%s`');
  localStorage[key] = JSON.stringify(state);
  location.reload();
})()"""
"""As a user does by the menu `Columns`; the browser keeps what was chosen."""


TARGETS, ALGORITHMS = ("riga", "oslo"), ("ndcl", "erm")
KEYS = [StudyKey(algorithm=a, dataset="parts", setting="natural", target=t) for t in TARGETS for a in ALGORITHMS]
BEST = dict(zip(KEYS, (0.8125, 0.5625, 0.6875, 0.4375), strict=True))
"""Each study's accuracy on the unseen domain."""
NAMES = ["riga · ndcl", "riga · erm", "oslo · ndcl", "oslo · erm"]


def track(results: Path, uri: str | None) -> None:
    """A sweep of four studies, of which the first has three trials and the others one."""
    tracker = Tracker(results, "parts", "one", studies=KEYS, uri=uri)
    tracker.start()
    for number, key in enumerate(KEYS):
        accuracies = ACCURACIES if number == 0 else ACCURACIES[:1]
        trials = [record(n, of=key, accuracy=accuracy) for n, accuracy in enumerate(accuracies)]
        metrics = {MARKER: trials[-1].evaluations[-1][MARKER], "final/target/overall": BEST[key]}
        for stage, ended in (("search", 4), ("done", 5)):
            counts, best = {"finished": ended}, trials[-1]
            tracker.push(
                StudySummary(
                    key=key, stage=stage, num_planned=5, counts=counts, best=best, metrics=metrics, updated=ended
                )
            )
        for one in trials:
            tracker.push(one)
    tracker.close(SECONDS)
    assert (tracker.problem, tracker.refusal) == (None, None)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, made_store: bytes) -> Iterator[str]:
    """The page that `ndcl ui` names."""
    results = tmp_path_factory.mktemp("results")
    (results / "mlflow.db").write_bytes(made_store)
    track(results, None)
    with served_by_ui(results) as page:
        yield page


@contextlib.contextmanager
def served_by_ui(results: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "harness.cli", "ui", "--results", str(results), "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, text=True
    )
    assert process.stdout is not None
    try:
        told = process.stdout.readline()
        found = re.fullmatch(rf"MLflow: (http://127.0.0.1:{port}/#\S+) \(Ctrl-C ends it\)\n", told)
        assert found, told
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        assert {address for address, _ in listeners(process.pid)} == {"127.0.0.1"}
        yield found[1]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def server_address(tmp_path: Path) -> Iterator[str]:
    """The same page of a tracking server with its own store."""
    server = Server(tmp_path)
    server.start()
    try:
        track(tmp_path / "results", server.uri)
        experiment = MlflowClient(server.uri).get_experiment_by_name("parts")
        yield f"{server.uri}/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
    finally:
        server.kill()


def _wait_for(url: str, process: "subprocess.Popen[str]") -> None:
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
    with open_tab(tmp_path_factory.mktemp("profile"), "--window-size=1400,1000") as tab:
        yield tab


def runs_at(address: str) -> dict[str, Run]:
    """What the store has, by the run's name."""
    client = MlflowClient(address.partition("/#")[0])
    found = client.search_runs([client.get_experiment_by_name("parts").experiment_id])
    return {run.info.run_name: run for run in found}


def own_problems(tab: Tab) -> list[str]:
    """What the page complained of, but for what it always does."""
    return [problem for problem in tab.problems if not any(known in problem for known in OF_MLFLOW)]


def shown_rows(tab: Tab) -> dict[str, str]:
    """The table's rows as they read, by their number; a row has parts, of which some stay when others scroll."""
    rows: dict[str, str] = {}
    for number, words in tab.value(ROWS):
        rows[number] = f"{rows.get(number, '')} {words}"
    return rows


def test_the_charts_compare_studies_by_bars(tab: Tab, address: str) -> None:
    """Of a metric with steps MLflow would draw a curve."""
    tab.visit("about:blank")
    tab.visit(f"{address}&compareRunsMode=CHART")
    for value in BEST.values():
        tab.wait_for(f"document.body.innerText.includes('{value:.2f}')")
    assert tab.value("document.querySelectorAll('.barlayer .bars .point').length") >= len(KEYS)
    assert tab.value("document.querySelectorAll('.scatterlayer .trace').length") == 0
    assert own_problems(tab) == []


def test_the_list_tells_studies_apart_and_opens_their_trials(tab: Tab, address: str) -> None:
    runs = runs_at(address)
    tab.visit(address)
    tab.wait_for("!!document.querySelector('.ag-row button')")
    assert tab.value(FITTING_NAMES) == sorted(NAMES), "whole, a study each"
    assert "Model registry" in tab.text(), "not the pages for language models"
    children = {name: run for name, run in runs.items() if "mlflow.parentRunId" in run.data.tags}
    of_first = {name: run for name, run in children.items() if name.endswith(NAMES[0])}
    assert {run.data.tags["mlflow.parentRunId"] for run in of_first.values()} == {runs[NAMES[0]].info.run_id}
    tab.value(OPEN_TRIALS % NAMES[0])
    tab.wait_for(f"new Set({ROWS}.map(row => row[0])).size === {len(NAMES) + len(of_first)}")
    tab.value(CHOOSE_COLUMN % MARKER)
    tab.wait_for(f"{SCROLL_RIGHT} && document.body.innerText.includes('{ACCURACIES[0]}')")
    rows = shown_rows(tab).values()
    for name, run in of_first.items():
        (row,) = [row for row in rows if name in row]
        assert str(run.data.metrics[MARKER]) in row
    assert sorted(run.data.metrics[MARKER] for run in of_first.values()) == list(ACCURACIES)
    assert own_problems(tab) == []


def test_a_trial_shows_its_values_and_leads_to_its_study(tab: Tab, address: str) -> None:
    trial = runs_at(address)[f"search-001 · {NAMES[0]}"]
    parent = trial.data.tags["mlflow.parentRunId"]
    tab.visit("about:blank")
    tab.visit(f"{address.partition('/#')[0]}/#/experiments/{trial.info.experiment_id}/runs/{trial.info.run_id}")
    link = f"document.querySelector('a[href*=\"{parent}\"]')"
    tab.wait_for(f"document.body.innerText.includes('Parent run') && !!{link}")
    assert tab.value(f"{link}.innerText") == NAMES[0]
    told = {**trial.data.metrics, **trial.data.params}
    for name in (MARKER, "target/overall", "optimizer.learning_rate", "num_steps"):
        assert re.search(rf"\b{name}\s+{told[name]}\b", tab.text()), name
    assert own_problems(tab) == []


def test_the_list_of_a_server_reads_the_same(tab: Tab, server_address: str) -> None:
    tab.visit(server_address)
    tab.wait_for("!!document.querySelector('.ag-row button')")
    assert tab.value(FITTING_NAMES) == sorted(NAMES)
    assert "Model registry" in tab.text()
