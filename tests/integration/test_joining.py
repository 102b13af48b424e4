"""A Ray that listens on the loopback alone, as a local sweep's does, can be joined by its address."""

import subprocess
import sys
from pathlib import Path

from harness.cluster.local_ray import cluster_address
from tests.integration.sweeps import ROOT

JOIN = """
import sys
from pathlib import Path
from harness.cluster.joined_ray import joined_ray
with joined_ray(Path(sys.argv[1]), sys.argv[2]) as nodes:
    print(nodes[0]["CPU"])
"""


def test_another_process_joins_a_ray_on_the_loopback(tmp_path: Path, local_ray_session: None) -> None:
    assert cluster_address().startswith("127.0.0.1:")
    program = [sys.executable, "-c", JOIN, str(tmp_path / "log"), cluster_address()]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "2.0\n"), done.stderr
