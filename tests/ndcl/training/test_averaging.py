"""Averages of the weights: against their definitions, and in whole trainings that use them."""

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ndcl.config import AveragingConfig, TrainConfig
from ndcl.errors import UserError
from ndcl.evaluation import Evaluation
from ndcl.training import InterruptedTrainingError, Training
from ndcl.training.averaging import Ema, Swad
from ndcl.unused import unused_keys
from tests.made.made_store import make_store

torch.set_num_threads(1)
COUNTS = np.full((3, 3), 8)
KINDS = ({"name": "ema", "decay": 0.9}, {"name": "swad", "start_patience": 2, "end_patience": 2, "tolerance": 1.05})


class Walk(nn.Module):
    """A parameter and buffers that a test sets after each step, to numbers by which a mean is known."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def go(self, step: int) -> None:
        with torch.no_grad():
            self.weight.copy_(torch.tensor([float(step), float(step) ** 2]))
        self.mean.fill_(-step)
        self.count.fill_(step)


def algorithm_1(losses: Sequence[float], config: AveragingConfig) -> tuple[int, int]:
    """First and last checkpoint of the valley, word by word as in the paper.

    Where none has begun it is from the lowest loss on; there the paper takes all.
    """
    start, threshold = None, None
    for i in range(len(losses)):
        first = losses[max(i - config.start_patience + 1, 0) : i + 1]
        last = losses[max(i - config.end_patience + 1, 0) : i + 1]
        if threshold is None:
            if len(first) == config.start_patience and first[0] == min(first):
                start, threshold = i - config.start_patience + 1, config.tolerance * fmean(first)
        elif len(last) == config.end_patience and threshold < min(last):
            return start, i - config.end_patience
    return losses.index(min(losses)) if start is None else start, len(losses) - 1


@pytest.mark.parametrize("seed", range(40))
def test_swad_is_algorithm_1_of_its_paper_at_every_checkpoint(seed: int) -> None:
    random, stretch, walk = np.random.default_rng(seed), 3, Walk()
    start_patience = int(random.integers(1, 4))
    config = AveragingConfig(
        name="swad",
        start_patience=start_patience,
        end_patience=start_patience + int(random.integers(3)),
        tolerance=float(random.choice([1.0, 1.1, 1.3])),
    )
    swad, losses = Swad(walk, config), []
    for checkpoint in range(14):
        for step in range(checkpoint * stretch, (checkpoint + 1) * stretch):
            walk.go(step)
            swad.update()
        # it falls, then rises; steps of a tenth give equal losses, too
        losses.append(round(abs(checkpoint - 5) / 5 + random.choice([0.1, 0.2, 0.4]), 1))
        swad.observe(losses[-1])
        first, last = algorithm_1(losses, config)
        steps = np.arange(first * stretch, (last + 1) * stretch)
        found = swad.weights()
        assert found["weight"].tolist() == pytest.approx([steps.mean(), (steps**2).mean()])
        assert found["mean"].tolist() == pytest.approx([-steps.mean()])
        assert int(found["count"]) == steps[-1]


def test_the_valleys_of_that_test_end_early_late_and_never() -> None:
    config = AveragingConfig(name="swad")
    assert algorithm_1([3, 2, 1, 2, 2, 9, 9, 9, 9, 9, 9, 1], config) == (2, 4)
    assert algorithm_1([3, 2, 1, 2, 2, 9, 9, 9, 9, 9, 1, 9], config) == (2, 11)
    assert algorithm_1([4, 3, 2, 1], config) == (3, 3)


def test_ema_is_that_of_torch_with_a_decay_that_rises() -> None:
    walk = Walk()
    ema = Ema(walk, decay=0.5)
    steps = iter(range(1, 99))

    def blend(average: torch.Tensor, now: torch.Tensor, _: Any) -> torch.Tensor:
        return decay * average + (1 - decay) * now

    reference = AveragedModel(walk, avg_fn=blend, use_buffers=False)
    reference.n_averaged += 1  # not to begin with the first weights that it is given
    for step in steps:
        decay = min(0.5, (1 + step) / (10 + step))
        walk.go(step)
        ema.update()
        reference.update_parameters(walk)
    torch.testing.assert_close(ema.weights()["weight"], reference.module.weight.detach())
    assert int(ema.weights()["count"]) == 98


def config_for(folder: Path, **values: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": {"name": "images", "target": "photo", "folder": str(folder), "workers": 0},
        "algorithm": {"name": "ndcl"},
        "imbalance": {"setting": "natural", "validation": 2},
        "model": {"backbone": "resnet18"},
        "optimizer": {"learning_rate": 0.01},
        "batch_size": 3,
        "num_steps": 12,
        "evaluate_every": 2,
        "device": "cpu",
    }
    return TrainConfig.from_dict(base | values)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_store(folder / "images", COUNTS, shape=(16, 16, 3))
    return folder


def without_time(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    return [dataclasses.replace(each, seconds=0.0) for each in evaluations]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["name"])
def test_averaged_weights_are_evaluated_selected_and_kept_and_training_continues_with_its_own(
    folder: Path, kind: dict[str, Any]
) -> None:
    config = config_for(folder, averaging=kind, select_by=["last_step"])
    plain, training = Training(dataclasses.replace(config, averaging=AveragingConfig())), Training(config)
    evaluations = list(training.evaluations())
    losses = [each.losses for each in plain.evaluations()]
    assert [each.losses for each in evaluations] == losses
    assert same(training.network.state_dict(), plain.network.state_dict())
    assert training.average is not None
    assert training.best is not None
    best = training.best["network"]
    assert same(best, training.average.weights())
    assert not any(torch.equal(best[key], value) for key, value in training.network.named_parameters())
    averaged = [key for key in best if key.endswith(("running_mean", "running_var"))]
    assert len(averaged) == 40
    assert not any(torch.equal(best[key], training.network.state_dict()[key]) for key in averaged)
    training.network.load_state_dict(best)
    images = training.problem.validation[0]
    hits = training.predict(images) == training.problem.store.labels[images]
    assert evaluations[-1].validation[training.problem.source_domains[0]].overall == hits.mean()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["name"])
@pytest.mark.parametrize("stop", [2, 5, 8, 11])
def test_it_resumes_bit_identically_at_and_between_checkpoints(
    folder: Path, tmp_path: Path, kind: dict[str, Any], stop: int
) -> None:
    config = config_for(folder, averaging=kind, evaluate_target="selected", model={"backbone": "small_cnn"})
    whole, first, second = Training(config), Training(config), Training(config)
    expected = list(whole.evaluations())
    first.is_to_stop = lambda: first.step >= stop
    with contextlib.suppress(InterruptedTrainingError):
        next(each for each in first.evaluations() if each.step == stop)
    assert first.step == stop
    kept = first.content(copy=True)
    first.is_to_stop = lambda: False
    list(first.evaluations())  # what was copied does not change with it
    kept.write(tmp_path / "there")
    second.load(tmp_path / "there")
    rest = list(second.evaluations())
    assert without_time(rest) == without_time(expected[len(expected) - len(rest) :])
    for one, other in ((whole.best, second.best), (whole.best, first.best)):
        assert one is not None
        assert other is not None
        assert (one["step"], one["merit"]) == (other["step"], other["merit"])
        assert same(one["network"], other["network"])


def test_swad_asks_for_the_loss_of_the_newest_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not of the averaged ones; it is that of a training that averages nothing."""
    config = config_for(folder, averaging=KINDS[1], model={"backbone": "small_cnn"})
    plain, training = Training(dataclasses.replace(config, averaging=AveragingConfig())), Training(config)
    losses: list[float] = []
    observe = Swad.observe
    monkeypatch.setattr(Swad, "observe", lambda self, loss: (losses.append(loss), observe(self, loss))[1])
    list(training.evaluations())
    expected = [e.calibration.source.nll for e in plain.evaluations() if e.calibration]
    assert losses == pytest.approx(expected)
    assert len(set(losses)) == len(losses) == 6
    assert all(map(math.isfinite, losses))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decay": 1.0}, r"averaging\.decay: 1\.0 is out of range; it must be in \(0, 1\)"),
        ({"start_patience": 0}, r"averaging\.start_patience: 0 is out of range"),
        ({"end_patience": 2}, r"averaging\.end_patience: 2 is less than start_patience, 3; raise the one"),
        ({"tolerance": 0.3}, r"averaging\.tolerance: 0\.3 is out of range; it must be a number of at least 1"),
        ({"name": "swa"}, r"averaging\.name: 'swa' is not valid; choose one of none, ema, swad"),
    ],
)
def test_mistakes(folder: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config_for(folder, averaging=values)


def test_keys_of_another_kind_are_told(folder: Path) -> None:
    found = {kind: unused_keys(config_for(folder, averaging={"name": kind})) for kind in ("none", "ema", "swad")}
    own = {kind: sorted(key for key in keys if key.startswith("averaging.")) for kind, keys in found.items()}
    of_swad = ["averaging.end_patience", "averaging.start_patience", "averaging.tolerance"]
    assert own == {"none": sorted(["averaging.decay", *of_swad]), "ema": of_swad, "swad": ["averaging.decay"]}
