"""The whole life of clusters/aws.yaml, against EC2 made up of moto and namespaces, by the commands that a user gives.

Real are Ray, its autoscaler, SSH, the sweep, S3's protocol and the roles' rights by action. Not real are the instances'
boot time, their GPUs, and every condition within the roles' policies.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cluster.commands import check_head, on_head
from harness.cluster.files import read_cluster
from harness.records import Journal, TrialRecord
from tests.clusters_live.ec2_simulator import ACCOUNT, PORT, REGION, ROUTER
from tests.clusters_live.laptop import Laptop
from tests.clusters_live.machines import ROOT, Network, missing, sh
from tests.clusters_live.went_on import check_went_on
from tests.integration import sweeps

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(1800),
]
ENDPOINT = f"{ROUTER}:{PORT}"
BUCKET = f"ndcl-{ACCOUNT}-{REGION}"
COOLDOWN_SECONDS = 15
SWEEP: dict[str, Any] = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"erm": None},
    "train": {"num_steps": 300, "evaluate_every": 10, "batch_size": 4},
    "search": {"num_trials": 1, "scheduler": {"name": "none"}},
    "final": {"seeds": 0},
    "resources": {"cpus_per_trial": 1},  # its nodes have GPUs by their YAML alone, and the head has no CPU for trials
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

    def guards(self) -> list[int]:
        """The spot guards on these machines; their processes are also seen from here."""
        found = subprocess.run(
            ["pgrep", "-f", "harness.cluster.spot_guard"], capture_output=True, text=True, check=False
        )
        network = self.laptop.network
        return [int(pid) for pid in found.stdout.split() if sh("ip", "netns", "identify", pid).startswith(network)]

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
        "python", "-m", "tests.clusters_live.ec2_simulator", network.name, str(folder), log=folder / "log"
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


IMAGE = "ami-12c6146b"
"""One that moto has; it has no parameters by which images are found."""


def written_cluster(folder: Path) -> Path:
    """clusters/aws.yaml as it is shipped, to be filled in by bootstrap, with less patience."""
    values = yaml.safe_load((ROOT / "clusters" / "aws.yaml").read_text())
    options = f"endpoint_override={ENDPOINT}&scheme=http&region={REGION}"
    values["metadata"]["results"] = f"s3://{BUCKET}/results?{options}"
    values["idle_timeout_minutes"] = 0.15
    guard, start = "python -m harness.cluster.spot_guard", "ray start --head"
    idle = "python -m harness.cluster.idle_guard"
    lively = {
        idle: f"{idle} --poll-seconds 1",
        guard: f"{guard} --failures 2 --cooldown-seconds {COOLDOWN_SECONDS} --poll-seconds 1",
        start: f"AUTOSCALER_UPDATE_INTERVAL_S=1 {start}",
    }
    for patient, less in lively.items():
        commands = values["head_start_ray_commands"]
        values["head_start_ray_commands"] = [command.replace(patient, less) for command in commands]
    for node_type in values["available_node_types"].values():
        node_type["node_config"]["ImageId"] = IMAGE
    path = folder / "aws.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def check_pages(laptop: Laptop, cluster: str, log: Path) -> None:
    """Open the head's pages, ask MLflow for its health, and close them by Ctrl-C."""
    process = laptop.start(sys.executable, "-m", "harness.cli", "cluster", "ui", cluster, log=log)
    wait_for(lambda: "MLflow: http" in log.read_text() or process.poll() is not None, "the head's pages", 120)
    [address] = [line.removeprefix("MLflow: ") for line in log.read_text().splitlines() if line.startswith("MLflow: ")]
    ask = f"import urllib.request as u; print(u.urlopen('{address}/health', timeout=30).read())"
    assert "OK" in laptop.run(sys.executable, "-c", ask).stdout
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, log.read_text()


