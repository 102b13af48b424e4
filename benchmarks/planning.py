"""Does a plan know how long its sweep takes? `ndcl plan --measure`, then the sweep itself, on the same machine.

    python benchmarks/planning.py [digits heads resnet18]

digits: search_spaces/digits.yaml for two targets. heads: search_spaces/features.yaml on vectors of 4 domains made here.
resnet18: from scratch on images of 64 x 64. Each with fewer trials than it ships with, so that all three take some
minutes on 2 cores. Nothing is stopped early, so that the plan's range is one number. Prints a Markdown table: seconds
predicted, seconds that the sweep took from its command to its end, and their ratio, which must be within LIMIT. What
else runs on the machine counts in both, if it stays the same meanwhile.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ndcl.data.store.writer import write_store

LIMIT = 1.5
DOMAINS, CLASSES, ROWS = 4, 7, 40
ALWAYS = ("search.scheduler={name: none}", "search.num_trials=5", "final.seeds=1")
KINDS = {
    "digits": ("digits.yaml", ("data.targets=[scan, sign]",)),
    "heads": ("features.yaml", ("data.name=vectors", "name=heads")),
    "resnet18": (
        "features.yaml",
        (
            "data={name: images, targets: [domain 0]}",
            "name=resnet18",
            "train.model.backbone=resnet18",
            "train.num_steps=24",
            "train.evaluate_every=12",
            "train.batch_size=8",
            "search.num_trials=2",
        ),
    ),
}
"""Search space, and what differs from it."""


def make_data(folder: Path) -> None:
    """Vectors of 512 numbers, and images of 64 x 64."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.repeat(np.arange(CLASSES), ROWS), DOMAINS)
    domain_ids = np.repeat(np.arange(DOMAINS), CLASSES * ROWS)
    vectors = (rng.normal(size=(CLASSES, 512))[labels] + 4 * rng.normal(size=(len(labels), 512))).astype(np.float32)
    images = rng.integers(0, 256, (len(labels), 64, 64, 3)).astype(np.uint8)
    for name, inputs in (("vectors", vectors), ("images", images)):
        write_store(
            folder / name,
            name=name,
            classes=[f"class {k}" for k in range(CLASSES)],
            domains=[f"domain {e}" for e in range(DOMAINS)],
            inputs=inputs,
            labels=labels,
            domain_ids=domain_ids,
        )


def ndcl(verb: str, kind: str, results: Path, *options: str) -> str:
    """What the command prints."""
    file, settings = KINDS[kind]
    command = [sys.executable, "-m", "harness.cli", verb, str(ROOT / "search_spaces" / file), "--results", str(results)]
    command += [part for value in (*ALWAYS, *settings) for part in ("--set", value)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NDCL_DATA": str(results / "data")}
    return subprocess.run(
        [*command, *options], cwd=results, env=environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def predicted(plan: str) -> float:
    """Seconds, the middle of the range if the plan gives one."""
    units = {"s": 1, "min": 60, "h": 3600}
    [line] = re.findall(r"^time left: (.*) with", plan, flags=re.MULTILINE)
    values = [float(number) * units[unit] for number, unit in re.findall(r"([\d.]+) (s|min|h)", line)]
    return sum(values) / len(values)


def main() -> None:
    """Predict and run each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=list(KINDS), help=f"of {', '.join(KINDS)}")
    kinds = parser.parse_args().kinds
    print("| sweep | predicted s | took s | ratio |\n| --- | --- | --- | --- |")
    for kind in kinds:
        with tempfile.TemporaryDirectory() as name:
            results = Path(name)
            make_data(results / "data")
            plan = ndcl("plan", kind, results, "--measure")
            began = time.perf_counter()
            ndcl("sweep", kind, results, "--quiet")
            took = time.perf_counter() - began
            ratio = predicted(plan) / took
            print(f"| {kind} | {predicted(plan):.0f} | {took:.0f} | {ratio:.2f} |", flush=True)
            print(plan, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
