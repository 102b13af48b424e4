"""A comparison for other tools: every number of it as plain JSON values, without NaN."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from harness.report.analysis.cells import Cell, Pair
from harness.report.analysis.comparison import ORACLE_WARNING, Comparison
from harness.report.analysis.contrasts import Contrast
from harness.report.analysis.curves import Curve, CurveMetric
from harness.report.analysis.details import Details, StudyDetails
from harness.report.analysis.diagnostics import THEORY, Diagnosis
from harness.report.analysis.ensembles import Ensemble
from harness.report.analysis.fronts import Front
from harness.report.analysis.ranks import ranks_of
from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.analysis.spent import Spent
from harness.report.text.findings import finding, recommendation

T = TypeVar("T")


def to_json(comparison: Comparison, details: Details) -> dict[str, Any]:
    """What report.json holds; accuracies and differences are fractions. docs/report.md describes it."""
    return {
        "reference": comparison.reference,
        "criteria": list(comparison.criteria),
        "data": {name: dict(counts) for name, counts in comparison.data.items()},
        "oracle": comparison.oracle,
        "warning": ORACLE_WARNING if comparison.oracle else None,
        "tables": [_table(table, oracle=comparison.oracle) for table in comparison.tables],
        "curves": [_curve(curve) for curve in comparison.curves],
        "pareto_fronts": [_front(front) for front in comparison.fronts],
        "studies": [_study(study) for study in details.studies],
        "source_criteria": [asdict(found) for found in details.source_criteria],
        "diagnostics": [_diagnosis(diagnosis) for diagnosis in details.diagnoses],
        "cost": _cost(details.cost),
    }


def _table(table: SettingTable, *, oracle: bool) -> dict[str, Any]:
    return {
        "dataset": table.dataset,
        "setting": table.setting,
        "imbalance": dict(table.imbalance),
        "algorithms": list(table.algorithms),
        "targets": list(table.targets),
        "budgets": _nested({pair: asdict(budget) for pair, budget in table.budgets.items()}),
        "failed": _nested(table.failed),
        "warm_started": [list(pair) for pair in table.warm_started],
        "at_chance": [asdict(found) for found in table.at_chance],
        "finding": finding(table),
        "recommendation": recommendation(table, oracle=oracle),
        "source_validation": _nested({pair: _cell(cell) for pair, cell in table.sources.items()}),
        "ensembles": _nested({pair: _ensemble(each) for pair, each in table.ensembles.items()}),
        "ensemble_contrasts": [asdict(contrast) for contrast in table.ensemble_contrasts],
        "calibration": {name: asdict(found) for name, found in table.calibrations.items()},
        "ensemble_calibration": {name: asdict(found) for name, found in table.ensemble_calibrations.items()},
        "ranks": {s.metric: asdict(r) for s in table.sections if (r := ranks_of(s, table.algorithms))},
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
        "ensembles": _nested({pair: _of_images(cell) for pair, cell in section.ensembles.items()}),
        "ensemble_means": {algorithm: _of_images(cell) for algorithm, cell in section.ensemble_means.items()},
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


def _ensemble(ensemble: Ensemble) -> dict[str, Any]:
    about = {"members": ensemble.num_members, "of": ensemble.of, "disagreement": ensemble.disagreement}
    return about | ({"averaged_weights_refused": dict(ensemble.refused)} if ensemble.refused else {})


def _of_images(cell: Cell) -> dict[str, Any]:
    return {"mean": cell.mean, "error": cell.error, "members": cell.num_seeds}


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
        "edges": [asdict(edge) for edge in study.edges],
        "second_look": None if study.second_look is None else asdict(study.second_look),
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


def _cost(cost: Spent) -> dict[str, Any]:
    return {**asdict(cost), "pruned_share": cost.pruned_share}


def _nested(values: Mapping[Pair, T]) -> dict[str, dict[str, T]]:
    """By the first name, then by the second."""
    result: dict[str, dict[str, T]] = {}
    for (first, second), value in values.items():
        result.setdefault(first, {})[second] = value
    return result
