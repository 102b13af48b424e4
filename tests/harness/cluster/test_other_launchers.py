"""Slurm, Kubernetes and SkyPilot: their files, and what their own programs say where they are installed."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster import commands
from harness.cluster.checks import programs, sky
from harness.cluster.checks.check import findings_in_file, findings_outside
from harness.cluster.files import ClusterFile, read_cluster
from ndcl.errors import UserError
from tests.harness.cluster.made_clusters import ROOT, changed, filled_in, found

SLURM = (ROOT / "clusters" / "slurm.sbatch").read_text()


def script(folder: Path, text: str) -> ClusterFile:
    path = folder / "slurm.sbatch"
    path.write_text(text)
    return read_cluster(path)


def test_the_shipped_script_of_slurm_is_right(tmp_path: Path) -> None:
    assert findings_in_file(script(tmp_path, SLURM)) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("#SBATCH --time=24:00:00\n", "", "#SBATCH --time: there is no limit of time, and thus none on what it takes"),
        ("#SBATCH --time=", "#SBATCH --tmie=", "#SBATCH --tmie: unknown option; did you mean --time?"),
        ("#SBATCH --time=", "# SBATCH --time=", "line 17: it is a comment to sbatch"),
        ("#SBATCH --time=", "#SBATCH--time=", "line 17: it is a comment to sbatch"),
        ("set -euo pipefail\n", "set -euo pipefail\n#SBATCH --mem=64G\n", "line 23: sbatch reads no option behind the"),
        ("ntasks-per-node=1", "ntasks-per-node=4", "#SBATCH --ntasks-per-node: more than one task a node"),
        ("#SBATCH --cpus-per-task=8\n", "", "#SBATCH --cpus-per-task: it is not given, and the script goes by it"),
        ("--output=", "--output=no-such-folder/", "#SBATCH --output: there is no folder no-such-folder"),
    ],
)
def test_a_slip_in_slurms_script_is_told_by_one_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in SLURM
    told = found(script(tmp_path, SLURM.replace(old, new, 1)))
    assert [said in line for line in told][:1] == [True], told
    assert len(told) == 1 or "time" in old, told


def test_a_script_without_options_is_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it is a script without #SBATCH lines; give a cluster"):
        script(tmp_path, "#!/bin/bash\necho\n")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a program of a name on the path, alone, that says something and ends so."""

    def put(name: str, said: str, code: int) -> Path:
        folder, calls = tmp_path / "bin", tmp_path / "calls"
        folder.mkdir()
        path = folder / name
        path.write_text(f"#!/bin/sh\necho \"$@\" > {calls}\necho '{said}' >&2\nexit {code}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
        return calls

    return put


def test_slurm_is_asked_as_if_the_job_were_submitted(program: Any, tmp_path: Path) -> None:
    calls = program("sbatch", "allocation failure: Invalid partition name specified", 1)
    file = script(tmp_path, SLURM)
    assert [str(finding) for finding in findings_outside(file)] == [
        "sbatch: allocation failure: Invalid partition name specified; correct it, or --offline elsewhere"
    ]
    assert calls.read_text() == f"--test-only {file.path} SWEEP.yaml\n"


def test_kubernetes_is_asked_as_if_the_objects_were_made(program: Any, tmp_path: Path) -> None:
    calls = program("kubectl", 'error: strict decoding error: unknown field "spec.entrypont"', 1)
    path = filled_in("kuberay", tmp_path)
    said = [str(finding) for finding in findings_outside(read_cluster(path))]
    assert said == [
        'kubectl: strict decoding error: unknown field "spec.entrypont"; kubectl config use-context, or --offline'
    ]
    assert calls.read_text() == f"apply --dry-run=server --validate=strict --filename {path}\n"


@pytest.mark.parametrize(("name", "program_name"), [("kuberay", "kubectl"), ("slurm", "sbatch")])
def test_without_the_program_it_is_said_and_offline_is_enough(
    name: str, program_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled_in("kuberay", tmp_path) if name == "kuberay" else script(tmp_path, SLURM).path
    monkeypatch.setattr(programs.shutil, "which", lambda command: None)
    said = CliRunner().invoke(app, ["cluster", "check", str(path)])
    assert said.exit_code == 2
    assert f"this machine: {program_name} is not installed, so that nobody can be asked; check where" in said.output
    assert CliRunner().invoke(app, ["cluster", "check", str(path), "--offline"]).exit_code == 0


def test_what_the_program_takes_is_right(program: Any, tmp_path: Path) -> None:
    program("sbatch", "sbatch: Job 3 to start at 2026-01-01T00:00:00", 0)
    assert list(findings_outside(script(tmp_path, SLURM))) == []


VALID = {
    "spec": {"entrypointNumGpus": 0.5, "deletionStrategy": {"deletionRules": [{"policy": "DeleteWorkers"}]}},
    "cluster": {
        "authOptions": {"mode": "token", "secretName": "mine"},
        "gcsFaultToleranceOptions": {"redisAddress": "redis:6379", "redisPassword": {"value": "x"}},
    },
    "autoscaler": {"command": ["a"], "args": ["b"], "envFrom": [{"secretRef": {"name": "x"}}]},
    "head": {"ingressOptions": {"host": "h"}, "labels": {"a": "b"}},
    "workers": {"priority": 3, "idleTimeoutSeconds": 60, "scaleStrategy": {"workersToDelete": ["x"]}},
    "pod": {
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["x"]}],
        "dnsConfig": {"nameservers": ["10.0.0.2"]},
        "shareProcessNamespace": True,
        "ephemeralContainers": [],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}],
        "overhead": {"memory": "1Gi"},
    },
    "container": {
        "tty": True,
        "stdin": False,
        "terminationMessagePath": "/x",
        "volumeDevices": [],
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "livenessProbe": {"httpGet": {"path": "/", "port": 8265}, "periodSeconds": 5},
    },
}
"""Fields of KubeRay's CRDs, and of pods, that are right."""


