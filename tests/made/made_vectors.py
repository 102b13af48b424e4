"""Small sets of feature vectors for whole sweeps, on which a head learns within a few steps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ndcl.data.store.writer import write_store

DOMAINS, CLASSES = ("art", "ink", "web"), ("cat", "dog", "owl")
TARGET = "ink"


def write_vectors(
    folder: Path,
    target_labels: Sequence[int] = (0, 1, 2),
    classes: Sequence[str] = CLASSES,
    replace: bool = False,
) -> Path:
    """A data set `made` below `folder`: noisy classes of very different sizes in three domains.

    `target_labels` names, in the domain `ink` alone, each class's images by another class. With other `classes`, and
    `replace`, it is another data set under the same name.
    """
    rng = np.random.default_rng(0)
    labels, domains = np.tile(np.arange(3), 120), np.repeat(np.arange(3), 120)
    inputs = np.eye(6)[labels] + 0.3 * domains[:, None] + 0.7 * rng.normal(size=(360, 6))
    is_target = domains == DOMAINS.index(TARGET)
    named = np.where(is_target, np.asarray(target_labels)[labels], labels)
    folder.mkdir(parents=True, exist_ok=True)
    write_store(
        folder / "made",
        name="made",
        classes=classes,
        domains=DOMAINS,
        inputs=inputs.astype(np.float32),
        labels=named,
        domain_ids=domains,
        replace=replace,
    )
    return folder
