"""Small data sets for tests of whatever needs one."""

from pathlib import Path

import numpy as np

from ndcl.data import Store, StoreWriter
from ndcl.data.store.writer import write_store

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


def make_sharded_store(folder: Path, seed: int = 0, parts: int = 3) -> Store:
    """A store of as many shards of 20 kB as it has parts; all of the same size, whatever the seed."""
    inputs = np.random.default_rng(seed).integers(0, 256, (27 * parts, 16, 16, 3), np.uint8)
    labels = (np.arange(27) % 3).tolist()
    with StoreWriter(
        folder,
        name=folder.name,
        classes=CLASSES,
        domains=DOMAINS,
        kind="raw",
        shape=(16, 16, 3),
        max_shard_bytes=30_000,
    ) as writer:
        for part in range(parts):
            writer._buffer._array = np.empty((27, 16, 16, 3), np.uint8)  # so that a chunk is 20 kB and not 32 MB
            writer.append(inputs[27 * part : 27 * (part + 1)], labels, [part % 3] * 27)
    store = Store(folder)
    assert len(store.header.shards) == parts
    return store
