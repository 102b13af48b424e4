"""The life of clusters/local.yaml: a head and three machines, two of which train one trial together when one of them
loses its power. The two exchange by gloo over the made-up network.

What the claim rests on, and that it fails without: test_resuming.py.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.records import Journal, TrialRecord
from tests.clusters_live.laptop import Laptop
from tests.clusters_live.machines import ROOT, Machine, Network, missing, sh
from tests.clusters_live.went_on import check_went_on
from tests.integration import sweeps

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(1800),
]
HEAD, *WORKERS = ADDRESSES = [f"10.78.0.{number}" for number in (11, 12, 13, 14)]
SWEEP: dict[str, Any] = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"erm": None},
    "train": {"num_steps": 60, "evaluate_every": 3, "batch_size": 4},
    "search": {"num_trials": 1, "scheduler": {"name": "none"}},
    "final": {"seeds": 0},
    "resources": {"workers_per_trial": 2, "cpus_per_worker": os.cpu_count()},
}


class Lan:
    """A head, three machines, and the one that they are used from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = Network(name=f"ndcl-lan-{os.getpid()}", gateway="10.78.0.1/24")
        self.network.make()
        self.laptop = Laptop(self.network.name, folder / "laptop", {"RAY_TMPDIR": str(folder / "laptop" / "tmp")})
        self.machines = {
            address: Machine(self.network, f"m{number}", [f"{address}/24"], folder / f"m{number}")
            for number, address in enumerate(ADDRESSES)
        }
        self.key = self.laptop.home / "key"

    def start(self) -> None:
        shared = self.folder / "shared"
        shared.mkdir()
        shared.chmod(0o777)
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))
        profile = {"PATH": f"{Path(sys.executable).parent}:$PATH", "OMP_NUM_THREADS": "1"}
        for machine in self.machines.values():
            machine.start(self.key.with_suffix(".pub").read_text(), profile, shared)

    def stop(self) -> None:
        for machine in self.machines.values():
            machine.power_off()
        self.network.remove()

    def records(self) -> list[TrialRecord]:
        return Journal(self.folder / "m0" / "up" / "home" / "ubuntu" / "results" / "tiny").read()

    def that_train(self) -> set[str]:
        """Addresses of the machines on which a worker of a training runs."""
        return {address for address, machine in self.machines.items() if machine.runs("RayTrainWorker")}


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Lan]:
    made = Lan(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def written_cluster(lan: Lan) -> Path:
    """clusters/local.yaml as a user would fill it in."""
    values = yaml.safe_load((ROOT / "clusters" / "local.yaml").read_text())
    values["provider"] |= {"head_ip": HEAD, "worker_ips": WORKERS}
    values |= {"min_workers": len(WORKERS), "max_workers": len(WORKERS)}
    values["auth"]["ssh_private_key"] = str(lan.key)
    # They share a few cores, and Ray gives up a node that is not there within 30 s: one starts after the other
    in_turn = "flock --close /mnt/shared/starts ray start"
    values["worker_start_ray_commands"] = [
        command.replace("ray start", in_turn) for command in values["worker_start_ray_commands"]
    ]
    path = lan.folder / "local.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def wait_for(condition: Callable[[], object], what: str, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)


def test_one_of_two_machines_that_train_together_loses_its_power(tmp_path: Path, lan: Lan) -> None:
    cluster, laptop = str(written_cluster(lan)), lan.laptop
    output = laptop.ndcl("cluster", "up", cluster)
    assert "head: it can do what it must" in output
    laptop.ndcl("cluster", "submit", cluster, str(sweeps.written(tmp_path, **SWEEP)), "--detach")
    wait_for(lambda: any(record.checkpoint for record in lan.records()), "a first checkpoint")
    if not all(lan.machines[address].runs("raylet") for address in WORKERS):
        pytest.skip("a machine has not joined: Ray gives up a start of 30 s, and these cores are too slow for it")
    together = lan.that_train()
    assert len(together) == 2
    lost = max(together)
    [before] = lan.records()
    lan.machines[lost].power_off()
    wait_for(lambda: lan.records()[0].step > before.step + 3, "steps after it")
    assert lan.that_train() == {*WORKERS} - {lost}
    wait_for(lambda: lan.records()[0].state == "finished", "the trial's end")
    check_went_on(before, lan.records()[0])

    code, output = laptop.ndcl_code("cluster", "down", cluster)
    assert code == 2, output
    [left] = [line for line in output.splitlines() if "left of cluster 'ndcl'" in line]
    assert f"{lost} can't be reached" in left
    assert not any(address in left for address in ADDRESSES if address != lost)
