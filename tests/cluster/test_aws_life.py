"""The whole life of clusters/aws.yaml, against EC2 made up of moto and namespaces, by the commands that a user gives.

Real are Ray, its autoscaler, SSH, the sweep, S3's protocol and the roles' rights by action. Not real are the instances'
boot time, their GPUs, and every condition within the roles' policies.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cluster.commands import check_head
from harness.cluster.files import read_cluster
from harness.records import Journal, TrialRecord
from tests.cluster.ec2_simulator import ACCOUNT, PORT, ROUTER
from tests.cluster.laptop import Laptop
from tests.cluster.machines import ROOT, Network, missing
from tests.integration import sweeps

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group("machines"),
]
ENDPOINT = f"{ROUTER}:{PORT}"
REGION = "us-west-2"
BUCKET = f"ndcl-{ACCOUNT}-{REGION}"
SWEEP: dict[str, Any] = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"erm": None},
    "train": {"num_steps": 1500, "evaluate_every": 25, "batch_size": 4},
    "search": {"num_trials": 1, "scheduler": {"name": "none"}},
    "final": {"seeds": 0},
    "resources": {"cpus_per_trial": 1, "gpus_per_trial": 1},
}


class Cloud:
    """The simulator, seen from the outside."""

    def __init__(self, folder: Path, laptop: Laptop) -> None:
        self.folder, self.laptop = folder, laptop

    def nodes(self) -> dict[str, dict[str, Any]]:
        path = self.folder / "nodes.json"
        values: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
        return values

    def workers(self) -> dict[str, bool]:
        """Whether each worker that runs is spot."""
        return {name: node["spot"] for name, node in self.nodes().items() if node["type"].startswith("g5")}

    def launches(self) -> list[dict[str, Any]]:
        calls = map(json.loads, (self.folder / "calls.jsonl").read_text().splitlines())
        return [c for c in calls if c["action"] == "RunInstances" and c["role"] == "ndcl-head" and not c["dry"]]

    def set_faults(self, **faults: Any) -> None:
        partial = self.folder / "faults.partial"
        partial.write_text(json.dumps(faults))
        partial.replace(self.folder / "faults.json")

    def on_head(self, path: str) -> Path:
        """Where a path below the user's home on the head lies on this machine."""
        [head] = [name for name, node in self.nodes().items() if not node["type"].startswith("g5")]
        return self.folder / "nodes" / head / "up" / "home" / "ubuntu" / path

    def records(self) -> list[TrialRecord]:
        return Journal(self.on_head("results") / "tiny").read()

    def consoles(self) -> str:
        return "\n".join(path.read_text()[-1500:] for path in self.folder.glob("nodes/*/console.log"))


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    folder = tmp_path / "cloud"
    folder.mkdir()
    network = Network(name=f"ndcl-vpc-{os.getpid()}", gateway=f"{ROUTER}/16")
    environment = {
        "AWS_ENDPOINT_URL": f"http://{ENDPOINT}",
        "AWS_ACCESS_KEY_ID": "laptop",
        "AWS_SECRET_ACCESS_KEY": "laptop",
        "AWS_DEFAULT_REGION": REGION,
    }
    network.make()
    laptop = Laptop(network.name, tmp_path / "laptop", environment)
    simulator = laptop.start(
        "python", "-m", "tests.cluster.ec2_simulator", network.name, str(folder), log=folder / "log"
    )
    try:
        wait_for((folder / "ready").exists, "the simulator", 60)
        yield Cloud(folder, laptop)
    finally:
        simulator.send_signal(signal.SIGTERM)
        simulator.wait()
        network.remove()


def wait_for(condition: Callable[[], object], what: str, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)


