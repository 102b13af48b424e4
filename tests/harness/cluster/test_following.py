"""`ndcl cluster submit` and `logs` to the job's end: its outcome, Ctrl-C, a lost connection, and --then-down."""

import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster import following
from harness.cluster.following import code_of
from harness.cluster.ray_jobs import Job
from harness.records import Journal
from tests.harness.cluster.made_clusters import ROOT, changed
from tests.made.made_head import NAME, results_of_head, sweep_file
from tests.made.made_ray import MadeRay, listed

JOB = "tiny-20261124-190000"


@pytest.fixture(autouse=True)
def _at_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "job_name", lambda *_: JOB)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def ec2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with mock_aws():
        yield boto3.client("ec2", region_name="us-west-2")


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    results = str(tmp_path / "shared")
    return str(changed("aws", tmp_path, lambda values: values["metadata"].update(results=results)).path)


@pytest.fixture
def sweep(tmp_path: Path) -> str:
    return str(sweep_file(tmp_path))


def ndcl(*words: str) -> Any:
    return CliRunner().invoke(app, ["cluster", *words])


@pytest.mark.parametrize(
    ("status", "code", "line"),
    [
        ("SUCCEEDED", 0, f"job {JOB} has succeeded"),
        (1, 1, f"job {JOB} has failed (exit code 1); its output says why; submit its sweep again to resume it"),
        (2, 2, f"job {JOB} has failed (exit code 2); its output says why; submit its sweep again to resume it"),
        (-9, 1, f"job {JOB} has failed (exit code 1); its output says why; submit its sweep again to resume it"),
        ("STOPPED", 130, f"job {JOB} was stopped; submit its sweep again to resume it"),
        (130, 130, f"job {JOB} was stopped; submit its sweep again to resume it"),
    ],
)
def test_the_outcome_of_the_job_is_that_of_the_command(
    made_ray: MadeRay, cluster: str, sweep: str, status: str | int, code: int, line: str
) -> None:
    made_ray.answers("ray job list", listed({"old-20261101-000000": "FAILED", JOB: status}))
    made_ray.answers("ray job logs", code=1)  # as ray exec says of any end but a good one
    made_ray.answers("")
    for words in (("submit", cluster, sweep), ("logs", cluster, JOB)):
        result = ndcl(*words)
        assert result.exit_code == code, result.output
        assert result.output.splitlines()[-1] == line


OWN = """
from dataclasses import dataclass

from ndcl.algorithm_configs import AlgorithmConfig
from ndcl.algorithms.baselines import Erm as Mine


@dataclass(frozen=True)
class MineConfig(AlgorithmConfig):
    name: str = "sent_losses:Mine"
"""


def test_modules_of_own_algorithms_are_sent_before_the_job_begins(
    made_ray: MadeRay, cluster: str, sweep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sent_losses.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    made_ray.answers("")
    result = ndcl("submit", cluster, sweep, "--detach", "--set", 'algorithms=[erm, "sent_losses:Mine"]')
    assert result.exit_code == 0, result.output
    calls = made_ray.calls()
    sent = next(number for number, call in enumerate(calls) if "sent_losses.py" in call)
    assert calls[sent].startswith("rsync-up")
    assert any("ray job submit" in call for call in calls[sent + 1 :])
    assert not any("ray job submit" in call for call in calls[:sent])


def test_a_job_that_ray_itself_could_not_start_has_failed() -> None:
    assert code_of(Job(name=JOB, status="FAILED")) == 1


def test_a_connection_that_is_lost_is_no_end_of_the_job(made_ray: MadeRay, cluster: str, sweep: str) -> None:
    made_ray.answers("ray job logs", code=1)
    made_ray.answers("ray job list", code=1)
    made_ray.answers("")
    result = ndcl("submit", cluster, sweep, "--then-down")
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert (
        f"the connection to job {JOB} was lost; the job itself was not stopped; look again: ndcl cluster logs" in line
    )
    assert line.endswith(f"the cluster stays up, and costs until: ndcl cluster down {cluster}")
    assert not any(call.startswith("down") for call in made_ray.calls())


def test_a_connection_that_comes_back_is_followed_again(made_ray: MadeRay, cluster: str) -> None:
    made_ray.answers("ray job logs", code=1, times=1)
    made_ray.answers("ray job list", code=1, times=2)
    made_ray.answers("ray job list", listed({JOB: "RUNNING"}), times=1)
    made_ray.answers("ray job list", listed({JOB: "SUCCEEDED"}))
    made_ray.answers("")
    result = ndcl("logs", cluster, JOB)
    assert result.exit_code == 0, result.output
    assert f"the connection was interrupted; job {JOB} runs; its output again, from the beginning:" in result.output
    assert sum("ray job logs" in call for call in made_ray.calls()) == 2


def test_output_that_never_lasts_is_not_shown_for_ever(made_ray: MadeRay, cluster: str) -> None:
    made_ray.answers("ray job list", listed({JOB: "RUNNING"}))
    made_ray.answers("")
    result = ndcl("logs", cluster, JOB)
    assert result.exit_code == 2
    assert f"the connection to job {JOB} was lost" in result.stderr
    assert sum("ray job logs" in call for call in made_ray.calls()) == following.CONNECTIONS


def test_an_end_that_is_seen_late_is_an_end(made_ray: MadeRay, cluster: str) -> None:
    made_ray.answers("ray job list", code=1, times=2)
    made_ray.answers("ray job list", listed({JOB: "SUCCEEDED"}))
    made_ray.answers("")
    assert ndcl("logs", cluster, JOB).exit_code == 0


def test_a_job_that_is_not_there_is_named(made_ray: MadeRay, cluster: str) -> None:
    made_ray.answers("ray job list", listed({JOB: "SUCCEEDED"}))
    made_ray.answers("")
    result = ndcl("logs", cluster, "no-20261124-190000")
    assert result.exit_code == 2
    assert "the cluster has no job no-20261124-190000" in result.stderr


def test_control_c_stops_looking_and_says_how_to_look_again(made_ray: MadeRay, cluster: str) -> None:
    made_ray.answers("ray job logs", "step 1", seconds=600)
    made_ray.answers("")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{sysconfig.get_path('purelib')}"}
    process = subprocess.Popen(
        [made_ray.python, "-m", "harness.cli", "cluster", "logs", cluster, JOB],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not made_ray.calls():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors
    assert f"job {JOB} continues; show it again with: ndcl cluster logs {cluster} {JOB}" in output
    assert f"nodes and progress: ndcl cluster status {cluster}" in output
    assert f"stop it with: ndcl cluster stop {cluster} {JOB}" in output
    assert "same command" not in output + errors
    assert not any(" ray job stop" in call for call in made_ray.calls())


@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), (1, 1)])
def test_then_down_brings_the_results_home_and_ends_the_cluster(
    made_ray: MadeRay, cluster: str, sweep: str, tmp_path: Path, status: str | int, code: int
) -> None:
    head = results_of_head(tmp_path / "head", tmp_path / "shared")
    made_ray.answers("ray job list", listed({JOB: status}))
    made_ray.answers("rsync-down", copied=head)
    made_ray.answers("")
    home = tmp_path / "home-results"
    result = ndcl("submit", cluster, sweep, "--then-down", "--results", str(home))
    assert result.exit_code == code, result.output
    assert Journal(home / NAME).read() == Journal(head).read()
    assert "has all of sweep tiny" in result.output
    assert (home / "mlflow.db").is_file()
    assert f"next: ndcl ui --results {home}" in result.output
    assert [call.split()[0] for call in made_ray.calls()][-2:] == ["rsync-down", "down"]
    assert result.output.splitlines()[-1] == "nothing is left of cluster 'ndcl': no instance and no volume"


