"""What a person sees while a sweep or a training runs: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.records import TrialRecord
from harness.selection import DEFAULT_OBJECTIVE, shown_value
from harness.study_state import StudyState

SECONDS_BETWEEN_REFRESHES = 0.5
LOG_LINES_SHOWN = 5
MOST_FAILURES = 10
"""Shown of each sweep, the latest."""
STATES = ("running", "finished", "pruned", "failed")


class Progress:
    """Shows the studies of a sweep. On a terminal it redraws a table; elsewhere it prints a line per ended trial."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        """`quiet`: show nothing."""
        self._console = console
        self._quiet = quiet
        self._live: Live | None = None
        self._shown_at = 0.0
        self._estimate = Estimate()

    def __enter__(self) -> "Progress":
        """Start the live view, if there is a terminal."""
        if self._console.is_terminal and not self._quiet:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the live view off the terminal."""
        if self._live:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """Print one line, above the live view if there is one."""
        if not self._quiet:
            self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def ended(self, record: TrialRecord, states: Sequence[StudyState]) -> None:
        """A trial has ended; without a terminal this is a line. A failure is told anywhere, with the end of its log."""
        if self._live is None:
            self.say(f"{progress_line(states, self._estimate.of(states))}  {trial_line(record)}")
        elif record.state == "failed":
            self.say(trial_line(record))
        for line in log_lines(record):
            self.say(line)

    def is_due(self) -> bool:
        """Whether the live view is old enough to be drawn again."""
        return self._live is not None and time.monotonic() - self._shown_at > SECONDS_BETWEEN_REFRESHES

    def show(self, states: Sequence[StudyState], running: Sequence[TrialRecord]) -> None:
        """Redraw the live view."""
        if self._live is not None:
            self._shown_at = time.monotonic()
            parts = progress_of(running)
            line = Text(progress_line(states, self._estimate.of(states, parts)), style="bold")
            self._live.update(Group(study_table(states), line), refresh=True)


class Estimate:
    """Time left, from the trials done since the first call."""

    def __init__(self) -> None:
        self._start: tuple[float, float] | None = None

    def of(self, states: Sequence[StudyState], parts: float = 0.0, now: float | None = None) -> float | None:
        """Seconds left, or None before anything is done; `parts` is what running trials have done, in trials."""
        now = time.monotonic() if now is None else now
        done = sum(state.num_ended for state in states) + parts
        if self._start is None:
            self._start = now, done
        started, before = self._start
        left = sum(state.num_planned for state in states if state.stage != "stopped") - done
        return max(left, 0.0) * (now - started) / (done - before) if done > before else None


def progress_of(running: Sequence[TrialRecord]) -> float:
    """How many whole trials the running ones amount to."""
    steps = [(record.evaluations[-1]["step"], record.config["num_steps"]) for record in running if record.evaluations]
    return float(sum(done / planned for done, planned in steps))


def progress_line(states: Sequence[StudyState], seconds_left: float | None) -> str:
    """`12/40 trials, about 3 min left`."""
    done, planned = sum(state.num_ended for state in states), sum(state.num_planned for state in states)
    left = "" if seconds_left is None or done >= planned else f", about {duration(seconds_left)} left"
    return f"[{done}/{planned} trials{left}]"


def trial_line(record: TrialRecord) -> str:
    """`ndcl.digits.long_tail-65.scan.search-003: finished, objective 61.2 %`."""
    best = shown_value(record)
    accuracy = "" if best is None else f", objective {percent(best)}"
    reason = f": {record.reason}" if record.reason and record.state == "failed" else ""
    return f"{record.name} {record.state}{accuracy}{reason}"


def failure_lines(records: Sequence[TrialRecord]) -> Iterator[str]:
    """Which trials failed, why, and how their logs end."""
    failed = sorted((record for record in records if record.state == "failed"), key=lambda record: record.ended or 0.0)
    if len(failed) > MOST_FAILURES:
        yield f"{len(failed)} trials failed; the last {MOST_FAILURES}:"
    for record in failed[-MOST_FAILURES:]:
        yield f"failed: {record.name}: {record.reason}"
        yield from log_lines(record)


def log_lines(record: TrialRecord) -> list[str]:
    """The end of a failed trial's log, indented."""
    return [f"    {line}" for line in record.log.splitlines()[-LOG_LINES_SHOWN:]]


def study_table(states: Sequence[StudyState]) -> Table:
    """One row a study: what it does, its trials by state, the best so far."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("study", overflow="fold")
    table.add_column("stage", no_wrap=True)
    for name in ("trials", *STATES, "best"):
        table.add_column(name, justify="right", no_wrap=True)
    for state in states:
        best = shown_value(state.best) if state.best else None
        table.add_row(
            state.key.name,
            state.stage,
            f"{state.num_ended}/{state.num_planned}",
            *(str(state.counts.get(name, 0)) for name in STATES),
            "-" if best is None else percent(best),
        )
    return table


def percent(fraction: float) -> str:
    """`61.2 %`."""
    return f"{100 * fraction:.1f} %"


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def evaluation_line(evaluation: dict[str, Any], num_steps: int) -> str:
    """`step 50/300: loss 1.203, validation 43.3 %`."""
    loss = evaluation["losses"].get("total")
    shown = "" if loss is None else f"loss {loss:.4g}, "
    return f"step {evaluation['step']}/{num_steps}: {shown}validation {percent(evaluation[DEFAULT_OBJECTIVE])}"


def result_line(evaluations: Sequence[dict[str, Any]]) -> str:
    """What a single training came to, at its best checkpoint by validation."""
    valued = [evaluation for evaluation in evaluations if evaluation[DEFAULT_OBJECTIVE] is not None]
    if not valued:
        return "no evaluation has a validation accuracy"
    best = max(valued, key=lambda evaluation: float(evaluation[DEFAULT_OBJECTIVE]))
    return (
        f"best checkpoint: step {best['step']}, validation {percent(best[DEFAULT_OBJECTIVE])}, "
        f"target {percent(best['target']['overall'])}"
    )
