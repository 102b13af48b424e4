"""The jobs on a head, by what `ray job list` prints. Pure."""

import ast
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ndcl.errors import UserError

OPEN = ("PENDING", "RUNNING")
"""What Ray calls a job that has not ended."""
_ENUM = re.compile(r"<([\w.]+): '\w+'>")
_OURS = re.compile(r"(.+)-(\d{8}-\d{6})")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as Ray knows it."""

    name: str
    status: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
    exit_code: int | None = None
    """Of its command, once that has ended by itself."""
    is_submitted: bool = True
    """Whether it came by `ray job submit`; else somebody started a program on the head."""

    @property
    def is_open(self) -> bool:
        """Whether it runs or is about to."""
        return self.status in OPEN


def jobs_in(listed: str) -> list[Job]:
    """All jobs that `ray job list` has printed, among whatever else. Raises UserError if that is no such list."""
    begin, end = listed.find("[JobDetails("), listed.rfind(")]")
    if begin < 0 or end < begin:
        if re.search(r"^\[\]\s*$", listed, re.MULTILINE):
            return []
        raise UserError("the head did not list its jobs")
    try:
        found = ast.parse(_ENUM.sub(r"\1", listed[begin : end + 2]).replace("\r\n", "\n"), mode="eval").body
    except SyntaxError:
        raise UserError("the head did not list its jobs in a form that is known") from None
    return [_job(call) for call in getattr(found, "elts", ()) if isinstance(call, ast.Call)]


def _job(call: ast.Call) -> Job:
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    said = {name: value.value for name, value in values.items() if isinstance(value, ast.Constant)}
    status, code = values.get("status"), said.get("driver_exit_code")
    return Job(
        name=str(said.get("submission_id") or said.get("job_id")),
        status=status.attr if isinstance(status, ast.Attribute) else "",
        exit_code=code if isinstance(code, int) else None,
        is_submitted=said.get("submission_id") is not None,
    )


def job_name(sweep: str, now: float) -> str:
    """A name for a job; the later one of a sweep sorts behind the earlier."""
    return f"{sweep}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}"


def newest_job(jobs: Sequence[Job], sweep: str | None = None) -> str | None:
    """The job that was submitted last, of all or of one sweep."""
    named = [match for job in jobs if (match := _OURS.fullmatch(job.name)) and sweep in (None, match[1])]
    newest = max(named, key=lambda match: match[2], default=None)
    return newest[0] if newest else None
