"""A made-up sweep with numbers as real ones have them: four algorithms, four unseen domains, three imbalance ratios.

One study has not ended its search, one has no final run yet, one trial has failed, a third of them were pruned.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from harness.config import SweepConfig
from harness.config.space import at_position, is_active
from harness.plan import StudyPlan
from harness.plan.studies import studies_of
from harness.records import Journal, TrialRecord, select
from harness.records.places import SWEEP_FILE
from ndcl.evaluation.diagnostics import SUMMARY

TARGETS = ("scan", "texture", "print", "sign")
RATIOS = (10, 65, 200)
CLASSES = tuple("0123456789")
NUM_CLASSES, NUM_TRIALS, NUM_SEEDS, NUM_STEPS = 10, 12, 3, 150
GAIN = {"erm": 0.0, "ndcl": 0.055, "balanced_softmax": 0.03, "focal": 0.004}
HARDNESS = {"scan": 0.0, "texture": 0.09, "print": -0.04, "sign": 0.05}
MARGIN = {"type": "float", "low": 0.3, "high": 1.0, "log": True, "default": 0.3}
REASON = "NonFiniteLossError: the loss became NaN"
LOG = f"""Traceback (most recent call last):
  File "ndcl/training/training.py", line 189, in _require_finite
    raise NonFiniteLossError(...)
ndcl.errors.{REASON}"""
SWEEP: dict[str, Any] = {
    "name": "digits_imbalance",
    "data": {"name": "digits", "targets": list(TARGETS)},
    "imbalance": [{"setting": "long_tail", "ratio": ratio, "validation": 5} for ratio in RATIOS],
    "algorithms": {
        "erm": None,
        "ndcl": {
            "space": {
                "algorithm.alpha": {"type": "float", "low": 0.1, "high": 3, "log": True, "default": 1},
                "algorithm.margin_temperature": {**MARGIN, "when": {"resampling_ratio": [None, 10]}},
            }
        },
        "balanced_softmax": None,
        "focal": None,
    },
    "train": {"num_steps": NUM_STEPS, "evaluate_every": 50, "batch_size": 32},
    "space": {
        "optimizer.learning_rate": {"type": "float", "low": 1e-3, "high": 6e-3, "log": True, "default": 3e-3},
        "resampling_ratio": {"type": "choice", "choices": [None, 10, 1], "default": None},
    },
    "search": {"num_trials": NUM_TRIALS, "scheduler": {"name": "asha", "min_resource": 1, "reduction_factor": 3}},
    "final": {"seeds": NUM_SEEDS},
}


def plans(**changes: Any) -> tuple[StudyPlan, ...]:
    return studies_of(SweepConfig.model_validate(SWEEP | changes))


def sweep_records(*, oracle: bool = False) -> list[TrialRecord]:
    """All records of the sweep; with `oracle` it was judged by labels of the target."""
    changes = {"search": SWEEP["search"] | {"objective": "oracle_accuracy"}} if oracle else {}
    studies = plans(**changes)
    return [record for position, plan in enumerate(studies) for record in _study(plan, position)]


def written_sweep(folder: Path, *, oracle: bool = False) -> list[TrialRecord]:
    """The same in a sweep's folder, with the file that tells its plan."""
    folder.mkdir(parents=True, exist_ok=True)
    records = sweep_records(oracle=oracle)
    for record in records:
        Journal(folder).write(record)
    changes = {"search": SWEEP["search"] | {"objective": "oracle_accuracy"}} if oracle else {}
    resolved = SweepConfig.model_validate(SWEEP | changes).model_dump(mode="json")
    (folder / SWEEP_FILE).write_text(yaml.safe_dump(resolved, sort_keys=False))
    return records


def _study(plan: StudyPlan, position: int) -> list[TrialRecord]:
    rng = np.random.default_rng(position)
    search = [_trial(plan, number, rng) for number in range(NUM_TRIALS)]
    if position == 0:
        search[3] = replace(search[3], state="failed", reason=REASON, log=LOG, evaluations=())
    finals = [_final(plan, select(search)[0], seed, rng) for seed in range(1, NUM_SEEDS + 1)]
    if (plan.key.algorithm, plan.key.target, plan.key.setting) == ("focal", "sign", "long_tail-200"):
        return [*search[:7], replace(search[7], state="running", ended=None)]
    return search if (plan.key.algorithm, plan.key.setting) == ("focal", "long_tail-200") else [*search, *finals]


def _trial(plan: StudyPlan, number: int, rng: np.random.Generator) -> TrialRecord:
    drawn = at_position(plan.space, {key: float(rng.uniform()) for key in plan.space})
    values = {key: value for key, value in drawn.items() if is_active(plan.space[key], drawn, plan.fixed)}
    rate, ratio = values["optimizer.learning_rate"], values["resampling_ratio"]
    luck = (
        -0.06 * abs(np.log(rate / 3e-3)) - 0.05 * (ratio is None) - 0.04 * abs(np.log(values.get("algorithm.alpha", 1)))
    )
    pruned = number > 2 and luck < -0.06
    steps = (50,) if pruned else (50, 100, NUM_STEPS)
    base = _base(plan) + luck
    return _record(plan, "search", number, values, steps, base, rng, state="pruned" if pruned else "finished")


