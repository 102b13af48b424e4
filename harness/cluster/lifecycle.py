"""The life of a cluster and what a sweep leaves there, by Ray's commands, each of which is shown before it is run."""

import time
from pathlib import Path
from typing import Literal

from harness.cluster import commands
from harness.cluster.files import ClusterFile
from harness.cluster.idle_guard import PAID, idle_hours
from harness.cluster.leftovers import Leftovers, remains_of
from harness.cluster.ray_jobs import jobs_in
from harness.cluster.running import Say, output, ran, run
from harness.config.commands import ndcl_command
from harness.storage import Storage, writable
from harness.storage.storage import record_storage
from ndcl.errors import UserError

REMAINS_SECONDS = 180
"""So long may a cloud take to end what it was asked to end."""
LOOK_SECONDS = 5
NO_HEAD = ("not found!", "ResourceGroupNotFound")
"""What Ray says where a cluster has no head that is up to date; Azure, where its group is still to be made."""
UNFINISHED = "is in state"
"""What Ray says of a head that is not up to date."""


def up(file: ClusterFile, say: Say, *, no_restart: bool = False) -> None:
    """Start or update the cluster and see that its head can do what it must.

    Raises UserError if it can't, and while a job runs, which a restart of Ray would end.
    """
    costs_until = f"{ndcl_command('cluster', 'down', file.path)}{ends_by_itself(file)}"
    if not no_restart:
        _require_no_job(file, say)
    failed = "the cluster did not come up; what Ray said stands above (docs/clusters.md)"
    run(commands.up(file, no_restart=no_restart), say, failed)
    again = ndcl_command("cluster", "up", file.path)
    problem = f"the head runs, but can't do all it must; mend what is named above, then: {again}"
    run(commands.check_head(file), say, problem)
    say(f"MLflow and dashboard: {ndcl_command('cluster', 'ui', file.path)}")
    say(f"next: {ndcl_command('cluster', 'submit', file.path, 'SWEEP.yaml')}")
    say(f"the cluster costs until: {costs_until}")


def ends_by_itself(file: ClusterFile) -> str:
    """When it ends without that. Raises UserError where its hours are none."""
    hours = idle_hours(file.metadata)
    if file.kind not in PAID or not hours:
        return ""
    if not commands.storage_of(file):
        return "; not by itself, since nothing but its head has the results"
    return f"; by itself it ends after {hours:g} hours without a job and an SSH session"


def head_state(file: ClusterFile, say: Say) -> Literal["none", "unfinished", "up"]:
    """What the provider knows of the head; `unfinished` where its last start or update did not end well.

    Raises UserError if the provider does not answer.
    """
    done = ran(commands.head_address(file), say, with_errors=True)
    if done.returncode == 0:
        return "up"
    said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if not any(words in line for line in said for words in NO_HEAD):
        word = said[-1] if said else f"exit code {done.returncode}"
        raise UserError(f"{file.path}: {file.kind} does not say whether the cluster is up: {word}")
    return "unfinished" if any(UNFINISHED in line for line in said) else "none"


def _require_no_job(file: ClusterFile, say: Say) -> None:
    """Raises UserError while a job runs: `ray up` starts Ray anew on a head that is there, and all jobs end with it."""
    state = head_state(file, say)
    if state == "none":
        return
    try:
        open_jobs = [job for job in jobs_in(output(commands.jobs_if_ray_runs(file), say, "no answer")) if job.is_open]
    except UserError:
        if state == "unfinished":
            return
        down = ndcl_command("cluster", "down", file.path)
        raise UserError(
            f"{file.path}: the head does not say whether a job runs, which a new start would end; end the cluster "
            f"first: {down}"
        ) from None
    if open_jobs:
        names = ", ".join(job.name for job in open_jobs)
        stop = ndcl_command("cluster", "stop", file.path, open_jobs[0].name)
        instead = f"{ndcl_command('cluster', 'up', file.path)} --no-restart"
        raise UserError(
            f"{file.path}: a job runs on the head, which a new start would end: {names}; stop it first: {stop}; or "
            f"update the cluster around it: {instead}"
        )


def show(file: ClusterFile, job: str, say: Say) -> None:
    """Show what a job has printed up to now."""
    run(commands.logs(file, job, follow=False), say, f"there is no job {job}, or it can't be reached")


def status(file: ClusterFile, sweep: str | None, say: Say) -> None:
    """Show the nodes, and how far a sweep is."""
    run(commands.status(file, sweep), say, "the head does not answer; is the cluster up?")


def stop(file: ClusterFile, job: str, say: Say) -> None:
    """End a job."""
    run(commands.stop(file, job), say, f"there is no job {job}, or it can't be reached")


def results(file: ClusterFile, sweep: str, to: Path, say: Say) -> None:
    """Bring a sweep's report, journal and selected models from the head into `to`."""
    run(commands.report(file, sweep), say, f"the head has no report of '{sweep}'")
    try:
        run(commands.export(file, sweep), say, "no model yet")
    except UserError as error:
        say(f"{error}; the report comes without models")
    with writable(to):
        run(commands.fetch(file, sweep, to), say, "the results could not be copied")


def results_from_storage(file: ClusterFile, sweep: str, results: Path) -> None:
    """Bring a sweep's journal from where it outlives the cluster into `results`. Raises UserError if there is none."""
    place = commands.storage_of(file)
    if not place:
        raise UserError(f"{file.path}: it has no metadata.results, so that nothing outlives the head")
    storage, folder = Storage(place, sweep), results / sweep
    with writable(folder):
        if not storage.fetch(folder):
            raise UserError(f"there is no sweep '{sweep}' in {place}")
        record_storage(folder, storage)


def down(file: ClusterFile, say: Say) -> None:
    """End the cluster, and look whether anything is left. Raises UserError if so."""
    remains = remains_of(file)
    if remains is not None:
        remains.remember()
    run(commands.down(file), say, "ray down failed; what it said stands above. Nodes may keep costing")
    if remains is None:
        say(f"not checked: ndcl can't ask {file.kind} what is left; look for the tag ray-cluster-name={_name(file)}")
        return
    remains.end(lambda command: ran(command, say))
    left = _left(remains)
    if left:
        raise UserError(f"{file.path}: left of cluster '{_name(file)}': {'; '.join(left)}")
    say(f"nothing is left of cluster '{_name(file)}': {remains.looked_for}")


def _left(remains: Leftovers) -> list[str]:
    """What is left after the time that ending may take."""
    deadline = time.monotonic() + REMAINS_SECONDS
    while (left := remains.left()) and remains.may_end and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return left


def _name(file: ClusterFile) -> str:
    return str(file.values["cluster_name"])
