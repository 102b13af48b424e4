"""The idle guard: what counts as use, for how long, and that it ends this cluster's nodes on AWS, as moto has it."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from harness.cluster import idle_guard
from harness.cluster.checks.launcher_yaml import idle_guard as check
from harness.cluster.idle_guard import IdleGuard, end_cluster, idle_hours, is_used, is_wanted, num_sessions
from harness.cluster.lifecycle import ends_by_itself
from harness.cluster.ray_internals import node_provider
from ndcl.errors import UserError
from tests.harness.cluster.made_clusters import changed

REGION = "us-west-2"
HOUR = 3600.0
CONFIG: dict[str, Any] = {
    "cluster_name": "ndcl",
    "provider": {"type": "aws", "region": REGION, "cache_stopped_nodes": False},
    "metadata": {"results": "s3://bucket", "idle_hours": 2},
}


class Stage:
    """A head whose use a test decides on."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "config.json"
        self.used = False
        self.ends = 0
        self.says()
        self.guard = IdleGuard(self.file, lambda: self.used, self._end)

    def _end(self, config: Any) -> None:
        assert config["cluster_name"] == "ndcl"
        self.ends += 1

    def says(self, **metadata: Any) -> None:
        self.file.write_text(json.dumps(CONFIG | {"metadata": CONFIG["metadata"] | metadata}))

    def ended(self, hours: float) -> bool:
        """Look at this time; whether the cluster is told to end."""
        return self.guard.step(hours * HOUR)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_cluster_that_nobody_uses_ends_after_its_hours(stage: Stage) -> None:
    assert [stage.ended(hours) for hours in (100, 101, 101.99)] == [False] * 3
    assert stage.ends == 0
    assert stage.ended(102)
    assert stage.ends == 1


def test_use_begins_the_hours_anew(stage: Stage) -> None:
    stage.ended(0)
    stage.used = True
    assert not stage.ended(5)
    stage.used = False
    assert not stage.ended(6.9)
    assert stage.ended(7)


def test_a_cluster_in_use_stays_for_ever(stage: Stage) -> None:
    stage.used = True
    assert not any(stage.ended(hours) for hours in range(0, 1000, 7))


@pytest.mark.parametrize("metadata", [{"idle_hours": 0}, {"results": None}])
def test_it_stays_up_where_the_file_says_so_or_results_would_be_lost(stage: Stage, metadata: dict[str, Any]) -> None:
    stage.says(**metadata)
    assert not any(stage.ended(hours) for hours in range(100))
    stage.says()
    assert not stage.ended(100)
    assert stage.ended(101), "the hours begin when the file is changed"


def test_an_end_that_the_cloud_refuses_is_tried_again(stage: Stage) -> None:
    assert [stage.ended(hours) for hours in (0, 2, 2.1)] == [False, True, True]
    assert stage.ends == 2


@pytest.mark.parametrize(
    ("ray_runs", "open_jobs", "sessions", "used"),
    [
        (True, 0, 0, False),
        (True, 1, 0, True),
        (True, 0, 1, True),
        (False, 0, 1, True),
        (False, 1, 0, False),  # nothing runs without Ray, whatever its list said before
        (True, None, 0, True),  # a list that can't be had may hold a job
        (False, None, 0, False),
    ],
)
def test_what_counts_as_use(ray_runs: bool, open_jobs: int | None, sessions: int, used: bool) -> None:
    def jobs() -> int:
        if open_jobs is None:
            raise ConnectionError("no dashboard")
        return open_jobs

    assert is_used(lambda: ray_runs, jobs, lambda: sessions) is used


def test_jobs_that_wait_count_and_those_that_have_ended_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray import job_submission
    from ray.dashboard.modules.job.pydantic_models import JobDetails, JobType
    from ray.job_submission import JobStatus

    found = [JobDetails(type=JobType.SUBMISSION, status=status, entrypoint="") for status in JobStatus]

    class Client:
        def __init__(self, address: str) -> None:
            assert address == "http://127.0.0.1:8265"

        def list_jobs(self) -> list[JobDetails]:
            return found

    monkeypatch.setattr(job_submission, "JobSubmissionClient", Client)
    assert idle_guard.num_open_jobs() == 2


def test_ssh_connections_are_read_from_the_kernels_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"), Path("/proc/net/no_such_table"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(idle_guard, "SSH_PORT", server.getsockname()[1])
        assert num_sessions(*tables) == 0, "a port that only listens"
        with socket.create_connection(server.getsockname()):
            assert num_sessions(*tables) == 1
            there, _ = server.accept()
            there.close()


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with mock_aws():
        yield boto3.client("ec2", region_name=REGION)