def test_then_down_leaves_a_cluster_up_that_another_job_uses(made_ray: MadeRay, cluster: str, sweep: str) -> None:
    made_ray.answers("ray job list", listed({JOB: "SUCCEEDED", "vlcs-20261125-070000": "RUNNING"}))
    made_ray.answers("")
    result = ndcl("submit", cluster, sweep, "--then-down")
    assert result.exit_code == 2
    assert "the cluster stays up, since vlcs-20261125-070000 still run there" in result.stderr
    assert not any(call.startswith("down") for call in made_ray.calls())


def test_then_down_ends_a_cluster_whose_results_are_safe_elsewhere(made_ray: MadeRay, cluster: str, sweep: str) -> None:
    made_ray.answers("ray job list", listed({JOB: 2}))
    made_ray.answers("harness.cli report", code=1)
    made_ray.answers("")
    result = ndcl("submit", cluster, sweep, "--then-down")
    assert result.exit_code == 2
    assert "the head has no report of 'tiny' (exit code 1); " in result.output
    assert f"ndcl cluster results {cluster} tiny --from-storage" in result.output
    assert made_ray.calls()[-1].startswith("down")


def test_then_down_keeps_results_that_only_the_head_has(made_ray: MadeRay, tmp_path: Path, sweep: str) -> None:
    cluster = str(changed("aws", tmp_path, lambda values: values["metadata"].pop("results")).path)
    made_ray.answers("ray job list", listed({JOB: "SUCCEEDED"}))
    made_ray.answers("rsync-down", code=1)
    made_ray.answers("")
    result = ndcl("submit", cluster, sweep, "--then-down", "--results", str(tmp_path / "home-results"))
    assert result.exit_code == 2
    assert "the cluster stays up, since nothing else has the results" in result.stderr
    assert not any(call.startswith("down") for call in made_ray.calls())


def test_then_down_needs_the_jobs_end(made_ray: MadeRay, cluster: str, sweep: str) -> None:
    result = ndcl("submit", cluster, sweep, "--then-down", "--detach")
    assert result.exit_code == 2
    assert "--then-down: the job's end is seen by following it; leave out --detach" in result.stderr
    assert made_ray.calls() == []


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--price", "g5.xlarge=1"], "--price: it is for --budget; give --budget USD, too"),
        (["--budget", "5", "--price", "g5.xlarge"], "--price g5.xlarge: expected TYPE=USD"),
    ],
)
def test_a_budget_that_can_not_be_kept_is_refused_before_anything_is_sent(
    made_ray: MadeRay, cluster: str, sweep: str, options: list[str], line: str
) -> None:
    result = ndcl("submit", cluster, sweep, *options)
    assert result.exit_code == 2
    assert line in result.stderr
    assert made_ray.calls() == []


def test_a_machine_without_a_price_has_no_budget(made_ray: MadeRay, tmp_path: Path, sweep: str) -> None:
    def exotic(values: Any) -> None:
        values["available_node_types"]["gpu_spot"]["node_config"]["InstanceType"] = "g99.xlarge"

    cluster = str(changed("aws", tmp_path, exotic).path)
    result = ndcl("submit", cluster, sweep, "--budget", "5")
    assert result.exit_code == 2
    assert "--price g99.xlarge=USD" in result.stderr
    assert made_ray.calls() == []
    made_ray.answers("")
    assert ndcl("submit", cluster, sweep, "--budget", "5", "--price", "g99.xlarge=3", "--detach").exit_code == 0
    assert (
        "harness.cluster.budget --dollars 5.0 --price g99.xlarge=3 python -m harness.cli sweep"
        in (made_ray.calls()[-1])
    )
