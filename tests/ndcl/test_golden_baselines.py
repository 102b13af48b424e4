"""Parity of the field's algorithms with recorded runs of a release: values, first gradients, state and weights.

tests/golden/baselines/README.md documents the arrays and each algorithm's formula. Steps are those of a training.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from ndcl.algorithm_configs import algorithm_config
from ndcl.algorithms import Algorithm, SourceDomains, build_algorithm
from ndcl.algorithms.gini_dg import layers
from ndcl.algorithms.sag_net import Others
from ndcl.algorithms.self_reg import Partners
from ndcl.batch import Batch, Layout
from ndcl.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from ndcl.models import Network, build_network
from ndcl.models.backbone import Backbone
from ndcl.models.context import InContext
from tests.golden_vectors import FOLDER, close, fixed_point
from tests.made.made_steps import Steps

CPU = torch.device("cpu")
BASELINES = FOLDER / "baselines"
TOLERANCE = 1e-9
Arrays = dict[str, np.ndarray]
Record = dict[str, Any]


@cache
def index() -> dict[str, list[Record]]:
    return json.loads((BASELINES / "index.json").read_text())


@cache
def archive(name: str) -> dict[str, Arrays]:
    cases: dict[str, Arrays] = {}
    with np.load(BASELINES / f"{name}.npz", allow_pickle=False) as file:
        for key in file.files:
            case, array = key.split("/", 1)
            cases.setdefault(case, {})[array] = file[key]
    return cases


class Draws:
    """The recorded draws of one kind, in the order in which they were made."""

    def __init__(self, case: Arrays, kind: str) -> None:
        values, lengths = case[f"draws/{kind}"], case[f"draws/{kind.removesuffix('_q')}_len"]
        self._parts = iter(np.split(values, np.cumsum(lengths)[:-1]))

    def next(self) -> np.ndarray:
        return next(self._parts)


@dataclass(frozen=True)
class Golden:
    """How an algorithm of the release is said here."""

    name: str
    values: Callable[[Record], dict[str, Any]] = lambda h: {}
    """The config's values by the release's."""
    returned: dict[str, str] = field(default_factory=lambda: {"loss": "total"})
    """What the release reports, and the loss' term that is the same."""
    draws: Callable[[pytest.MonkeyPatch, Algorithm, Arrays], None] | None = None
    """Gives the algorithm the recorded draws."""
    names: dict[str, str] = field(default_factory=dict)
    """The release's own networks, and the algorithm's."""
    tracked: Callable[[Algorithm], dict[str, Tensor]] = lambda algorithm: {}
    """State after a step, by the release's names."""
    checks_gradients: bool = True
    """False where a parameter steps twice on a batch, so that its first gradient is gone; weights and values tell."""


PENALTY = {"loss": "cross_entropy", "penalty": "penalty"}


def late(prefix: str) -> Callable[[Record], dict[str, Any]]:
    return lambda h: {
        "penalty_weight": h[f"{prefix}_lambda"],
        "penalty_from_step": h[f"{prefix}_penalty_anneal_iters"],
    }


def adversarial(h: Record) -> dict[str, Any]:
    return {
        "penalty_weight": h["lambda"],
        "discriminator_steps": h["d_steps_per_g_step"],
        "gradient_penalty": h["grad_penalty"],
        "discriminator_learning_rate": h["lr_d"],
        "discriminator_weight_decay": h["weight_decay_d"],
        "beta1": h["beta1"],
        "width": h["width"],
        "depth": h["depth"],
    }


def bottleneck(h: Record) -> dict[str, Any]:
    return {
        "penalty_weight": h["lmbda"],
        "temperature": h["temperature"],
        "normalize": h["is_normalized"],
        "flipped": h["is_flipped"],
        "released": True,
    }


