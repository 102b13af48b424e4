"""The studies in the HTML report: searches, importances, confusions, cost, and what has yet to be run."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from harness.report.analysis.comparison import Comparison
from harness.report.analysis.details import Details, Failure, StudyDetails
from harness.report.analysis.setting_table import SettingTable
from harness.report.analysis.spent import Spent, spent_by_all
from harness.report.html.charts import search_chart
from harness.report.html.parts import Names, breakable, cell, head, legend, row_head, table, tabs
from harness.report.text.grid import EMPTY


def searches(names: Names, tables: Sequence[SettingTable], details: Details, algorithms: Sequence[str]) -> str:
    """The course of every search, a tab for each setting and a chart for each target domain."""
    panels = {}
    for shown in tables:
        studies = details.of(shown.dataset, shown.setting)
        rows = [
            f"<h3>over {'training time' if over_time else 'trials'}</h3>"
            f'<div class="charts">{"".join(_charts(shown, studies, algorithms, over_time))}</div>'
            for over_time in (False, True)
        ]
        panels[f"{shown.dataset}, {shown.setting}"] = "".join(rows)
    return legend(algorithms) + tabs(names, "setting", panels)


def _charts(
    shown: SettingTable, studies: Sequence[StudyDetails], algorithms: Sequence[str], over_time: bool
) -> list[str]:
    charts = []
    for target in shown.targets:
        courses = {study.key.algorithm: study.search for study in studies if study.key.target == target}
        charts.append(search_chart(target, courses, algorithms, over_time=over_time))
    return charts


def importances(names: Names, comparison: Comparison, details: Details) -> str:
    """The share of each searched value by target domain: a tab for each setting, a table for each algorithm."""
    panels = {}
    for shown in comparison.tables:
        studies = details.of(shown.dataset, shown.setting)
        found = [_importance_table(shown, studies, algorithm, comparison.mark) for algorithm in shown.algorithms]
        if any(found):
            panels[f"{shown.dataset}, {shown.setting}"] = "".join(found)
    return tabs(names, "setting", panels) if panels else ""


def _importance_table(shown: SettingTable, studies: Sequence[StudyDetails], algorithm: str, mark: str) -> str:
    by_target = {s.key.target: s.importance for s in studies if s.key.algorithm == algorithm and s.importance}
    if not by_target:
        return ""
    keys = {key for shares in by_target.values() for key in shares}
    ordered = sorted(keys, key=lambda key: (-sum(shares.get(key, 0.0) for shares in by_target.values()), key))
    rows = [row_head(key) + "".join(_share(by_target.get(target), key) for target in shown.targets) for key in ordered]
    caption = f"{mark}{algorithm} on {shown.dataset}, {shown.setting}: importance in % by target domain"
    return table(caption, [head("searched value"), *map(head, shown.targets)], [rows], "shares")


def _share(shares: Mapping[str, float] | None, key: str) -> str:
    if shares is None or key not in shares:
        return cell(EMPTY)
    percent = f"{100 * shares[key]:.0f}"
    return f'<td class="share" style="--part:{percent}%">{percent}</td>'


COST_HEADS = ("trials", "pruned", "failed", "final runs", "steps", "training time", "CPU-hours", "GPU-hours")


def costs(tables: Sequence[SettingTable], details: Details) -> str:
    """What each algorithm's studies took, by setting, and all together."""
    blocks = []
    for shown in tables:
        studies = details.of(shown.dataset, shown.setting)
        blocks.append([
            row_head(f"{shown.dataset}, {shown.setting}" if position == 0 else "")
            + f'<th scope="row" class="left">{breakable(algorithm)}</th>'
            + "".join(map(cell, _cost(spent_by_all([s.cost for s in studies if s.key.algorithm == algorithm]))))
            for position, algorithm in enumerate(shown.algorithms)
        ])  # fmt: skip
    blocks.append([f'{row_head("all")}<th scope="row" class="left"></th>{"".join(map(cell, _cost(details.cost)))}'])
    header = [head("setting"), head("algorithm", "left"), *map(head, COST_HEADS)]
    return table("What was spent; pruned is a share of the search trials that ended", header, blocks)


def _cost(cost: Spent) -> list[str]:
    share = EMPTY if cost.pruned_share is None else f"{100 * cost.pruned_share:.0f} %"
    failed = sum(by_state.get("failed", 0) for by_state in (cost.num_search, cost.num_review, cost.num_final))
    hours = [EMPTY if value is None else f"{value:.2f}" for value in (cost.cpu_hours, cost.gpu_hours)]
    finals = cost.num_final.get("finished", 0)
    return [str(cost.num_ended), share, str(failed), str(finals), f"{cost.num_steps:,}", _time(cost.seconds), *hours]


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def missing(details: Details) -> str:
    """What has yet to be run, and what failed, by study; nothing if the sweep is complete."""
    unfinished = [f"{study.key.name}: {study.missing}" for study in details.studies if study.missing]
    failures = [_failure(failure) for failure in details.failures]
    parts = []
    if unfinished:
        title = f"The sweep has not ended: {len(unfinished)} of {len(details.studies)} studies are not complete"
        parts.append(_list(title, map(breakable, unfinished)))
    if failures:
        parts.append(_list(f"{len(failures)} training{'s' if len(failures) > 1 else ''} failed", failures))
    return f'<div class="notice">{"".join(parts)}</div>' if parts else ""


def _failure(failure: Failure) -> str:
    log = f"<pre>{escape(failure.log)}</pre>" if failure.log else ""
    return breakable(f"{failure.name}: {failure.reason}") + log


def _list(title: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f'<details><summary>{escape(title)}</summary><ul class="notes">{items}</ul></details>'