def test_a_sweep_lives_through_reclaims_and_nothing_is_left(tmp_path: Path, cloud: Cloud) -> None:
    cluster, laptop = str(written_cluster(tmp_path)), cloud.laptop
    unprepared = laptop.run("ray", "up", "--yes", cluster)
    assert unprepared.returncode != 0
    assert "ndcl cluster bootstrap aws --write" in " ".join(unprepared.stdout.split())
    options = ("--cidr", f"{ROUTER}/32", "--bucket", BUCKET, "--yes", "--write")
    laptop.ndcl("cluster", "bootstrap", "aws", "--cluster", cluster, *options)
    # ssh takes `~` for the home of /etc/passwd, which this laptop's is not.
    filled_in = Path(cluster).read_text()
    Path(cluster).write_text(filled_in.replace("~/.ssh/", f"{laptop.home}/.ssh/"))
    output = laptop.ndcl("cluster", "up", cluster)
    assert "head: it can do what it must" in output, output + cloud.consoles()
    assert f"$ ray up --yes --no-config-cache --disable-usage-stats {cluster}" in output
    cloud.set_faults(revoked=["ec2:RunInstances"])  # negative control: what `up` looks at is found wrong where it is
    done = laptop.run(*check_head(read_cluster(Path(cluster))).argv)
    cloud.set_faults()
    assert done.returncode != 0
    assert "AWS refuses it RunInstances for gpu_spot" in done.stdout
    assert "AWS refuses it DescribeInstances" not in done.stdout

    # A trial brings up a spot worker, and begins.
    sweep = sweeps.written(tmp_path, **SWEEP)
    output = laptop.ndcl("cluster", "submit", cluster, str(sweep), "--detach", "--budget", "1000")
    assert "continues without this machine" in output
    wait_for(lambda: any(record.checkpoint for record in cloud.records()), "a first checkpoint")
    [spot] = cloud.workers()
    assert cloud.workers() == {spot: True}

    # It is taken back, and there is no spot capacity. Negative control: without the guard only spot is asked for.
    [before] = cloud.records()
    launched = len(cloud.launches())
    for pid in cloud.guards():
        os.kill(pid, signal.SIGSTOP)
    cloud.set_faults(no_spot=True, reclaim=[spot])
    wait_for(lambda: len(cloud.launches()) >= launched + 10, "spot to be asked for again and again")
    assert all(call["spot"] and call["error"] for call in cloud.launches()[launched:])

    # A second `up`, which would start Ray anew, leaves the sweep that waits alone. Its pages can be opened meanwhile.
    code, output = laptop.ndcl_code("cluster", "up", cluster)
    assert code == 2, output
    assert "a job runs on the head, which a new start would end: tiny-" in output
    check_pages(laptop, cluster, tmp_path / "ui.log")

    # With the guard an on-demand worker comes.
    for pid in cloud.guards():
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: list(cloud.workers().values()) == [False], "an on-demand worker")

    # The trial continues there. Spot capacity is back when this worker is lost, too: the next one is spot again.
    [on_demand] = cloud.workers()
    wait_for(lambda: cloud.records()[0].step > before.step + 10, "steps on the on-demand worker")
    wait_for(lambda: "allowed again" in cloud.on_head("spot_guard.log").read_text(), "the end of the guard's cooldown")
    [between] = cloud.records()
    cloud.set_faults(reclaim=[spot, on_demand])
    wait_for(lambda: cloud.records()[0].state == "finished", "the trial's end")
    assert list(cloud.workers().values()) == [True]
    [after] = cloud.records()
    assert (before.attempts, between.attempts, after.attempts) == (1, 2, 3)
    check_went_on(before, after)
    check_went_on(between, after)

    # It is looked at, brought home, and the idle worker goes.
    assert "tiny: done" in laptop.ndcl("cluster", "status", cluster, "tiny")
    output = laptop.ndcl("cluster", "logs", cluster)
    assert "results: " in output
    assert "MLflow: http://127.0.0.1:5000" in output
    assert "MLflow is not complete" not in output
    assert " of 1000.00 US dollars spent in " in output
    assert "can't be seen" not in output
    assert " has succeeded" in output
    home = tmp_path / "results"
    laptop.ndcl("cluster", "results", cluster, "tiny", "--results", str(home))
    assert Journal(home / "tiny").read() == [after]
    assert (home / "tiny" / "report.html").is_file()
    assert list((home / "tiny" / "models").iterdir())
    wait_for(lambda: not cloud.workers(), "the idle worker's end")

    # Nobody uses it any more: it ends by itself, and the results come from what outlives it.
    patience = """sed -i -E 's/"?idle_hours"?: 2/"idle_hours": 0.003/' ~/ray_bootstrap_config.yaml"""
    done = laptop.run(*on_head(read_cluster(Path(cluster)), patience).argv)
    assert done.returncode == 0, done.stdout
    wait_for(lambda: not cloud.nodes(), "the end of a cluster that nobody uses", 120)
    laptop.ndcl("cluster", "results", cluster, "tiny", "--results", str(tmp_path / "again"))
    assert Journal(tmp_path / "again" / "tiny").read() == [after]

    # Once more, unattended: what is done already is not run again, the job's end is that of the command, and of all.
    assert "head: it can do what it must" in laptop.ndcl("cluster", "up", cluster)
    last = tmp_path / "last"
    output = laptop.ndcl("cluster", "submit", cluster, str(sweep), "--then-down", "--results", str(last))
    assert "nothing is left of cluster 'ndcl': no instance and no volume" in output
    assert Journal(last / "tiny").read() == [after]
    assert (last / "mlflow.db").is_file()
    wait_for(lambda: not cloud.nodes(), "the last machine's end", 30)
