"""What is shown while a sweep or a training runs: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Sequence
from types import TracebackType

from harness.records import TrialRecord
from harness.records.selection import shown_value
from harness.state import StudySummary
from harness.terminal.legible import legible
from harness.terminal.numbers import duration, percent
from harness.terminal.table import Table
from harness.terminal.terminal import Console, Live, redrawn, stacked, words

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

    def __enter__(self) -> "Progress":
        """Start the live view, if there is a terminal."""
        if self._console.is_terminal and not self._quiet:
            self._live = redrawn(self._console, transient=True)
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
            self._console.print(legible(text), highlight=False, soft_wrap=True, markup=False)

    def ended(self, record: TrialRecord, states: Sequence[StudySummary], seconds_left: float | None = None) -> None:
        """A trial has ended; without a terminal this is a line. A failure is always shown, with the end of its log."""
        if self._live is None:
            self.say(f"{progress_line(states, seconds_left)}  {trial_line(record)}")
        elif record.state == "failed":
            self.say(trial_line(record))
        for line in log_lines(record):
            self.say(line)

    def is_due(self) -> bool:
        """Whether the live view is old enough to be drawn again."""
        return self._live is not None and time.monotonic() - self._shown_at > SECONDS_BETWEEN_REFRESHES

    def show(self, states: Sequence[StudySummary], seconds_left: float | None = None) -> None:
        """Redraw the live view."""
        if self._live is not None:
            self._shown_at = time.monotonic()
            line = words(progress_line(states, seconds_left), style="bold")
            self._live.update(stacked(study_table(states), line), refresh=True)


def progress_line(states: Sequence[StudySummary], seconds_left: float | None) -> str:
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


def study_table(states: Sequence[StudySummary]) -> Table:
    """One row a study: what it does, its trials by state, the best so far."""
    table = Table()
    table.add_column("study", "name")
    table.add_column("stage", "text")
    for name in ("trials", *STATES, "best"):
        table.add_column(name)
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
