"""Images a second of our loader beside torchvision's ImageFolder and DataLoader, with the same transforms and workers.

    python benchmarks/loader.py [--workers N]

JPEGs of 600 x 600 and of 227 x 227 pixels are made up; ours come from a raw store at 256 and 227 pixels, and from an
encoded one. Both sides augment as DomainBed does and deliver normalised batches of 96 images; the runs are interleaved.
Takes about two minutes.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder

sys.path.insert(0, str(Path(__file__).parent.parent))

from ndcl.config import TrainConfig
from ndcl.data import StoreWriter
from ndcl.data.loading.loader import Loader
from ndcl.data.loading.sampler import DomainSampler
from ndcl.data.problem import build_problem

DOMAINS, CLASSES = ("a", "b", "c", "d"), ("x", "y")
PER_CELL = 24
BATCH = 96
BATCHES = 5
ROUNDS = 3

AS_DOMAINBED = transforms.Compose(
    [
        transforms.RandomResizedCrop(224, scale=(0.7, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.3, 0.3, 0.3, 0.3),
        transforms.RandomGrayscale(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def make_jpegs(folder: Path, size: int) -> None:
    """Clouds with grain: about as many bytes a pixel as photographs have."""
    rng = np.random.default_rng(size)
    for domain in DOMAINS:
        for name in CLASSES:
            (folder / domain / name).mkdir(parents=True)
            for i in range(PER_CELL):
                coarse = Image.fromarray(rng.integers(0, 256, (size // 16, size // 16, 3), np.uint8))
                smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), float)
                grain = np.clip(smooth + rng.normal(0, 6, (size, size, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(grain).save(folder / domain / name / f"{i}.jpg", quality=90)


def make_store(folder: Path, jpegs: Path, kind: Any, size: int) -> None:
    with StoreWriter(
        folder, name=folder.name, classes=CLASSES, domains=DOMAINS, kind=kind, shape=(size, size, 3)
    ) as writer:
        for d, domain in enumerate(DOMAINS):
            for k, name in enumerate(CLASSES):
                paths = sorted((jpegs / domain / name).iterdir())
                if kind == "encoded":
                    inputs: Any = [path.read_bytes() for path in paths]
                else:
                    inputs = np.stack([np.asarray(Image.open(path).resize((size, size))) for path in paths])
                writer.append(inputs, [k] * PER_CELL, [d] * PER_CELL)


def torchvisions(jpegs: Path, workers: int) -> Iterator[torch.Tensor]:
    images = ImageFolder(str(jpegs / DOMAINS[0]), AS_DOMAINBED)
    sampler = RandomSampler(images, replacement=True, num_samples=BATCH * 1000)
    return (inputs for inputs, _ in DataLoader(images, BATCH, sampler=sampler, num_workers=workers))


def ours(store: Path, workers: int) -> Iterator[torch.Tensor]:
    values = {"name": store.name, "folder": str(store.parent), "target": "d", "workers": workers, "image_size": 224}
    config = TrainConfig.from_dict(
        {
            "data": values,
            "algorithm": {"name": "erm"},
            "imbalance": {"setting": "natural", "validation": 2},
            "batch_size": BATCH // 3,
        }
    )
    problem = build_problem(config.data, config.imbalance)
    sampler = DomainSampler([problem.store.labels[rows] for rows in problem.train], config.batch_size, 0, None)
    loader = Loader(problem, sampler, config, torch.device("cpu"))
    return (batch.inputs for batch in loader.batches(0, 1000))


def measure_run(start: Callable[[], Iterator[torch.Tensor]]) -> tuple[float, float]:
    """Images a second, and CPU milliseconds an image over all processes.

    Over BATCHES batches, after as many as the workers may have prepared beforehand.
    """
    batches = start()
    for _ in range(4):
        assert next(batches).shape == (BATCH, 3, 224, 224)
    started, cpu_before = time.perf_counter(), cpu_seconds()
    for _ in range(BATCHES):
        next(batches)
    num_images = BATCH * BATCHES
    return num_images / (time.perf_counter() - started), 1000 * (cpu_seconds() - cpu_before) / num_images


def cpu_seconds() -> float:
    """Of this process and its children so far (Linux)."""
    ticks = 0
    for pid in (os.getpid(), *(child.pid for child in multiprocessing.active_children())):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(root: Path, workers: int, table: Table) -> None:
    for size, stores in ((600, {"raw": 256, "encoded": 600}), (227, {"raw": 227, "encoded": 227})):
        jpegs = root / f"jpegs-{size}"
        make_jpegs(jpegs, size)
        runs: dict[str, Callable[[], Iterator[torch.Tensor]]] = {}
        for kind, stored in stores.items():
            store = root / f"{kind}-{size}"
            make_store(store, jpegs, kind, stored)
            runs[f"ours, {kind} at {stored}"] = lambda store=store: ours(store, workers)  # type: ignore[misc]
        runs = {"ImageFolder": lambda: torchvisions(jpegs, workers)} | runs  # noqa: B023
        rounds = [{name: measure_run(run) for name, run in runs.items()} for _ in range(ROUNDS)]
        for name in runs:
            speed, cpu = (statistics.median(column) for column in zip(*(each[name] for each in rounds), strict=True))
            ratios = [each[name][0] / each["ImageFolder"][0] for each in rounds]
            ratio = f"{statistics.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f})"
            table.add_row(f"{size} x {size}", name, f"{speed:.0f}", ratio, f"{cpu:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=max(1, len(os.sched_getaffinity(0)) - 1))
    workers = parser.parse_args().workers
    torch.set_num_threads(1)
    table = Table(title=f"Training images a second, {workers} worker(s)")
    for column in ("JPEGs", "loader", "images/s", "ratio", "CPU ms/image"):
        table.add_column(column, justify="left" if column == "loader" else "right")
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), workers, table)
    Console().print(table)


if __name__ == "__main__":
    main()
