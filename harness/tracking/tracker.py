"""Writes what a sweep pushes to MLflow, in a thread.

Runs are brought to what the records say, whatever has been logged before: a run may be synced at any time, any number
of times, also by another process after a kill. A background thread does it, so that no training waits for the store and
no failure of the store reaches the sweep.

"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.config.tracking_uri import tracking_uri, without_secrets
from harness.records import StudyKey
from harness.search.figures import close_painter
from harness.state import StudySummary
from harness.tracking.batches import is_refusal
from harness.tracking.client import fail_at_once, one_line
from harness.tracking.items import Item
from harness.tracking.names import RunNames
from harness.tracking.runs import SweepRuns

SECONDS_BETWEEN_WRITES, MAX_SECONDS_BETWEEN_WRITES = 2.0, 30.0
"""What is pushed meanwhile is written in one go, which costs the trainings less. While the store is away, the pause
doubles from one attempt to the next."""
SECONDS_BETWEEN_TRIES, PATIENCE_SECONDS = 1.0, 15.0
"""In the end a store that is away is tried so often, for so long."""
MAX_TRIES = 3
"""An item that the store refuses so often, though it is there, is put aside until the end."""


class Tracker:
    """Keeps the MLflow runs of one sweep in step with its records."""

    def __init__(
        self,
        results: Path,
        sweep: str,
        sweep_id: str,
        *,
        studies: Sequence[StudyKey] = (),
        uri: str | None = None,
        warn: Callable[[str], None] = lambda line: None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """`sweep_id` tells this sweep from earlier ones of the same name. Nothing is opened before `start`.

        `studies` are all of the sweep's; runs are named by what they differ in. `uri` is the sweep's own tracking URI,
        if it has one. `warn` is given one line, once, if the store is away, and `say` (default: `warn`) if it was
        damaged and is made anew. Raises UserError for a URI that MLflow does not know.
        """
        self.is_running = True
        """Whether studies that are not done are under way now."""
        self.shown_uri = without_secrets(tracking_uri(results, uri))
        """The store's address, fit to be printed."""
        names = RunNames(studies)
        self._open: Callable[[], SweepRuns] = lambda: SweepRuns(results, sweep, sweep_id, uri, say or warn, names)
        self._warn: Callable[[str], None] | None = warn
        self._reason = ""
        self._pending: dict[str, Item] = {}
        self._refused: dict[str, Item] = {}
        self._tries: Counter[str] = Counter()
        self._left_out: dict[str, str] = {}
        """What MLflow refuses for good, and why."""
        self._lock = threading.Lock()
        self._pushed, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._runs: SweepRuns | None = None

    def start(self) -> None:
        """Begin to write what is pushed."""
        fail_at_once()
        self._thread.start()

    def push(self, item: Item) -> None:
        """Have a run brought up to date soon. Returns at once; of several pushes the last counts."""
        with self._lock:
            self._pending[_name(item)] = item
            self._refused.pop(_name(item), None)
        self._pushed.set()

    def close(self, timeout_seconds: float | None) -> None:
        """Write what has been pushed, as far as the time allows, and stop. `problem` tells if something is missing."""
        self._closing.set()
        self._pushed.set()
        self._thread.join(timeout_seconds)
        if not self._thread.is_alive():
            close_painter()

    @property
    def problem(self) -> str | None:
        """What is not written yet, and why, in one line."""
        with self._lock:
            num_left = len(self._pending) + len(self._refused)
        if not num_left:
            return None
        return f"{num_left} {'entry is' if num_left == 1 else 'entries are'} not written yet" + (
            f" ({self._reason})" if self._reason else ""
        )

    @property
    def refusal(self) -> str | None:
        """What MLflow won't ever take, and why, in one line; to write it again would not help."""
        with self._lock:
            left_out = [*self._left_out.items()]
        if not left_out:
            return None
        (what, reason), more = left_out[0], len(left_out) - 1
        return f"{what}{f' and {more} more' if more else ''} ({reason})"

    def _work(self) -> None:
        pause = SECONDS_BETWEEN_WRITES
        while not self._closing.is_set():
            self._pushed.wait()
            self._closing.wait(pause)
            self._pushed.clear()
            if self._write_all():
                pause = SECONDS_BETWEEN_WRITES
            else:
                pause = min(max(2 * pause, SECONDS_BETWEEN_TRIES), MAX_SECONDS_BETWEEN_WRITES)
                self._pushed.set()
        self._write_the_rest()

    def _write_the_rest(self) -> None:
        with self._lock:
            self._pending = self._refused | self._pending
            self._refused, self._tries = {}, Counter()
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._write_all() and time.monotonic() < until:
            time.sleep(SECONDS_BETWEEN_TRIES)

    def _write_all(self) -> bool:
        """Write what is pending; False if the store is away."""
        while pending := self._first():
            if self._runs is None and not self._opened():
                return False
            self._write(*pending)
        return True

    def _first(self) -> tuple[str, Item] | None:
        with self._lock:
            return next(iter(self._pending.items()), None)

    def _opened(self) -> bool:
        try:
            self._runs = self._open()
        except Exception as error:  # whatever MLflow, its database or the network raise
            self._note(error)
            if self._warn is not None:
                self._warn(
                    f"MLflow at {self.shown_uri} can't be reached ({self._reason}); training continues, and what is "
                    "missing there follows"
                )
                self._warn = None
            return False
        return True

    def _write(self, name: str, item: Item) -> None:
        """Write an item and take it off. If that fails, what the store has is looked up before anything else.

        An item that MLflow refuses then, too, is taken off as well.
        """
        assert self._runs is not None
        refusal: dict[str, str] = {}
        try:
            refusal = self._runs.sync(item, self.is_running)
        except Exception as error:  # a sweep must not end because its log can't be written
            self._note(error)
            self._runs = None
            self._tries[name] += 1
            if is_refusal(error) and self._tries[name] > 1:
                refusal = {name: self._reason}
        if self._runs is not None or refusal:
            self._tries.pop(name, None)
        with self._lock:
            self._left_out |= refusal
            if self._pending[name] is not item:
                return
            if name not in self._tries:
                del self._pending[name]
            elif self._tries[name] >= MAX_TRIES:
                self._refused[name] = self._pending.pop(name)

    def _note(self, error: Exception) -> None:
        self._reason = one_line(error)


def _name(item: Item) -> str:
    return item.key.name if isinstance(item, StudySummary) else item.name
