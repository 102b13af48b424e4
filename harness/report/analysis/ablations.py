"""Variants of one algorithm side by side: what each of them changes, and what that does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.plan import StudyPlan
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.contrasts import Contrast, contrasts
from harness.report.analysis.setting_table import Section

SEARCHED = "searched"
"""Stands for a value that a search chooses."""
Changes = Mapping[str, Mapping[str, Any]]
"""By variant and dotted key, the values in which the variants differ."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """The variants of one algorithm in a sweep."""

    method: str
    """Name of the algorithm."""
    variants: tuple[str, ...]
    """The first is what the others are compared with."""
    changes: Changes
    """Empty where the plan is not known."""


def ablations_of(comparison: Comparison, plan: Sequence[StudyPlan]) -> list[Ablation]:
    """One of each algorithm that the sweep trains under several names."""
    groups: dict[str, list[str]] = {}
    for name in comparison.algorithms:
        groups.setdefault(comparison.methods[name], []).append(name)
    found = []
    for method, names in groups.items():
        variants = sorted(names, key=lambda name: name != method)  # the algorithm itself, where it is among them
        if len(variants) > 1:
            found.append(Ablation(method=method, variants=tuple(variants), changes=_changes(variants, plan)))
    return found


def variant_contrasts(section: Section, ablation: Ablation) -> tuple[Contrast, ...]:
    """Every other variant minus the first; tests are corrected for these alone. Empty where the first is absent."""
    present = {name for name, _ in section.cells}
    first, *others = ablation.variants
    family = [(name, first) for name in others if name in present] if first in present else []
    return contrasts(family, section.values, section.cells, section.mean_over)


def _changes(variants: Sequence[str], plan: Sequence[StudyPlan]) -> Changes:
    """What differs between the first study of each variant, but for the order of the plan."""
    studies = {name: next((study for study in plan if study.key.algorithm == name), None) for name in variants}
    values = {name: study.fixed | dict.fromkeys(study.space, SEARCHED) for name, study in studies.items() if study}
    if len(values) < len(variants):
        return {}
    keys = dict.fromkeys(key for own in values.values() for key in own)
    differing = [key for key in keys if len({repr(own.get(key)) for own in values.values()}) > 1]
    return {name: {key: own[key] for key in differing if key in own} for name, own in values.items()}
