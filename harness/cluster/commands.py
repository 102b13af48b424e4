"""Ray's commands by which a sweep lives on a cluster. Pure: what is run, not the running."""

import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.cluster.files import ClusterFile
from harness.tracking_uri import VARIABLE
from ndcl.errors import UserError

RESULTS = "~/results"
"""The results folder on the head."""
SUBMITTED = "submitted"
"""Folder, beside the code on the head, of the sweeps that were submitted."""
JOBS = "ray job {} --address http://127.0.0.1:8265"
"""On the head, where the dashboard listens."""
MLFLOW = "http://127.0.0.1:5000"
"""On the head, the server that start_mlflow.sh starts."""
PORTS = (8265, 5000)
"""Of the dashboard and of MLflow, both on the head's loopback."""
_JOB = re.compile(r"submission_id='([\w.-]+-\d{8}-\d{6})'")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command on this machine."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """As one would type it."""
        return " ".join([*(f"{key}={value}" for key, value in self.environment.items()), shlex.join(self.words)])

    @property
    def argv(self) -> list[str]:
        """What is started: the programs of our own environment, also where its folder is not on the path."""
        program, *rest = self.words
        return [str(Path(sys.executable).with_name(program)) if program == "ray" else program, *rest]


def _ray(file: ClusterFile, *words: str) -> Command:
    if file.kind == "kuberay":
        raise UserError(f"{file.path}: Kubernetes starts it, not ray; use kubectl apply, as its first lines say")
    # With its second autoscaler, Ray's default, one of two machines of one's own joined (docs/log.md)
    environment = {"RAY_UP_enable_autoscaler_v2": "0"} if file.kind == "local" else {}
    return Command(words=("ray", *words), environment=environment)


def up(file: ClusterFile) -> Command:
    """Start the cluster, or bring it to what its file says."""
    return _ray(file, "up", "--yes", "--no-config-cache", "--disable-usage-stats", str(file.path))


def down(file: ClusterFile) -> Command:
    """End it."""
    return _ray(file, "down", "--yes", str(file.path))


def on_head(file: ClusterFile, script: str) -> Command:
    """Run a shell script on the head."""
    return _ray(file, "exec", "--no-config-cache", str(file.path), script)


def tunnel(file: ClusterFile) -> Command:
    """Open the head's pages on this machine."""
    ports = [word for port in PORTS for word in ("-p", str(port))]
    return _ray(file, "attach", *ports, str(file.path))


def check_head(file: ClusterFile) -> Command:
    """Have the head say what it can't do."""
    from importlib.metadata import version

    place = ("--storage", storage_of(file)) if storage_of(file) else ()
    return on_head(file, _python(file, "harness.cluster.head_check", "--ray", version("ray"), *place))


def send_code(file: ClusterFile) -> Command:
    """Bring the head's copy of this code up to date; what workers run is sent from there with the job."""
    return _ray(file, "rsync-up", str(file.path), f"{_code(file)[1]}/", f"{_code(file)[0]}/")


def send_sweep(file: ClusterFile, sweep: Path) -> Command:
    """Put the sweep's YAML beside the code."""
    return _ray(file, "rsync-up", str(file.path), str(sweep), f"{_code(file)[0]}/{SUBMITTED}/")


def submit(file: ClusterFile, job: str, sweep: Path, options: Sequence[str]) -> Command:
    """Start the sweep as a job on the head, with a copy of the code there, which all nodes get.

    Its runs go to the head's MLflow server, unless the sweep's own `tracking.uri` names another.
    """
    place = ("--storage", storage_of(file)) if storage_of(file) else ()
    words = ["env", f"{VARIABLE}={MLFLOW}", "python", "-m", "harness.cli", "sweep", f"{SUBMITTED}/{sweep.name}"]
    words += ["--address", "auto", *place, *options]
    job_submit = f"{JOBS.format('submit')} --no-wait --submission-id {job} --working-dir ."
    return on_head(file, f"cd {_code(file)[0]} && {job_submit} -- {shlex.join(words)} --results {RESULTS}")


def jobs(file: ClusterFile) -> Command:
    """List the jobs."""
    return on_head(file, JOBS.format("list"))


def logs(file: ClusterFile, job: str, *, follow: bool) -> Command:
    """Show what a job prints."""
    return on_head(file, f"{JOBS.format('logs')} {'--follow ' if follow else ''}{shlex.quote(job)}")


def stop(file: ClusterFile, job: str) -> Command:
    """End a job; its sweep can go on."""
    return on_head(file, f"{JOBS.format('stop')} {shlex.quote(job)}")


def status(file: ClusterFile, sweep: str | None) -> Command:
    """Show the nodes, and how far a sweep is."""
    look = f"; {_ndcl(file, 'status', sweep)}" if sweep else ""
    return on_head(file, f"ray status{look}")


def report(file: ClusterFile, sweep: str) -> Command:
    """Have the head write the report as of now."""
    return on_head(file, _ndcl(file, "report", sweep))


def export(file: ClusterFile, sweep: str) -> Command:
    """Have the head take the selected models out of the checkpoints."""
    return on_head(file, f"{_ndcl(file, 'export', sweep)} --to {RESULTS}/{shlex.quote(sweep)}/models")


def fetch(file: ClusterFile, sweep: str, to: Path) -> Command:
    """Copy the sweep's folder from the head."""
    return _ray(file, "rsync-down", str(file.path), f"{RESULTS}/{sweep}/", f"{to}/")


def job_name(sweep: str, now: float) -> str:
    """A name for a job; the later one of a sweep sorts behind the earlier."""
    return f"{sweep}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}"


def newest_job(listed: str, sweep: str | None = None) -> str | None:
    """The job that was submitted last, of all or of one sweep, by what `ray job list` has printed."""
    found = [name for name in _JOB.findall(listed) if sweep is None or name[: -len("-YYYYmmdd-HHMMSS")] == sweep]
    return max(found, key=lambda name: name[-len("YYYYmmdd-HHMMSS") :], default=None)


def storage_of(file: ClusterFile) -> str:
    """Where results outlive the cluster; empty if the file does not say."""
    return str(file.metadata.get("results") or "")


def _code(file: ClusterFile) -> tuple[str, Path]:
    """Where the code lies on the head, and where here. Raises UserError if it is not among what is copied."""
    for remote, local in file.mounted():
        if (local / "harness" / "cluster").is_dir():
            return remote.rstrip("/"), local
    raise UserError(
        f"{file.path}: file_mounts copies no folder with this code; start in the root of the repository, and mount it: "
        "/home/ubuntu/ndcl: ."
    )


def _python(file: ClusterFile, module: str, *words: str) -> str:
    return f"cd {_code(file)[0]} && python -m {module} {shlex.join(words)}".rstrip()


def _ndcl(file: ClusterFile, *words: str) -> str:
    return f"{_python(file, 'harness.cli', *words)} --results {RESULTS}"
