"""Metrics that say something of their own: on balanced test images balanced accuracy is overall accuracy."""

from collections.abc import Sequence

from harness.report.analysis.setting_table import Section, SettingTable

CLOSEST = 1e-9
"""Accuracies closer than this are equal, but for rounding."""


def distinct_metrics(tables: Sequence[SettingTable]) -> dict[str, list[str]]:
    """Metrics with a value in any of the tables, each with the later ones that equal it wherever either has a value."""
    by_metric: dict[str, list[Section]] = {}
    for table in tables:
        for section in table.sections:
            by_metric.setdefault(section.metric, []).append(section)
    found: dict[str, list[str]] = {}
    for metric, own in by_metric.items():
        if not any(section.cells for section in own):
            continue
        equal = next((other for other in found if _are_equal(own, by_metric[other])), None)
        if equal is None:
            found[metric] = []
        else:
            found[equal].append(metric)
    return found


def _are_equal(first: Sequence[Section], second: Sequence[Section]) -> bool:
    """Whether two metrics have the same values in each table."""
    return all(
        a.values[pair].keys() == b.values[pair].keys()
        and all(abs(value - b.values[pair][seed]) < CLOSEST for seed, value in a.values[pair].items())
        for a, b in zip(first, second, strict=True)
        for pair in a.values
    )
