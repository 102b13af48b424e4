"""How far a sweep is, for people: what it does now, its studies, what went wrong, what to do next."""

import time
from collections.abc import Callable, Iterator

from harness.cli.progress import failure_lines, progress_line, study_table
from harness.config.commands import ndcl_command, to_continue
from harness.records import TrialRecord
from harness.report.analysis.chance import chance_lines
from harness.state import SweepStatus
from harness.state.bound_data import Bound, command_on_new_data, refusal
from harness.storage.storage import recorded_storage
from harness.terminal.numbers import duration
from harness.terminal.terminal import Console, RenderableType, redrawn, stacked, words

SECONDS_BETWEEN_LOOKS = 3.0


def status_view(status: SweepStatus, now: float | None = None) -> RenderableType:
    """What it does now, a table of the studies, what went wrong, what to do; `now` is in seconds since the epoch."""
    above = _lines(headlines(status, time.time() if now is None else now))
    return stacked(above, study_table(status.studies), _lines(conclusions(status)))


def _lines(lines: Iterator[str]) -> RenderableType:
    return words("\n".join(lines))


def watched(console: Console, look: Callable[[], SweepStatus]) -> None:
    """Show what `look` finds, again and again until no process runs the sweep."""
    status = look()
    with redrawn(console, status_view(status)) as live:
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
        yield f"time left: about {duration(left)}"
    yield from (_open_line(status, record, now) for record in status.open_trials)


def conclusions(status: SweepStatus) -> Iterator[str]:
    """What went wrong and why, where the results are, what to do next."""
    yield from failure_lines(status.records)
    yield from status.damaged
    yield from map(_data_line, status.bound)
    for bound in status.replaced:
        yield refusal(status.plan.folder, status.plan.command, bound, status.data_now)
    yield from (f"study {study.key.name} was stopped: {study.reason}" for study in status.studies if study.reason)
    yield from chance_lines(status.records)
    yield f"results: {status.plan.results / status.plan.name}"
    yield f"next: {next_command(status)}"


def next_command(status: SweepStatus) -> str:
    """What to do now: wait, continue, or look at the result."""
    if status.is_done or status.is_running:
        return ndcl_command("report", status.plan.name, results=status.plan.results)
    if status.replaced:
        return command_on_new_data(status.plan.command, status.plan.folder, status.data_now)
    folder = status.plan.results / status.plan.name
    return to_continue(folder, recorded_storage(folder), _address(status))


def _address(status: SweepStatus) -> str | None:
    """Of the cluster that the newest trial ran on, or None if it was this machine's own Ray."""
    newest = max(status.records, key=lambda record: status.changed.get(record.name, 0.0), default=None)
    address = newest.environment.get("cluster") if newest else None
    return None if address in (None, "local") else str(address)


def _data_line(bound: Bound) -> str:
    known = bound.shown if bound.digests else "of which it is not known what it held (trainings of an early version)"
    return f"data set '{bound.source.name}': {known}"


def _open_line(status: SweepStatus, record: TrialRecord, now: float) -> str:
    ago = duration(now - status.changed[record.name])
    return f"{record.state}: {record.name}, step {record.step}/{record.config['num_steps']}, last change {ago} ago"
