"""Ray's commands by which a sweep lives on a cluster. Pure: what is run, not the running."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from harness.cluster.files import ClusterFile
from harness.config.tracking_uri import VARIABLE
from ndcl.errors import UserError

RESULTS = "~/results"
"""The results folder on the head."""
SUBMITTED = "submitted"
"""Folder, beside the code on the head, of the sweeps that were submitted."""
JOBS = "ray job {} --address http://127.0.0.1:8265"
"""On the head, where the dashboard listens."""
MLFLOW = "http://127.0.0.1:5000"
"""On the head, the server that start_mlflow.sh starts."""
STARTED_BY = {
    "kuberay": ("Kubernetes", "kubectl apply"),
    "sky": ("SkyPilot", "sky jobs launch"),
    "slurm": ("Slurm", "sbatch"),
}
"""Kinds of file that Ray's launcher does not read: who does, and by which command."""
BUDGET = "harness.cluster.budget"
"""Runs a sweep on the head, and stops it when its budget is spent."""
STOP_SECONDS = 60
"""So long may a sweep take to stop cleanly; Ray's default of 3 would kill it."""
DASHBOARD_PORT, MLFLOW_PORT = 8265, 5000
"""Both on the head's loopback."""
DATA_VARIABLE = "NDCL_DATA"
"""Where data sets lie whose sweep doesn't say; `joined_ray` hands it on to the nodes."""


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
        return [str(Path(sys.executable).with_name(program)) if program in ("ray", "python") else program, *rest]


def _ray(file: ClusterFile, *words: str) -> Command:
    if file.kind in STARTED_BY:
        name, command = STARTED_BY[file.kind]
        raise UserError(f"{file.path}: {name} starts it, not ray; use {command}, as its first lines say")
    # With its second autoscaler, Ray's default, one of two machines of one's own joined (docs/log.md)
    environment = {"RAY_UP_enable_autoscaler_v2": "0"} if file.kind == "local" else {}
    return Command(words=("ray", *words), environment=environment)


def up(file: ClusterFile, *, no_restart: bool = False) -> Command:
    """Start or update the cluster; with `no_restart` Ray continues there, and asks before it replaces the head."""
    how = "--no-restart" if no_restart else "--yes"
    return _ray(file, "up", how, "--no-config-cache", "--disable-usage-stats", str(file.path))


def head_address(file: ClusterFile) -> Command:
    """Ask the provider for the head; fails if there is none."""
    return _ray(file, "get-head-ip", str(file.path))


def down(file: ClusterFile) -> Command:
    """End it."""
    return _ray(file, "down", "--yes", str(file.path))


def on_head(file: ClusterFile, script: str) -> Command:
    """Run a shell script on the head."""
    return _ray(file, "exec", "--no-config-cache", str(file.path), script)


def pages(file: ClusterFile, ports: Mapping[int, int]) -> Command:
    """Open the head's pages on this machine; `ports` has the head's by those here."""
    _ray(file)
    words = [f"{here}:{there}" for here, there in ports.items()]
    return Command(words=("python", "-m", "harness.cluster.forward", str(file.path), *words))


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


def send_module(file: ClusterFile, module: Path) -> Command:
    """Put a module of the user's own, a file or a package's folder, beside the code, where the job finds it."""
    place = f"{_code(file)[0]}/"
    words = (f"{module}/", f"{place}{module.name}/") if module.is_dir() else (str(module), place)
    return _ray(file, "rsync-up", str(file.path), *words)


def submit(file: ClusterFile, job: str, sweep: Path, options: Sequence[str], budget: Sequence[str] = ()) -> Command:
    """Start the sweep as a job on the head, with a copy of the code there, which all nodes get.

    Its runs go to the head's MLflow server, unless the sweep's own `tracking.uri` names another. Its data sets
    are those of the file's `metadata.data`, unless they have a `folder`: so where they lie is no part of the sweep.
    `budget` has the options of the program that stops it once the cluster has cost so much.
    """
    place = ("--storage", storage_of(file)) if storage_of(file) else ()
    watch = ["python", "-m", BUDGET, *budget] if budget else []
    data = [f"{DATA_VARIABLE}={data_of(file)}"] if data_of(file) else []
    words = ["env", f"{VARIABLE}={MLFLOW}", *data, *watch, "python", "-m", "harness.cli", "sweep"]
    words += [f"{SUBMITTED}/{sweep.name}"]
    words += ["--address", "auto", *place, *options]
    stop = shlex.quote(json.dumps({"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}}))
    job_submit = f"{JOBS.format('submit')} --no-wait --submission-id {job} --working-dir . --runtime-env-json {stop}"
    return on_head(file, f"cd {_code(file)[0]} && {job_submit} -- {shlex.join(words)} --results {RESULTS}")


def jobs(file: ClusterFile) -> Command:
    """List the jobs."""
    return on_head(file, JOBS.format("list"))


def jobs_if_ray_runs(file: ClusterFile) -> Command:
    """List the jobs; none if Ray does not run on the head."""
    return on_head(file, f"if pgrep -x raylet > /dev/null; then {JOBS.format('list')}; else echo '[]'; fi")


def logs(file: ClusterFile, job: str, *, follow: bool) -> Command:
    """Show what a job prints."""
    return on_head(file, f"{JOBS.format('logs')} {'--follow ' if follow else ''}{shlex.quote(job)}")


def stop(file: ClusterFile, job: str) -> Command:
    """End a job; its sweep can continue."""
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


def storage_of(file: ClusterFile) -> str:
    """Where results outlive the cluster; empty if the file does not say."""
    return str(file.metadata.get("results") or "")


def data_of(file: ClusterFile) -> str:
    """Where data sets lie for head and nodes; empty if the file does not say."""
    return str(file.metadata.get("data") or "")


def _code(file: ClusterFile) -> tuple[str, Path]:
    """Where the code lies on the head, and where here. Raises UserError if it is not among what is copied."""
    for remote, local in file.mounted():
        place = PurePosixPath(remote)
        if place.name == "harness" and (local / "cluster").is_dir():
            return str(place.parent), local.parent
        if (local / "harness" / "cluster").is_dir():
            return str(place), local
    raise UserError(
        f"{file.path}: file_mounts copies no folder with this code; start in the root of the repository, and mount it: "
        "/home/ubuntu/ndcl/harness: harness"
    )


def _python(file: ClusterFile, module: str, *words: str) -> str:
    return f"cd {_code(file)[0]} && python -m {module} {shlex.join(words)}".rstrip()


def _ndcl(file: ClusterFile, *words: str) -> str:
    return f"{_python(file, 'harness.cli', *words)} --results {RESULTS}"
