"""The vectorised step of NDCL (three losses and mixup) against the same maths in plain loops, on one thread.

    python benchmarks/losses.py

Prints, per size, the time of forward and backward of both, interleaved, and the memory that the vectorised form
allocates at its peak beyond its inputs. Takes about a minute.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from ndcl.batch import Layout
from ndcl.losses import negatives_dominant_margin, prototype_alignment, reweighted_cross_entropy
from ndcl.mixing import Draws, plan_mixup, quotas
from tests import naive
from tests.memory import PeakMemory

DOMAINS = 3
FEATURES = 8  # of the rows that mixup mixes; images would only add the same cost to both forms


class Case:
    """A batch of N rows of K classes, and a linear network, so that mixed rows have logits with a gradient."""

    def __init__(self, classes: int, rows: int, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.labels = generator.integers(classes, size=rows)
        self.domains = np.arange(rows) * DOMAINS // rows
        self.inputs = torch.from_numpy(generator.normal(size=(rows, FEATURES))).float()
        self.weights = torch.ones(DOMAINS, classes)
        self.head = torch.from_numpy(generator.normal(size=(FEATURES, classes))).float().requires_grad_()
        self.draws = Draws.from_seed(quotas(self.layout(), "rev", rows), 0.2, seed, 0)

    def layout(self) -> Layout:
        return Layout.of(self.labels, self.domains, torch.device("cpu"))

    def vectorised(self) -> Tensor:
        layout = self.layout()
        quota = quotas(layout, "rev", len(self.labels))
        logits = self.inputs @ self.head
        plan = plan_mixup(logits, layout, quota, self.draws)
        mixed = plan.apply(self.inputs) @ self.head
        margin = negatives_dominant_margin(logits, mixed, plan.labels, plan.has_rows, layout)
        return reweighted_cross_entropy(logits, layout, self.weights) + margin + prototype_alignment(logits, layout)

    def loops(self) -> Tensor:
        labels, domains = self.labels.tolist(), self.domains.tolist()
        logits = self.inputs @ self.head
        quota = quotas(self.layout(), "rev", len(labels))
        mixed_inputs, mixed_labels = naive.mixup(self.inputs, logits, labels, quota, self.draws)
        margin = naive.margin(logits, mixed_inputs @ self.head, labels, mixed_labels, 1.0)
        return (
            naive.cross_entropy(logits, labels, domains, self.weights)
            + margin
            + naive.alignment(logits, labels, domains, 1.0)
        )


def seconds(step) -> float:
    started = time.perf_counter()
    step().backward()
    return time.perf_counter() - started


def peak_mib(case: Case) -> float:
    """Largest sum of what the step has allocated and not freed, beyond the case itself."""
    with PeakMemory() as memory:
        case.vectorised().backward()
    return memory.peak_bytes / 2**20


def main() -> None:
    torch.set_num_threads(1)
    table = Table(title="NDCL step without the network: forward + backward, one thread")
    for name in ("K", "N", "loops ms", "vectorised ms", "ratio", "peak MiB"):
        table.add_column(name, justify="right")
    for classes, rows, repeats in ((7, 96, 5), (65, 96, 5), (345, 160, 3)):
        case = Case(classes, rows)
        torch.testing.assert_close(case.vectorised(), case.loops(), rtol=1e-4, atol=1e-5)
        pairs = [(seconds(case.loops), min(seconds(case.vectorised) for _ in range(5))) for _ in range(repeats)]
        slow, fast = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
        cells = (classes, rows, f"{slow:.1f}", f"{fast:.2f}", f"{slow / fast:.0f}x", f"{peak_mib(case):.2f}")
        table.add_row(*map(str, cells))
    Console().print(table)


if __name__ == "__main__":
    main()