def mixup_draws(patch: pytest.MonkeyPatch, algorithm: Any, case: Arrays) -> None:
    orders, betas = Draws(case, "perm"), Draws(case, "beta_q")

    def draws(num_domains: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        shares = np.concatenate([betas.next() for _ in range(num_domains)]) / 16
        return orders.next().astype(np.int64), shares

    patch.setattr(algorithm, "draws", draws)


def cut_draws(patch: pytest.MonkeyPatch, algorithm: Any, case: Arrays) -> None:
    cuts = Draws(case, "randint")
    patch.setattr(
        algorithm, "cuts", lambda layout, step: np.concatenate([cuts.next() for _ in range(layout.num_domains)])
    )


def self_reg_draws(patch: pytest.MonkeyPatch, algorithm: Any, case: Arrays) -> None:
    orders, betas = Draws(case, "perm"), Draws(case, "beta_q")

    def partners(layout: Layout, step: int) -> Partners:
        share = float(betas.next()[0] / 16)
        if layout.host_classes[0] != 0:  # a first, empty group
            orders.next(), orders.next()
        first, second, start = [], [], 0
        for size in layout.host_sizes:
            first.append(start + orders.next())
            second.append(start + orders.next())
            start += int(size)
        return Partners(np.concatenate(first).astype(np.int64), np.concatenate(second).astype(np.int64), share)

    patch.setattr(algorithm, "partners", partners)


RELEASED: dict[str, Golden] = {
    "CORAL": Golden("coral", lambda h: {"penalty_weight": h["mmd_gamma"]}, PENALTY),
    "MMD": Golden("mmd", lambda h: {"penalty_weight": h["mmd_gamma"]}, PENALTY),
    "CausIRL_CORAL": Golden("caus_irl_coral", lambda h: {"penalty_weight": h["mmd_gamma"]}, PENALTY, cut_draws),
    "CausIRL_MMD": Golden("caus_irl_mmd", lambda h: {"penalty_weight": h["mmd_gamma"]}, PENALTY, cut_draws),
    "IRM": Golden("irm", late("irm"), {"loss": "total", "nll": "cross_entropy", "penalty": "penalty"}),
    "VREx": Golden("vrex", late("vrex"), {"loss": "total", "penalty": "penalty"}),
    "IB_ERM": Golden("ib_erm", late("ib"), {"loss": "total", "IB_penalty": "penalty"}),
    "IB_IRM": Golden(
        "ib_irm",
        lambda h: late("ib")(h) | {"irm_weight": h["irm_lambda"], "irm_from_step": h["irm_penalty_anneal_iters"]},
        {"loss": "total", "IB_penalty": "penalty", "IRM_penalty": "irm_penalty"},
    ),
    "GroupDRO": Golden(
        "group_dro", lambda h: {"eta": h["groupdro_eta"]}, tracked=lambda a: {"q": cast(Tensor, a.weights)}
    ),
    "EQRM": Golden(
        "eqrm",
        lambda h: {
            "quantile": h["eqrm_quantile"],
            "penalty_from_step": h["eqrm_burnin_iters"],
            "learning_rate_factor": h["eqrm_lr"] / h["lr"],
            "released": True,
        },
    ),
    "RDM": Golden(
        "rdm",
        lambda h: {
            "penalty_weight": h["rdm_lambda"],
            "penalty_from_step": h["rdm_penalty_anneal_iters"],
            "variance_weight": h["variance_weight"],
            "learning_rate_factor": h["rdm_lr"] / h["lr"],
        },
        {"total_loss": "total", "erm_loss": "cross_entropy"},
    ),
    "Fishr": Golden(
        "fishr",
        lambda h: {"penalty_weight": h["lambda"], "penalty_from_step": h["penalty_anneal_iters"], "ema": h["ema"]},
        {"loss": "total", "nll": "cross_entropy", "penalty": "penalty"},
    ),
    "SD": Golden("sd", lambda h: {"penalty_weight": h["sd_reg"]}, PENALTY),
    "RSC": Golden("rsc", lambda h: {"feature_drop": h["rsc_f_drop_factor"], "batch_drop": h["rsc_b_drop_factor"]}),
    "Mixup": Golden("mixup", lambda h: {"alpha": h["mixup_alpha"]}, draws=mixup_draws),
    "BoDA": Golden(
        "boda",
        lambda h: {
            "penalty_weight": h["boda_weight"],
            "macro_weight": h["macro_weight"],
            "nu": h["nu"],
            "temperature": h["temperature"],
            "momentum": h["momentum"],
            "penalty_from_step": h["boda_start_step"],
            "refresh_steps": h["feat_update_freq"],
        },
        {"loss": "cross_entropy", "penalty": "coral", "loss_boda": "boda"},
        tracked=lambda a: {"train_centroids": cast(Tensor, a.centers).flatten(0, 1)},
    ),
    "DANN": Golden(
        "dann",
        adversarial,
        {"disc_loss": "total", "gen_loss": "total"},
        names={"discriminator.": "discriminator."},
    ),
    "CDANN": Golden(
        "cdann",
        lambda h: adversarial(h) | {"released": True},
        {"disc_loss": "total", "gen_loss": "total"},
        names={"discriminator.": "discriminator.", "class_embeddings.": "class_embeddings."},
    ),
    "SelfReg": Golden(
        "self_reg", lambda h: {"train_projector": False}, draws=self_reg_draws, names={"cdpl.": "projector."}
    ),
    "CAD": Golden("cad", bottleneck, {"bn_loss": "penalty", "clf_loss": "cross_entropy", "total_loss": "total"}),
    "CondCAD": Golden(
        "cond_cad",
        lambda h: {key: value for key, value in bottleneck(h).items() if key != "released"},
        {"bn_loss": "penalty", "clf_loss": "cross_entropy", "total_loss": "total"},
    ),
    "ANDMask": Golden("and_mask", lambda h: {"tau": h["tau"]}),
    "SANDMask": Golden("sand_mask", lambda h: {"tau": h["tau"], "k": h["k"]}),
}


def sag_net_draws(patch: pytest.MonkeyPatch, algorithm: Any, case: Arrays) -> None:
    shares, orders = Draws(case, "rand_q"), Draws(case, "perm")
    patch.setattr(
        algorithm, "draws", lambda layout, step, part: Others(shares.next() / 16, orders.next().astype(np.int64))
    )


RELEASED["SagNet"] = Golden(
    "sag_net",
    lambda h: {"penalty_weight": h["sag_w_adv"]},
    {"loss_c": "total", "loss_s": "style", "loss_adv": "adversarial"},
    sag_net_draws,
    {"style_classifier.": "style_head."},
    checks_gradients=False,
)


def domain_order(patch: pytest.MonkeyPatch, algorithm: Any, case: Arrays) -> None:
    orders = Draws(case, "perm")
    patch.setattr(algorithm, "order", lambda num_domains, step: orders.next().astype(np.int64))


RELEASED["MLDG"] = Golden(
    "mldg", lambda h: {"beta": h["mldg_beta"], "num_meta_test": h["n_meta_test"]}, draws=domain_order
)
RELEASED["Fish"] = Golden("fish", lambda h: {"meta_learning_rate": h["meta_lr"]})
RELEASED["TCRI_HSIC"] = Golden(
    "tcri_hsic",
    lambda h: {
        "penalty_weight": h["tcri_beta"],
        "domain_weight": h["tcri_alpha"],
        "penalty_from_step": h["tcri_beta_anneal_iters"],
        "released": True,
    },
    {"loss": "total", "nll": "cross_entropy", "tcri_penalty": "penalty", "tic_nll": "domain_cross_entropy"},
    names={
        "general_head.": "general.",
        "spurious_head.": "spurious.",
        "classifier.": "classifier.",
        "spurious_classifiers.": "domain_classifiers.",
    },
)
RELEASED["TRM"] = Golden(
    "trm",
    lambda h: {
        "penalty_from_step": h["iters"],
        "cos_weight": h["cos_lambda"],
        "eta": h["groupdro_eta"],
        "released": True,
    },
    {"nll": "cross_entropy", "trm_loss": "transfer"},
    names={"domain_classifiers.": "heads."},
    tracked=lambda a: {"alpha": cast(Tensor, a.alpha)},
)
RELEASED["Transfer"] = Golden(
    "transfer",
    lambda h: {
        "penalty_weight": h["t_lambda"],
        "distance": h["delta"],
        "adversary_steps": h["d_steps_per_g"],
        "adversary_learning_rate": h["lr_d"],
    },
    {"loss": "total", "gap": "gap"},
    names={"adv_classifier.": "adversary."},
    checks_gradients=False,
)
RELEASED["MTL"] = Golden(
    "mtl",
    lambda h: {"ema": h["mtl_ema"]},
    names={"classifier.": "classifier."},
    tracked=lambda a: {"embeddings": cast(Tensor, a.means)},
)


def generated_noise(patch: pytest.MonkeyPatch, algorithm: Any, case: Arrays) -> None:
    """The release's noise, and networks of the widths with which it was recorded."""
    noise = Draws(case, "normal_q")
    patch.setattr(algorithm, "noise", lambda num_rows, step: noise.next().reshape(num_rows, -1) / 16)
    for ours, theirs in (("discriminator", "discriminator"), ("real_or_not", "gdiscriminator")):
        weights = [case[key] for key in sorted(case) if re.fullmatch(rf"init/{theirs}\.model\.\d\.weight", key)]
        setattr(algorithm, ours, layers(weights[0].shape[1], *(len(weight) for weight in weights)))


RELEASED["GINIDG"] = Golden(
    "gini_dg",
    lambda h: {"reconstruction_steps": h["recon_end_indicator"], "latent": 5, "released": True},
    {"loss": "network"},
    generated_noise,
    {
        "classifier.": "classifier.",
        "generator.decoder.1.": "generator.decoder.",
        "generator.": "generator.",
        "discriminator.model.3.": "discriminator.2.",
        "discriminator.model.6.": "discriminator.4.",
        "discriminator.model.": "discriminator.",
        "gdiscriminator.model.3.": "real_or_not.2.",
        "gdiscriminator.model.": "real_or_not.",
    },
)
RELEASED["IGA"] = Golden("iga", lambda h: {"penalty_weight": h["penalty"]}, PENALTY)


def composed_orders(patch: pytest.MonkeyPatch, algorithm: Any, case: Arrays) -> None:
    draws = Draws(case, "perm")

    def orders(num_domains: int, step: int) -> np.ndarray:
        found = [draws.next().astype(np.int64)]
        for _ in range(2):
            found.append(found[-1][draws.next().astype(np.int64)])
        draws.next()  # which the release doesn't use
        return np.stack(found)

    patch.setattr(algorithm, "orders", orders)


RELEASED["ARM"] = Golden("arm", lambda h: {"width": 4, "train_context": False}, names={"context.": "0.context."})
RELEASED["PGrad"] = Golden("p_grad", draws=composed_orders, checks_gradients=False)
NOT_SANE = {("MTL", "c00"), ("MTL", "c01"), ("Transfer", "c02")}
"""Cases in which the release learns from noise, or nothing."""
CASES = [
    (name, record["case"]) for name in RELEASED for record in index()[name] if (name, record["case"]) not in NOT_SANE
]


def places(module: torch.nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


class Run:
    """The steps of one case, taken as a training takes them."""

    def __init__(self, name: str, case_name: str, patch: pytest.MonkeyPatch, **changes: Any) -> None:
        self.golden, self.case = RELEASED[name], archive(name)[case_name]
        [self.record] = [record for record in index()[name] if record["case"] == case_name]
        record, hparams = self.record, self.record["hparams"]
        sizes = {"width": record["width"], "depth": record["depth"]}
        values = self.golden.values({**hparams, **record["attributes"], **sizes})
        num_steps = hparams.get("n_steps", 9_999) + 1
        config = algorithm_config({"name": self.golden.name, **values, **changes})
        rate, decay = hparams.get("lr_g", hparams["lr"]), hparams.get("weight_decay_g", hparams["weight_decay"])
        self.config = TrainConfig(
            data=DataConfig(name="made", target="unseen"),
            algorithm=config,
            model=ModelConfig(backbone="mlp", mlp_width=record["width"], mlp_depth=record["depth"]),
            optimizer=OptimizerConfig(learning_rate=rate, weight_decay=decay),
            num_steps=num_steps,
        )
        counts = self.case.get("counts")
        sources = SourceDomains(
            frequencies=np.full((record["D"], record["K"]), 1 / record["K"]),
            batch_size=record["B"],
            seed=0,
            num_steps=num_steps,
            num_features=record["width"],
            learning_rate=rate,
            weight_decay=decay,
            counts=None if counts is None else counts.astype(np.int64),
        )
        self.network = self.made_network()
        self.algorithm: Any = build_algorithm(config, sources)
        if self.golden.draws is not None:
            self.golden.draws(patch, self.algorithm, self.case)
        with torch.no_grad():
            for param in record["params"]:
                place = self.parameter(param)
                if place is not None:
                    place.copy_(fixed_point(self.case[f"init/{param}"], 1024))
            if "init/train_centroids" in self.case:  # from them on it begins at once
                centers = fixed_point(self.case["init/train_centroids"], 1024)
                self.algorithm.centers.copy_(centers.view_as(self.algorithm.centers))
                self.algorithm.start = 0
        self.steps = Steps(self.network, self.algorithm, self.config, record["K"])
        self.steps.training.step = record["attributes"].get("steps", 0)
        self.steps.training._show_all = self.show_all

    def made_network(self) -> Network:
        shape, context = tuple(self.record["x_shape"]), self.config.algorithm.context
        if context is None:
            return cast(Network, build_network(self.config.model, shape, self.record["K"], seed=0))
        channels, height, width = shape
        network = build_network(self.config.model, (height, width, channels + 1), self.record["K"], seed=0)
        network[0] = InContext(cast(Backbone, network[0]), (height, width, channels), context, self.record["D"])
        return network

    def parameter(self, name: str) -> Tensor | None:
        """Of the network or the algorithm; None for what only the release has."""
        own = {key: value for part in (self.network, self.algorithm) for key, value in places(part)}
        for theirs, ours in self.golden.names.items():
            if name.startswith(theirs):
                return own.get(name.replace(theirs, ours, 1))
        body = "0.body." if isinstance(self.network[0], InContext) else "0."
        for theirs, ours in (("featurizer.", body), ("classifier.", "1.")):
            if name.startswith(theirs):
                return own[name.replace(theirs, ours, 1)]
        return None

    def show_all(self) -> None:
        labels = self.case["train_y"].astype(np.int64)
        domains = np.repeat(np.arange(len(labels)), labels.shape[1])
        inputs, is_there = fixed_point(self.case["train_x_q"]).flatten(0, 1), labels.reshape(-1) >= 0
        with torch.no_grad():
            features = self.network.eval().features(inputs[torch.from_numpy(is_there)])
        self.network.train()
        self.algorithm.look(
            features,
            torch.from_numpy(labels.reshape(-1)[is_there]),
            torch.from_numpy(domains[is_there]),
            self.steps.training.step,
        )

    def batches(self) -> Iterator[Batch]:
        domains = np.repeat(np.arange(self.record["D"]), self.record["B"])
        for step in range(self.record["steps"]):
            labels = self.case["y"][step].astype(np.int64).reshape(-1)
            inputs = fixed_point(self.case["x_q"][step]).flatten(0, 1)
            yield Batch(inputs=inputs, layout=Layout.of(labels, domains, CPU))

    def check(self, expected: Arrays, *, values: bool = True) -> None:
        """Take all steps and compare with what is `expected` of values, first gradients and last weights."""
        for step, batch in enumerate(self.batches()):
            loss = self.steps.take(batch)
            if step == 0 and self.golden.checks_gradients:
                self.check_gradients(expected)
            for key, term in self.golden.returned.items() if values else ():
                found = self.case[f"returned/{key}"][step]
                if not np.isnan(found) and (term in loss.terms or found != 0):
                    close(loss.terms[term].item(), found, TOLERANCE)
            for key, value in self.golden.tracked(self.algorithm).items() if values else ():
                close(value.numpy(), self.case[f"track/{key}"][step], TOLERANCE)
        for param in (key.removeprefix("final/") for key in expected if key.startswith("final/")):
            place = self.parameter(param)
            if place is not None:
                close(place.detach().numpy(), expected[f"final/{param}"], TOLERANCE)

    def check_gradients(self, expected: Arrays) -> None:
        compared = 0
        for param in self.record["params"]:
            place, key = self.parameter(param), f"grad/{param}"
            if key in expected and place is not None:
                assert place.grad is not None, param
                close(place.grad.numpy(), expected[key], TOLERANCE)
                compared += 1
        # of an algorithm with steps within a step the recorded gradients are those of the inner ones, too
        assert compared or not any(key.startswith("grad/") for key in expected)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("name", "case"), CASES, ids=lambda value: value)
def test_the_release_is_met(name: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(name, case, monkeypatch)
    run.check(run.case)


def test_fishrs_running_variances_are_met(monkeypatch: pytest.MonkeyPatch) -> None:
    for record in index()["Fishr"]:
        run = Run("Fishr", record["case"], monkeypatch)
        run.check(run.case)
        for domain in range(record["D"]):
            weight, bias = (run.case[f"track/ema.{domain}.{part}"] for part in ("weight", "bias"))
            close(cast(Tensor, run.algorithm.of_weight)[domain].numpy().reshape(weight.shape), weight, TOLERANCE)
            close(cast(Tensor, run.algorithm.of_bias)[domain].numpy().reshape(bias.shape), bias, TOLERANCE)


INTENDED: dict[str, dict[str, Any]] = {
    **{name: {"released": False} for name in ("CDANN", "EQRM", "TCRI_HSIC", "TRM", "GINIDG")},
    "SelfReg": {"train_projector": True},
}
"""Algorithms whose right behaviour differs from the release's, with the values that ask for it: the defaults."""
INTENDED_CASES = [
    (record["algorithm"], record["case"]) for record in index()["intended"] if record["algorithm"] in INTENDED
]


@pytest.mark.parametrize(("name", "case"), INTENDED_CASES, ids=lambda value: value)
def test_the_right_behaviour_is_the_default(name: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = algorithm_config({"name": RELEASED[name].name})
    assert all(getattr(config, key) == value for key, value in INTENDED[name].items())
    with np.load(BASELINES / "intended.npz", allow_pickle=False) as file:
        prefix = f"{name}.{case}/"
        expected = {key.removeprefix(prefix): file[key] for key in file.files if key.startswith(prefix)}
    assert expected
    Run(name, case, monkeypatch, **INTENDED[name]).check(expected, values=False)
