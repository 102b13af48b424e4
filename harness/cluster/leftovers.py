"""What a cluster leaves behind: instances and disks by their tag, or Ray's processes on machines of one's own."""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from harness.cluster.commands import Command
from harness.cluster.files import ClusterFile

TAG = "ray-cluster-name"
"""Ray's own tag of what belongs to a cluster."""
ALIVE = ("pending", "running", "shutting-down", "stopping", "stopped")
SSH_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=10",
    "StrictHostKeyChecking=no",  # as Ray's own
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
)
Run = Callable[[Command], "subprocess.CompletedProcess[str]"]


class Leftovers(Protocol):
    """Looks for what is left of one cluster."""

    looked_for: str
    """What was looked for, in words."""
    may_end: bool
    """Whether what is left may still be about to end."""

    def remember(self) -> None:
        """Before the end: take note of what has no tag."""

    def end(self, run: Run) -> None:
        """After `ray down`: end what that leaves, by commands that are shown."""

    def left(self) -> list[str]:
        """What is left, in words."""


def remains_of(file: ClusterFile) -> Leftovers | None:
    """What looks for the remains of this kind of cluster, or None if nothing does."""
    if file.kind == "aws":
        from harness.cluster.aws.session import open_session

        return AwsRemains(open_session(str(file.provider["region"])).ec2, str(file.values["cluster_name"]))
    return LocalRemains(file) if file.kind == "local" and "head_ip" in file.provider else None


class AwsRemains:
    """Instances by the tag that Ray gives them; disks by their instances or, where it is given, by the tag."""

    looked_for = "no instance and no volume"
    may_end = True

    def __init__(self, ec2: Any, cluster: str) -> None:
        self._ec2 = ec2
        self._tagged = [{"Name": f"tag:{TAG}", "Values": [cluster]}]
        self._volumes: set[str] = set()

    def remember(self) -> None:
        """The disks of the instances that run: an instance that has ended does not tell them any more."""
        for instance in self._found():
            for disk in instance.get("BlockDeviceMappings", ()):
                self._volumes.add(disk["Ebs"]["VolumeId"])

    def end(self, run: Run) -> None:
        """Nothing: what `ray down` ended will go."""

    def left(self) -> list[str]:
        """Instances that have not ended, and volumes that are there."""
        alive = [instance for instance in self._found() if instance["State"]["Name"] in ALIVE]
        return [f"instance {i['InstanceId']} ({i['State']['Name']})" for i in alive] + self._volumes_left()

    def _found(self) -> list[dict[str, Any]]:
        pages = self._ec2.get_paginator("describe_instances").paginate(Filters=self._tagged)
        return [i for page in pages for reservation in page["Reservations"] for i in reservation["Instances"]]

    def _volumes_left(self) -> list[str]:
        found = self._ec2.get_paginator("describe_volumes").paginate
        by_tag = [volume for page in found(Filters=self._tagged) for volume in page["Volumes"]]
        known = [{"Name": "volume-id", "Values": sorted(self._volumes)}]
        by_name = [volume for page in found(Filters=known) for volume in page["Volumes"]] if self._volumes else []
        return sorted({f"volume {volume['VolumeId']} ({volume['Size']} GiB)" for volume in by_tag + by_name})


class LocalRemains:
    """Ray's processes on machines that continue running: `ray down` ends only those of the head."""

    looked_for = "Ray is stopped on every machine"
    may_end = False

    def __init__(self, file: ClusterFile) -> None:
        auth = file.values["auth"]
        self._hosts = [str(file.provider["head_ip"]), *map(str, file.provider["worker_ips"])]
        self._login = str(auth["ssh_user"])
        key = auth.get("ssh_private_key")
        self._key = ("-i", str(Path(key).expanduser())) if key else ()
        self._left: list[str] = []

    def remember(self) -> None:
        """Nothing: the machines stand in the file."""

    def end(self, run: Run) -> None:
        """Stop Ray on each machine, and MLflow on the head; what answers otherwise than by 0 is left."""
        for host in self._hosts:
            done = run(self._command(host))
            answer = done.stdout.split()[-1] if done.returncode == 0 and done.stdout.split() else None
            if answer is None:
                self._left.append(f"{host} can't be reached: look when it is back, by: {self._command(host)}")
            elif answer != "0":
                self._left.append(f"{host} has {answer} processes of Ray")

    def left(self) -> list[str]:
        """What `end` has found."""
        return self._left

    def _command(self, host: str) -> Command:
        mlflow = "[ ! -f ~/mlflow/server.pid ] || pkill -F ~/mlflow/server.pid"
        script = f"ray stop --force; {mlflow}; pgrep -fc [r]aylet/raylet || true"
        options = [word for option in SSH_OPTIONS for word in ("-o", option)]
        words = ("ssh", *self._key, *options, f"{self._login}@{host}", f"bash -lic {shlex.quote(script)}")
        return Command(words=words)
