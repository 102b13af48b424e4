"""Accuracy over the imbalance ratio, where a data set was run under settings that differ in nothing else."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.analysis.cells import Cell, mean_of
from harness.report.analysis.setting_table import Section, SettingTable

CURVE_METRICS = ("overall", "balanced", "few")
VARIED = ("ratio", "counts")
"""Keys of an ImbalanceConfig that a curve runs over; all others are the same along it."""


@dataclass(frozen=True, kw_only=True)
class CurveMetric:
    """One metric along the ratios."""

    metric: str
    mean_over: tuple[str, ...]
    """Target domains for which every algorithm has a value at every ratio that has any."""
    cells: Mapping[tuple[str, str], Cell]
    """Means over these, by algorithm and setting."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One data set under settings of rising imbalance ratio."""

    dataset: str
    kind: str
    """What the settings have in common: `long_tail`, or the label before their ratios; else their names, too."""
    ratios: Mapping[str, float]
    """Images of the largest class over those of the smallest that has any, by the name of the setting; rising."""
    algorithms: tuple[str, ...]
    targets: tuple[str, ...]
    metrics: tuple[CurveMetric, ...]


def curves_of(tables: Sequence[SettingTable]) -> tuple[Curve, ...]:
    """A curve for every group of at least two ratios that has a point."""
    groups: dict[tuple[str, str], list[SettingTable]] = {}
    for table in tables:
        if ratio_of(table.imbalance) is not None:
            fixed = {key: value for key, value in table.imbalance.items() if key not in VARIED}
            groups.setdefault((table.dataset, json.dumps(fixed, sort_keys=True)), []).append(table)
    found = (_curve(group) for group in groups.values())
    return tuple(
        curve
        for curve in found
        if len(set(curve.ratios.values())) > 1 and any(metric.cells for metric in curve.metrics)
    )


def ratio_of(imbalance: Mapping[str, Any]) -> float | None:
    """The imbalance ratio that an ImbalanceConfig asks for, or None if it leaves it to the data or a table."""
    present = [count for count in imbalance.get("counts") or () if count > 0]
    ratio = max(present) / min(present) if present else imbalance.get("ratio")
    return None if ratio is None else float(ratio)


def _curve(tables: Sequence[SettingTable]) -> Curve:
    ratios = {table.setting: ratio for table in tables if (ratio := ratio_of(table.imbalance)) is not None}
    return Curve(
        dataset=tables[0].dataset,
        kind=_kind(str(tables[0].imbalance["setting"]), ratios),
        ratios=dict(sorted(ratios.items(), key=lambda item: item[1])),
        algorithms=tuple(dict.fromkeys(name for table in tables for name in table.algorithms)),
        targets=tuple(dict.fromkeys(name for table in tables for name in table.targets)),
        metrics=tuple(_metric(metric, tables) for metric in CURVE_METRICS),
    )


def _kind(setting: str, ratios: Mapping[str, float]) -> str:
    names = {name.removesuffix(f"-{ratio:g}") for name, ratio in ratios.items()}
    if len(names) == 1 and not names & set(ratios):
        return next(iter(names))
    return f"{setting} ({', '.join(sorted(ratios, key=ratios.__getitem__))})"


def _metric(metric: str, tables: Sequence[SettingTable]) -> CurveMetric:
    sections = {table.setting: section for table in tables for section in table.sections if section.metric == metric}
    sections = {setting: section for setting, section in sections.items() if section.cells}
    common = _common(list(sections.values()))
    return CurveMetric(
        metric=metric,
        mean_over=common,
        cells={
            (algorithm, setting): mean_of([section.cells[algorithm, target] for target in common])
            for setting, section in sections.items()
            for algorithm in section.means
            if common
        },
    )


def _common(sections: Sequence[Section]) -> tuple[str, ...]:
    first = sections[0].mean_over if sections else ()
    return tuple(target for target in first if all(target in section.mean_over for section in sections))
