"""A sweep that stops when the cluster has cost so much: `python -m harness.cluster.budget --dollars USD COMMAND...`.

`ndcl cluster submit --budget` has the head run the sweep by it, so that it holds while the laptop sleeps. It looks at
the nodes that run, takes their prices from clusters/prices.yaml, and counts spot as if it cost as much as on demand.
"""

import argparse
import ctypes
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

import yaml

from harness.cluster.cost import Fleet, fleet_of, given_prices
from harness.cluster.files import ClusterFile, Kind
from harness.cluster.prices import PriceList, parse_prices, read_prices
from harness.cluster.spot_guard import BOOTSTRAP_FILE, as_written, running_nodes
from harness.plan.cost import NOTHING, Range
from harness.plan.words import durations
from harness.terminal.lines import say
from ndcl.errors import UserError

INTERRUPTED = 130
"""Exit code of a sweep that was stopped and resumes."""
POLL_SECONDS = 15.0
STOP_SECONDS = 120.0
"""So long may a sweep take to stop before it is killed; it resumes from its journal all the same."""
PR_SET_PDEATHSIG = 1
Look = Callable[[], Mapping[str, int]]
"""The number of nodes of each type that run now."""


def budget_options(file: ClusterFile, dollars: float | None, prices: Sequence[str]) -> list[str]:
    """What is handed to the head for a budget; nothing without one. Raises UserError where a machine has no price."""
    if dollars is None:
        if prices:
            raise UserError("--price: it is for --budget; give --budget USD, too")
        return []
    fleet_of(file, read_prices().with_prices(given_prices(file, prices)))
    return ["--dollars", str(dollars), *(word for price in prices for word in ("--price", price))]


class Meter:
    """What the nodes of a cluster have cost."""

    def __init__(self, fleet: Fleet, prices: PriceList) -> None:
        self.spent, self.seconds = NOTHING, 0.0
        self._hours = {node.type_name: node.hour(prices) for node in (fleet.head, *fleet.workers)}
        self._worst = fleet.worst_hour(prices)

    def hour(self, running: Mapping[str, int] | None) -> Range:
        """What an hour of these nodes costs; the most that the cluster can cost where they are not known."""
        if running is None or not running.keys() <= self._hours.keys():
            return Range(least=0, most=self._worst)
        return sum((self._hours[name] * number for name, number in running.items()), NOTHING)

    def add(self, seconds: float, running: Mapping[str, int] | None) -> None:
        """Count the time since the last look, in which these nodes ran."""
        self.seconds += seconds
        self.spent += self.hour(running) * (seconds / 3600)


class Watch:
    """Runs a command while a budget lasts."""

    def __init__(self, meter: Meter, dollars: float, look: Look, poll_seconds: float = POLL_SECONDS) -> None:
        self._meter, self._dollars = meter, dollars
        self._look, self._poll_seconds = look, poll_seconds

    def run(self, command: Sequence[str]) -> int:
        """The command's exit code; 130 if the budget has stopped it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _leave_it_to_the_sweep)
        # Whoever kills this process must not leave a sweep behind that nothing watches
        with subprocess.Popen(command, preexec_fn=_end_with_parent) as sweep:
            before = time.monotonic()
            while (code := _waited(sweep, self._poll_seconds)) is None:
                now = time.monotonic()
                self._meter.add(now - before, self._seen())
                before = now
                if self._meter.spent.most >= self._dollars:
                    _stop(sweep)
                    say(f"budget: {self._spent()}: stopped; submit the sweep again to resume it. {self._from_now()}")
                    return INTERRUPTED
        self._meter.add(time.monotonic() - before, self._seen())
        say(f"budget: {self._spent()}")
        return code if code >= 0 else 128 - code

    def _seen(self) -> Mapping[str, int] | None:
        try:
            return self._look()
        except Exception:  # Ray may be restarting; nodes that aren't seen cost nevertheless
            logging.exception("the nodes can't be seen, and count as the most that the cluster can cost")
            return None

    def _spent(self) -> str:
        spent, seconds = self._meter.spent, self._meter.seconds
        took = durations(Range(least=seconds, most=seconds))
        return f"{spent.least:.2f} to {spent.most:.2f} of {self._dollars:.2f} US dollars spent in {took}"

    def _from_now(self) -> str:
        hour = self._meter.hour(self._seen())
        return f"The nodes that run cost up to {hour.most:.2f} an hour until they go, the head until `down`"


def _leave_it_to_the_sweep(*_: object) -> None:
    """`ray job stop` and Ctrl-C signal the sweep, too, which stops cleanly; this process waits for that."""


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _waited(sweep: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    try:
        return sweep.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _stop(sweep: "subprocess.Popen[bytes]") -> None:
    sweep.terminate()
    if _waited(sweep, STOP_SECONDS) is None:
        sweep.kill()


def meter_of(config: Mapping[str, object], prices: PriceList) -> Meter:
    """For the cluster of an autoscaler's config. Raises UserError where a machine has no price."""
    provider = config["provider"]
    assert isinstance(provider, Mapping)
    kind: Kind = provider["type"]
    return Meter(fleet_of(ClusterFile(path=BOOTSTRAP_FILE, kind=kind, text="", values=config), prices), prices)


def main(look: Look = running_nodes, bootstrap_file: Path = BOOTSTRAP_FILE) -> None:
    """Run the command; exit as it does, or with 130."""
    parser = argparse.ArgumentParser(prog="python -m harness.cluster.budget", description=__doc__)
    parser.add_argument("--dollars", type=float, required=True)
    parser.add_argument("--price", action="append", default=[], metavar="TYPE=USD", help="of an hour; repeatable")
    parser.add_argument("--poll-seconds", type=float, default=POLL_SECONDS)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    prices = read_prices().with_prices(parse_prices(options.price))
    stale = prices.warning(date.today())
    if stale:
        say(f"budget: warning: {stale}")
    meter = meter_of(as_written(yaml.safe_load(bootstrap_file.expanduser().read_text())), prices)
    sys.exit(Watch(meter, options.dollars, look, options.poll_seconds).run(options.command))


if __name__ == "__main__":
    main()