def written_cluster(folder: Path) -> Path:
    """clusters/aws.yaml as a user would fill it in, with less patience."""
    text = (ROOT / "clusters" / "aws.yaml").read_text()
    values = yaml.safe_load(text.replace("CHANGE-ME", "tester"))
    options = f"endpoint_override={ENDPOINT}&scheme=http&region={REGION}"
    values["metadata"]["results"] = f"s3://{BUCKET}/results?{options}"
    values["idle_timeout_minutes"] = 0.3
    guard = "python -m harness.cluster.spot_guard"
    commands = values["head_start_ray_commands"]
    values["head_start_ray_commands"] = [c.replace(guard, f"{guard} --failures 2 --poll-seconds 1") for c in commands]
    path = folder / "aws.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def guards() -> list[int]:
    """The spot guards on the made-up machines; their processes are also seen from here."""
    found = subprocess.run(["pgrep", "-f", "harness.cluster.spot_guard"], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def test_a_sweep_lives_through_a_reclaim_and_nothing_is_left(tmp_path: Path, cloud: Cloud) -> None:
    cluster, laptop = str(written_cluster(tmp_path)), cloud.laptop
    laptop.ndcl(
        "cluster", "bootstrap", "aws", "--cluster", cluster, "--cidr", f"{ROUTER}/32", "--bucket", BUCKET, "--yes"
    )
    output = laptop.ndcl("cluster", "up", cluster)
    assert "head: it can do what it must" in output, output + cloud.consoles()
    assert f"$ ray up --yes --no-config-cache --disable-usage-stats {cluster}" in output
    with launches_forbidden(laptop):  # negative control: what `up` looks at is found wrong where it is wrong
        done = laptop.run(*check_head(read_cluster(Path(cluster))).argv)
    assert done.returncode != 0
    assert "AWS refuses it RunInstances for gpu_spot" in done.stdout
    assert "AWS refuses it DescribeInstances" not in done.stdout

    # A trial brings up a spot worker, and begins.
    sweep = sweeps.written(tmp_path, **SWEEP)
    output = laptop.ndcl("cluster", "submit", cluster, str(sweep), "--detach")
    assert "goes on without this machine" in output
    wait_for(lambda: any(record.checkpoint for record in cloud.records()), "a first checkpoint")
    [spot] = cloud.workers()
    assert cloud.workers() == {spot: True}

    # It is taken back, and there is no spot capacity. Negative control: without the guard only spot is asked for.
    [before] = cloud.records()
    launched = len(cloud.launches())
    for pid in guards():
        os.kill(pid, signal.SIGSTOP)
    cloud.set_faults(no_spot=True, reclaim=[spot])
    wait_for(lambda: len(cloud.launches()) >= launched + 10, "spot to be asked for again and again")
    assert all(call["spot"] and call["error"] for call in cloud.launches()[launched:])
    for pid in guards():
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: list(cloud.workers().values()) == [False], "an on-demand worker")

    # The trial goes on there, from its checkpoint.
    wait_for(lambda: cloud.records()[0].state == "finished", "the trial's end")
    [after] = cloud.records()
    assert after.attempts == 2
    assert sweeps.past(after)[: len(before.evaluations)] == sweeps.past(before)
    assert [e["step"] for e in after.evaluations] == list(range(25, 1501, 25))

    # It is looked at, brought home, and the idle worker goes.
    assert "tiny: done" in laptop.ndcl("cluster", "status", cluster, "tiny")
    assert "results: " in laptop.ndcl("cluster", "logs", cluster, "--once")
    home = tmp_path / "results"
    laptop.ndcl("cluster", "results", cluster, "tiny", "--results", str(home))
    assert Journal(home / "tiny").read() == [after]
    assert (home / "tiny" / "report.html").is_file()
    assert list((home / "tiny" / "models").iterdir())
    wait_for(lambda: not cloud.workers(), "the idle worker's end")

    output = laptop.ndcl("cluster", "down", cluster)
    assert "nothing is left of cluster 'ndcl': no instance and no volume" in output
    wait_for(lambda: not cloud.nodes(), "the last machine's end", 30)
    code, output = laptop.ndcl_code(
        "cluster", "results", cluster, "tiny", "--results", str(tmp_path / "again"), "--from-storage"
    )
    assert code == 0, output
    assert Journal(tmp_path / "again" / "tiny").read() == [after]


@contextlib.contextmanager
def launches_forbidden(laptop: Laptop) -> Iterator[None]:
    """For so long the head's role may not start instances."""
    code = (
        "import boto3, json, sys\n"
        "iam, names = boto3.client('iam'), {'RoleName': 'ndcl-head', 'PolicyName': sys.argv[1]}\n"
        "policy = iam.get_role_policy(**names)['PolicyDocument']\n"
        "print(json.dumps(policy))\n"
        "policy = json.loads(sys.argv[2]) if sys.argv[2] else policy | {'Statement': ["
        "s for s in policy['Statement'] if 'ec2:RunInstances' not in s['Action']]}\n"
        "iam.put_role_policy(PolicyDocument=json.dumps(policy), **names)\n"
    )
    policy = laptop.run(
        "python",
        "-c",
        "import boto3; print(*boto3.client('iam').list_role_policies(RoleName='ndcl-head')['PolicyNames'])",
    )
    done = laptop.run("python", "-c", code, policy.stdout.strip(), "")
    assert done.returncode == 0, done.stdout
    yield
    assert laptop.run("python", "-c", code, policy.stdout.strip(), done.stdout).returncode == 0
