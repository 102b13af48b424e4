"""No value of a training is without effect in silence: each that is set changes what is trained, or is refused."""

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from ndcl.config import (
    AveragingConfig,
    DataConfig,
    ImbalanceConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from ndcl.data import Store
from ndcl.errors import UserError
from ndcl.imbalance import count_table
from ndcl.training import Training
from ndcl.unused import refuse_unused, unused_for_vectors, unused_keys
from tests.made.made_store import DOMAINS, make_store

SAME_NUMBERS = {
    "device": "says where, and is refused where it can't be",
    "micro_batch_size": "exact: less memory",
    "activation_checkpointing": "exact: less memory",
    "sharding": "exact: less memory, with several workers",
    "compile": "faster",
    "profile": "watches",
    "precision": "bf16, whose numbers depend on the machine",
    "num_steps": "the length of the training",
    "evaluate_every": "how often it is evaluated",
    "select_by": "which checkpoint is the best",
    "oracle": "one more evaluation",
    "evaluate_target": "when it is evaluated",
    "averaging.name": "which weights are evaluated; see test_averaging.py",
    "data.name": "which data",
    "data.folder": "where they lie",
    "data.workers": "who prepares them; the batches are the same",
    "data.augment_on": "where they are augmented",
    "model.weights": "needs a file",
    "model.norm": "tested below",
    "model.lora_rank": "tests/ndcl/models/test_adapting.py: it needs attention",
    "model.lora_alpha": "tests/ndcl/models/test_adapting.py: it needs attention",
    "model.freeze_batchnorm": "tested by the table of backbones below",
    "model.stochastic_depth": "of backbones that leave out blocks; others refuse it",
    "averaging.decay": "of the averaged weights",
    "averaging.start_patience": "of the averaged weights",
    "averaging.end_patience": "of the averaged weights",
    "averaging.tolerance": "of the averaged weights",
    "algorithm.name": "has keys of its own",
}
"""Keys that are used though the parameters after five steps don't show it, and what they do."""
SAME_HERE = {
    ("gini_dg", "algorithm.released"): "with three source domains it is the same; see test_golden_baselines.py"
}
OTHER: dict[str, Any] = {
    "data.target": "photo",
    "data.augment": False,
    "data.image_size": 16,
    "data.transform": "sqrt",
    "model.dropout": 0.5,
    "model.freeze_stages": 1,
    "model.head_warmup_steps": 1,
    "model.head_seed": 5,
    "model.train": "head",
    "model.mlp_width": 16,
    "model.mlp_depth": 2,
    "optimizer.learning_rate": 0.1,
    "optimizer.weight_decay": 0.1,
    "optimizer.layer_decay": 0.5,
    "batch_size": 5,
    "resampling_ratio": 1.0,
    "seed": 1,
    "algorithm.class_weight_exponent": 0.5,
    "algorithm.max_margin": 0.1,
    "algorithm.scale": 3.0,
    "algorithm.gamma": 3.0,
    "algorithm.alpha": 0.5,
    "algorithm.beta": 0.5,
    "algorithm.margin_temperature": 0.5,
    "algorithm.alignment_temperature": 0.5,
    "algorithm.mixup": 0.9,
    "algorithm.mixup_mode": "set",
    "algorithm.logit_adjustment": 0.5,
    "optimizer.name": "sgd",
    "optimizer.weight_decay_of": "weights",
    "optimizer.momentum": 0.5,
    "optimizer.nesterov": True,
    "optimizer.schedule": "cosine",
    "optimizer.warmup_steps": 2,
    "optimizer.gradient_clip_norm": 1e-3,
    "algorithm.mixup_at": "features",
    "algorithm.cross_entropy": "rows",
    "algorithm.hardness": 0.5,
    "algorithm.frequencies": "pooled",
    "algorithm.penalty_from_share": 0.7,
    "algorithm.penalty_from_step": 3,
    "algorithm.irm_from_share": 0.7,
    "algorithm.irm_from_step": 3,
    "algorithm.refresh_share": 0.5,
    "algorithm.refresh_steps": 2,
    "algorithm.released": True,
    "algorithm.gradient_penalty": 1.0,
    "algorithm.discriminator_weight_decay": 0.5,
    "algorithm.depth": 2,
    "algorithm.normalize": True,
    "algorithm.flipped": False,
    "algorithm.train_projector": False,
    "algorithm.tau": 0.2,
    "algorithm.retrain_from_share": 0.8,
    "algorithm.retrain_from_step": 4,
    "algorithm.distance": 1e-4,
    "algorithm.reconstruction_share": 0.5,
    "algorithm.reconstruction_steps": 3,
    "algorithm.train_context": False,
}
"""A value that is not the default; of the other keys of an algorithm, an end of their range."""


def other_value(algorithm: str, key: str) -> Any:
    parameter = ALGORITHM_CONFIGS[algorithm].search_space().get(key.removeprefix("algorithm."))
    if key in OTHER or parameter is None:
        return OTHER[key]
    ends = parameter.get("choices") or [parameter["low"], parameter["high"]]
    return next(value for value in ends if value != parameter["default"])


NETWORKS = ("linear", "mlp", "small_cnn")
ALGORITHMS: tuple[dict[str, Any], ...] = (
    *({"name": name} for name in ALGORITHM_CONFIGS),
    {"name": "ndcl", "alpha": 0},
    {"name": "ndcl", "beta": 0},
    {"name": "ndcl", "cross_entropy": "rows"},
    {"name": "ndcl", "class_weight_exponent": 0},
    {"name": "logit_adjustment", "mode": "loss"},
    {"name": "cad", "flipped": False, "temperature": 10.0, "penalty_weight": 10.0},
)
DIGITS = "digits"  # images of this name are augmented by more than a mirror
FOUR = (*DOMAINS, "ink")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and vectors of four domains, the classes of different size."""
    path = tmp_path_factory.mktemp("data")
    counts = np.array([[20, 12, 7], [20, 12, 7], [15, 12, 9], [18, 9, 9]])
    make_store(path / DIGITS, counts, domains=FOUR, shape=(8, 8, 3))
    make_store(path / "vectors", counts, domains=FOUR, shape=(6,))
    return path


def config_of(folder: Path, network: str, algorithm: dict[str, Any], **changes: Any) -> TrainConfig:
    data = {"name": DIGITS if network == "small_cnn" else "vectors", "target": "art", "folder": str(folder)}
    data |= {"standardize": network != "small_cnn"}
    values: dict[str, Any] = {
        "data": data,
        "model": {"backbone": network, "mlp_depth": 3},
        "algorithm": dict(algorithm),
        "imbalance": {"setting": "natural", "validation": 2},
        "optimizer": {},
        "num_steps": 5,
        "batch_size": 4,
    }
    for key, value in changes.items():
        *path, last = key.split(".")
        part = values
        for name in path:
            part = part[name]
        part[last] = value
    return TrainConfig.from_dict(values)


def trained(config: TrainConfig) -> str:
    """A digest of the network after all steps, of the one that answers, and of what it was evaluated on."""
    training = Training(config)
    evaluations = [evaluation.to_dict() | {"seconds": 0} for evaluation in training.evaluations()]
    digest = hashlib.sha256(json.dumps([e["validation"] for e in evaluations]).encode())
    assert training.best is not None
    for name, tensor in (*training.network.state_dict().items(), *training.best["network"].items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def keys_of(algorithm: str) -> list[str]:
    parts = {"": TrainConfig, "data.": DataConfig, "model.": ModelConfig, "optimizer.": OptimizerConfig}
    parts["averaging."] = AveragingConfig
    parts["algorithm."] = ALGORITHM_CONFIGS[algorithm]
    keys = [f"{prefix}{field.name}" for prefix, part in parts.items() for field in fields(part)]
    return [key for key in keys if key not in ("data", "model", "optimizer", "averaging", "algorithm", "imbalance")]


def network_for(algorithm: str) -> str:
    if ALGORITHM_CONFIGS[algorithm]().context is not None:
        return "small_cnn"
    return "linear" if algorithm in ("ndcl", "reweight") else "mlp"


CASES = [(network, {"name": "erm"}) for network in NETWORKS] + [
    (network_for(each["name"]), each) for each in ALGORITHMS[1:]
]


@pytest.mark.parametrize(("network", "algorithm"), CASES, ids=str)
def test_each_value_changes_the_training_or_is_refused(folder: Path, network: str, algorithm: dict[str, Any]) -> None:
    base = config_of(folder, network, algorithm)
    expected, in_silence = trained(base), []
    other = OTHER | {
        "model.backbone": "linear" if network == "mlp" else "mlp",
        "data.standardize": not base.data.standardize,
    }
    keys = [key for key in keys_of(algorithm["name"]) if key not in SAME_NUMBERS]
    if algorithm["name"] != "erm":
        keys = [key for key in keys if key.startswith("algorithm.") and key.removeprefix("algorithm.") not in algorithm]
    for key in (key for key in keys if (algorithm["name"], key) not in SAME_HERE):
        value = other[key] if key in other else other_value(algorithm["name"], key)
        changed = config_of(folder, network, algorithm, **{key: value})
        try:
            refuse_unused(changed, [key])
            is_told = network != "small_cnn" and unused_for_vectors(changed)
            if not is_told and trained(changed) == expected:
                in_silence.append(key)
        except UserError as error:
            if key not in str(error):
                raise
    assert in_silence == []


def test_every_setting_of_the_imbalance_uses_each_key_or_refuses_it() -> None:
    other = {"ratio": 3.0, "counts": (3, 2, 1), "class_order": "per_domain", "parameters": {"test_fraction": 0.3}}
    for setting in ("natural", "long_tail", "total_heavy_tail", "cross", "duality", "imbalanced_domains"):
        needed = {"ratio": 2.0} if setting == "long_tail" else {}
        base = ImbalanceConfig(setting=setting, **needed)
        for key, value in other.items():
            changed = replace(base, **{"ratio": None} if key == "counts" else {}, **{key: value})
            try:
                assert counts(changed) != counts(base), f"{setting}: {key}"
            except UserError as error:
                if f"imbalance.{key}: the setting {setting} does not use it" not in str(error):
                    raise


def counts(imbalance: ImbalanceConfig) -> list[list[int]]:
    domains, classes = tuple("abcd"), ("x", "y", "z")
    return count_table(imbalance, "made", domains, classes, np.full((4, 3), 90) - np.arange(3), "a").counts.tolist()


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"model.mlp_width": 8}, "model.mlp_width", "backbone linear does not use it, only mlp; remove it"),
        ({"data.augment": False, "data.augment_on": "cpu"}, "data.augment_on", "nothing is augmented"),
        ({"data.name": "/data/mine"}, "data.folder", "data.name is a path or URI itself"),
    ],
)
def test_what_changes_nothing_is_told_in_one_line(folder: Path, changes: dict[str, Any], key: str, words: str) -> None:
    config = config_of(folder, "linear", {"name": "erm"}, **changes)
    with pytest.raises(UserError, match=rf"^{key}: .*{words}"):
        refuse_unused(config, [key])


def test_vectors_are_neither_resized_nor_augmented(folder: Path) -> None:
    assert Store(folder / "vectors").kind == "vectors"
    for key, value in (("image_size", 16), ("augment", False), ("augment_on", "cpu")):
        config = config_of(folder, "linear", {"name": "erm"}, **{f"data.{key}": value})
        assert (unused_for_vectors(config) or "").startswith(f"data.{key}: vectors holds feature vectors")
    assert unused_for_vectors(config_of(folder, "linear", {"name": "erm"})) is None


def test_a_plain_training_has_no_unused_key_that_is_always_there() -> None:
    config = TrainConfig.from_dict({"data": {"name": "digits", "target": "scan"}, "algorithm": {"name": "ndcl"}})
    of_the_model = {f"model.{key}" for key in ("mlp_width", "mlp_depth", "freeze_batchnorm", "norm")}
    of_the_model |= {"model.lora_rank", "model.lora_alpha"}
    of_the_recipe = {"optimizer.momentum", "optimizer.nesterov", "optimizer.weight_decay_of"}
    of_the_recipe |= {f"averaging.{key}" for key in ("decay", "start_patience", "end_patience", "tolerance")}
    assert set(unused_keys(config)) == of_the_model | of_the_recipe


@pytest.mark.parametrize("model", [{"backbone": "linear"}, {"freeze_stages": 3}, {"train": "head"}], ids=str)
def test_a_head_that_is_always_alone_is_told(model: dict[str, Any]) -> None:
    values = {"data": {"name": "digits", "target": "scan"}, "algorithm": {"name": "erm"}, "model": model}
    with pytest.raises(UserError, match=r"model\.head_warmup_steps: .*head.*; remove it"):
        refuse_unused(TrainConfig.from_dict(values), ["model.head_warmup_steps"])


def test_with_group_norm_there_is_no_batchnorm_to_be_frozen() -> None:
    values = {"data": {"name": "digits", "target": "scan"}, "algorithm": {"name": "erm"}}
    for model, key in (
        ({"backbone": "resnet18", "norm": "group"}, "model.freeze_batchnorm"),
        ({"backbone": "vit_b_16"}, "model.norm"),
    ):
        with pytest.raises(UserError, match=f"{key}: .* no BatchNorm; remove it"):
            refuse_unused(TrainConfig.from_dict(values | {"model": model}), [key])
