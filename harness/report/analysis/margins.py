"""The decision margins of what a study settled on: their distribution on source and target, by shot group and class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from harness.records import TrialRecord, best_checkpoint
from harness.report.analysis.confusion import class_names

SIDES = ("source", "target")
GROUPS = ("all", "many", "median", "few", "zero")
QUANTILES = ("q05", "q25", "q50", "q75", "q95")
"""By the names of `ndcl.evaluation.diagnostics.SUMMARY`."""


@dataclass(frozen=True, kw_only=True)
class Margins:
    """Means over the final runs of a study, each at its selected checkpoint."""

    groups: Mapping[str, Mapping[str, Mapping[str, float]]]
    """By side in SIDES, group in GROUPS and quantile in QUANTILES; a group without images is absent."""
    per_class: Mapping[str, tuple[float | None, ...]]
    """By side, the mean margin of each class in id order; None for a class without images."""
    classes: tuple[str, ...]
    """Their names; ids where the records have no names."""
    num_seeds: int


def margins_of(shown: Sequence[TrialRecord]) -> Margins | None:
    """Of the final runs among the records that count; None if none of them has diagnostics."""
    checkpoints = [best_checkpoint(record) for record in shown if record.stage == "final"]
    found = [point for point in checkpoints if point and point.get("diagnostics")]
    if not found:
        return None
    parts = {side: [point["diagnostics"][side]["margins"] for point in found] for side in SIDES}
    per_class = {side: _columns([part["per_class"]["mean"] for part in own]) for side, own in parts.items()}
    return Margins(
        groups={side: _groups(own) for side, own in parts.items()},
        per_class=per_class,
        classes=class_names(shown[0], len(per_class["target"])),
        num_seeds=len(found),
    )


def mean_margins(studies: Sequence[Margins]) -> Margins:
    """The mean over several studies, of which there is at least one: those of an algorithm on all target domains."""
    return Margins(
        groups={side: _groups([study.groups[side] for study in studies]) for side in SIDES},
        per_class={side: _columns([study.per_class[side] for study in studies]) for side in SIDES},
        classes=studies[0].classes,
        num_seeds=min(study.num_seeds for study in studies),
    )


def _groups(parts: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The mean of each quantile over those parts that have the group."""
    present = {name: [part[name] for part in parts if part.get(name)] for name in GROUPS}
    return {
        name: {quantile: fmean(part[quantile] for part in own) for quantile in QUANTILES}
        for name, own in present.items()
        if own
    }


def _columns(rows: Sequence[Sequence[float | None]]) -> tuple[float | None, ...]:
    """Column by column the mean of what is there."""
    columns = ([value for value in column if value is not None] for column in zip(*rows, strict=True))
    return tuple(fmean(column) if column else None for column in columns)
