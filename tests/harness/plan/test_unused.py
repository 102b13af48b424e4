"""No key of a sweep's file is without effect in silence: what reads a key is watched, and all others are refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from harness.config import SweepConfig
from harness.config.parameters import ChoiceParameter, FloatParameter, IntParameter
from harness.config.resources import ResourceSpec, TrialResources, WorkerRange
from harness.config.search import SchedulerConfig, SearchSpec, SecondLook, WarmStart
from harness.config.sweep import AlgorithmSpec, DataSpec, FinalSpec, ImbalanceSpec, Override, TopTrials, TrackingSpec
from harness.plan import Plan, make_plan
from harness.plan.unused import USED_BY_SCHEDULER
from harness.search import population
from harness.search.samplers import pruner_of
from harness.trials.standalone import load_training
from ndcl.errors import UserError
from tests.made.made_records import base, record, study

MLP = {"model.backbone": "mlp"}
SWEEP: dict[str, Any] = {
    "name": "small",
    "data": {"name": "digits", "targets": ["scan", "sign"]},
    "imbalance": {"setting": "long_tail", "ratio": 65},
    "algorithms": {"erm": None, "ndcl": None},
    "train": {"num_steps": 20, "evaluate_every": 5},
    "space": {"batch_size": {"type": "choice", "choices": [8, 16]}},
    "search": {"num_trials": 4},
}


def plan_of(results: Path = Path("results"), **changes: Any) -> Plan:
    config = SweepConfig.model_validate({**SWEEP, **changes})
    return make_plan(config, results, domains=lambda *_: ("scan", "sign"), check=lambda config: None)


def refusal(**changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        plan_of(**changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Watched(SchedulerConfig):
    """Notes which of its keys are read."""

    def __getattribute__(self, name: str) -> Any:
        if name in SchedulerConfig.model_fields:
            READ.add(name)
        return super().__getattribute__(name)


READ: set[str] = set()


@pytest.mark.parametrize("name", USED_BY_SCHEDULER)
def test_a_scheduler_refuses_the_keys_that_nothing_reads(name: str) -> None:
    watched = Watched(name=name)
    READ.clear()
    pruner_of(study(scheduler=watched, base=base(num_steps=12)))
    if name == "pbt":
        plan = study(scheduler=watched, num_trials=4)
        waiting = [record(number, "waiting", accuracy, steps=(2,)) for number, accuracy in enumerate((0.1, 0.2, 0.3))]
        assert population.next_stop(plan, 0)
        assert population.moves(plan, waiting)
    assert set(USED_BY_SCHEDULER[name]) == READ - {"name"}
    for key, value in dict(
        zip(SchedulerConfig.model_fields, (name, 2, 4, "promote", 2, 0.5, 0.5), strict=True)
    ).items():
        search = {"num_trials": 4, "scheduler": {"name": name, key: value}}
        if key == "name" or key in READ:
            plan_of(search=search, train={"num_steps": 40, "evaluate_every": 5})
        else:
            message = f"search.scheduler.{key}: scheduler {name} does not use it; remove it"
            assert message in refusal(search=search)


KINDS: dict[type[BaseModel], str] = {
    SweepConfig: "all",
    AlgorithmSpec: "by what the algorithm uses: below, and tests/ndcl/test_unused.py",
    Override: "below",
    DataSpec: "tests/ndcl/test_unused.py",
    ImbalanceSpec: "tests/ndcl/test_unused.py",
    SearchSpec: "below: seed, warm_start, select",
    SecondLook: "all",
    SchedulerConfig: "above",
    WarmStart: "all",
    FinalSpec: "below",
    TopTrials: "below: with final.seeds: 0",
    ResourceSpec: "below",
    TrialResources: "tests/harness/config/test_config.py: with one worker and with several",
    WorkerRange: "all",
    TrackingSpec: "all",
    FloatParameter: "below: grid",
    IntParameter: "below: grid",
    ChoiceParameter: "below: grid",
}
"""Every part of a sweep's file, and who uses its keys, or where it is tested that others refuse them."""

