"""A sweep as a job on a cluster's head: sent there, followed to its end, and what its end means."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cluster import commands
from harness.cluster.files import ClusterFile
from harness.cluster.ray_jobs import Job, job_name, jobs_in, newest_job
from harness.cluster.running import Say, output, run, watched
from harness.config.commands import ndcl_command
from ndcl.errors import UserError

FAILED, INTERRUPTED = 1, 130
"""Exit codes: the sweep is not what was asked for; it was stopped, and resumes."""
LOOKS, LOOK_SECONDS = 6, 10.0
"""How often, and how far apart, the head is asked for its jobs, before it counts as out of reach."""
CONNECTIONS = 20
"""So often the output of a job is shown again after the connection was interrupted."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job has ended."""

    job: str
    code: int
    """0, or the exit code of its sweep; 130 if it was stopped."""
    others: tuple[str, ...] = ()
    """Jobs that still run on the cluster."""


def submit(
    file: ClusterFile,
    sweep: Path,
    name: str,
    options: Sequence[str],
    say: Say,
    budget: Sequence[str] = (),
    modules: Sequence[str] = (),
) -> str:
    """Start a sweep as a job on the head, or resume it; returns the job's name.

    `modules` are paths of the user's own algorithms, which are sent, too.
    """
    if not commands.storage_of(file):
        say(f"warning: {file.path} has no metadata.results, so that results end with the head")
    job = job_name(name, time.time())
    run(commands.send_code(file), say, "the code could not be sent")
    run(commands.send_sweep(file, sweep), say, f"{sweep} could not be sent")
    for module in modules:
        run(commands.send_module(file, Path(module)), say, f"{module} could not be sent")
    run(commands.submit(file, job, sweep, options, budget), say, "the job was not taken")
    say(f"job {job} runs on the head, and continues without this machine")
    return job


def follow(file: ClusterFile, job: str, say: Say) -> Outcome:
    """Show what a job prints until it has ended; how it did.

    Raises KeyboardInterrupt at Ctrl-C, after it has said how to look again, and UserError where the connection is lost.
    Neither concerns the job.
    """
    again = ndcl_command("cluster", "logs", file.path, job)
    say(f"Ctrl-C stops the display, not the job; show it again with: {again}")
    try:
        found = _end_of(file, job, say)
    except KeyboardInterrupt:
        say(f"job {job} continues; show it again with: {again}")
        say(f"nodes and progress: {ndcl_command('cluster', 'status', file.path)}")
        say(f"stop it with: {ndcl_command('cluster', 'stop', file.path, job)}")
        raise
    if found is None:
        raise UserError(f"the connection to job {job} was lost; the job itself was not stopped; look again: {again}")
    ended = next(each for each in found if each.name == job)
    others = tuple(each.name for each in found if each.is_open and each.name != job)
    outcome = Outcome(job=job, code=code_of(ended), others=others)
    say(_words(ended, outcome.code))
    return outcome


def code_of(job: Job) -> int:
    """The exit code by which a job's end is passed on: its sweep's own where that has ended by itself."""
    match job.status:
        case "SUCCEEDED":
            return 0
        case "STOPPED":
            return INTERRUPTED
        case _:
            return job.exit_code if job.exit_code and job.exit_code > 0 else FAILED


def jobs_of(file: ClusterFile, say: Say) -> list[Job]:
    """All jobs that the head knows. Raises UserError if it does not answer."""
    failed = "the jobs can't be listed; is the cluster up?"
    return jobs_in(output(commands.jobs(file), say, failed))


def newest(file: ClusterFile, sweep: str | None, say: Say) -> str:
    """The job that was submitted last, of all or of one sweep. Raises UserError if there is none."""
    job = newest_job(jobs_of(file, say), sweep)
    if job is None:
        of = f" of sweep '{sweep}'" if sweep else ""
        start = ndcl_command("cluster", "submit", file.path, "SWEEP.yaml")
        raise UserError(f"{file.path}: the cluster has no job{of}; start one: {start}")
    return job


def _end_of(file: ClusterFile, job: str, say: Say) -> list[Job] | None:
    """Show the job's output; all jobs once this one has ended, or None where the head is out of reach before that."""
    for _ in range(CONNECTIONS):
        watched(commands.logs(file, job, follow=True), say)
        found = _asked(file, say)
        if found is None:
            return None
        if job not in [each.name for each in found]:
            raise UserError(f"{file.path}: the cluster has no job {job}")
        if not any(each.is_open for each in found if each.name == job):
            return found
        say(f"the connection was interrupted; job {job} runs; its output again, from the beginning:")
        time.sleep(LOOK_SECONDS)
    return None


def _asked(file: ClusterFile, say: Say) -> list[Job] | None:
    """The jobs that the head knows; None if it does not answer for long."""
    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_SECONDS)
        try:
            return jobs_of(file, say)
        except UserError:
            continue
    return None


def _words(job: Job, code: int) -> str:
    if code == 0:
        return f"job {job.name} has succeeded"
    if code == INTERRUPTED:
        return f"job {job.name} was stopped; submit its sweep again to resume it"
    return f"job {job.name} has failed (exit code {code}); its output says why; submit its sweep again to resume it"
