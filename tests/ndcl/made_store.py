"""Small data sets for tests of whatever needs one."""

from pathlib import Path

import numpy as np

from ndcl.data.store import Store
from ndcl.data.writer import write_store

CLASSES = ("bird", "car", "dog")
DOMAINS = ("art", "photo", "sketch")


def make_store(
    folder: Path,
    counts: np.ndarray,
    classes: tuple[str, ...] = CLASSES,
    domains: tuple[str, ...] = DOMAINS,
    shape: tuple[int, ...] = (4, 5, 3),
) -> Store:
    """A store with `counts` [D, K] random inputs, in shuffled order; vectors if `shape` has one dimension."""
    rng = np.random.default_rng(0)
    cells = np.repeat(np.arange(counts.size), counts.ravel())
    rng.shuffle(cells)
    domain_ids, labels = np.divmod(cells, len(classes))
    inputs = rng.integers(0, 256, (len(cells), *shape)).astype(np.uint8 if len(shape) == 3 else np.float32)
    write_store(
        folder,
        name=folder.name,
        classes=classes,
        domains=domains,
        inputs=inputs,
        labels=labels,
        domain_ids=domain_ids,
    )
    return Store(folder)
