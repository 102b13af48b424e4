"""`ndcl cluster up` beside a job that runs: Ray would end it without a word."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from tests.harness.cluster.made_clusters import filled_in
from tests.made.made_ray import MadeRay, listed

NONE = "RuntimeError: Head node of cluster (ndcl) not found!"
UNFINISHED = f"Head node (i-0) is in state update-failed.\n{NONE}"
NO_GROUP = (
    "azure.core.exceptions.ResourceNotFoundError: (ResourceGroupNotFound) Resource group 'ndcl' could not be found.\n"
    "Code: ResourceGroupNotFound\nMessage: Resource group 'ndcl' could not be found."
)
JOB = "pacs-20261124-190000"


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    return str(filled_in("aws", tmp_path))


def up(cluster: str, *options: str) -> Any:
    return CliRunner().invoke(app, ["cluster", "up", cluster, "--no-check", *options])


@pytest.mark.parametrize("said", [NONE, NO_GROUP])
def test_a_cluster_that_is_not_there_is_started(made_ray: MadeRay, cluster: str, said: str) -> None:
    made_ray.answers("get-head-ip", said, code=1)
    made_ray.answers("")
    result = up(cluster)
    assert result.exit_code == 0, result.output
    assert [call.split()[0] for call in made_ray.calls()] == ["get-head-ip", "up", "exec"]
    assert "--yes" in made_ray.calls()[1]
    assert f"MLflow and dashboard: ndcl cluster ui {cluster}" in result.output
    assert f"ndcl cluster down {cluster}; by itself it ends after 2 hours without a job" in result.output


@pytest.mark.parametrize("status", ["RUNNING", "PENDING"])
@pytest.mark.parametrize("head", ["up", "unfinished"])
def test_a_job_that_runs_is_not_ended_by_a_second_up(made_ray: MadeRay, cluster: str, status: str, head: str) -> None:
    made_ray.answers("get-head-ip", "192.0.2.1" if head == "up" else UNFINISHED, code=head == "unfinished")
    made_ray.answers("ray job list", listed({"old-20261101-000000": "SUCCEEDED", JOB: status}))
    result = up(cluster)
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert f"a job runs on the head, which a new start would end: {JOB}; stop it first: " in line
    assert f"ndcl cluster stop {cluster} {JOB}; or update the cluster around it: " in line
    assert line.endswith(f"ndcl cluster up {cluster} --no-restart")
    assert not any(call.startswith("up ") for call in made_ray.calls())


@pytest.mark.parametrize("jobs", [{}, {JOB: "STOPPED", "vlcs-20261125-070000": 1}])
def test_jobs_that_have_ended_are_no_reason(made_ray: MadeRay, cluster: str, jobs: dict[str, str | int]) -> None:
    made_ray.answers("get-head-ip", "192.0.2.1")
    made_ray.answers("ray job list", listed(jobs))
    made_ray.answers("")
    assert up(cluster).exit_code == 0
    assert any(call.startswith("up --yes ") for call in made_ray.calls())


def test_a_head_that_does_not_say_its_jobs_is_left_alone(made_ray: MadeRay, cluster: str) -> None:
    made_ray.answers("get-head-ip", "192.0.2.1")
    made_ray.answers("ray job list", "401", code=1)
    made_ray.answers("")
    result = up(cluster)
    assert result.exit_code == 2
    assert f"does not say whether a job runs, which a new start would end; end the cluster first: {down(cluster)}" in (
        result.stderr
    )
    assert not any(call.startswith("up ") for call in made_ray.calls())


def test_a_head_that_never_came_up_is_tried_again(made_ray: MadeRay, cluster: str) -> None:
    made_ray.answers("get-head-ip", UNFINISHED, code=1)
    made_ray.answers("ray job list", "ssh: connection refused", code=1)
    made_ray.answers("")
    assert up(cluster).exit_code == 0


def test_a_provider_that_does_not_answer_is_no_empty_cluster(made_ray: MadeRay, cluster: str) -> None:
    made_ray.answers("get-head-ip", "Traceback\nbotocore.exceptions.NoCredentialsError: Unable to locate", code=1)
    made_ray.answers("")
    result = up(cluster)
    assert result.exit_code == 2
    assert "aws does not say whether the cluster is up: botocore.exceptions.NoCredentialsError" in result.stderr
    assert len(made_ray.calls()) == 1


def test_no_restart_goes_through_and_lets_ray_ask_before_it_replaces_the_head(made_ray: MadeRay, cluster: str) -> None:
    made_ray.answers("")
    assert up(cluster, "--no-restart").exit_code == 0
    [call, _] = made_ray.calls()
    assert call.startswith("up --no-restart ")
    assert "--yes" not in call


def down(cluster: str) -> str:
    return f"ndcl cluster down {cluster}"
