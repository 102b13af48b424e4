"""clusters/bin/setup_node.sh where an image brings the environment, and where an installed one is not right."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.harness.cluster.made_clusters import ROOT, filled_in

LOCKS = ("requirements", "requirements-node")


@pytest.fixture
def app(home: Path) -> Path:
    """A node's copy of the code: the script and the lock."""
    folder = home / "ndcl"
    (folder / "clusters" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "clusters" / "bin" / "setup_node.sh", folder / "clusters" / "bin")
    shutil.copy(ROOT / "requirements-node.lock", folder)
    return folder


def set_up(app: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    path = f"{app.parent / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "NDCL_LOCAL_DISKS": "/nowhere", "PATH": path, **variables}
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
    lock = app / "requirements-node.lock"
    lock.write_text(lock.read_text().replace("ray==", "ray==9."))
    installed = home / "ndcl-venv"
    installed.mkdir()
    (installed / f".installed-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}").touch()
    done = set_up(app)
    assert done.returncode == 1
    assert "setup_node.sh: ray 9." in done.stderr
    assert "is not installed on" in done.stderr


def program(home: Path, name: str, text: str) -> None:
    """A program of that name, found before the system's."""
    (home / "bin").mkdir(exist_ok=True)
    (home / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
    (home / "bin" / name).chmod(0o755)


@pytest.mark.parametrize(
    ("source", "room", "is_taken"),
    [("/dev/nvme1n1", 200, True), ("/dev/nvme1n1", 50, False), ("fs-1.efs.example:/", 200, False)],
)
def test_a_larger_disk_of_the_machines_own_takes_the_copies_of_data(
    home: Path, app: Path, tmp_path: Path, source: str, room: int, is_taken: bool
) -> None:
    disk = tmp_path / "nvme"
    disk.mkdir()
    program(home, "findmnt", f'case "$*" in *{disk}) echo {source} ;; *) exit 1 ;; esac')
    program(home, "df", f'echo Avail; case "$2" in {disk}) echo {room} ;; *) echo 100 ;; esac')
    program(home, "sudo", '"$@"')
    for _ in range(2):
        done = set_up(app, NDCL_LOCAL_DISKS=f"/nowhere {disk}")
        assert done.returncode == 0, done.stderr
    lines = (home / ".bashrc").read_text()
    assert lines.count(f"export NDCL_CACHE={disk}/ndcl\n") == int(is_taken)
    assert (disk / "ndcl").is_dir() == is_taken
    assert not is_taken or (disk / "ndcl").stat().st_mode & 0o777 == 0o700


@pytest.mark.soak
def test_a_bare_node_installs_what_is_pinned_once(home: Path, app: Path) -> None:
    """With Ray and uv alone: what the other packages add is time."""
    lock = app / "requirements-node.lock"
    lock.write_text("".join(line for line in lock.open() if line.startswith(("ray==", "uv=="))))
    python = home / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 1\n")  # an image without an environment
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "UV_PYTHON": sys.executable}
    command = ["bash", app / "clusters" / "bin" / "setup_node.sh"]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    installed = home / "ndcl-venv"
    made = installed.stat().st_mtime_ns
    assert [path.name for path in installed.glob(".installed-*")]
    assert f"export PATH={installed}/bin:$PATH\n" in (home / ".bashrc").read_text()
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert installed.stat().st_mtime_ns == made


def test_a_node_gets_what_the_laptop_has_but_no_tests_and_tools() -> None:
    laptop, node = (set((ROOT / f"{name}.lock").read_text().splitlines()) for name in LOCKS)
    assert node < laptop
    names = {line.partition("==")[0] for line in node}
    assert {"torch", "torchvision", "ray", "optuna", "mlflow", "pyarrow", "boto3", "psycopg", "uv"} <= names
    assert not {"pytest", "mypy", "ruff", "moto", "hypothesis", "onnx"} & names


def test_an_image_holds_what_the_dockerfile_copies_and_no_environment() -> None:
    copied = re.findall(r"^COPY --chown=\S+ (\S+) ", (ROOT / "clusters" / "Dockerfile").read_text(), re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize("name", ["aws", "aws-efa", "azure", "gcp", "local"])
def test_what_is_copied_to_nodes_is_all_that_they_run_and_nothing_that_changes(name: str, tmp_path: Path) -> None:
    """Ray hashes all that it copies: results or an environment among it would have nodes set up again."""
    mounts = yaml.safe_load(filled_in(name, tmp_path).read_text())["file_mounts"]
    node = tmp_path / "node"
    for remote, local in mounts.items():
        if not local.startswith("~"):
            assert not (ROOT / local / "results").exists()
            assert not (ROOT / local / ".git").exists()
            target = node / remote.removeprefix("/home/ubuntu/ndcl/")
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / local).is_dir() else shutil.copy)(ROOT / local, target)
    assert (node / "clusters" / "bin" / "setup_node.sh").is_file()
    code = (
        "import harness.cli, harness.sweep.run, harness.cluster.spot_guard, harness.cluster.idle_guard; "
        "import harness.cluster.head_check, harness.cluster.budget; from harness.cluster.prices import read_prices; "
        "read_prices(); print(harness.__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(node)}
    done = subprocess.run([sys.executable, "-c", code], cwd=node, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith(str(node)), done.stderr
