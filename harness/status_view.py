"""The status of a sweep for people: its studies, what runs and how far it is, what failed and why, what to do next."""

import time
from collections.abc import Callable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from harness.plan_view import durations
from harness.progress import duration, failure_lines, progress_line, study_table
from harness.records import TrialRecord
from harness.status import SweepStatus
from harness.sweep_folder import SWEEP_FILE

SECONDS_BETWEEN_LOOKS = 3.0


def status_view(status: SweepStatus, now: float | None = None) -> RenderableType:
    """What it does now, a table of the studies, what went wrong, what to do; `now` is in seconds since the epoch."""
    above = _lines(headlines(status, time.time() if now is None else now))
    return Group(above, study_table(status.studies), _lines(conclusions(status)))


def _lines(lines: Iterator[str]) -> Text:
    return Text("\n".join(lines))


def watched(console: Console, look: Callable[[], SweepStatus]) -> None:
    """Show what `look` finds, again and again until no process runs the sweep."""
    status = look()
    with Live(status_view(status), console=console, auto_refresh=False) as live:
        while status.is_running:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            status = look()
            live.update(status_view(status), refresh=True)


def headlines(status: SweepStatus, now: float) -> Iterator[str]:
    """How far the sweep is, and what runs or was interrupted."""
    changed = f", last change {duration(now - max(status.changed.values()))} ago" if status.changed else ""
    yield f"sweep {status.plan.name}: {status.word}{changed} {progress_line(status.studies, None)}"
    left = status.seconds_left()
    if left is not None:
        yield f"time left: {durations(left)}"
    yield from (_open_line(status, record, now) for record in status.open_trials)


def conclusions(status: SweepStatus) -> Iterator[str]:
    """What went wrong and why, where the results are, what to do next."""
    yield from failure_lines(status.records)
    yield from (f"study {study.key.name} was stopped: {study.reason}" for study in status.studies if study.reason)
    yield f"results: {status.plan.folder}"
    yield f"next: {next_command(status)}"


def next_command(status: SweepStatus) -> str:
    """What to do now: wait, go on, or look at the result."""
    where = f" --results {status.plan.results}"
    if status.is_done or status.is_running:
        return f"ndcl report {status.plan.name}{where}"
    return f"ndcl sweep {status.plan.folder / SWEEP_FILE}{where}"


def _open_line(status: SweepStatus, record: TrialRecord, now: float) -> str:
    ago = duration(now - status.changed[record.name])
    return f"{record.state}: {record.name}, step {record.step}/{record.config['num_steps']}, last change {ago} ago"
