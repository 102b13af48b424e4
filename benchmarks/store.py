"""Opening a store of 100,000 images, and the memory of two trials that read one of 500 MB.

    python benchmarks/store.py

A process's private memory is what it does not share with others: the growth of `Private_*` in its smaps between the
start of a trial (packages loaded) and the moment when both trials have read every image. Linux only; takes a minute.
"""

import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))

from ndcl.data import Store, StoreWriter

MANY = 100_000
TRIALS = 2
ROWS = 96

OPEN = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from ndcl.data.store import Store
started = time.perf_counter()
store = Store(Path(sys.argv[1]))
print(time.perf_counter() - started, len(store))
"""


def make(folder: Path, num_images: int, size: int) -> Path:
    """A store of noise."""
    rng = np.random.default_rng(0)
    with StoreWriter(
        folder, name="made", classes=("x", "y"), domains=("a", "b"), kind="raw", shape=(size, size, 3)
    ) as writer:
        for start in range(0, num_images, 1000):
            ids = np.arange(start, min(start + 1000, num_images)) % 2
            images = rng.integers(0, 256, (len(ids), size, size, 3), np.uint8)
            paths = [f"domain/class/picture_{start + i:06d}.jpg" for i in range(len(ids))]
            writer.append(images, ids.tolist(), ids.tolist(), paths)
    return folder


def opening_ms(folder: Path) -> list[float]:
    """In a fresh process each time, its packages loaded."""
    command = [sys.executable, "-c", OPEN, str(folder), str(Path(__file__).parent.parent)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(5)]
    assert {num for _, num in runs} == {str(MANY)}
    return [1000 * float(seconds) for seconds, _ in runs]


def memory_mb(field: str) -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(field)) / 1000


def trial(folder: Path, barrier: Barrier, results: Any) -> None:
    """Read every image in batches, in its own order."""
    import torch  # loaded before the first look at the memory, as in a trial

    torch.set_num_threads(1)
    rng = np.random.default_rng()
    private, shared = memory_mb("Private_"), memory_mb("Shared_")
    barrier.wait()
    store = Store(folder)
    order = rng.permutation(len(store))
    for start in range(0, len(order), ROWS):
        store.inputs(order[start : start + ROWS])
    barrier.wait()
    results.put((memory_mb("Private_") - private, memory_mb("Shared_") - shared))
    barrier.wait()


def memory_of_trials(folder: Path) -> list[tuple[float, float]]:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(TRIALS), context.Queue()
    processes = [context.Process(target=trial, args=(folder, barrier, results)) for _ in range(TRIALS)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return found


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def main() -> None:
    table = Table(title="Stores")
    for column in ("what", "measured"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as name:
        folder = make(Path(name) / "many", MANY, 24)
        times = opening_ms(folder)
        table.add_row(
            f"opening {MANY} images ({size_mb(folder):.0f} MB)",
            f"{statistics.median(times):.1f} ms ({min(times):.1f} to {max(times):.1f})",
        )
        folder = make(Path(name) / "large", 2544, 256)
        started = time.perf_counter()
        Store(folder).verify()
        seconds = time.perf_counter() - started
        table.add_row(f"verifying {size_mb(folder):.0f} MB", f"{seconds:.2f} s")
        for number, (private, shared) in enumerate(memory_of_trials(folder), start=1):
            share = 100 * private / size_mb(folder)
            table.add_row(
                f"trial {number} of {TRIALS} on {size_mb(folder):.0f} MB, everything read",
                f"private {private:.1f} MB ({share:.1f} %), shared {shared:.0f} MB",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