def launch(ec2: Any, kind: str, cluster: str = "ndcl") -> str:
    tags = [{"Key": "ray-cluster-name", "Value": cluster}, {"Key": "ray-node-type", "Value": kind}]
    answer = ec2.run_instances(
        ImageId=ec2.describe_images()["Images"][0]["ImageId"],
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    return str(answer["Instances"][0]["InstanceId"])


def running(ec2: Any) -> set[str]:
    alive = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    found = ec2.describe_instances(Filters=alive)["Reservations"]
    return {instance["InstanceId"] for reservation in found for instance in reservation["Instances"]}


def test_workers_end_first_then_ray_then_the_head_and_nothing_of_others(ec2: Any) -> None:
    head, worker, other = launch(ec2, "head"), launch(ec2, "worker"), launch(ec2, "head", "other")
    late: list[str] = []

    def stop_ray() -> None:
        assert running(ec2) == {head, other}
        late.append(launch(ec2, "worker"))  # which the autoscaler had asked for just before

    end_cluster(CONFIG, node_provider(CONFIG), stop_ray)
    assert late
    assert running(ec2) == {other}
    assert worker not in running(ec2)


def test_a_head_whose_workers_do_not_end_stays_with_its_autoscaler(ec2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    head, worker = launch(ec2, "head"), launch(ec2, "worker")

    class Refusing:
        def __init__(self, provider: Any) -> None:
            self.non_terminated_nodes = provider.non_terminated_nodes

        def terminate_nodes(self, _: list[str]) -> None:
            raise PermissionError("UnauthorizedOperation")

    started: list[Any] = []
    monkeypatch.setattr(idle_guard, "node_provider", lambda config: Refusing(node_provider(config)))
    monkeypatch.setattr(idle_guard, "does_ray_run", lambda: True)
    monkeypatch.setattr(subprocess, "run", lambda *words, **_: started.append(words))
    idle_guard.end_this_cluster(CONFIG)
    assert running(ec2) == {head, worker}
    assert started == [], "Ray was stopped, or the head switched off"


def test_a_head_that_the_cloud_does_not_end_is_switched_off(ec2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    launch(ec2, "head")
    started: list[Any] = []
    monkeypatch.setattr(idle_guard, "END_SECONDS", 0.0)
    monkeypatch.setattr(subprocess, "run", lambda words, **_: started.append(words))
    idle_guard.end_this_cluster(CONFIG)
    assert [list(map(str, words))[-1] for words in started] == ["stop", "now"]
    assert started[-1] == idle_guard.SWITCH_OFF


@pytest.mark.parametrize("value", ["2", None, True, -1, float("nan"), float("inf"), [2]])
def test_hours_that_are_none_are_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"{value!r} is no number of hours")):
        idle_hours({"idle_hours": value})
    file = changed("aws", tmp_path, lambda values: values["metadata"].update(idle_hours=value))
    assert [str(finding) for finding in check(file)] == [
        f"metadata.idle_hours: {value!r} is no number of hours; such as 2, or 0 for never"
    ]


def test_two_hours_unless_the_file_says_otherwise() -> None:
    assert (idle_hours({}), idle_hours({"idle_hours": 0.5}), idle_hours({"idle_hours": 0})) == (2.0, 0.5, 0.0)
    assert is_wanted(CONFIG)
    assert not is_wanted(CONFIG | {"metadata": {"idle_hours": 0}})
    assert not is_wanted(CONFIG | {"provider": {"type": "local"}})


@pytest.mark.parametrize("name", ["aws", "aws-efa", "azure", "gcp"])
def test_a_file_that_starts_no_guard_is_found(name: str, tmp_path: Path) -> None:
    def without(values: Any) -> None:
        commands = values["head_start_ray_commands"]
        values["head_start_ray_commands"] = [command for command in commands if "idle_guard" not in command]

    [finding] = check(changed(name, tmp_path, without))
    assert "start python -m harness.cluster.idle_guard as clusters/aws.yaml, or metadata.idle_hours: 0" in str(finding)

    def at_no_time(values: Any) -> None:
        without(values)
        values["metadata"]["idle_hours"] = 0

    assert list(check(changed(name, tmp_path, at_no_time))) == []
    assert list(check(changed(name, tmp_path, lambda _: None))) == []


def test_up_says_when_the_cluster_ends_by_itself(tmp_path: Path) -> None:
    def said(name: str = "aws", **metadata: Any) -> str:
        return ends_by_itself(changed(name, tmp_path, lambda values: values["metadata"].update(metadata)))

    assert said(idle_hours=0.5) == "; by itself it ends after 0.5 hours without a job and an SSH session"
    assert said(results="") == "; not by itself, since nothing but its head has the results"
    assert said(idle_hours=0) == said("local") == ""


def test_one_guard_runs_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_guard, "LOCK_FILE", tmp_path / "lock")
    monkeypatch.setattr(idle_guard, "BOOTSTRAP_FILE", tmp_path / "config.json")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    seen = []

    def used() -> bool:
        seen.append(idle_guard.is_guarded())
        idle_guard.main()  # another one, which ends at once
        raise KeyboardInterrupt

    monkeypatch.setattr(idle_guard, "is_used_now", used)
    monkeypatch.setattr("sys.argv", ["idle_guard", "--poll-seconds", "0"])
    assert not idle_guard.is_guarded()
    with pytest.raises(KeyboardInterrupt):
        idle_guard.main()
    assert seen == [True]
    assert not idle_guard.is_guarded()
