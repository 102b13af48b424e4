"""How far the report's statistics can be trusted: python benchmarks/comparisons.py [--sweeps 1000].

Draws the accuracies of whole sweeps from normal distributions, in units of the standard deviation of a difference from
seed to seed, and prints how often the report's intervals hold the truth and what its verdicts are. Each of `contrasts`
algorithms is compared with one reference. Takes about 40 seconds of one core.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from harness.report.analysis.paired_statistics import PairedResult, paired_results

DESIGNS = ((3, 3), (4, 3), (4, 5), (6, 3))
"""Target domains and seeds."""


def sweep(rng: np.random.Generator, truths: NDArray[np.float64], num_seeds: int) -> list[PairedResult]:
    """Results of one sweep; `truths` [contrasts, T] are the true differences on each target domain."""
    num_contrasts, num_targets = truths.shape
    reference = rng.normal(0, 0.5**0.5, (num_targets, num_seeds))
    others = truths[:, :, None] + rng.normal(0, 0.5**0.5, (num_contrasts, num_targets, num_seeds))
    return list(paired_results({i: (own - reference).tolist() for i, own in enumerate(others)}).values())


def measure(num_targets: int, num_seeds: int, num_contrasts: int, effect: float, spread: float, n: int) -> str:
    """A table's row; the true differences on the target domains are normal around `effect` with deviation `spread`."""
    rng = np.random.default_rng(0)
    held, held_over_targets, found = np.zeros(n), np.zeros(n), np.zeros((n, num_contrasts))
    for i in range(n):
        truths = rng.normal(effect, spread, (num_contrasts, num_targets))
        results = sweep(rng, truths, num_seeds)
        held[i] = holds(results[0].interval, truths[0].mean())
        held_over_targets[i] = holds(results[0].interval_over_targets, effect)
        found[i] = [result.verdict in ("higher", "lower") for result in results]
    shares = (held.mean(), held_over_targets.mean(), found[:, 0].mean(), found.any(axis=1).mean())
    numbers = " | ".join(f"{100 * share:.0f} %" for share in shares)
    return f"| {num_targets} x {num_seeds} | {num_contrasts} | {effect:g} | {spread:g} | {numbers} |"


def holds(interval: tuple[float, float] | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=1000)
    arguments = parser.parse_args()
    header = ("domains x seeds", "contrasts", "true mean", "spread", "interval holds", "over domains holds")
    print(f"| {' | '.join((*header, 'first found', 'any found'))} |\n|{'---|' * 8}")
    for num_targets, num_seeds in DESIGNS:
        for num_contrasts, effect, spread in ((1, 0, 0), (3, 0, 0), (1, 1, 0), (3, 1, 0), (1, 0, 1)):
            print(measure(num_targets, num_seeds, num_contrasts, effect, spread, arguments.sweeps), flush=True)


if __name__ == "__main__":
    main()
