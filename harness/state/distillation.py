"""From a study's ensemble to one network that answers as it does: what teaches, and what all are worth."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.config.commands import setting
from harness.records import TrialRecord, best_checkpoint
from harness.state.selected_models import (
    ENSEMBLE,
    checkpoint_of,
    combination_of,
    members_of,
    origin_of,
    recorded_digest,
    selected_models,
)
from ndcl.config import TrainConfig
from ndcl.criteria import DEFAULT_OBJECTIVE
from ndcl.errors import UserError
from ndcl.strict import from_dict

if TYPE_CHECKING:
    from ndcl.evaluation import Evaluation
    from ndcl.serving import Description
    from ndcl.training.distilling import Distillation, Teachers

FOLDER = "distilled"
"""Within a sweep's folder: the checkpoints of students."""


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Accuracies of one model, as fractions; None where there is no image."""

    model: str
    source: float | None
    """On validation images of the source domains."""
    target: Mapping[str, float | None]
    """On the unseen domain: `overall`, `balanced`, `few`."""


TARGET = ("overall", "balanced", "few")


def ensembles_of(
    records: Sequence[TrialRecord], top_k: int, names: Sequence[str] | None, remedy: str
) -> list[TrialRecord]:
    """The ensembles of the studies of `names`, or of all. Raises UserError if one has none that can be distilled."""
    found = selected_models(records, top_k, names, run=ENSEMBLE, remedy=remedy)
    for record in found:
        if record.stage != ENSEMBLE:
            raise UserError(
                f"study {record.study.name} has no ensemble to distil; it takes at least two final runs and "
                f"final.ensemble: seeds; {remedy}"
            )
        of = combination.of if (combination := combination_of(record)) else "probabilities"
        if of == "weights":
            raise UserError(
                f"study {record.study.name}: its averaged weights are one network already, as fast as a single run; "
                "use what ndcl export writes"
            )
        if of == "logits":
            raise UserError(
                f"study {record.study.name}: its ensemble of linear heads is one head already, as fast as a single "
                "one; use what ndcl export writes"
            )
    return found


def lacking_settings(final: Mapping[str, Any]) -> list[str]:
    """What is to be set over a sweep's resolved `final` for its studies to have ensembles of several networks."""
    ensemble = final.get("ensemble", "seeds")
    num_trials = ensemble["top_k"] if isinstance(ensemble, Mapping) else 1
    found = [setting("final.seeds", 2)] if final["seeds"] * num_trials < 2 else []
    return [*found, *([setting("final.ensemble", "seeds")] if ensemble == "none" else [])]


def teachers_of(folder: Path, ensemble: TrialRecord, records: Sequence[TrialRecord]) -> "Teachers":
    """The members of an ensemble of the sweep at `folder`. Raises UserError if a checkpoint is gone."""
    from ndcl.training.distilling import Teachers  # imports torch

    members, combination = members_of(ensemble, records), combination_of(ensemble)
    assert combination is not None, "an ensemble says how it answers"
    return Teachers(
        configs=tuple(TrainConfig.from_dict(member.config) for member in members),
        checkpoints=tuple(checkpoint_of(folder, member) for member in members),
        combination=combination,
    )


def distillation_of(teachers: "Teachers", temperature: float, num_steps: int | None) -> "Distillation":
    """The training of the student, which begins at a seed that no final run has. Raises UserError."""
    from ndcl.data.problem import build_problem  # these import torch
    from ndcl.training.distilling import Distillation

    config = teachers.configs[0]
    problem = build_problem(config.data, config.imbalance)
    return Distillation(teachers, problem, temperature=temperature, num_steps=num_steps, seed=0)


def student_folder(folder: Path, ensemble: TrialRecord, temperature: float, num_steps: int | None) -> Path:
    """Where the student's checkpoints lie: another place for other teachers and settings."""
    facts = json.dumps([ensemble.members, temperature, num_steps])
    return folder / FOLDER / f"{ensemble.study.name}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"


def worths_of(ensemble: TrialRecord, records: Sequence[TrialRecord], student: "Evaluation") -> list[Worth]:
    """Of a single member on the mean, of the ensemble and of the student."""
    members = members_of(ensemble, records)
    return [
        _worth(f"single runs (mean of {len(members)})", [best_checkpoint(member) or {} for member in members]),
        _worth(f"ensemble of {len(members)}", [best_checkpoint(ensemble) or {}]),
        _worth("distilled", [student.to_dict()]),
    ]


def _worth(model: str, evaluations: Sequence[Mapping[str, Any]]) -> Worth:
    return Worth(
        model=model,
        source=_mean([each.get(DEFAULT_OBJECTIVE) for each in evaluations]),
        target={name: _mean([each["target"][name] for each in evaluations]) for name in TARGET},
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def export_student(
    folder: Path, ensemble: TrialRecord, checkpoint: Path, student: "Evaluation", to: Path, facts: Mapping[str, Any]
) -> "Description":
    """Write the student as an exported model. Raises UserError as `ndcl.serving.export` does."""
    from ndcl.evaluation.calibration import Selective  # these import torch
    from ndcl.evaluation.ensembles import Combination
    from ndcl.serving import export

    values = student.to_dict()
    calibration = values["calibration"] or {"temperature": 1.0, "selective": None}
    selective = calibration.get("selective")
    own = {
        DEFAULT_OBJECTIVE: values[DEFAULT_OBJECTIVE],
        "target": {name: values["target"][name] for name in ("overall", "balanced", "many", "median", "few")},
    }
    origin = {**origin_of(folder, ensemble), **own, "stage": FOLDER, FOLDER: dict(facts)}
    return export(
        checkpoint,
        to,
        "safetensors",
        origin,
        recorded_digest(folder, ensemble),
        Combination(of="probabilities", scales=(1.0,), temperature=calibration["temperature"]),
        None if selective is None else from_dict(Selective, selective),
    )