def test_fields_of_the_crds_are_taken(tmp_path: Path) -> None:
    def change(values: Any) -> None:
        values["spec"].update(VALID["spec"])
        cluster = values["spec"]["rayClusterSpec"]
        cluster.update(VALID["cluster"])
        cluster["autoscalerOptions"].update(VALID["autoscaler"])
        cluster["headGroupSpec"].update(VALID["head"])
        workers = cluster["workerGroupSpecs"][0]
        workers.update(VALID["workers"])
        workers["template"]["spec"].update(VALID["pod"])
        workers["template"]["spec"]["containers"][0].update(VALID["container"])

    assert found(changed("kuberay", tmp_path, change)) == []


def test_results_of_skypilots_sweeps_come_home_from_where_they_are_stored(tmp_path: Path) -> None:
    assert commands.storage_of(read_cluster(filled_in("sky", tmp_path))) == "s3://mine"


FAKE_SKY = """
class Task:
    @staticmethod
    def from_yaml(path):
        if 'any_off' in open(path).read():
            raise ValueError("Instead of 'any_off', did you mean 'any_of'?")
"""


def test_skypilots_own_loader_is_asked_in_its_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stand-in, where SkyPilot is not installed: how its `sky` command leads to the interpreter that has it."""
    folder, file = tmp_path / "tool", read_cluster(filled_in("sky", tmp_path))
    folder.mkdir()
    (folder / "sky.py").write_text(FAKE_SKY)
    (folder / "python").write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {shutil.which("python3")} "$@"\n')
    (folder / "sky").write_text(f"#!{folder}/python\n")
    for name in ("python", "sky"):
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(sky.importlib.util, "find_spec", lambda name: None)
    assert list(sky.by_its_own_loader(file)) == []
    file.path.write_text(file.text.replace("any_of:", "any_off:"))
    assert [str(finding) for finding in sky.by_its_own_loader(file)] == [
        "the file: Instead of 'any_off', did you mean 'any_of'?; SkyPilot refuses it; correct it"
    ]


@pytest.mark.skipif(
    importlib.util.find_spec("sky") is None and shutil.which("sky") is None, reason="uv tool install skypilot"
)
def test_skypilot_itself_reads_what_is_shipped(tmp_path: Path) -> None:
    file = read_cluster(filled_in("sky", tmp_path))
    assert list(sky.by_its_own_loader(file)) == []
