"""What a step of every algorithm costs beside one of ERM.

    python benchmarks/algorithms.py [--backbone resnet18:64] [--classes 7] [--rows 16] [--rounds 10] [ALGORITHM ...]

In each round every algorithm takes a step in turn with one of ERM (of those that step by turns a whole turn, and as
many of ERM's), on inputs that are there already. BatchNorm is frozen, as with pretrained weights. Printed is the median
over rounds of the ratio, with its quartiles, and what the passes through the backbone alone would cost: forwards a
third of a step, backwards two thirds.
"""

import argparse
import statistics
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.step import Trained, seconds
from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from ndcl.data.loading.workers import keep_freed_memory

FULL_PENALTY = {"penalty_from_step": 0, "irm_from_step": 0, "reconstruction_steps": 0}
TURN = {"dann": 2, "cdann": 2}
"""Steps after which the same networks step again."""


def ratios(name: str, arguments: argparse.Namespace, device: torch.device) -> list[float]:
    """Of each round."""
    keys = ALGORITHM_CONFIGS[name].__dataclass_fields__
    values = {"name": name} | {key: value for key, value in FULL_PENALTY.items() if key in keys}
    backbone, size = arguments.backbone.split(":")
    model = {"backbone": backbone, "freeze_batchnorm": True}
    erm, own = (
        Trained(algorithm, backbone, int(size), arguments.classes, arguments.rows, device, model=model)
        for algorithm in ({"name": "erm"}, values)
    )
    turn = TURN.get(name, 1)
    for each in (erm, own):
        for _ in range(2 * turn):
            seconds(each, device)
    found = []
    for _ in range(arguments.rounds):
        taken = {each: sum(seconds(each, device) for _ in range(turn)) for each in (erm, own)}
        found.append(taken[own] / taken[erm])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("algorithms", nargs="*", metavar="ALGORITHM", default=list(ALGORITHM_CONFIGS))
    parser.add_argument("--backbone", default="resnet18:64")
    parser.add_argument("--classes", type=int, default=7)
    parser.add_argument("--rows", type=int, default=16, help="of each of three source domains")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{'':18} {'step over ERM':>13}   {'quartiles':<12} passes alone")
    for name in arguments.algorithms:
        found = ratios(name, arguments, device)
        low, middle, high = statistics.quantiles(found, n=4)
        print(f"{name:18} {middle:13.2f}   {low:.2f}-{high:.2f}    {ALGORITHM_CONFIGS[name].passes:5.2f}", flush=True)


if __name__ == "__main__":
    main()
