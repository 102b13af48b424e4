"""Speed of `ndcl data import` by number of processes: python benchmarks/importing.py [--images 600] [--side 600].

Imports the same made-up JPEGs with one process and with one a core, in turn, and prints images a second, how many times
as fast the cores are, and what one image costs. Takes about half a minute on two cores.
"""

import argparse
import io
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from ndcl.data.importing import ImportOptions, import_dataset, open_source
from ndcl.processors import num_processors

CELLS = (("art", "cat"), ("art", "dog"), ("photo", "cat"), ("photo", "dog"))


def make_images(root: Path, num_images: int, side: int) -> None:
    """JPEGs like photographs in size and detail: smooth colours under fine grain, about 90 kB at 600 pixels."""
    rng = np.random.default_rng(0)
    for domain, name in CELLS:
        (root / domain / name).mkdir(parents=True)
    for number in range(num_images):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.int16)
        grain = rng.integers(-12, 13, (side, side, 1), dtype=np.int16)
        file = io.BytesIO()
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
        domain, name = CELLS[number % len(CELLS)]
        (root / domain / name / f"{number}.jpg").write_bytes(file.getvalue())


def images_a_second(images: Path, into: Path, jobs: int) -> float:
    source = open_source([images])
    start = time.perf_counter()
    import_dataset(source, into, f"by{jobs}-{time.monotonic_ns()}", ImportOptions(jobs=jobs))
    return len(source) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--side", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    cores = num_processors()
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder) / "images", options.images, options.side)
        speeds: dict[int, list[float]] = {1: [], cores: []}
        for _ in range(options.repeats):  # in turn, so that other load meets both
            for jobs in speeds:
                speeds[jobs].append(images_a_second(Path(folder) / "images", Path(folder) / "data", jobs))
    best = {jobs: max(values) for jobs, values in speeds.items()}
    for jobs, speed in best.items():
        print(f"{jobs} process{'es' if jobs > 1 else ''}: {speed:.0f} images/s, {1000 / speed:.1f} ms an image")
    print(f"{cores} cores are {best[cores] / best[1]:.2f} times as fast as one process")


if __name__ == "__main__":
    main()
