"""Made-up data sets in the place of the public ones: their names, domains and classes, and as many images of each as a
sweep for one target domain asks for, but of 8 x 8 pixels."""

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from harness.cli import app
from harness.config import SweepConfig
from harness.plan.studies import studies_of
from ndcl.config import TrainConfig
from ndcl.data.catalogue import Entry
from ndcl.imbalance import count_table

IMAGES_PER_TARGET_CLASS = 2


def import_stand_in(entry: Entry, sweep: SweepConfig, folder: Path) -> None:
    """Import images as the data set of `entry`, enough for `sweep`, whose targets are written out."""
    import_counts(entry, _counts(entry, sweep), folder)


def import_counts(entry: Entry, counts: np.ndarray, folder: Path) -> None:
    """Import so many images of each domain and class, [D, K], as the data set of `entry`."""
    domains, classes = np.indices(counts.shape)
    images = np.random.default_rng(0).integers(0, 256, (counts.sum(), 8, 8, 3), np.uint8)
    np.savez(
        folder / "made.npz",
        x=images,
        y=np.repeat(classes.ravel(), counts.ravel()),
        d=np.repeat(domains.ravel(), counts.ravel()),
        classes=np.array(entry.classes),
        domains=np.array(entry.domains),
    )
    options = ["--name", entry.name, "--folder", str(folder), "--jobs", "1", "--quiet"]
    result = CliRunner().invoke(app, ["data", "import", str(folder / "made.npz"), *options])
    assert result.exit_code == 0, result.output


def _counts(entry: Entry, sweep: SweepConfig) -> np.ndarray:
    """Images of each domain and class, [D, K]; never more than there really are."""
    needed = np.full_like(entry.counts, IMAGES_PER_TARGET_CLASS)
    for study in studies_of(sweep):
        config = study.train_config({})
        sources = [e for e, domain in enumerate(entry.domains) if domain != config.data.target]
        needed[sources] = np.maximum(needed[sources], _asked(entry, config))
    return np.minimum(needed, entry.counts)


def _asked(entry: Entry, config: TrainConfig) -> np.ndarray:
    """Of the source domains, validation included. A generator makes its table from all that there is."""
    target, imbalance = config.data.target, config.imbalance
    table = count_table(imbalance, entry.name, entry.domains, entry.classes, entry.counts, target)
    if imbalance.setting.startswith("released/"):
        return table.counts + table.validation
    return entry.counts[[domain != target for domain in entry.domains]]