def _final(plan: StudyPlan, best: TrialRecord, seed: int, rng: np.random.Generator) -> TrialRecord:
    return _record(plan, "final", seed - 1, best.values, (50, 100, NUM_STEPS), _base(plan), rng, seed=seed)


def _base(plan: StudyPlan) -> float:
    ratio = plan.base["imbalance"]["ratio"]
    gain = GAIN[plan.key.algorithm] * np.log10(ratio)
    return float(0.76 - 0.12 * np.log10(ratio) + gain - HARDNESS[plan.key.target])


def _record(
    plan: StudyPlan, stage: Any, number: int, values: dict[str, Any], steps: tuple[int, ...], base: float,
    rng: np.random.Generator, seed: int = 0, state: Any = "finished",
) -> TrialRecord:  # fmt: skip
    started = 1_790_000_000 + 60 * number + (3600 if stage == "final" else 0)
    slow = 2.0 if plan.key.algorithm == "ndcl" else 1.0
    return TrialRecord(
        study=plan.key, stage=stage, number=number, values=values, state=state,
        config=plan.train_config(values, seed).to_dict(), environment={"data": {"classes": list(CLASSES)}},
        evaluations=tuple(_evaluation(step, base * (1 - 12 / (step + 40)), slow, rng) for step in steps),
        started=started, ended=started + 50,
        reason="worse than others at step 50" if state == "pruned" else None,
    )  # fmt: skip


def _evaluation(step: int, base: float, slow: float, rng: np.random.Generator) -> dict[str, Any]:
    source, target = (float(np.clip(base + rng.normal(0, scale), 0, 1)) for scale in (0.01, 0.018))
    confusion = _confusion(target, rng)
    per_class = [row[k] / sum(row) for k, row in enumerate(confusion)]
    shots = _grouped(per_class)
    overall = float(np.mean(per_class))
    part = {"overall": overall, "balanced": overall, "worst_class": min(per_class), "zero": None, "num_images": 870}
    part |= {name: float(np.mean(group)) for name, group in shots.items()}
    return {
        "step": step, "seconds": 0.031 * slow * step, "losses": {"total": 1.2},
        "validation_accuracy": source + 0.08, "worst_domain_accuracy": source, "few_shot_accuracy": source - 0.1,
        "leave_one_domain_out_accuracy": None, "oracle_accuracy": overall, "held_out": None, "oracle": None,
        "validation": {}, "target": part | {"per_class": per_class}, "target_confusion": confusion,
        "diagnostics": _diagnostics(source, per_class),
    }  # fmt: skip


def _diagnostics(source: float, per_class: list[float]) -> dict[str, Any]:
    """Margins that follow the accuracies, and discrepancies that run against them."""
    rng = np.random.default_rng(int(1e6 * source))
    overall = float(np.mean(per_class))
    better = [accuracy + source + 0.08 - overall for accuracy in per_class]  # on the source domains
    return {
        side: {
            "margins": {
                **{name: _summary(group) for name, group in {"all": own, **_grouped(own)}.items()},
                "zero": None,
                "per_class": {name: [_summary([one])[name] for one in own] for name in SUMMARY},
            },
            "posterior_discrepancy": float(0.7 - scale * overall + rng.normal(0, 0.03)),
        }
        for side, own, scale in (("source", better, 0.4), ("target", per_class, 0.6))
    }


def _grouped(per_class: list[float]) -> dict[str, list[float]]:
    return {"many": per_class[:3], "median": per_class[3:6], "few": per_class[6:]}


def _summary(accuracies: list[float]) -> dict[str, float]:
    """Of margins that are positive in about the share of the accuracy."""
    mean, spread = 6 * (float(np.mean(accuracies)) - 0.5), 2.5
    steps = (0.0, -1.64, -0.67, 0.0, 0.67, 1.64)
    return {name: mean + spread * step for name, step in zip(SUMMARY, steps, strict=True)}


def _confusion(accuracy: float, rng: np.random.Generator) -> list[list[int]]:
    """[K][K] counts of 87 images a class; the rare classes, those with high ids, are taken for the frequent ones."""
    rows = []
    for k in range(NUM_CLASSES):
        right = float(np.clip(accuracy + 0.25 - 0.055 * k, 0.02, 0.99))
        mistakes = np.linspace(2.0, 0.2, NUM_CLASSES) + (np.arange(NUM_CLASSES) == (k + 5) % NUM_CLASSES) * 3
        mistakes[k] = 0
        shares = (1 - right) * mistakes / mistakes.sum()
        shares[k] = right
        rows.append(rng.multinomial(87, shares / shares.sum()).tolist())
    return rows
