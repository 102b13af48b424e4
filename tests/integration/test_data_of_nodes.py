"""Where data sets lie, as a job is told, is known to every process of the nodes, whatever they started with."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from harness.cluster.local_ray import cluster_address
from tests.integration.sweeps import ROOT
from tests.made.made_store import make_store

OPEN = """
import sys
from pathlib import Path
from harness.cluster.joined_ray import joined_ray
with joined_ray(Path(sys.argv[1]), sys.argv[2]):
    import ray

    @ray.remote
    class Trial:
        def data(self):
            from ndcl.data import open_dataset

            return open_dataset("office").folder

    plain, own = Trial, Trial.options(runtime_env={"env_vars": {"OWN": "1"}})
    print(*[ray.get(actor.remote().data.remote()) for actor in (plain, own)], sep="\\n")
"""


def test_a_trial_finds_its_data_where_the_job_was_told(tmp_path: Path, local_ray_session: None) -> None:
    """Also one with variables of its own, as workers of a trial have."""
    store = make_store(tmp_path / "bucket" / "office", np.full((2, 2), 3), ("a", "b"), ("c", "d"), shape=(2,))
    program = [sys.executable, "-c", OPEN, str(tmp_path / "log"), cluster_address()]
    environment = os.environ | {"NDCL_DATA": (tmp_path / "bucket").as_uri()}
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    shutil.rmtree(first)  # out of the cache of whoever runs this
    assert first == second
    assert first.endswith(f"/{store.digest[:32]}"), "a copy, which has its digest for a name"
