"""What each algorithm was given, so that a comparison can be seen to be fair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records import ENDED, TrialRecord
from harness.report_cells import Pair


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What was spent on one study."""

    num_trials: int = 0
    """Search trials that ended, those that were pruned or failed included."""
    num_steps: tuple[int, ...] = ()
    """Optimiser steps of a search trial that runs to its end; more than one value if trials differ."""
    seeds: tuple[int, ...] = ()
    """Of the final runs that count."""

    def __str__(self) -> str:
        trials = f"{self.num_trials} trial{'' if self.num_trials == 1 else 's'}"
        steps = f" of {' or '.join(map(str, self.num_steps))} steps" if self.num_steps else ""
        seeds = f"seeds {' '.join(map(str, self.seeds))}" if self.seeds else "no final run"
        return f"{trials}{steps}, {seeds}"


def budget_of(study: Sequence[TrialRecord], shown: Sequence[TrialRecord]) -> Budget:
    """The budget of one study, of whose records `shown` count."""
    return Budget(
        num_trials=sum(record.stage == "search" and record.state in ENDED for record in study),
        num_steps=tuple(sorted({int(record.config["num_steps"]) for record in study if record.stage == "search"})),
        seeds=tuple(sorted(int(record.config["seed"]) for record in shown if record.stage == "final")),
    )


def unequal(
    budgets: Mapping[Pair, Budget], algorithms: Sequence[str], targets: Sequence[str]
) -> dict[tuple[str, ...], dict[str, Budget]]:
    """What each algorithm had on the target domains where not all had the same; targets with equal numbers together."""
    found: dict[tuple[Budget, ...], list[str]] = {}
    for target in targets:
        own = tuple(budgets.get((algorithm, target), Budget()) for algorithm in algorithms)
        if len(set(own)) > 1:
            found.setdefault(own, []).append(target)
    return {tuple(names): dict(zip(algorithms, own, strict=True)) for own, names in found.items()}
