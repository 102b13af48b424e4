"""What does early stopping save, and what does it cost? Schedulers replayed on recorded learning curves.

    python benchmarks/early_stopping.py [--trials 20] [--orders 40] [--slots 2] [--curves results/early_stopping.jsonl]

Trains the curves that the file lacks (`early_stopping_curves.py`: 8 studies of the digits, 13 minutes of one core for
20 random trials each), then replays every scheduler on them by the pruners and the promotion of the harness, each
study's trials in random orders, so many at once. Prints a Markdown table, means over studies and orders:

- steps: share of those that all trials would take; in brackets 90 % of the orders;
- regret: points of source validation accuracy by which the selected trial is behind the best of all, with a 95 %
  bootstrap interval over studies; beside it that of as many steps spent on fewer trials, none of them stopped;
- target: points of accuracy on the unseen domain, selected trial minus that without any stopping (an oracle's view).
"""

import argparse
import dataclasses
import heapq
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.early_stopping_curves import NUM_EVALUATIONS, STEPS_PER_EVALUATION, Curve, curves_in, record, studies
from harness.config.search import SchedulerConfig
from harness.plan import StudyPlan
from harness.plan.rungs import promotes, rungs
from harness.records import TrialRecord
from harness.search.frozen_trials import NAME
from harness.search.samplers import pruner_of
from harness.state.promotion import first_stop, next_promotion

END = NUM_EVALUATIONS * STEPS_PER_EVALUATION
SCHEDULERS: tuple[dict[str, Any], ...] = (
    {"name": "none"},
    *(
        {"name": name, "mode": mode, "min_resource": resource}
        for resource in (1, 3, 9)
        for name in ("asha", "hyperband")
        for mode in ("stop", "promote")
    ),
)


class Outcome(NamedTuple):
    """What one search came to."""

    steps: float
    """Share of those that all trials would take."""
    regret: float
    equal: float
    """The regret of as many steps without stopping."""
    target: float


class Replay:
    """One study's search, played on curves: number i is the i-th of them."""

    def __init__(self, plan: StudyPlan, curves: Sequence[Curve]) -> None:
        self._plan, self._curves = dataclasses.replace(plan, num_trials=len(curves)), curves
        self._study = optuna.create_study(direction="maximize", pruner=pruner_of(self._plan))
        self._trials: dict[int, optuna.Trial] = {}
        self.records: dict[int, TrialRecord] = {}

    def run(self, slots: int) -> None:
        """To its end: a trial that trains takes as long as any other for a step."""
        busy: list[tuple[int, int, int]] = []
        clock = 0
        while True:
            while len(busy) < slots and (number := self._next()) is not None:
                heapq.heappush(busy, self._leg(clock, number))
            if not busy:
                return
            clock, step, number = heapq.heappop(busy)
            self._arrive(number, step)
            if self.records[number].state == "running":
                heapq.heappush(busy, self._leg(clock, number))

    def _next(self) -> int | None:
        """The trial that starts in a free slot: one that is promoted, or a new one."""
        due = next_promotion(self._plan, list(self.records.values()))
        number = len(self.records)
        if due is not None:
            self.records[due.number] = dataclasses.replace(due, state="running")
            return due.number
        if number == len(self._curves):
            return None
        record = TrialRecord(study=self._plan.key, stage="search", number=number, values={}, config={})
        self.records[number] = dataclasses.replace(record, until=first_stop(self._plan, number))
        self._trials[number] = self._study.ask()
        self._trials[number].set_user_attr(NAME, record.name)
        return number

    def _leg(self, clock: int, number: int) -> tuple[int, int, int]:
        """When a trial comes to its next rung or its end, and which step that is."""
        done = self.records[number].step
        step = next((rung for rung in rungs(self._plan, number) if rung > done), END)
        return clock + step - done, step, number

    def _arrive(self, number: int, step: int) -> None:
        value = self._curves[number].validation[step // STEPS_PER_EVALUATION - 1]
        record = self.records[number].with_evaluation({"step": step, "validation_accuracy": value})
        self._trials[number].report(value, step)
        if step == END:
            state: Any = "finished"
        elif promotes(self._plan):
            state = "waiting" if record.until == step else "running"
        else:
            state = "pruned" if self._trials[number].should_prune() else "running"
        self.records[number] = dataclasses.replace(record, state=state)


def best_of(curves: Sequence[Curve]) -> tuple[float, float]:
    """The selected trial's validation accuracy at its best checkpoint, and its target accuracy there, in points."""
    chosen = max(curves, key=lambda curve: max(curve.validation))
    value = max(chosen.validation)
    return 100 * value, 100 * chosen.target[list(chosen.validation).index(value)]


def outcome(plan: StudyPlan, curves: Sequence[Curve], slots: int) -> Outcome:
    """Of a search that tries the curves' values in this order."""
    replay = Replay(plan, curves)
    replay.run(slots)
    finished = [curves[n] for n, record in sorted(replay.records.items()) if record.state == "finished"]
    steps = sum(record.step for record in replay.records.values()) / (END * len(curves))
    (best, target), (value, own_target) = best_of(curves), best_of(finished)
    fewer, _ = best_of(curves[: max(1, round(steps * len(curves)))])
    return Outcome(steps, best - value, best - fewer, own_target - target)


def interval(values: np.ndarray[Any, Any]) -> str:
    """Mean of [studies] and its 95 % percentile bootstrap interval."""
    resampled = np.random.default_rng(0).choice(values, size=(10_000, len(values))).mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return f"{values.mean():.1f} [{low:.1f}, {high:.1f}]"


def row(scheduler: SchedulerConfig, found: np.ndarray[Any, Any]) -> str:
    """A line of the table, of outcomes [studies, orders, 4]."""
    low, high = 100 * np.percentile(found[..., 0].mean(axis=0), [5, 95])
    means = found.mean(axis=1)
    rung = f", from {scheduler.min_resource}" if scheduler.name != "none" else ""
    name = f"{scheduler.name}{f' {scheduler.mode}' if rung else ''}{rung}"
    parts = (f"{100 * means[:, 0].mean():.0f} [{low:.0f}, {high:.0f}]", *(interval(means[:, i]) for i in (1, 2, 3)))
    return f"| {name} | " + " | ".join(parts) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--orders", type=int, default=40)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--curves", type=Path, default=Path("results") / "early_stopping.jsonl")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    record(arguments.curves, arguments.trials, arguments.processes)
    recorded = [curve for curve in curves_in(arguments.curves) if curve.number < arguments.trials]
    plans = studies()
    of_study = [[curve for curve in recorded if curve.study == plan.key.name] for plan in plans]
    draw = np.random.default_rng(0)
    orders = [[draw.permutation(len(own)) for _ in range(arguments.orders)] for own in of_study]
    size = f"{len(plans)} studies, {arguments.trials} trials each, {NUM_EVALUATIONS} evaluations"
    print(f"\n{size}, {arguments.slots} at once, {arguments.orders} orders\n")
    print("| scheduler | steps, % | regret | as many steps, none stopped | target (oracle) |\n|---|---|---|---|---|")
    for values in SCHEDULERS:
        scheduler = SchedulerConfig(**values)
        found = [
            [
                outcome(dataclasses.replace(plan, scheduler=scheduler), [own[i] for i in order], arguments.slots)
                for order in its
            ]
            for plan, own, its in zip(plans, of_study, orders, strict=True)
        ]
        print(row(scheduler, np.array(found)))


if __name__ == "__main__":
    main()
