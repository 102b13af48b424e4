"""The values that the searches chose, and the spaces that they searched."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.config.parameters import ChoiceParameter, Parameter
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.details import Details
from harness.report.analysis.protocol import EVERY, Protocol
from harness.report.analysis.setting_table import SettingTable
from harness.report.text.display_names import display_names, setting_title
from harness.report.text.latex_tables import breakable, escaped, label, tabular
from harness.report.text.paper.results import warning

OWN = "algorithm."
"""Begins the keys of an algorithm's own values, beside whose name it says nothing."""


def chosen_values(comparison: Comparison, details: Details) -> str:
    """A table for each setting: rows searched values of each algorithm, columns unseen domains."""
    return "\n".join(filter(None, (_chosen(comparison, table, details) for table in comparison.tables)))


def _chosen(comparison: Comparison, table: SettingTable, details: Details) -> str:
    names = display_names(comparison.methods)
    studies = details.of(table.dataset, table.setting)
    found = {(s.key.algorithm, s.key.target): s.chosen for s in studies if s.chosen is not None}
    blocks = []
    for name in table.algorithms:
        own = {target: found[name, target] for target in table.targets if (name, target) in found}
        keys = dict.fromkeys(key for values in own.values() for key in values)
        blocks.append([
            " & ".join([
                escaped(names[name]) if position == 0 else "",
                shown_key(key),
                *(shown_value(own[t][key]) if key in own.get(t, {}) else "" for t in table.targets),
            ])
            for position, key in enumerate(keys)
        ])  # fmt: skip
    if not any(blocks):
        return ""
    place = f"{table.dataset}, {setting_title(table.setting, table.imbalance)}"
    about = f"{place}: the values that the searches chose, by unseen domain. Empty: not searched there."
    header = " & ".join(["algorithm", "value", *map(escaped, table.targets)])
    kinds = f"ll{'r' * len(table.targets)}"
    caption = " ".join([*warning(comparison), escaped(about)])
    return tabular(caption, label("chosen", table.dataset, table.setting), [header], blocks, kinds)


def search_space(comparison: Comparison, protocol: Protocol) -> str:
    """Rows searched values of each algorithm, with their ranges; nothing where the plan is not known."""
    names = display_names(comparison.methods)
    blocks = [
        [
            " & ".join([_name(name, names) if position == 0 else "", shown_key(key), _ranges(parameters)])
            for position, (key, parameters) in enumerate(space.items())
        ]
        for name, space in protocol.spaces.items()
    ]
    caption = escaped("The search space. In brackets what is tried first; log: drawn evenly by its logarithm.")
    kinds = r"ll>{\raggedright\arraybackslash}p{0.5\textwidth}"
    header = " & ".join(["algorithm", "value", "searched"])
    return tabular(caption, "search-space", [header], blocks, kinds) if any(blocks) else ""


def _name(name: str, names: Mapping[str, str]) -> str:
    return escaped(name if name == EVERY else names.get(name, name))


def _ranges(parameters: Sequence[Parameter]) -> str:
    return "; ".join(map(_range, parameters))


def _range(parameter: Parameter) -> str:
    first = ""
    if isinstance(parameter, ChoiceParameter):
        values = ", ".join(map(shown_value, parameter.choices))
        first = f" [{shown_value(parameter.default)}]" if parameter.has_default else ""
    else:
        values = f"{shown_value(parameter.low)} to {shown_value(parameter.high)}{', log' if parameter.log else ''}"
        first = "" if parameter.default is None else f" [{shown_value(parameter.default)}]"
    return values + first + "".join(_condition(parameter.when or {}))


def _condition(when: Mapping[str, Sequence[Any]]) -> list[str]:
    return [f" if {shown_key(key)} is {' or '.join(map(shown_value, values))}" for key, values in when.items()]


def shown_key(key: str) -> str:
    """A dotted key, as LaTeX."""
    return breakable(key.removeprefix(OWN))


def shown_value(value: Any) -> str:
    """As a sweep's file has it, numbers to three digits; LaTeX."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return escaped(f"{value:.3g}" if isinstance(value, float) else str(value))
