"""A signal that only the target domain holds: whole sweeps must not react to it, unless the oracle is asked for.

Two data sets are alike but for the labels of the target domain, which are exchanged in one of them. Everything that a
sweep does, from the values proposed to the model selected, must then be the same to the bit; its numbers on the target
must not.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from harness.cli.progress import Progress
from harness.config import load_sweep
from harness.plan import make_plan
from harness.records import TrialRecord, best_checkpoint
from harness.sweep.run import run_sweep
from tests.integration import sweeps
from tests.made.made_vectors import TARGET, write_vectors

OF_THE_TARGET = ("target", "target_confusion", "oracle", "oracle_accuracy", "seconds", "system")
"""What an evaluation says of the target domain, of time, and of the machine."""


def run(folder: Path, objective: Any, target_labels: list[int], **search: Any) -> list[TrialRecord]:
    """The records of a sweep, one trial after the other, so that proposals can be repeated."""
    data = write_vectors(folder, target_labels)
    sweep = {
        "name": "leak",
        "data": {"name": "made", "targets": [TARGET], "folder": str(data)},
        "imbalance": {"setting": "long_tail", "ratio": 4, "validation": 10, "few_below": 18, "many_above": 24},
        "algorithms": {"erm": None},
        "train": {"model.backbone": "linear", "num_steps": 12, "evaluate_every": 4, "batch_size": 8},
        "space": {
            "optimizer.learning_rate": {"type": "float", "low": 1e-4, "high": 1, "log": True, "default": 0.1},
            "resampling_ratio": {"type": "choice", "choices": [None, 1]},
        },
        "search": {"num_trials": 8, "objective": objective, **search},
        "final": {"seeds": 2, "top_k": 1 if "leave" in str((objective, search)) else 2},
        "resources": {"max_concurrent": 1},
        "tracking": {"figures": False},
    }
    (folder / "leak.yaml").write_text(yaml.safe_dump(sweep))
    sweeps.with_store(folder / "results")
    plan = make_plan(load_sweep(folder / "leak.yaml"), folder / "results")
    return run_sweep(plan, Progress(Console(), quiet=True)).records


def without_target(evaluation: dict[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in evaluation.items() if key not in OF_THE_TARGET}
    if known["diagnostics"]:
        known["diagnostics"] = {key: value for key, value in known["diagnostics"].items() if key != "target"}
    if known["calibration"]:
        known["calibration"] = {key: value for key, value in known["calibration"].items() if key != "target"}
    if "ensemble" in known:
        known["ensemble"] = {key: value for key, value in known["ensemble"].items() if "target" not in key}
        known["ensemble"]["disagreement"] = known["ensemble"]["disagreement"]["source"]
    return known


def decisions(record: TrialRecord) -> Any:
    """What was proposed, learned, stopped and selected, without what is told of the target domain."""
    learned = [without_target(evaluation) for evaluation in record.evaluations]
    config = {key: value for key, value in record.config.items() if key != "data"}
    return record.name, record.state, record.reason, record.values, record.schedule, config, learned


def reached(record: TrialRecord) -> float:
    """On the target, at the selected checkpoint."""
    best = best_checkpoint(record)
    assert best is not None
    return float(best["target"]["balanced"])


@pytest.mark.parametrize(
    ("objective", "search"),
    [
        ("validation_accuracy", {}),
        pytest.param("worst_domain_accuracy", {"scheduler": {"name": "median"}}, marks=pytest.mark.soak),
        ("few_shot_accuracy", {"scheduler": {"name": "pbt"}}),
        pytest.param("leave_one_domain_out_accuracy", {}, marks=pytest.mark.soak),
        pytest.param("leave_one_domain_out_likelihood", {}, marks=pytest.mark.soak),
        ("validation_accuracy", {"select": {"by": "leave_one_domain_out_likelihood", "among": 3}}),
        pytest.param(["validation_accuracy", "few_shot_accuracy"], {"sampler": "nsga2"}, marks=pytest.mark.soak),
    ],
)
def test_nothing_that_is_decided_reacts_to_the_target(
    tmp_path: Path, objective: Any, search: Any, local_ray_session: None
) -> None:
    plain = run(tmp_path / "plain", objective, [0, 1, 2], **search)
    planted = run(tmp_path / "planted", objective, [1, 2, 0], **search)
    assert [decisions(record) for record in plain] == [decisions(record) for record in planted]
    finals, crossed = ([record for record in found if record.stage == "final"] for found in (plain, planted))
    seen, hidden = (np.mean([reached(record) for record in found]) for found in (finals, crossed))
    assert seen > hidden + 0.2, "the signal is there to be seen"


def test_the_oracle_reacts(tmp_path: Path, local_ray_session: None) -> None:
    plain = run(tmp_path / "plain", "oracle_accuracy", [0, 1, 2], scheduler={"name": "none"})
    planted = run(tmp_path / "planted", "oracle_accuracy", [1, 2, 0], scheduler={"name": "none"})
    chosen = [next(r.values for r in found if r.stage == "final") for found in (plain, planted)]
    assert chosen[0] != chosen[1]
    assert [decisions(record) for record in plain] != [decisions(record) for record in planted]
