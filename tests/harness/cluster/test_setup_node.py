"""clusters/bin/setup_node.sh where an image brings the environment, and where an installed one is not right."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.cluster.made_clusters import ROOT


@pytest.fixture
def app(home: Path) -> Path:
    """A node's copy of the code: the script and the lock."""
    folder = home / "ndcl"
    (folder / "clusters" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "clusters" / "bin" / "setup_node.sh", folder / "clusters" / "bin")
    shutil.copy(ROOT / "requirements.lock", folder)
    return folder


def set_up(app: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = app / "clusters" / "bin" / "setup_node.sh"
    return subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=False)


def test_a_baked_image_is_only_checked_and_shells_are_set_up_once(home: Path, app: Path) -> None:
    (home / ".ray" / "auth_token").chmod(0o644)
    first = set_up(app)
    assert first.returncode == 0, first.stderr
    lines = (home / ".bashrc").read_text()
    assert "export RAY_AUTH_MODE=token" in lines
    assert f"export PYTHONPATH={app}\n" in lines
    assert (home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    assert set_up(app).returncode == 0
    assert (home / ".bashrc").read_text() == lines
    assert not (home / "ndcl-venv").exists()


def test_a_node_with_another_ray_is_refused(home: Path, app: Path) -> None:
    lock = app / "requirements.lock"
    lock.write_text(lock.read_text().replace("ray==", "ray==9."))
    installed = home / "ndcl-venv"
    installed.mkdir()
    (installed / f".installed-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}").touch()
    done = set_up(app)
    assert done.returncode == 1
    assert "setup_node.sh: ray 9." in done.stderr
    assert "is not installed on" in done.stderr
