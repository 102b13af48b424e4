"""What is left of a cluster: on AWS as moto has it, on machines of one's own by what they answer."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from harness.cluster import lifecycle, running
from harness.cluster.commands import Command
from harness.cluster.files import ClusterFile, read_cluster
from harness.cluster.leftovers import AwsRemains, LocalRemains, remains_of
from ndcl.errors import UserError
from tests.harness.cluster.made_clusters import filled_in


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with mock_aws():
        yield boto3.client("ec2", region_name="us-west-2")


def launch(ec2: Any, cluster: str, *, keeps_disk: bool = False) -> dict[str, Any]:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "ray-cluster-name", "Value": cluster}]}]
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 8, "DeleteOnTermination": not keeps_disk}}
    image = ec2.describe_images()["Images"][0]["ImageId"]
    answer = ec2.run_instances(
        ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tags, BlockDeviceMappings=[disk]
    )
    instance: dict[str, Any] = answer["Instances"][0]
    return instance


def test_instances_and_their_disks_are_found_by_the_tag_of_the_cluster(ec2: Any) -> None:
    other, ours = launch(ec2, "other"), launch(ec2, "ndcl")
    remains = AwsRemains(ec2, "ndcl")
    remains.remember()
    left = remains.left()
    assert any(ours["InstanceId"] in line for line in left)
    assert any(line.startswith("volume vol-") and "8 GiB" in line for line in left)
    assert not any(other["InstanceId"] in line for line in left)
    ec2.terminate_instances(InstanceIds=[ours["InstanceId"]])
    assert remains.left() == []
    assert AwsRemains(ec2, "other").left()


def test_a_disk_that_outlives_its_instance_is_told(ec2: Any) -> None:
    instance = launch(ec2, "ndcl", keeps_disk=True)
    remains = AwsRemains(ec2, "ndcl")
    remains.remember()
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    [left] = remains.left()
    assert left.startswith("volume vol-")
    assert AwsRemains(ec2, "ndcl").left() == [], (
        "an instance that has ended tells its disks no more, so this showed nothing"
    )


def test_a_disk_of_an_earlier_instance_is_found_by_its_tag(ec2: Any) -> None:
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "ray-cluster-name", "Value": "ndcl"}]}]
    volume = ec2.create_volume(Size=5, AvailabilityZone="us-west-2a", TagSpecifications=tags)["VolumeId"]
    assert AwsRemains(ec2, "ndcl").left() == [f"volume {volume} (5 GiB)"]


@pytest.fixture
def local(tmp_path: Path) -> ClusterFile:
    return read_cluster(filled_in("local", tmp_path))


def answering(answers: list[tuple[int, str]], asked: list[str]) -> Any:
    def run(command: Command) -> "subprocess.CompletedProcess[str]":
        asked.append(str(command))
        code, output = answers[len(asked) - 1]
        return subprocess.CompletedProcess([], code, output)

    return run


def test_ray_is_stopped_on_every_machine_and_who_does_not_answer_is_named(local: ClusterFile) -> None:
    remains, asked = LocalRemains(local), list[str]()
    remains.end(answering([(0, "Stopped all 5 Ray processes.\n0\n"), (255, ""), (0, "2\n")], asked))
    hosts = [local.provider["head_ip"], *local.provider["worker_ips"]]
    assert all(f"ubuntu@{host}" in command for host, command in zip(hosts, asked, strict=True))
    assert all("ray stop --force" in command for command in asked)
    unreachable, running = remains.left()
    assert unreachable.startswith(f"{hosts[1]} can't be reached: look when it is back, by: ssh -i ")
    assert running == f"{hosts[2]} has 2 processes of Ray"


def test_nothing_is_left_where_every_machine_answers_with_none(local: ClusterFile) -> None:
    remains = LocalRemains(local)
    remains.end(answering([(0, "0\n")] * 3, []))
    assert remains.left() == []


def test_what_is_left_ends_down_with_an_error(local: ClusterFile, monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    monkeypatch.setattr(running, "_started", lambda *_, **__: subprocess.CompletedProcess([], 0, "1\n"))
    with pytest.raises(UserError, match=r"left of cluster 'ndcl': .* has 1 processes of Ray"):
        lifecycle.down(local, said.append)
    assert said[0].startswith("$ RAY_UP_enable_autoscaler_v2=0 ray down --yes ")
    assert sum(line.startswith("$ ssh ") for line in said) == 3


def test_a_cloud_that_can_not_be_asked_is_said_not_to_have_been(monkeypatch: pytest.MonkeyPatch) -> None:
    file, said = read_cluster(Path("clusters/gcp.yaml").resolve()), list[str]()
    assert remains_of(file) is None
    monkeypatch.setattr(running, "_started", lambda *_, **__: subprocess.CompletedProcess([], 0, ""))
    lifecycle.down(file, said.append)
    assert said[-1] == "not checked: ndcl can't ask gcp what is left; look for the tag ray-cluster-name=ndcl"
