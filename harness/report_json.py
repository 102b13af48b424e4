"""A comparison for other tools: every number of it as plain JSON values, without NaN."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from harness.report_cells import Cell, Pair
from harness.report_comparison import ORACLE_WARNING, Comparison
from harness.report_contrasts import Contrast
from harness.report_cost import Cost
from harness.report_curves import Curve, CurveMetric
from harness.report_details import Details, StudyDetails
from harness.report_diagnostics import THEORY, Diagnosis
from harness.report_findings import finding
from harness.report_fronts import Front
from harness.report_tables import Section, SettingTable

T = TypeVar("T")


def to_json(comparison: Comparison, details: Details) -> dict[str, Any]:
    """What report.json holds; accuracies and differences are fractions. docs/report.md describes it."""
    return {
        "reference": comparison.reference,
        "criteria": list(comparison.criteria),
        "oracle": comparison.oracle,
        "warning": ORACLE_WARNING if comparison.oracle else None,
        "tables": [_table(table) for table in comparison.tables],
        "curves": [_curve(curve) for curve in comparison.curves],
        "pareto_fronts": [_front(front) for front in comparison.fronts],
        "studies": [_study(study) for study in details.studies],
        "diagnostics": [_diagnosis(diagnosis) for diagnosis in details.diagnoses],
        "cost": _cost(details.cost),
    }


def _table(table: SettingTable) -> dict[str, Any]:
    return {
        "dataset": table.dataset,
        "setting": table.setting,
        "imbalance": dict(table.imbalance),
        "algorithms": list(table.algorithms),
        "targets": list(table.targets),
        "budgets": _nested({pair: asdict(budget) for pair, budget in table.budgets.items()}),
        "failed": _nested(table.failed),
        "warm_started": [list(pair) for pair in table.warm_started],
        "finding": finding(table),
        "metrics": {section.metric: _section(section) for section in table.sections},
    }


def _section(section: Section) -> dict[str, Any]:
    cells = {
        pair: {**_cell(cell), "by_seed": {str(seed): value for seed, value in section.values[pair].items()}}
        for pair, cell in section.cells.items()
    }
    return {
        "cells": _nested(cells),
        "means": {algorithm: _cell(cell) for algorithm, cell in section.means.items()},
        "mean_over": list(section.mean_over),
        "contrasts": [_contrast(contrast) for contrast in section.contrasts],
        "pairwise": [_contrast(contrast) for contrast in section.pairwise],
    }


def _contrast(contrast: Contrast) -> dict[str, Any]:
    return {
        "algorithm": contrast.algorithm,
        "reference": contrast.reference,
        "by_target": {target: _cell(cell) for target, cell in contrast.by_target.items()},
        "mean": None if contrast.mean is None else _cell(contrast.mean),
        "result": None if contrast.result is None else asdict(contrast.result),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {**asdict(cell), "provisional": cell.provisional}


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "dataset": curve.dataset,
        "kind": curve.kind,
        "ratios": dict(curve.ratios),
        "algorithms": list(curve.algorithms),
        "metrics": {metric.metric: _curve_metric(metric) for metric in curve.metrics},
    }


def _curve_metric(metric: CurveMetric) -> dict[str, Any]:
    cells = {key: _cell(cell) for key, cell in metric.cells.items()}
    return {"mean_over": list(metric.mean_over), "cells": _nested(cells)}


def _front(front: Front) -> dict[str, Any]:
    return {**asdict(front), "study": asdict(front.study)}


def _study(study: StudyDetails) -> dict[str, Any]:
    return {
        **asdict(study.key),
        "search": [asdict(point) for point in study.search],
        "importance": None if study.importance is None else dict(study.importance),
        "cost": _cost(study.cost),
        "confusion": None if study.confusion is None else asdict(study.confusion),
        "margins": None if study.margins is None else asdict(study.margins),
        "missing": study.missing,
        "failures": [asdict(failure) for failure in study.failures],
    }


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "dataset": diagnosis.dataset,
        "num_without": diagnosis.num_without,
        "correlations": {
            measure: {"theory": THEORY[measure], "by_algorithm": {name: asdict(found) for name, found in row.items()}}
            for measure, row in diagnosis.correlations.items()
        },
        "trials": [asdict(trial) for trial in diagnosis.trials],
    }


def _cost(cost: Cost) -> dict[str, Any]:
    return {**asdict(cost), "pruned_share": cost.pruned_share}


def _nested(values: Mapping[Pair, T]) -> dict[str, dict[str, T]]:
    """By the first name, then by the second."""
    result: dict[str, dict[str, T]] = {}
    for (first, second), value in values.items():
        result.setdefault(first, {})[second] = value
    return result
