"""The life of a sweep on a cluster, by Ray's commands, each of which is shown before it is run."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.cluster import commands
from harness.cluster.commands import Command
from harness.cluster.files import ClusterFile
from harness.cluster.remains import Remains, remains_of
from harness.storage import Storage, record_storage
from ndcl.errors import UserError

Say = Callable[[str], None]
"""Prints a line for the user."""
REMAINS_SECONDS = 180
"""So long may a cloud take to end what was told to end."""
LOOK_SECONDS = 5


def up(file: ClusterFile, say: Say) -> None:
    """Start the cluster and see that its head can do what it must. Raises UserError if it can't."""
    _run(commands.up(file), say, "the cluster did not come up; what Ray said stands above (docs/clusters.md)")
    _run(
        commands.check_head(file),
        say,
        f"the head runs, but can't do all it must; mend what is named above, then: ndcl cluster up {file.path}",
    )
    say(
        f"dashboard on http://127.0.0.1:8265 and MLflow on {commands.MLFLOW}, as long as this runs: "
        f"{commands.tunnel(file)}"
    )
    say(f"next: ndcl cluster submit {file.path} SWEEP.yaml; the cluster costs until: ndcl cluster down {file.path}")


def submit(file: ClusterFile, sweep: Path, name: str, options: Sequence[str], say: Say) -> str:
    """Start a sweep as a job on the head, or go on with it; returns the job's name."""
    if not commands.storage_of(file):
        say(f"warning: {file.path} has no metadata.results, so that results end with the head")
    job = commands.job_name(name, time.time())
    _run(commands.send_code(file), say, "the code could not be sent")
    _run(commands.send_sweep(file, sweep), say, f"{sweep} could not be sent")
    _run(commands.submit(file, job, sweep, options), say, "the job was not taken")
    say(f"job {job} runs on the head, and goes on without this machine")
    return job


def follow(file: ClusterFile, job: str, say: Say) -> None:
    """Show what a job prints until it has ended, or until Ctrl-C."""
    say(f"Ctrl-C stops looking, not the job; again: ndcl cluster logs {file.path} {job}")
    _run(commands.logs(file, job, follow=True), say, f"job {job} has failed, or can't be reached")


def newest_job(file: ClusterFile, sweep: str | None, say: Say) -> str:
    """The job that was submitted last, of all or of one sweep. Raises UserError if there is none."""
    listed = _output(commands.jobs(file), say, "the jobs can't be listed; is the cluster up?")
    job = commands.newest_job(listed, sweep)
    if job is None:
        of = f" of sweep '{sweep}'" if sweep else ""
        raise UserError(
            f"{file.path}: the cluster has no job{of}; start one: ndcl cluster submit {file.path} SWEEP.yaml"
        )
    return job


def show(file: ClusterFile, job: str, say: Say) -> None:
    """Show what a job has printed up to now."""
    _run(commands.logs(file, job, follow=False), say, f"there is no job {job}, or it can't be reached")


def status(file: ClusterFile, sweep: str | None, say: Say) -> None:
    """Show the nodes, and how far a sweep is."""
    _run(commands.status(file, sweep), say, "the head does not answer; is the cluster up?")


def stop(file: ClusterFile, job: str, say: Say) -> None:
    """End a job."""
    _run(commands.stop(file, job), say, f"there is no job {job}, or it can't be reached")


def results(file: ClusterFile, sweep: str, to: Path, say: Say) -> None:
    """Bring a sweep's report, journal and selected models from the head into `to`."""
    _run(commands.report(file, sweep), say, f"the head has no report of '{sweep}'")
    try:
        _run(commands.export(file, sweep), say, "no model yet")
    except UserError as error:
        say(f"{error}; the report comes without models")
    to.mkdir(parents=True, exist_ok=True)
    _run(commands.fetch(file, sweep, to), say, "the results could not be copied")
    say(f"results: {to}; page: {to / 'report.html'}")


def results_from_storage(file: ClusterFile, sweep: str, results: Path, say: Say) -> None:
    """Bring a sweep's journal from where it outlives the cluster into `results`. Raises UserError if there is none."""
    place = commands.storage_of(file)
    if not place:
        raise UserError(f"{file.path}: it has no metadata.results, so that nothing outlives the head")
    storage, folder = Storage(place, sweep), results / sweep
    folder.mkdir(parents=True, exist_ok=True)
    if not storage.fetch(folder):
        raise UserError(f"there is no sweep '{sweep}' in {place}")
    record_storage(folder, storage)
    say(f"results: {folder}; next: ndcl report {sweep} --results {results}, ndcl export {sweep} --results {results}")


def down(file: ClusterFile, say: Say) -> None:
    """End the cluster, and look whether anything is left. Raises UserError if so."""
    remains = remains_of(file)
    if remains is not None:
        remains.remember()
    _run(commands.down(file), say, "ray down failed; what it said stands above. Nodes may go on costing")
    if remains is None:
        say(f"not checked: ndcl can't ask {file.kind} what is left; look for the tag ray-cluster-name={_name(file)}")
        return
    remains.end(lambda command: _ran(command, say))
    left = _left(remains)
    if left:
        raise UserError(f"{file.path}: left of cluster '{_name(file)}': {'; '.join(left)}")
    say(f"nothing is left of cluster '{_name(file)}': {remains.looked_for}")


def _left(remains: Remains) -> list[str]:
    """What is left once what was told to end has had time for it."""
    deadline = time.monotonic() + REMAINS_SECONDS
    while (left := remains.left()) and remains.may_end and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return left


def _name(file: ClusterFile) -> str:
    return str(file.values["cluster_name"])


def _ran(command: Command, say: Say) -> subprocess.CompletedProcess[str]:
    """Show and run a command, and take its output."""
    say(f"$ {command}")
    return _started(command, stdout=subprocess.PIPE)


def _output(command: Command, say: Say, failed: str) -> str:
    done = _ran(command, say)
    if done.returncode:
        raise UserError(f"{failed} (exit code {done.returncode})")
    return done.stdout


def _run(command: Command, say: Say, failed: str) -> None:
    """Show a command and run it in sight of the user. Raises UserError, saying `failed`, if it fails."""
    say(f"$ {command}")
    done = _started(command)
    if done.returncode:
        raise UserError(f"{failed} (exit code {done.returncode})")


def _started(command: Command, stdout: int | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **command.environment}
    return subprocess.run(command.argv, env=environment, stdout=stdout, text=True, check=False)