GRID = {"num_trials": 4, "sampler": "grid"}
CHOICE, WHOLE = {"type": "choice", "choices": [8, 16]}, {"type": "int", "low": 8, "high": 9}
GPU = {"gpus_per_trial": 1}
LOOK = {"by": "leave_one_domain_out_likelihood"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"num_trials": 1, "select": LOOK}}, "search.select: with search.num_trials: 1 there is nothing to"),
        (
            {"space": {}, "search": {"num_trials": 4, "select": LOOK}},
            "search.select: nothing is searched; remove it, or add a space",
        ),
        ({"search": {**GRID, "seed": 3}}, "search.seed: sampler grid draws nothing at random; remove it"),
        ({"search": {**GRID, "warm_start": {"sweep": "x"}}}, "search.warm_start: sampler grid tries all values anyway"),
        (
            {"search": {"num_trials": 1, "warm_start": {"sweep": "x"}}, "space": {}},
            "search.warm_start: nothing is searc",
        ),
        ({"search": GRID, "space": {"batch_size": {**CHOICE, "default": 8}}}, "space.batch_size.default: sampler grid"),
        ({"search": GRID, "space": {"batch_size": {**WHOLE, "default": 8}}}, "space.batch_size.default: sampler grid"),
        ({"search": GRID, "space": {"batch_size": {**WHOLE, "log": True}}}, "space.batch_size.log: sampler grid tries"),
        ({"final": {"seeds": 0, "resources": {"cpus_per_trial": 2}}}, "final.resources: with final.seeds: 0 there are"),
        ({"final": {"seeds": 0, "top_k": 2}}, "final.top_k: with final.seeds: 0 there are no final runs"),
        (
            {"final": {"seeds": 0, "ensemble": {"top_k": 1}}},
            "final.ensemble: with final.seeds: 0 there are no final runs",
        ),
        ({"train": {"sharding": "full"}}, "train.sharding: one worker keeps everything"),
        ({"resources": GPU, "train": {"device": "cpu"}}, "resources.gpus_per_trial: with train.device: cpu no GPU is"),
        (
            {"final": {"resources": GPU}, "algorithms": {"erm": {"train": {"device": "cpu"}}}},
            "final.resources.gpus_per_trial: with algorithms.erm.train.device: cpu no GPU is used",
        ),
        ({"train": {"model.mlp_width": 9}}, "train.model.mlp_width: backbone small_cnn does not use it, only mlp; rem"),
        ({"train": {"model.mlp_width": 256}}, "train.model.mlp_width: backbone small_cnn"),  # also if it is the default
        ({"space": {"model.mlp_depth": {**WHOLE, "low": 2}}}, "space.model.mlp_depth: backbone small_cnn does not use"),
        (
            {"overrides": [{"target": "sign", "train": {"optimizer.layer_decay": 0.5, "model.backbone": "linear"}}]},
            "overrides.0.train.optimizer.layer_decay: backbone linear has a single layer",
        ),
        (
            {"algorithms": {"ndcl": {"train": {"algorithm.alpha": 0}, "space": {"algorithm.mixup": {**CHOICE}}}}},
            "algorithms.ndcl.space.algorithm.mixup: with algorithm.alpha: 0 there is no margin loss; remove it",
        ),
        (
            {"data": {"name": "digits", "augment": False, "augment_on": "cpu"}},
            "data.augment_on: with data.augment: none nothing is augmented",
        ),
        (
            {
                "data": [{"name": "digits", "targets": "scan"}, {"name": "pacs", "targets": "sign"}],
                "overrides": [{"data": "pacs", "target": "scan", "train": {"batch_size": 4}}],
            },
            "overrides.0: no study has all of these names; correct one, or remove it",
        ),
    ],
)
def test_what_changes_nothing_is_refused(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"overrides": [{"target": "sign", "train": MLP}], "train": {"model.mlp_width": 9}},  # used in some studies
        {"space": {"model.backbone": {"type": "choice", "choices": ["linear", "mlp"]}, "model.mlp_depth": WHOLE}},
        {"algorithms": {"ndcl": {"space": {"algorithm.alpha": {"type": "float", "low": 0, "high": 1}}}}},
        {"search": {**GRID, "seed": 3, "scheduler": {"name": "pbt"}}},  # who draws the exchanges
        {"final": {"seeds": 0, "top_k": 2}, "resources": {"keep_checkpoints": "selected"}},
        {"resources": {"workers_per_trial": 2}, "train": {"sharding": "full"}},
        {"final": {"seeds": 1, "resources": {"workers_per_trial": 2}}, "train": {"sharding": "full"}},
    ],
)
def test_what_is_used_anywhere_is_kept(changes: dict[str, Any]) -> None:
    plan_of(**changes)


def test_every_part_of_the_file_is_in_the_table() -> None:
    found: list[type[BaseModel]] = [SweepConfig]
    seen: set[type[BaseModel]] = set()
    while found:
        model = found.pop()
        if model not in seen:
            seen.add(model)
            found += list(parts_of(model))
    assert seen == set(KINDS)


def parts_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The models that a model's fields are made of."""
    for field in model.model_fields.values():
        yield from members(field.annotation)


def members(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from members(part)


def test_a_sweep_begun_with_an_unused_key_goes_on_as_it_is(tmp_path: Path) -> None:
    search = {"num_trials": 4, "scheduler": {"name": "median", "reduction_factor": 4}}
    resolved = SweepConfig.model_validate({**SWEEP, "search": search}).model_dump(mode="json")
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "sweep.yaml").write_text(yaml.safe_dump(resolved))
    plan_of(tmp_path, search=search)
    plan_of(tmp_path, search={**search, "num_trials": 5})
    with pytest.raises(UserError, match="scheduler median does not use it"):
        plan_of(tmp_path, search=search, name="other")


def test_a_single_training_refuses_the_same(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("data: {name: digits, target: scan}\nalgorithm: {name: erm}\nmodel.mlp_width: 9\n")
    with pytest.raises(UserError, match=r"config\.yaml: model\.mlp_width: backbone small_cnn does not use it"):
        load_training(path)
    assert load_training(path, ["model.backbone=mlp"]).model.mlp_width == 9
